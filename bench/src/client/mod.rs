//! The client's end of one connection, in the language of each server.
//!
//! All of them are equally plain: a message is a copy of prepared bytes with its number written in (`template`), and
//! what comes back is checked to be that number and cut off, no more.

mod echo;
mod nats;
mod redis;
mod resp;
mod session;
mod stream;
mod template;

pub use echo::EchoClient;
pub use nats::NatsClient;
pub use redis::{Command, RedisClient};
pub use session::SessionClient;
pub use stream::StreamEcho;

/// One connection of a load.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Role {
    /// The number of the sender that it is, or listens to.
    pub sender: usize,
    /// Whether it is that sender.
    pub sends: bool,
}

/// Something the server said.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// The connection can be used.
    Ready,
    /// A message is taken: what a sender gets who waits for an answer.
    Answered,
    /// This message has arrived here.
    Delivered(u64),
}

/// What one call of [`Client::take`] did. Neither bytes nor something said: what is there is not whole.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What they completed.
    pub said: Option<Said>,
}

impl Taken {
    /// The input ends within something; it is to be given again with what follows.
    const NOT_YET: Self = Self { consumed: 0, said: None };
}

/// The client's end of one connection.
pub trait Client {
    /// Writes what opens the conversation on a fresh connection; [`Said::Ready`] follows.
    fn start(&mut self, out: &mut Vec<u8>);

    /// Takes the next thing out of `input`, which may be changed in place. What has to be answered at once goes to `out`.
    ///
    /// # Errors
    /// A sentence about what the server did wrong.
    fn take(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<Taken, String>;
}

/// A client that sends messages.
pub trait Sender: Client {
    /// Writes message `number`.
    fn put_message(&mut self, number: u64, out: &mut Vec<u8>);
}
