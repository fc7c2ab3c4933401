//! NATS: PUB to subjects with subscribers (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).

use super::template::{Template, number_of};
use super::{Client, Role, Said, Sender, Taken};

/// A client of NATS.
#[derive(Debug)]
pub struct NatsClient {
    role: Role,
    subject: String,
    message: Template,
}

impl NatsClient {
    /// A client of messages with a payload of this size, which holds at least the number. Each sender has a subject of its
    /// own.
    #[must_use]
    pub fn new(role: Role, payload_bytes: usize) -> Self {
        let subject = format!("bench.{}", role.sender);
        let head = format!("PUB {subject} {payload_bytes}\r\n");
        let bytes = [head.as_bytes(), &vec![b'x'; payload_bytes], b"\r\n"].concat();
        Self { role, subject, message: Template::new(bytes, head.len()) }
    }
}

impl Client for NatsClient {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
        if !self.role.sends {
            out.extend_from_slice(format!("SUB {} 1\r\n", self.subject).as_bytes());
        }
        // Answered once everything before it is done.
        out.extend_from_slice(b"PING\r\n");
    }

    fn take(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<Taken, String> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(Taken::NOT_YET) };
        let line = input[..end].trim_ascii_end();
        let after = end + 1;
        let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        match verb {
            b"MSG" => {
                let size = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                let size: usize = std::str::from_utf8(size)
                    .ok()
                    .and_then(|size| size.parse().ok())
                    .ok_or_else(|| format!("a message without a size: {}", String::from_utf8_lossy(line)))?;
                let Some(payload) = input.get(after..after + size + 2) else { return Ok(Taken::NOT_YET) };
                let number = number_of(payload).ok_or("the message is not what was published")?;
                Ok(Taken { consumed: after + size + 2, said: Some(Said::Delivered(number)) })
            }
            b"PONG" => Ok(Taken { consumed: after, said: Some(Said::Ready) }),
            b"PING" => {
                out.extend_from_slice(b"PONG\r\n");
                Ok(Taken { consumed: after, said: None })
            }
            b"INFO" | b"+OK" => Ok(Taken { consumed: after, said: None }),
            _ => Err(format!("NATS says {}", String::from_utf8_lossy(line))),
        }
    }
}

impl Sender for NatsClient {
    fn put_message(&mut self, number: u64, out: &mut Vec<u8>) {
        self.message.put(number, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_what_nats_says_when_taken_then_each_is_cut_off_once_it_is_whole() {
        let mut client = NatsClient::new(Role { sender: 3, sends: false }, 20);
        let message = b"MSG bench.3 1 20\r\n000000000000001fxxxx\r\n";
        for cut in 0..message.len() {
            let taken = client.take(&mut message[..cut].to_vec(), &mut Vec::new());
            assert_eq!(taken, Ok(Taken::NOT_YET), "cut at {cut}");
        }
        for (input, expect) in [
            (&message[..], Some(Said::Delivered(0x1f))),
            (b"PONG\r\n", Some(Said::Ready)),
            (b"INFO {\"server_id\":\"x\"}\r\n", None),
            (b"PING\r\n", None),
        ] {
            let taken = client.take(&mut [input, b"more"].concat(), &mut Vec::new());
            assert_eq!(taken, Ok(Taken { consumed: input.len(), said: expect }), "{input:?}");
        }
        assert!(client.take(&mut b"-ERR 'Slow Consumer'\r\n".to_vec(), &mut Vec::new()).is_err());
    }

    #[test]
    fn given_a_sender_when_it_sends_then_nats_would_read_it() {
        let mut out = Vec::new();
        NatsClient::new(Role { sender: 3, sends: true }, 20).put_message(31, &mut out);
        assert_eq!(out, b"PUB bench.3 20\r\n000000000000001fxxxx\r\n");
    }
}
