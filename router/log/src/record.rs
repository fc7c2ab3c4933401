//! One record in bytes: a header of [`HEADER_BYTES`] and the payload of its kind. A record carries its own position and a
//! checksum, so it can be read alone and bytes that strayed from elsewhere are never taken for it.

use bytes::Bytes;
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardId, UserId};
use switchyard_schema::record::{CursorRecord, DeviceRecord, InboxRecord, MessageRecord, Record, WatermarkRecord};

use crate::Position;
use crate::codec::{Reader, Writer, crc32c};
use crate::kind::RecordKind;
use crate::limits::RECORD_BYTES_MAX;

/// Bytes of a record's header.
pub const HEADER_BYTES: u32 = 28;

const HEADER: usize = HEADER_BYTES as usize;
const MESSAGE_FIXED: usize = 72;
const WATERMARK: usize = 40;
const DEVICE: usize = 24;
const CURSOR: usize = 48;
const INBOX: usize = 56;

/// Why bytes are not the record they should be.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordDamage {
    /// Fewer bytes than the header or its length field say.
    #[error("the record is cut short")]
    Short,
    /// A length that no record has.
    #[error("the length field is impossible")]
    Length,
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// A sound record, but of another place.
    #[error("the record says it lies at {0}")]
    Elsewhere(Position),
    /// A sound record of a kind or version that this binary does not know.
    #[error("kind {kind} version {version} is not known to this version of switchyard")]
    Unknown {
        /// The number of the kind.
        kind: u8,
        /// The version of its payload.
        version: u8,
    },
    /// A sound record whose fields make no sense, as an id of zero.
    #[error("a field has an impossible value")]
    Field,
}

/// A record as it lies in a buffer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RecordView<'a> {
    /// Where it lies.
    pub position: Position,
    /// Bytes of the record, header included.
    pub bytes: u32,
    /// The shard it belongs to.
    pub shard: ShardId,
    /// Its number in the shard's history, dense from 1.
    pub lsn: u64,
    /// For a message: where the conversation's previous message lies.
    pub previous: Option<Position>,
    /// What it says.
    pub payload: Payload<'a>,
}

/// The payload of a record, borrowed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Payload<'a> {
    /// See [`MessageRecord`].
    Message(MessageView<'a>),
    /// See [`WatermarkRecord`].
    Watermark(WatermarkRecord),
    /// See [`DeviceRecord`].
    Device(DeviceRecord),
    /// See [`CursorRecord`].
    Cursor(CursorRecord),
    /// See [`InboxRecord`].
    Inbox(InboxRecord),
}

/// A [`MessageRecord`] whose body is borrowed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct MessageView<'a> {
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Its place in the conversation.
    pub sequence: Sequence,
    /// Its id.
    pub message: MessageId,
    /// Who sent it.
    pub sender: UserId,
    /// From which device.
    pub device: DeviceId,
    /// The name the device gave it.
    pub client_message_id: ClientMessageId,
    /// The encoded body.
    pub body: &'a [u8],
}

impl<'a> MessageView<'a> {
    fn with_body(self, body: Bytes) -> MessageRecord {
        MessageRecord {
            conversation: self.conversation,
            sequence: self.sequence,
            message: self.message,
            sender: self.sender,
            device: self.device,
            client_message_id: self.client_message_id,
            body,
        }
    }
}

impl<'a> Payload<'a> {
    /// The record, its body copied.
    #[must_use]
    pub fn to_record(&self) -> Record {
        self.with(Bytes::copy_from_slice)
    }

    /// The record, its body shared with `buffer`.
    ///
    /// # Panics
    /// When this view does not borrow from `buffer`.
    #[must_use]
    pub fn to_record_within(&self, buffer: &Bytes) -> Record {
        self.with(|body| buffer.slice_ref(body))
    }

