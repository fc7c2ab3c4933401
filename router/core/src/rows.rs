//! The rows of the state store: keys and values, byte for byte.
//!
//! Keys are big-endian so that they sort; values are little-endian, of fixed width but for counted lists, and begin with
//! a version byte. Every key begins with the shard (u16) and a table (u8):
//!
//! | table | rest of the key | value after the version byte |
//! |---|---|---|
//! | 0 shard | – | last message id u64 |
//! | 1 user | user u64, 0 | count u8, then per device: device u64, last seen u64 |
//! | 1 user | user u64, 1, conversation 2 × u64 | head u64, peer delivered u64, peer read u64, peer moved u64, count u8, then per cursor: index of the device u8, delivered u64, read u64 |
//! | 2 conversation | conversation 2 × u64, 0 | head u64, sequence u64 and position u64 of the newest placed message, count u8, then per member: user u64, delivered u64, read u64 |
//! | 2 conversation | conversation 2 × u64, 1, user u64, device u64, slot u8 | client message id 16 bytes, sequence u64, message id u64 |
//! | 3 position | conversation 2 × u64, sequence / 64 u64 | sequence u64, position u64 |

use smallvec::SmallVec;
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardId, UserId};
use thiserror::Error;

use crate::effects::{LoadKey, Row};
use crate::limits::POSITION_EVERY;

const VERSION: u8 = 1;
const TABLE_SHARD: u8 = 0;
const TABLE_USER: u8 = 1;
const TABLE_CONVERSATION: u8 = 2;
const TABLE_POSITION: u8 = 3;
const PART_ROOT: u8 = 0;
const PART_ITEM: u8 = 1;

/// A row that this version cannot read.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
pub enum RowError {
    /// The value is shorter or longer than its kind.
    #[error("a state row has the wrong length")]
    Length,
    /// The version byte is unknown.
    #[error("a state row has version {0}, which this program does not know")]
    Version(u8),
    /// An id is zero, or the key names no known kind of row.
    #[error("a state row names nothing that can exist")]
    Id,
}

impl LoadKey {
    /// What the keys of all rows of this entity begin with; nothing else's keys do.
    #[must_use]
    pub fn prefix(&self, shard: ShardId) -> Vec<u8> {
        match *self {
            Self::Shard => key(shard, TABLE_SHARD).finish(),
            Self::User(user) => key(shard, TABLE_USER).word(user.get()).finish(),
            Self::Conversation(conversation) => key(shard, TABLE_CONVERSATION).conversation(conversation).finish(),
        }
    }
}

/// The key of the row that holds the position of the first kept message at or above `sequence`. The row is absent while
/// the conversation is not that long yet, or its snapshot is not stored yet.
#[must_use]
pub fn position_key(shard: ShardId, conversation: ConversationId, sequence: Sequence) -> Vec<u8> {
    key(shard, TABLE_POSITION).conversation(conversation).word(sequence.0.div_ceil(POSITION_EVERY)).finish()
}

/// Reads the value of a position row: sequence and packed position.
///
/// # Errors
/// When the value is not one of a position row.
pub fn decode_position(value: &[u8]) -> Result<(Sequence, u64), RowError> {
    let mut read = Reader::new(value)?;
    let row = (Sequence(read.word()?), read.word()?);
    read.end()?;
    Ok(row)
}

