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

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(0x0102);

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn check(row: &Row, key: &[u8], value: &[u8], within: LoadKey) {
        assert_eq!(row.key, key);
        assert_eq!(row.value.as_deref(), Some(value));
        assert!(row.key.starts_with(&within.prefix(SHARD)));
        let full = decode(row).unwrap();
        for cut in 0..value.len() {
            let cut = Row { key: row.key.clone(), value: Some(value[..cut].to_vec()) };
            assert_eq!(decode(&cut).unwrap_err(), RowError::Length, "{full:?}");
        }
        let mut newer = row.clone();
        newer.value.as_mut().unwrap()[0] = 2;
        assert_eq!(decode(&newer).unwrap_err(), RowError::Version(2));
    }

    fn words(version: u8, words: &[u64]) -> Vec<u8> {
        [version].into_iter().chain(words.iter().flat_map(|word| word.to_le_bytes())).collect()
    }

    #[test]
    fn given_each_kind_of_row_then_its_bytes_are_those_documented() {
        let conversation = ConversationId::direct(user(7), user(9));
        let big = |word: u64| word.to_be_bytes().to_vec();
        let in_conversation = |table: u8| [&[1, 2, table][..], &big(7), &big(9)].concat();

        check(&shard_row(SHARD, MessageId::new(77)), &[1, 2, 0], &words(1, &[77]), LoadKey::Shard);

        let devices = devices_row(SHARD, user(7), [(DeviceId::new(5).unwrap(), Millis(6))].into_iter());
        let value = [&[1, 1][..], &words(0, &[5, 6])[1..]].concat();
        check(&devices, &[&[1, 2, 1][..], &big(7), &[0]].concat(), &value, LoadKey::User(user(7)));

        let row = InboxRow {
            head: Sequence(10),
            peer_delivered: Sequence(9),
            peer_read: Sequence(8),
            peer_moved: Millis(7),
            cursors: SmallVec::from_iter([(3, Sequence(6), Sequence(5))]),
        };
        let inbox = inbox_row(SHARD, user(7), conversation, &row);
        let value = [&words(1, &[10, 9, 8, 7])[..], &[1, 3], &words(0, &[6, 5])[1..]].concat();
        let key = [&[1, 2, 1][..], &big(7), &[1], &big(7), &big(9)].concat();
        check(&inbox, &key, &value, LoadKey::User(user(7)));
        assert!(matches!(decode(&inbox), Ok(Decoded::Inbox(id, read)) if id == conversation && read == row));

        let row = ConversationRow {
            head: Sequence(10),
            placed: (Sequence(9), 1234),
            members: SmallVec::from_iter([(user(7), Sequence(6), Sequence(5))]),
        };
        let whole = conversation_row(SHARD, conversation, &row);
        let value = [&words(1, &[10, 9, 1234])[..], &[1], &words(0, &[7, 6, 5])[1..]].concat();
        let key = [&in_conversation(2)[..], &[0]].concat();
        check(&whole, &key, &value, LoadKey::Conversation(conversation));
        assert!(matches!(decode(&whole), Ok(Decoded::Conversation(read)) if read == row));

        let row = DedupeRow {
            user: user(7),
            device: DeviceId::new(5).unwrap(),
            slot: 255,
            client_message_id: ClientMessageId([4; 16]),
            sequence: Sequence(3),
            message: MessageId::new(2).unwrap(),
        };
        let remembered = dedupe_row(SHARD, conversation, &row);
        let value = [&[1][..], &[4; 16], &words(0, &[3, 2])[1..]].concat();
        let key = [&in_conversation(2)[..], &[1], &big(7), &big(5), &[255]].concat();
        check(&remembered, &key, &value, LoadKey::Conversation(conversation));
        assert!(matches!(decode(&remembered), Ok(Decoded::Dedupe(read)) if read == row));
    }

    #[test]
    fn given_a_position_row_then_it_is_found_for_the_64_messages_below_it() {
        let conversation = ConversationId::direct(user(7), user(9));
        let row = position_row(SHARD, conversation, Sequence(128), 4321);
        assert_eq!(decode_position(row.value.as_deref().unwrap()), Ok((Sequence(128), 4321)));
        for (sequence, found) in [(64, false), (65, true), (128, true), (129, false)] {
            assert_eq!(position_key(SHARD, conversation, Sequence(sequence)) == row.key, found, "{sequence}");
        }
        assert!(!row.key.starts_with(&LoadKey::Conversation(conversation).prefix(SHARD)));
    }
}