    fn with(&self, body: impl FnOnce(&'a [u8]) -> Bytes) -> Record {
        match *self {
            Self::Message(message) => Record::Message(message.with_body(body(message.body))),
            Self::Watermark(record) => Record::Watermark(record),
            Self::Device(record) => Record::Device(record),
            Self::Cursor(record) => Record::Cursor(record),
            Self::Inbox(record) => Record::Inbox(record),
        }
    }

    /// The kind in the record's header.
    #[must_use]
    pub const fn kind(&self) -> RecordKind {
        match self {
            Self::Message(_) => RecordKind::Message,
            Self::Watermark(_) => RecordKind::Watermark,
            Self::Device(_) => RecordKind::Device,
            Self::Cursor(_) => RecordKind::Cursor,
            Self::Inbox(_) => RecordKind::Inbox,
        }
    }
}

/// Bytes that `record` takes, header included.
#[must_use]
pub fn encoded_bytes(record: &Record) -> usize {
    HEADER
        + match record {
            Record::Message(message) => MESSAGE_FIXED + message.body.len(),
            Record::Watermark(_) => WATERMARK,
            Record::Device(_) => DEVICE,
            Record::Cursor(_) => CURSOR,
            Record::Inbox(_) => INBOX,
        }
}

/// What the header of a record says beside its kind.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Placement {
    pub(crate) position: Position,
    pub(crate) shard: ShardId,
    pub(crate) lsn: u64,
    /// Only a message has one; other kinds leave it out.
    pub(crate) previous: Option<Position>,
}

