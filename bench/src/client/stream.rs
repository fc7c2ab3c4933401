//! An echo over QUIC: what is written to the stream comes back on it.

use super::template::{Template, number_of};

/// A client of such an echo, whose messages are all of one size.
#[derive(Debug)]
pub struct StreamEcho {
    message: Template,
    payload_bytes: usize,
}

impl StreamEcho {
    /// A client of messages of this size, which hold at least the number.
    #[must_use]
    pub fn new(payload_bytes: usize) -> Self {
        Self { message: Template::new(vec![b'x'; payload_bytes], 0), payload_bytes }
    }

    /// Writes message `number`.
    pub fn put_message(&self, number: u64, out: &mut Vec<u8>) {
        self.message.put(number, out);
    }

    /// Takes the messages that `input` begins with out of it, and tells their numbers; what is not whole stays.
    ///
    /// # Errors
    /// When they are not what was sent.
    pub fn take(&self, input: &mut Vec<u8>, mut on: impl FnMut(u64) -> Result<(), String>) -> Result<(), String> {
        let whole_bytes = input.len() - input.len() % self.payload_bytes;
        for message in input[..whole_bytes].chunks(self.payload_bytes) {
            on(number_of(message).ok_or("the echo is not what was sent")?)?;
        }
        input.drain(..whole_bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_an_echo_in_pieces_when_taken_then_each_message_is_told_once_it_is_whole() {
        let client = StreamEcho::new(20);
        let (mut said, mut heard, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        (1..=3).for_each(|number| client.put_message(number, &mut said));
        for piece in said.chunks(7) {
            heard.extend_from_slice(piece);
            let told = client.take(&mut heard, |number| {
                numbers.push(number);
                Ok(())
            });
            told.unwrap();
        }
        assert_eq!((numbers, heard.len()), (vec![1, 2, 3], 0));
        assert!(client.take(&mut vec![b'!'; 20], |_| Ok(())).is_err());
    }
}
