//! Numbers inside the text of a message, so that whoever gets it knows which one it is without sharing memory with the
//! sender: sixteen hexadecimal digits each, side by side at the start of the text.

/// Where the text begins in a body that `switchyard_schema::body::text` made.
const TEXT_AT: usize = 24;
/// Digits of one number.
pub(crate) const DIGITS: usize = 16;

/// Writes the number into the given place of a body's text.
pub(crate) fn put(body: &mut [u8], place: usize, number: u64) {
    let begin = TEXT_AT + place * DIGITS;
    let mut rest = number;
    for byte in body[begin..begin + DIGITS].iter_mut().rev() {
        let digit = rest.to_le_bytes()[0] & 15;
        *byte = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        rest >>= 4;
    }
}

/// The number in the given place of a body's text.
pub(crate) fn get(body: &[u8], place: usize) -> Option<u64> {
    let begin = TEXT_AT + place * DIGITS;
    let digits = body.get(begin..begin + DIGITS)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use switchyard_schema::body;

    use super::*;

    #[test]
    fn given_numbers_when_put_into_a_body_then_it_still_parses_and_holds_them() {
        let mut encoded = body::text(&"x".repeat(100));
        put(&mut encoded, 0, 0x0123_4567_89ab_cdef);
        put(&mut encoded, 1, 42);
        let text = body::parse(&encoded).expect("a body").text.expect("a text").to_owned();
        assert_eq!(text[..2 * DIGITS], *"0123456789abcdef000000000000002a");
        assert_eq!((get(&encoded, 0), get(&encoded, 1)), (Some(0x0123_4567_89ab_cdef), Some(42)));
        assert_eq!(get(&encoded, 2), None, "that is no number");
    }
}
