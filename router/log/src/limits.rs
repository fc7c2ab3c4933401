//! Every bound of the journal, with its reason.

use switchyard_schema::limits::BODY_BYTES_MAX;

/// What a write is aligned to: the largest logical block of the disks we know, so O_DIRECT accepts it everywhere.
pub const BLOCK_BYTES: u32 = 4096;

/// Bytes of a segment unless the operator says otherwise: preallocated in milliseconds, dropped whole by retention.
pub const SEGMENT_BYTES_DEFAULT: u32 = 64 * 1024 * 1024;
/// The smallest segment: its header, one batch with the largest record, one closing mark.
pub const SEGMENT_BYTES_MIN: u32 = 2 * BLOCK_BYTES + BATCH_ROOM_BYTES_MIN;
/// The largest segment: offsets are 32 bits wide, with room to add to one.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;

/// Bytes of a batch, header and padding included. Two of them (one in flight, one filling) fit the memory that an
/// io_uring of the router registers.
pub const BATCH_BYTES_MAX: u32 = 512 * 1024;
/// Records of a batch: bounds the work of one turn of recovery.
pub const BATCH_RECORDS_MAX: u32 = 8192;
/// A batch is begun in a segment only with this much room left, so that the largest record always fits an empty batch.
pub const BATCH_ROOM_BYTES_MIN: u32 = (RECORD_BYTES_MAX + crate::batch::HEADER_BYTES).next_multiple_of(BLOCK_BYTES);

/// Bytes of a record, header included: a message with the largest body that the wire allows, and room for later fields.
#[expect(clippy::cast_possible_truncation, reason = "a constant far below 4 GiB")]
pub const RECORD_BYTES_MAX: u32 = BODY_BYTES_MAX as u32 + 1024;

/// Segments of a folder: at the default size 4 TiB; bounds what a manifest may make a reader allocate.
pub const SEGMENTS_MAX: u32 = 65_536;
/// Regions and holes that `repair` may have given up; more than that is a disk to replace.
pub const VOIDS_MAX: u32 = 4096;

/// Remarks of one recovery; a disk that needs more has said enough.
pub const NOTES_MAX: usize = 4096;
/// Bytes read at once by recovery: large enough for the disk's full speed, small beside the memory of a core.
pub const RECOVERY_READ_BYTES: u32 = 1024 * 1024;
/// Bytes read first for one record of history: nearly every record lies within.
pub const HISTORY_READ_BYTES: u32 = BLOCK_BYTES;