/// Writes `record` to the front of `out`, which has exactly [`encoded_bytes`] bytes.
pub(crate) fn encode(record: &Record, at: Placement, out: &mut [u8]) {
    let length = u32::try_from(out.len()).expect("a record is far smaller than 4 GiB");
    let kind = kind_of(record);
    let mut writer = Writer::new(out);
    writer.u32(0).u8(kind.number()).u8(kind.version()).u16(at.shard.0).u32(length).u64(at.lsn);
    writer.u32(at.position.segment).u32(at.position.offset);
    match record {
        Record::Message(message) => {
            writer.u64(at.previous.map_or(0, Position::pack));
            put_conversation(&mut writer, message.conversation);
            writer.u64(message.sequence.0).u64(message.message.get());
            writer.u64(message.sender.get()).u64(message.device.get());
            writer.slice(&message.client_message_id.0).slice(&message.body);
        }
        Record::Watermark(record) => {
            put_conversation(&mut writer, record.conversation);
            writer.u64(record.member.get()).u64(record.delivered.0).u64(record.read.0);
        }
        Record::Device(record) => {
            writer.u64(record.user.get()).u64(record.device.get()).u64(record.last_seen.0);
        }
        Record::Cursor(record) => {
            writer.u64(record.user.get()).u64(record.device.get());
            put_conversation(&mut writer, record.conversation);
            writer.u64(record.delivered.0).u64(record.read.0);
        }
        Record::Inbox(record) => {
            writer.u64(record.user.get());
            put_conversation(&mut writer, record.conversation);
            writer.u64(record.head.0).u64(record.peer_delivered.0).u64(record.peer_read.0).u64(record.peer_moved.0);
        }
    }
    let crc = crc32c(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

fn kind_of(record: &Record) -> RecordKind {
    match record {
        Record::Message(_) => RecordKind::Message,
        Record::Watermark(_) => RecordKind::Watermark,
        Record::Device(_) => RecordKind::Device,
        Record::Cursor(_) => RecordKind::Cursor,
        Record::Inbox(_) => RecordKind::Inbox,
    }
}

fn put_conversation(writer: &mut Writer<'_>, conversation: ConversationId) {
    let (high, low) = conversation.words();
    writer.u64(high).u64(low);
}

/// The length field of the record that begins at `bytes`, which may be cut short anywhere after the header.
///
/// # Errors
/// [`RecordDamage::Short`] without a whole header, [`RecordDamage::Length`] for a length that no record has.
pub(crate) fn peek_length(bytes: &[u8]) -> Result<u32, RecordDamage> {
    let header = bytes.get(..HEADER).ok_or(RecordDamage::Short)?;
    let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if (HEADER_BYTES..=RECORD_BYTES_MAX).contains(&length) { Ok(length) } else { Err(RecordDamage::Length) }
}

/// The record that begins at the front of `bytes` and lies at `position`.
///
/// # Errors
/// Anything that makes the bytes not the record written there.
pub fn decode(bytes: &[u8], position: Position) -> Result<RecordView<'_>, RecordDamage> {
    let length = peek_length(bytes)?;
    let bytes = bytes.get(..length as usize).ok_or(RecordDamage::Short)?;
    let mut reader = Reader::new(bytes);
    let crc = reader.u32().ok_or(RecordDamage::Short)?;
    if crc32c(&bytes[4..]) != crc {
        return Err(RecordDamage::Checksum);
    }
    parse(reader, length, position).ok_or(RecordDamage::Field)?
}

/// The fields after the checksum; `None` where they end early or make no sense.
fn parse(mut reader: Reader<'_>, bytes: u32, position: Position) -> Option<Result<RecordView<'_>, RecordDamage>> {
    let (kind, version) = (reader.u8()?, reader.u8()?);
    let shard = ShardId(reader.u16()?);
    let _length = reader.u32()?;
    let lsn = reader.u64()?;
    let written_at = Position { segment: reader.u32()?, offset: reader.u32()? };
    if written_at != position {
        return Some(Err(RecordDamage::Elsewhere(written_at)));
    }
    let known = RecordKind::from_number(kind).filter(|kind| (1..=kind.version()).contains(&version));
    let Some(known) = known else { return Some(Err(RecordDamage::Unknown { kind, version })) };
    let mut previous = None;
    let payload = match known {
        RecordKind::Message => {
            previous = Position::unpack(reader.u64()?);
            Payload::Message(MessageView {
                conversation: conversation(&mut reader)?,
                sequence: Sequence(reader.u64()?),
                message: MessageId::new(reader.u64()?)?,
                sender: UserId::new(reader.u64()?)?,
                device: DeviceId::new(reader.u64()?)?,
                client_message_id: ClientMessageId(reader.array()?),
                body: reader.slice(reader.clone().rest().len())?,
            })
        }
        RecordKind::Watermark => Payload::Watermark(WatermarkRecord {
            conversation: conversation(&mut reader)?,
            member: UserId::new(reader.u64()?)?,
            delivered: Sequence(reader.u64()?),
            read: Sequence(reader.u64()?),
        }),
        RecordKind::Device => Payload::Device(DeviceRecord {
            user: UserId::new(reader.u64()?)?,
            device: DeviceId::new(reader.u64()?)?,
            last_seen: Millis(reader.u64()?),
        }),
        RecordKind::Cursor => Payload::Cursor(CursorRecord {
            user: UserId::new(reader.u64()?)?,
            device: DeviceId::new(reader.u64()?)?,
            conversation: conversation(&mut reader)?,
            delivered: Sequence(reader.u64()?),
            read: Sequence(reader.u64()?),
        }),
        RecordKind::Inbox => Payload::Inbox(InboxRecord {
            user: UserId::new(reader.u64()?)?,
            conversation: conversation(&mut reader)?,
            head: Sequence(reader.u64()?),
            peer_delivered: Sequence(reader.u64()?),
            peer_read: Sequence(reader.u64()?),
            peer_moved: Millis(reader.u64()?),
        }),
    };
    if !reader.is_empty() || lsn == 0 {
        return None;
    }
    Some(Ok(RecordView { position, bytes, shard, lsn, previous, payload }))
}

fn conversation(reader: &mut Reader<'_>) -> Option<ConversationId> {
    ConversationId::from_words(reader.u64()?, reader.u64()?)
}
