//! Limits of a gateway connection, each with its reason. Limits of the wire itself stand in `switchyard_schema::limits`.

/// Bytes of an upgrade request: a token of the largest size fits with room for the usual headers of a browser.
pub const HANDSHAKE_BYTES_MAX: usize = 8 * 1024;
/// Headers of an upgrade request; browsers send about twenty, proxies add a few.
pub const HANDSHAKE_HEADERS_MAX: usize = 64;
/// How long a connection may take until its upgrade request is complete.
pub const HANDSHAKE_MS: u64 = 5_000;

/// Payload bytes of a control frame (RFC 6455 §5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;
/// Bytes of the longest WebSocket frame header: two, a 64-bit length and a masking key (RFC 6455 §5.2).
pub const FRAME_HEADER_BYTES_MAX: usize = 14;
/// Bytes of a message on `/echo`: the largest of the Autobahn Testsuite.
pub const ECHO_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes set aside at once for a frame on a stream of which only the length has come: most frames are smaller.
pub const STREAM_RESERVE_BYTES_MAX: usize = 1024;
/// A Page of more than this may go on a stream of its own over QUIC: more than a connection sends at first in one round trip
/// (RFC 9002 §7.2), so that it would hold up what is behind it.
pub const LARGE_PAGE_BYTES: usize = 16 * 1024;
/// A shared frame up to this size is copied behind its length for a stream: that costs less than two pieces in the queue.
pub const STREAM_COPY_BYTES_MAX: usize = 1024;

/// How long a session may take until its Hello.
pub const HELLO_MS: u64 = 5_000;
/// How long the router may take to know a new session.
pub const ATTACH_MS: u64 = 10_000;

/// Hellos that one turn reads at most. Each verifies a signature, some fifty microseconds, so a fleet that reconnects holds
/// nobody up for more than a millisecond at a time.
pub const HELLOS_PER_TURN_MAX: u16 = 16;
/// Hellos that one turn reads however late turns are: so that the line moves.
pub const HELLOS_PER_TURN_MIN: u16 = 1;
/// Turns that are no later than this hurt nobody: half of what a message between two people may take where many threads share
/// a processor.
pub const LATE_US_GOOD: u64 = 50_000;
/// Turns that are later leave no room for newcomers: people notice.
pub const LATE_US_MAX: u64 = 200_000;
/// How long a newcomer may have to stand in line; one that would have to for longer is sent away at once. Clients give an
/// attempt up after some seconds, and what was done for them is then lost.
pub const ADMISSION_WAIT_MS_MAX: u64 = 3_000;
/// Over this time it is measured how fast the line moves: many turns, and short beside how long one may wait.
pub const ADMISSION_WINDOW_MS: u64 = 100;
/// Connections that a whole server is expected to take in a second, and the rate at which clients that were sent away come
/// back. A fleet of 200,000 is back within the minute.
pub const ADMISSIONS_PER_SECOND: u32 = 5_000;
/// A client that is sent away stays away for this long at least: as long as a server takes to stop and start again.
pub const COMEBACK_MS_MIN: u64 = 500;
/// One that found no room at all stays away for this much longer: connections end at their own pace, and before some have it
/// would only meet the same refusal.
pub const FULL_COMEBACK_MS: u64 = 5_000;
/// No place lies further ahead than this: a person may wait for it.
pub const COMEBACK_MS_MAX: u64 = 10 * 60_000;
/// Fetches of one session that are not answered: their Pages must fit what may wait to be written.
pub const PENDING_FETCHES_MAX: u16 = 4;
/// Silence after which the server pings; it gives up after twice this.
pub const HEARTBEAT_MS: u32 = 30_000;
/// How long the peer may take to answer a Close before the connection is dropped.
pub const CLOSE_GRACE_MS: u64 = 2_000;
/// How long a session may go on after it was told to connect elsewhere.
pub const DRAIN_GRACE_MS: u64 = 5_000;

/// Bytes that may wait to be written to one connection: a full delivery window, the Pages of every Fetch that a session
/// may have under way, and the small frames between. One Page as JSON, every character of it escaped, fits as well.
pub const OUTBOUND_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Waiting bytes above which nothing more is read from the connection, so that only what was already asked for, and
/// deliveries inside the window, can still be added.
pub const OUTBOUND_CONGESTED_BYTES: usize = 256 * 1024;

/// How long a receipt may wait for company: far below what a person sees, and longer than a busy conversation's next frame
/// takes. It then costs no write of its own.
pub const LINGER_MS: u64 = 2;

/// One tick of the timing wheel: the coarsest that is still exact enough for a timeout of seconds.
pub const WHEEL_TICK_MS: u64 = 256;
/// Places of the timing wheel, a power of two: 131 s at the tick above, more than twice the heartbeat, so that few
/// timers have to go round a second time.
pub const WHEEL_PLACES: usize = 512;

/// How much of a rate may be used at once: ten seconds' worth lets a phone that comes back send what it gathered.
pub const RATE_BURST_MS: u32 = 10_000;
/// Users, or addresses, whose rates a thread keeps: who used something up within the last [`RATE_BURST_MS`]. Ten megabytes.
pub const RATED_KEYS_MAX: usize = 200_000;
/// How long a connection that sends too many frames is not read. Longer than a tick of the timing wheel, so that a flood
/// is stopped for most of the time and not only between ticks.
pub const FLOOD_PAUSE_MS: u64 = 1_000;
/// Sends of one connection and second, unless the operator says otherwise: far above what a person types.
pub const SENDS_PER_SECOND: u32 = 50;
/// Fetches of one connection and second: a screen of history each.
pub const FETCHES_PER_SECOND: u32 = 20;
/// Pings of one connection and second.
pub const PINGS_PER_SECOND: u32 = 5;
/// Frames of one connection and second: what a busy bot needs that acknowledges every message by itself.
pub const FRAMES_PER_SECOND: u32 = 1_000;
/// Direct conversations that a user may begin in an hour: more than a person has new acquaintances, fewer than somebody
/// who writes to strangers would like.
pub const NEW_CONVERSATIONS_PER_HOUR: u32 = 100;
/// Connections of one address and second, at each gateway thread: an office behind one address reconnects at once.
pub const HANDSHAKES_PER_SECOND: u32 = 200;
/// How much more than one connection all connections of a user may ask for: two busy devices.
pub const USER_RATE_FACTOR: u32 = 2;