/// What a row says.
#[derive(Debug)]
pub(crate) enum Decoded {
    Shard { last_message: Option<MessageId> },
    Devices(SmallVec<[(DeviceId, Millis); 2]>),
    Inbox(ConversationId, InboxRow),
    Conversation(ConversationRow),
    Dedupe(DedupeRow),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InboxRow {
    pub(crate) head: Sequence,
    pub(crate) peer_delivered: Sequence,
    pub(crate) peer_read: Sequence,
    pub(crate) peer_moved: Millis,
    /// Index of the device, delivered, read.
    pub(crate) cursors: SmallVec<[(u8, Sequence, Sequence); 2]>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ConversationRow {
    pub(crate) head: Sequence,
    pub(crate) placed: (Sequence, u64),
    /// Member, delivered, read.
    pub(crate) members: SmallVec<[(UserId, Sequence, Sequence); 2]>,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct DedupeRow {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) slot: u8,
    pub(crate) client_message_id: ClientMessageId,
    pub(crate) sequence: Sequence,
    pub(crate) message: MessageId,
}

pub(crate) fn shard_row(shard: ShardId, last_message: Option<MessageId>) -> Row {
    let value = value().word(last_message.map_or(0, MessageId::get)).finish();
    Row { key: key(shard, TABLE_SHARD).finish(), value: Some(value) }
}

pub(crate) fn devices_row(shard: ShardId, user: UserId, devices: impl Iterator<Item = (DeviceId, Millis)>) -> Row {
    let mut value = value().byte(0);
    for (device, last_seen) in devices {
        value = value.word(device.get()).word(last_seen.0);
        value.0[1] += 1;
    }
    Row { key: key(shard, TABLE_USER).word(user.get()).byte(PART_ROOT).finish(), value: Some(value.finish()) }
}

pub(crate) fn inbox_row(shard: ShardId, user: UserId, conversation: ConversationId, row: &InboxRow) -> Row {
    let mut value = value().word(row.head.0).word(row.peer_delivered.0).word(row.peer_read.0).word(row.peer_moved.0);
    value = value.count(row.cursors.len());
    for (device, delivered, read) in &row.cursors {
        value = value.byte(*device).word(delivered.0).word(read.0);
    }
    let key = key(shard, TABLE_USER).word(user.get()).byte(PART_ITEM).conversation(conversation).finish();
    Row { key, value: Some(value.finish()) }
}

pub(crate) fn conversation_row(shard: ShardId, conversation: ConversationId, row: &ConversationRow) -> Row {
    let mut value = value().word(row.head.0).word(row.placed.0.0).word(row.placed.1).count(row.members.len());
    for (member, delivered, read) in &row.members {
        value = value.word(member.get()).word(delivered.0).word(read.0);
    }
    let key = key(shard, TABLE_CONVERSATION).conversation(conversation).byte(PART_ROOT).finish();
    Row { key, value: Some(value.finish()) }
}

pub(crate) fn dedupe_row(shard: ShardId, conversation: ConversationId, row: &DedupeRow) -> Row {
    let key = key(shard, TABLE_CONVERSATION).conversation(conversation).byte(PART_ITEM);
    let key = key.word(row.user.get()).word(row.device.get()).byte(row.slot).finish();
    let value = value().bytes(&row.client_message_id.0).word(row.sequence.0).word(row.message.get()).finish();
    Row { key, value: Some(value) }
}

pub(crate) fn position_row(shard: ShardId, conversation: ConversationId, sequence: Sequence, position: u64) -> Row {
    Row {
        key: position_key(shard, conversation, sequence),
        value: Some(value().word(sequence.0).word(position).finish()),
    }
}

/// Reads one row as the store returned it. Position rows are read with [`decode_position`].
pub(crate) fn decode(row: &Row) -> Result<Decoded, RowError> {
    let mut key = KeyReader(row.key.get(2..).ok_or(RowError::Length)?);
    let mut value = Reader::new(row.value.as_deref().ok_or(RowError::Length)?)?;
    let decoded = match key.byte()? {
        TABLE_SHARD => Decoded::Shard { last_message: MessageId::new(value.word()?) },
        TABLE_USER => {
            key.word()?;
            match key.byte()? {
                PART_ROOT => {
                    let mut devices = SmallVec::new();
                    for _ in 0..value.byte()? {
                        let device = DeviceId::new(value.word()?).ok_or(RowError::Id)?;
                        devices.push((device, Millis(value.word()?)));
                    }
                    Decoded::Devices(devices)
                }
                PART_ITEM => Decoded::Inbox(key.conversation()?, value.inbox()?),
                _ => return Err(RowError::Id),
            }
        }
        TABLE_CONVERSATION => {
            key.conversation()?;
            match key.byte()? {
                PART_ROOT => Decoded::Conversation(value.conversation()?),
                PART_ITEM => Decoded::Dedupe(DedupeRow {
                    user: UserId::new(key.word()?).ok_or(RowError::Id)?,
                    device: DeviceId::new(key.word()?).ok_or(RowError::Id)?,
                    slot: key.byte()?,
                    client_message_id: ClientMessageId(value.array()?),
                    sequence: Sequence(value.word()?),
                    message: MessageId::new(value.word()?).ok_or(RowError::Id)?,
                }),
                _ => return Err(RowError::Id),
            }
        }
        _ => return Err(RowError::Id),
    };
    value.end()?;
    Ok(decoded)
}

fn key(shard: ShardId, table: u8) -> KeyWriter {
    let mut bytes = Vec::with_capacity(44);
    bytes.extend_from_slice(&shard.0.to_be_bytes());
    bytes.push(table);
    KeyWriter(bytes)
}

struct KeyWriter(Vec<u8>);

impl KeyWriter {
    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn word(mut self, word: u64) -> Self {
        self.0.extend_from_slice(&word.to_be_bytes());
        self
    }

    fn conversation(self, conversation: ConversationId) -> Self {
        let (high, low) = conversation.words();
        self.word(high).word(low)
    }

    fn finish(self) -> Vec<u8> {
        self.0
    }
}

fn value() -> ValueWriter {
    ValueWriter(vec![VERSION])
}

struct ValueWriter(Vec<u8>);

impl ValueWriter {
    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn count(self, count: usize) -> Self {
        self.byte(u8::try_from(count).expect("lists in rows are bounded by the devices of a user"))
    }

    fn word(mut self, word: u64) -> Self {
        self.0.extend_from_slice(&word.to_le_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn finish(self) -> Vec<u8> {
        self.0
    }
}

struct KeyReader<'a>(&'a [u8]);

impl KeyReader<'_> {
    fn byte(&mut self) -> Result<u8, RowError> {
        let (&first, rest) = self.0.split_first().ok_or(RowError::Length)?;
        self.0 = rest;
        Ok(first)
    }

    fn word(&mut self) -> Result<u64, RowError> {
        let (word, rest) = self.0.split_first_chunk::<8>().ok_or(RowError::Length)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*word))
    }

