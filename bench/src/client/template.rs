//! A message whose bytes are prepared but for its number.

/// Bytes that hold the number, in hexadecimal.
pub(super) const NUMBER_BYTES: usize = 16;

/// The bytes of a message, and where its number stands.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    number_at: usize,
    /// What the number is masked with, where messages are.
    key: [u8; 4],
}

impl Template {
    /// `bytes` of a message whose [`NUMBER_BYTES`] from `number_at` on are the number's.
    pub(super) fn new(bytes: Vec<u8>, number_at: usize) -> Self {
        Self::masked(bytes, number_at, [0; 4])
    }

    /// As [`Template::new`], where the payload begins with the number and is masked with `key`.
    pub(super) fn masked(bytes: Vec<u8>, number_at: usize, key: [u8; 4]) -> Self {
        assert!(number_at + NUMBER_BYTES <= bytes.len(), "the message has room for its number");
        Self { bytes, number_at, key }
    }

    /// Appends message `number`.
    pub(super) fn put(&self, number: u64, out: &mut Vec<u8>) {
        let at = out.len() + self.number_at;
        out.extend_from_slice(&self.bytes);
        let digits = number.to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let keys = self.key.into_iter().cycle();
        for ((place, digit), key) in out[at..at + NUMBER_BYTES].iter_mut().zip(digits).zip(keys) {
            *place = (if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }) ^ key;
        }
    }
}

/// The number at the start of a payload; `None` when there is none.
pub(super) fn number_of(payload: &[u8]) -> Option<u64> {
    payload.get(..NUMBER_BYTES)?.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_number_when_put_into_a_message_then_it_is_read_back_masked_or_not() {
        for key in [[0; 4], [1, 2, 4, 8]] {
            let template = Template::masked(vec![b'x'; 20], 2, key);
            let mut out = b"before".to_vec();
            template.put(0x0123_4567_89ab_cdef, &mut out);
            assert_eq!(out.len(), 26);
            let mut payload = out.split_off(8);
            payload.iter_mut().zip(key.into_iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            assert_eq!(number_of(&payload), Some(0x0123_4567_89ab_cdef));
            assert_eq!(out, b"beforexx");
        }
        assert_eq!(number_of(b"0123"), None);
        assert_eq!(number_of(b"0123456789abcdeX"), None);
    }
}
