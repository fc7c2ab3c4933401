//! What may be tuned, with defaults for a phone or a bot.

use switchyard_schema::ids::DeviceId;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// This device.
    pub device: DeviceId,
    /// The first back-off is at most this, in milliseconds.
    pub backoff_base_ms: u64,
    /// No back-off is longer than this, in milliseconds.
    pub backoff_max_ms: u64,
    /// An Ack leaves after this many messages of a conversation …
    pub ack_every_messages: u32,
    /// … or this long after the first of them, in milliseconds.
    pub ack_after_ms: u64,
    /// Sends of one conversation on their way at once. One keeps their order under every refusal; more are faster over
    /// long distances, but a message that is refused for a while may be overtaken by the next.
    pub sends_in_flight_per_conversation: u32,
}

impl Config {
    /// The defaults for `device`.
    #[must_use]
    pub const fn new(device: DeviceId) -> Self {
        Self {
            device,
            backoff_base_ms: 500,
            backoff_max_ms: 60_000,
            ack_every_messages: 8,
            ack_after_ms: 50,
            sends_in_flight_per_conversation: 1,
        }
    }
}
