//! Little-endian fields in and out of byte slices, and the one checksum of the format.

/// CRC-32C (Castagnoli), the checksum of iSCSI (RFC 3720 §12.1).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Writes fields one after the other into a slice that is large enough.
pub(crate) struct Writer<'a> {
    bytes: &'a mut [u8],
    used: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, used: 0 }
    }

    pub(crate) fn slice(&mut self, value: &[u8]) -> &mut Self {
        self.bytes[self.used..self.used + value.len()].copy_from_slice(value);
        self.used += value.len();
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.slice(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.slice(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.slice(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.slice(&value.to_le_bytes())
    }
}

/// Reads fields one after the other; `None` where the bytes end.
#[derive(Clone)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn slice(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_the_check_string_when_summed_then_it_is_the_published_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
