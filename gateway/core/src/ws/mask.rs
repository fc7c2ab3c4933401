//! Masking (RFC 6455 §5.3), a word at a time.

/// Exclusive-ors `bytes` with `key`. `phase` is how many bytes of the same frame came before; the same call masks and
/// unmasks.
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    let mut turned = key;
    turned.rotate_left(phase % 4);
    let [a, b, c, d] = turned;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = bytes.chunks_exact_mut(8);
    for eight in &mut words {
        let value = u64::from_ne_bytes(eight.try_into().expect("a chunk of eight")) ^ word;
        eight.copy_from_slice(&value.to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(turned.into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_any_split_when_masked_then_it_is_the_byte_wise_definition() {
        let key = [0x11, 0x22, 0x44, 0x88];
        let plain: Vec<u8> = (0..61).collect();
        // RFC 6455 §5.3: octet i of the transformed data is octet i XOR octet (i modulo 4) of the key.
        let expected: Vec<u8> = plain.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]).collect();
        for split in 0..=plain.len() {
            let mut bytes = plain.clone();
            let (head, tail) = bytes.split_at_mut(split);
            apply_mask(head, key, 0);
            apply_mask(tail, key, split);
            assert_eq!(bytes, expected, "split at {split}");
        }
    }
}