    fn conversation(&mut self) -> Result<ConversationId, RowError> {
        ConversationId::from_words(self.word()?, self.word()?).ok_or(RowError::Id)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(value: &'a [u8]) -> Result<Self, RowError> {
        match value.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            Some((&other, _)) => Err(RowError::Version(other)),
            None => Err(RowError::Length),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RowError> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(RowError::Length)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, RowError> {
        Ok(self.array::<1>()?[0])
    }

    fn word(&mut self) -> Result<u64, RowError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn inbox(&mut self) -> Result<InboxRow, RowError> {
        let mut row = InboxRow {
            head: Sequence(self.word()?),
            peer_delivered: Sequence(self.word()?),
            peer_read: Sequence(self.word()?),
            peer_moved: Millis(self.word()?),
            cursors: SmallVec::new(),
        };
        for _ in 0..self.byte()? {
            row.cursors.push((self.byte()?, Sequence(self.word()?), Sequence(self.word()?)));
        }
        Ok(row)
    }

    fn conversation(&mut self) -> Result<ConversationRow, RowError> {
        let mut row = ConversationRow {
            head: Sequence(self.word()?),
            placed: (Sequence(self.word()?), self.word()?),
            members: SmallVec::new(),
        };
        for _ in 0..self.byte()? {
            let member = UserId::new(self.word()?).ok_or(RowError::Id)?;
            row.members.push((member, Sequence(self.word()?), Sequence(self.word()?)));
        }
        Ok(row)
    }

    fn end(&self) -> Result<(), RowError> {
        if self.0.is_empty() { Ok(()) } else { Err(RowError::Length) }
    }
}
