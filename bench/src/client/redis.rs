//! Redis: PUBLISH to channels with subscribers, or XADD to streams.

use super::resp::{Reply, parse, put_command};
use super::template::{NUMBER_BYTES, Template, number_of};
use super::{Client, Role, Said, Sender, Taken};

/// How a sender sends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// To whoever is subscribed.
    Publish,
    /// To a stream.
    Append,
}

/// A client of Redis.
#[derive(Debug)]
pub struct RedisClient {
    role: Role,
    name: String,
    message: Template,
    payload_bytes: usize,
}

impl RedisClient {
    /// A client of messages with a payload of this size, which holds at least the number. Each sender has a channel or
    /// stream of its own.
    #[must_use]
    pub fn new(role: Role, command: Command, payload_bytes: usize) -> Self {
        let name = format!("bench:{}", role.sender);
        let payload = vec![b'x'; payload_bytes];
        let mut bytes = Vec::new();
        match command {
            Command::Publish => put_command(&mut bytes, &[b"PUBLISH", name.as_bytes(), &payload]),
            Command::Append => put_command(&mut bytes, &[b"XADD", name.as_bytes(), b"*", b"m", &payload]),
        }
        // The payload is the last word, and a line end follows it.
        let number_at = bytes.len() - payload_bytes - 2;
        debug_assert!(payload_bytes >= NUMBER_BYTES);
        Self { role, name, message: Template::new(bytes, number_at), payload_bytes }
    }
}

impl Client for RedisClient {
    fn start(&mut self, out: &mut Vec<u8>) {
        match self.role.sends {
            true => put_command(out, &[b"PING"]),
            false => put_command(out, &[b"SUBSCRIBE", self.name.as_bytes()]),
        }
    }

    fn take(&mut self, input: &mut [u8], _: &mut Vec<u8>) -> Result<Taken, String> {
        let Some((reply, consumed)) = parse(input) else { return Ok(Taken::NOT_YET) };
        let said = match reply {
            Reply::Error(text) => return Err(String::from_utf8_lossy(text).into_owned()),
            Reply::Text(b"PONG") => Said::Ready,
            Reply::Text(_) => Said::Answered,
            Reply::Array { last } if last.len() == self.payload_bytes => {
                Said::Delivered(number_of(last).ok_or("the message is not what was published")?)
            }
            // The reply to SUBSCRIBE.
            Reply::Array { .. } => Said::Ready,
        };
        Ok(Taken { consumed, said: Some(said) })
    }
}

impl Sender for RedisClient {
    fn put_message(&mut self, number: u64, out: &mut Vec<u8>) {
        self.message.put(number, out);
    }
}
