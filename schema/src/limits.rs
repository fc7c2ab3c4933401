//! Limits of the wire and of identities, each with its reason. Limits of one part stand in that part's own `limits.rs`.

/// Shards of a deployment: message ids carry the shard in ten bits.
pub const SHARD_COUNT_MAX: u16 = 1024;
/// Shards of a data folder unless the operator says otherwise: more than any host has cores, few enough to snapshot cheaply.
pub const SHARD_COUNT_DEFAULT: u16 = 64;

/// A frame from a client: one message, well inside a thread's shared receive buffer.
pub const CLIENT_FRAME_BYTES_MAX: usize = 64 * 1024;
/// A frame from the server: a Page.
pub const SERVER_FRAME_BYTES_MAX: usize = 320 * 1024;
/// The same frame as JSON: a byte of text may take six there.
pub const SERVER_JSON_BYTES_MAX: usize = 6 * SERVER_FRAME_BYTES_MAX;
/// FlatBuffers tables in a client frame; the deepest legal frame has five.
pub const FRAME_TABLES_MAX: usize = 64;
/// FlatBuffers tables in a frame from the server: a full Page has 102, and newer ones may bring more.
pub const SERVER_FRAME_TABLES_MAX: usize = 256;
/// FlatBuffers nesting in a frame.
pub const FRAME_DEPTH_MAX: usize = 8;
/// Arrays and objects inside each other in a JSON frame, those of fields that are ignored included; a Page has five.
pub const JSON_DEPTH_MAX: usize = 16;
/// How much larger than its bytes a FlatBuffer may claim to be before it is refused (shared vectors make bombs).
pub const FRAME_APPARENT_FACTOR_MAX: usize = 4;

/// Characters (Unicode scalar values) of a text body.
pub const TEXT_CHARS_MAX: usize = 4096;
/// Bytes of the encoded body of a message; what is left of a client frame is for the fields around it.
pub const BODY_BYTES_MAX: usize = 60 * 1024;
/// Bytes of a token in Hello and Renew.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Characters of an error's reason.
pub const REASON_CHARS_MAX: usize = 256;

/// Messages on a Page.
pub const PAGE_MESSAGES_MAX: u32 = 100;
/// Bytes of message bodies on a Page.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;

/// Devices of a user.
pub const DEVICES_PER_USER_MAX: usize = 8;
/// Messages sent to a device and not acknowledged.
pub const DELIVERY_WINDOW_MESSAGES: u32 = 256;
/// Bytes sent to a device and not acknowledged.
pub const DELIVERY_WINDOW_BYTES: usize = 256 * 1024;
/// Sends of a device that are not answered.
pub const PENDING_SENDS_MAX: u32 = 256;
/// Client message ids remembered per device and conversation.
pub const DEDUPE_ENTRIES_PER_DEVICE: usize = 256;
/// How long a client message id is remembered.
pub const DEDUPE_MS: u64 = 24 * 60 * 60 * 1000;
