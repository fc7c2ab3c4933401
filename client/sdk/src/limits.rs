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
/// Pieces read from a QUIC stream in one turn, each as much as a datagram brought: about as many bytes.
pub const READ_CHUNKS_MAX: usize = 48;
/// Everything up to an open connection, whatever it is; the state machine's own limit is longer.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a token provider may take.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last bytes may take to leave when the client closes, and how long the server may take to close a QUIC connection
/// on which it has said all.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer to the WebSocket handshake.
pub const HANDSHAKE_BYTES_MAX: usize = switchyard_gateway_core::limits::HANDSHAKE_BYTES_MAX;
/// A way to the server that is preferred is tried for so long before the next is tried beside it. RFC 8305 §8 recommends it:
/// longer than most round trips, and short enough that nobody notices when it was in vain.
pub const HEAD_START: Duration = Duration::from_millis(250);
/// The same for QUIC in a network where it has worked: long enough for one datagram to be lost and sent again, which takes a second
/// (RFC 9002 §6.2.2), since the network would be taken for one without QUIC otherwise.
pub const HEAD_START_TRUSTED: Duration = Duration::from_millis(1_500);
/// When QUIC is tried again in a network where a WebSocket was faster: rare enough to cost nothing, and often enough that a bad
/// moment of a good network is forgotten soon.
pub const QUIC_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Networks of which is remembered whether QUIC works: where a person is in the course of some weeks.
pub const NETWORKS_MAX: usize = 32;
/// How long the server may be silent after a change of this end's address before the connection is taken for lost: enough for a
/// slow network, and for a datagram or two to be lost.
pub const MOVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried over QUIC: with their head starts they fit well into [`OPEN_TIMEOUT`].
pub const QUIC_ADDRESSES_MAX: usize = 4;
/// Streams of its own on which a server sends large frames at once: as many as the fetches that it answers at once, and as many
/// again that are read to their end while their place is not given back yet.
pub const QUIC_PAGES_MAX: u8 = 8;
/// Bytes on one QUIC stream that may come before what was before them is taken: the largest frame (320 KiB), and what keeps a fast
/// way busy meanwhile.
pub const QUIC_STREAM_WINDOW_BYTES: u32 = 512 * 1024;
/// The same of all streams of a connection together: the session's, if it is not read, and some pages beside it.
pub const QUIC_RECEIVE_WINDOW_BYTES: u32 = 4 * QUIC_STREAM_WINDOW_BYTES;
/// Bytes that a QUIC connection takes before the server has acknowledged those before them; the rest waits before it.
pub const QUIC_SEND_WINDOW_BYTES: u64 = 256 * 1024;
