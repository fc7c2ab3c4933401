//! Chance, from the operating system.

use switchyard_schema::ids::ClientMessageId;

/// Fills `bytes` with chance.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

/// Some chance of a fixed size.
pub(crate) fn bytes<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    fill(&mut bytes);
    bytes
}

/// A random UUID (RFC 9562 §5.4).
pub(crate) fn client_message_id() -> ClientMessageId {
    let mut bytes = bytes::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    ClientMessageId(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn given_a_new_id_when_printed_then_it_is_a_uuid_of_version_four() {
        let text = super::client_message_id().to_string();
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(text, super::client_message_id().to_string());
    }
}
