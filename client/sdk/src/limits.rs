//! Every limit of the SDK, each with its reason.

use std::time::Duration;

/// Events that wait for the application: more than the messages after which acknowledging stops, so that a slow
/// application slows the server down by the delivery window first. When even this is full the socket is not read, and
/// what the server then has to keep is for its own limits.
pub const EVENTS_MAX: usize = 2_048;
/// Events that wait behind those, from connections that come and go while the application takes nothing: a few turns' worth
/// of the smallest frames. At the limit the oldest change of state or error is left out; everything else is kept, and when
/// that alone is so much no connection is read as far as its welcome. One turn's worth may come on top.
pub const WAITING_EVENTS_MAX: usize = 4_096;
/// Verbs of the application that wait for the driver.
pub const COMMANDS_MAX: usize = 256;
/// Verbs taken in one turn: their stores share one commit.
pub const COMMANDS_PER_TURN_MAX: usize = 64;
/// Bytes read from a socket in one turn: what arrives together is stored with one commit.
pub const READ_BYTES: usize = 64 * 1024;
/// The TCP connection and the WebSocket handshake together; the state machine's own limit is longer.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a token provider may take.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last bytes may take to leave when the client closes.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer to the WebSocket handshake.
pub const HANDSHAKE_BYTES_MAX: usize = switchyard_gateway_core::limits::HANDSHAKE_BYTES_MAX;
