//! Makes the checksums of damaged bytes right again. A fuzzer does not guess a CRC, so without this nothing behind one is
//! ever reached; what a checksum proves is that nothing was damaged by chance, not that the bytes mean anything.

use switchyard_log::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};
use switchyard_log::{batch, manifest, record, segment};

const BLOCK: usize = BLOCK_BYTES as usize;

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

fn word_at(bytes: &[u8], at: usize) -> usize {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, |word| u32::from_le_bytes(word) as usize)
}

fn put(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

/// The checksum at the end of a manifest.
pub(crate) fn mend_manifest(bytes: &mut [u8]) {
    if bytes.len() >= 8 && bytes.starts_with(&manifest::MAGIC) {
        let end = bytes.len() - 4;
        let crc = crc32c(&bytes[..end]);
        put(bytes, end, crc);
    }
}

/// The checksums of a segment: of its header, of every batch that begins on a block, and of the records in it.
pub(crate) fn mend_segment(bytes: &mut [u8]) {
    if bytes.len() >= BLOCK && bytes.starts_with(&segment::MAGIC) {
        let crc = crc32c(&bytes[..BLOCK - 4]);
        put(bytes, BLOCK - 4, crc);
    }
    let mut at = BLOCK;
    while at + batch::HEADER_BYTES as usize <= bytes.len() {
        if bytes[at..].starts_with(&batch::MAGIC) {
            mend_batch(&mut bytes[at..]);
        }
        at += BLOCK;
    }
}

fn mend_batch(bytes: &mut [u8]) {
    let header = batch::HEADER_BYTES as usize;
    let length = word_at(bytes, 44).min(bytes.len()).min(BATCH_BYTES_MAX as usize);
    let mut at = header;
    while at + record::HEADER_BYTES as usize <= length {
        let record = word_at(bytes, at + 8);
        if record < record::HEADER_BYTES as usize || at + record > length {
            break;
        }
        let crc = crc32c(&bytes[at + 4..at + record]);
        put(bytes, at, crc);
        at += record;
    }
    if length >= header {
        let crc = crc32c(&bytes[header..length]);
        put(bytes, 48, crc);
    }
    let crc = crc32c(&bytes[..header - 4]);
    put(bytes, header - 4, crc);
}
