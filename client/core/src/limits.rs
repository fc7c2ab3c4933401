//! Every limit of the client's state machine, each with its reason.

/// Messages in the outbox: a day of a busy device without network.
pub const OUTBOX_MESSAGES_MAX: usize = 10_000;
/// Bytes of bodies in the outbox: what a phone can spare in memory for it.
pub const OUTBOX_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What the frame of a Send adds to its body, at most.
pub const SEND_FRAME_OVERHEAD_BYTES: usize = 512;
/// Messages given to the application and not yet taken. Above it nothing is acknowledged, so the server stops sending.
pub const INBOX_MESSAGES_MAX: usize = 1_024;
/// Messages that may still arrive once acknowledging has stopped: what the server's delivery window lets through.
/// Above both together messages are dropped and fetched again later.
pub const INBOX_OVERSHOOT_MAX: usize = 512;
/// Conversations a device follows. A message of one more is dropped, unacknowledged, and the application is told.
pub const CONVERSATIONS_MAX: usize = 65_536;
/// Members of a conversation whose watermarks are kept: the size from which groups' receipts are answered on request.
pub const WATERMARKS_PER_CONVERSATION_MAX: usize = 100;
/// Own messages known to be accepted while messages before them are still missing, per conversation. One that does
/// not fit only costs a Fetch.
pub const AHEAD_MAX: usize = 512;

/// Fetches of the application that wait or are unanswered.
pub const APP_FETCHES_MAX: usize = 64;
/// Fetches unanswered on a connection, the application's and our own together.
pub const FETCHES_IN_FLIGHT_MAX: usize = 8;
/// Messages asked for with one Fetch that repairs a gap.
pub const REPAIR_MESSAGES: u32 = switchyard_schema::limits::PAGE_MESSAGES_MAX;
/// Acks sent in one turn; the next turn follows at once.
pub const ACKS_PER_TURN_MAX: usize = 64;
/// How often an Ack whose watermark is not seen is repeated on one connection. TCP does not lose it; the next
/// connection repeats it anyway.
pub const ACK_REPEATS_MAX: u32 = 6;

/// An Ack is repeated after this, and then after twice the time before.
pub const ACK_REPEAT_MS: u64 = 2_000;
/// From asking for a connection to Welcome.
pub const CONNECT_TIMEOUT_MS: u64 = 15_000;
/// How much later than a heartbeat the server's ping may come before the client asks: a tick of the server's timers, a
/// turn of it under load, and the slow way of a phone.
pub const PING_LATE_MS: u64 = 5_000;
/// A client that does not read says that it lives with every such part of a heartbeat. The server gives up after two
/// heartbeats, and the last that it heard may be one old when reading stops.
pub const ALIVE_HEARTBEAT_PART: u64 = 2;
/// A Send or Fetch unanswered for this long is sent again: far above any healthy answer.
pub const ANSWER_TIMEOUT_MS: u64 = 30_000;
/// A connection that lasted this long was a good one: the back-off starts anew.
pub const STABLE_AFTER_MS: u64 = 10_000;
/// How long the messages before an own accepted message may take to arrive by themselves.
pub const AHEAD_PATIENCE_MS: u64 = 2_000;
/// A new token is asked for this long before the old one expires …
pub const RENEW_BEFORE_MS: u64 = 60_000;
/// … or when this part of its life is left, if that is later.
pub const RENEW_LIFE_PART: u64 = 5;
/// Fresh tokens refused in a row before the client gives up.
pub const TOKEN_REFUSALS_MAX: u32 = 3;
/// Doublings of a back-off; the configured ceiling is reached long before.
pub const BACKOFF_DOUBLINGS_MAX: u32 = 20;
