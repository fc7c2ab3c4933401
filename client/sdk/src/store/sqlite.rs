//! The store in a SQLite file. 64-bit numbers are kept with their bits as SQLite's signed integers.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, params};
use switchyard_client_core::{ConversationRow, Message, OutboxRow, Restored, StoreOp};
use switchyard_schema::frame::Watermark;
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, UserId};

use crate::error::StoreError;

const VERSION: i64 = 2;
const SCHEMA: &str = "
    CREATE TABLE identity (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE conversation (
        high INTEGER NOT NULL, low INTEGER NOT NULL, delivered INTEGER, read INTEGER NOT NULL, own_head INTEGER NOT NULL,
        newest INTEGER, newest_message INTEGER,
        PRIMARY KEY (high, low)) WITHOUT ROWID;
    CREATE TABLE watermark (
        high INTEGER NOT NULL, low INTEGER NOT NULL, member INTEGER NOT NULL,
        delivered INTEGER NOT NULL, read INTEGER NOT NULL,
        PRIMARY KEY (high, low, member)) WITHOUT ROWID;
    CREATE TABLE outbox (
        place INTEGER PRIMARY KEY, client_message_id BLOB NOT NULL UNIQUE,
        high INTEGER NOT NULL, low INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE inbox (
        high INTEGER NOT NULL, low INTEGER NOT NULL, sequence INTEGER NOT NULL,
        message INTEGER NOT NULL, sender INTEGER NOT NULL, time_ms INTEGER NOT NULL,
        origin_device INTEGER, origin_id BLOB, body BLOB NOT NULL,
        PRIMARY KEY (high, low, sequence)) WITHOUT ROWID;
    PRAGMA user_version = 2;
";
/// What makes version 2 of a store of version 1.
const FROM_1: &str = "
    ALTER TABLE conversation ADD COLUMN newest INTEGER;
    ALTER TABLE conversation ADD COLUMN newest_message INTEGER;
    PRAGMA user_version = 2;
";

#[derive(Debug)]
pub(crate) struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Opens or makes the file. It stays locked, so that two clients cannot both believe to own an outbox.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        let prepared = Self::prepare(&connection);
        prepared.map_err(|error| match error {
            StoreError::Sqlite(sqlite) if is_busy(&sqlite) => StoreError::InUse,
            other => other,
        })?;
        Ok(Self { connection })
    }

    fn prepare(connection: &Connection) -> Result<(), StoreError> {
        connection.busy_timeout(std::time::Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > VERSION {
            return Err(StoreError::NewerVersion { found, known: VERSION });
        }
        match found {
            0 => connection.execute_batch(SCHEMA)?,
            1 => connection.execute_batch(FROM_1)?,
            _ => {}
        }
        connection.execute_batch("COMMIT")?;
        Ok(())
    }

    pub(crate) fn device(&self) -> Result<Option<DeviceId>, StoreError> {
        Ok(self.identity("device")?.and_then(DeviceId::new))
    }

    pub(crate) fn put_device(&mut self, device: DeviceId) -> Result<(), StoreError> {
        put_identity(&self.connection, "device", device.get())?;
        Ok(())
    }

    fn identity(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let mut select = self.connection.prepare("SELECT value FROM identity WHERE name = ?1")?;
        Ok(select.query_row([name], |row| word(row, 0)).optional()?)
    }

    pub(crate) fn load(&self) -> Result<Restored, StoreError> {
        Ok(Restored {
            user: self.identity("user")?.and_then(UserId::new),
            conversations: self.rows(
                "SELECT high, low, delivered, read, own_head, newest, newest_message FROM conversation",
                conversation,
            )?,
            watermarks: self.rows("SELECT high, low, member, delivered, read FROM watermark", watermark)?,
            outbox: self.rows("SELECT high, low, place, client_message_id, body FROM outbox", outbox)?,
            inbox: self.rows(
                "SELECT high, low, sequence, message, sender, time_ms, origin_device, origin_id, body FROM inbox",
                inbox,
            )?,
        })
    }

    fn rows<T>(&self, select: &str, read: fn(&Row<'_>) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare(select)?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }

    pub(crate) fn commit(&mut self, operations: &[StoreOp]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for operation in operations {
            perform(&transaction, operation)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn perform(transaction: &Transaction<'_>, operation: &StoreOp) -> Result<(), rusqlite::Error> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(sql)?.execute(values).map(|_| ());
    match operation {
        StoreOp::PutUser(user) => put_identity(transaction, "user", user.get()),
        StoreOp::PutConversation(row) => {
            let (high, low) = signed_words(row.conversation);
            let delivered = row.delivered.map(|sequence| signed(sequence.0));
            let newest = row.newest.map(|(sequence, _)| signed(sequence.0));
            let newest_message = row.newest.map(|(_, message)| signed(message.get()));
            run(
                "INSERT OR REPLACE INTO conversation (high, low, delivered, read, own_head, newest, newest_message) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![high, low, delivered, signed(row.read.0), signed(row.own_head.0), newest, newest_message],
            )
        }
        StoreOp::PutWatermark(conversation, watermark) => {
            let (high, low) = signed_words(*conversation);
            let Watermark { member, delivered, read } = watermark;
            run(
                "INSERT OR REPLACE INTO watermark (high, low, member, delivered, read) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![high, low, signed(member.get()), signed(delivered.0), signed(read.0)],
            )
        }
        StoreOp::PutOutbox(row) => {
            let (high, low) = signed_words(row.conversation);
            run(
                "INSERT OR REPLACE INTO outbox (place, client_message_id, high, low, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![signed(row.order), &row.client_message_id.0[..], high, low, &row.body[..]],
            )
        }
        StoreOp::DropOutbox(id) => run("DELETE FROM outbox WHERE client_message_id = ?1", params![&id.0[..]]),
        StoreOp::PutInbox(message) => {
            let (high, low) = signed_words(message.conversation);
            let device = message.origin.map(|(device, _)| signed(device.get()));
            let id = message.origin.map(|(_, id)| id.0.to_vec());
            run(
                "INSERT OR REPLACE INTO inbox \
                 (high, low, sequence, message, sender, time_ms, origin_device, origin_id, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    high,
                    low,
                    signed(message.sequence.0),
                    signed(message.message.get()),
                    signed(message.sender.get()),
                    signed(message.time.0),
                    device,
                    id,
                    &message.body[..]
                ],
            )
        }
        StoreOp::DropInbox(conversation, sequence) => {
            let (high, low) = signed_words(*conversation);
            run(
                "DELETE FROM inbox WHERE high = ?1 AND low = ?2 AND sequence = ?3",
                params![high, low, signed(sequence.0)],
            )
        }
    }
}

fn put_identity(connection: &Connection, name: &str, value: u64) -> Result<(), rusqlite::Error> {
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO identity (name, value) VALUES (?1, ?2)")?;
    insert.execute(params![name, signed(value)]).map(|_| ())
}

fn conversation(row: &Row<'_>) -> Result<ConversationRow, StoreError> {
    let number = |index| Ok::<_, StoreError>(row.get::<_, Option<i64>>(index)?.map(unsigned));
    let newest = number(5)?.map(Sequence).zip(number(6)?.and_then(MessageId::new));
    Ok(ConversationRow {
        conversation: conversation_id(row)?,
        delivered: number(2)?.map(Sequence),
        read: Sequence(word(row, 3)?),
        own_head: Sequence(word(row, 4)?),
        newest,
    })
}

fn watermark(row: &Row<'_>) -> Result<(ConversationId, Watermark), StoreError> {
    let member = UserId::new(word(row, 2)?).ok_or(StoreError::Damaged("a watermark of user 0"))?;
    let watermark = Watermark { member, delivered: Sequence(word(row, 3)?), read: Sequence(word(row, 4)?) };
    Ok((conversation_id(row)?, watermark))
}

fn outbox(row: &Row<'_>) -> Result<OutboxRow, StoreError> {
    Ok(OutboxRow {
        order: word(row, 2)?,
        client_message_id: ClientMessageId(row.get(3)?),
        conversation: conversation_id(row)?,
        body: Bytes::from(row.get::<_, Vec<u8>>(4)?),
    })
}

fn inbox(row: &Row<'_>) -> Result<Message, StoreError> {
    let device = row.get::<_, Option<i64>>(6)?.and_then(|value| DeviceId::new(unsigned(value)));
    let id = row.get::<_, Option<[u8; 16]>>(7)?.map(ClientMessageId);
    Ok(Message {
        conversation: conversation_id(row)?,
        sequence: Sequence(word(row, 2)?),
        message: MessageId::new(word(row, 3)?).ok_or(StoreError::Damaged("a message with id 0"))?,
        sender: UserId::new(word(row, 4)?).ok_or(StoreError::Damaged("a message of user 0"))?,
        time: Millis(word(row, 5)?),
        origin: device.zip(id),
        body: Bytes::from(row.get::<_, Vec<u8>>(8)?),
    })
}

/// The conversation in the first two columns, as every table has it.
fn conversation_id(row: &Row<'_>) -> Result<ConversationId, StoreError> {
    let (high, low) = (word(row, 0)?, word(row, 1)?);
    ConversationId::from_words(high, low).ok_or(StoreError::Damaged("a conversation id that cannot be"))
}

fn word(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get(column).map(unsigned)
}

const fn signed(value: u64) -> i64 {
    value.cast_signed()
}

const fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}

fn signed_words(conversation: ConversationId) -> (i64, i64) {
    let (high, low) = conversation.words();
    (signed(high), signed(low))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u64) -> UserId {
        UserId::new(number).unwrap()
    }

    /// One of each row, with numbers that need all 64 bits.
    fn rows() -> Restored {
        let conversation = ConversationId::direct(user(42), user(u64::MAX));
        let message = |sequence, origin| Message {
            conversation,
            message: MessageId::new(u64::MAX - 1).unwrap(),
            sequence: Sequence(sequence),
            sender: user(u64::MAX),
            time: Millis(1_732_300_000_000),
            origin,
            body: Bytes::from_static(b"body"),
        };
        let origin = (DeviceId::new(u64::MAX).unwrap(), ClientMessageId([9; 16]));
        Restored {
            user: Some(user(42)),
            conversations: vec![ConversationRow {
                conversation,
                delivered: Some(Sequence(u64::MAX)),
                read: Sequence(3),
                own_head: Sequence(2),
                newest: Some((Sequence(u64::MAX), MessageId::new(u64::MAX).unwrap())),
            }],
            watermarks: vec![(
                conversation,
                Watermark { member: user(u64::MAX), delivered: Sequence(5), read: Sequence(4) },
            )],
            outbox: vec![OutboxRow {
                order: 7,
                client_message_id: ClientMessageId([1; 16]),
                conversation,
                body: Bytes::from_static(b"unsent"),
            }],
            inbox: vec![message(4, None), message(5, Some(origin))],
        }
    }

    fn puts(rows: &Restored) -> Vec<StoreOp> {
        let mut operations = vec![StoreOp::PutUser(rows.user.unwrap())];
        operations.extend(rows.conversations.iter().map(|&row| StoreOp::PutConversation(row)));
        operations.extend(rows.watermarks.iter().map(|&(id, told)| StoreOp::PutWatermark(id, told)));
        operations.extend(rows.outbox.iter().cloned().map(StoreOp::PutOutbox));
        operations.extend(rows.inbox.iter().cloned().map(StoreOp::PutInbox));
        operations
    }

    #[test]
    fn given_rows_when_they_are_put_twice_and_the_file_is_opened_again_then_they_are_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let device = DeviceId::new(u64::MAX).unwrap();
        let mut store = Sqlite::open(&path).unwrap();
        store.put_device(device).unwrap();
        store.commit(&puts(&rows())).unwrap();
        store.commit(&puts(&rows())).unwrap();
        drop(store);
        let store = Sqlite::open(&path).unwrap();
        assert_eq!(store.device().unwrap(), Some(device));
        assert_eq!(store.load().unwrap(), rows());
    }

    #[test]
    fn given_rows_when_they_are_dropped_then_they_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Sqlite::open(&folder.path().join("store.db")).unwrap();
        let rows = rows();
        store.commit(&puts(&rows)).unwrap();
        let inbox = rows.inbox.iter().map(|message| StoreOp::DropInbox(message.conversation, message.sequence));
        let outbox = rows.outbox.iter().map(|row| StoreOp::DropOutbox(row.client_message_id));
        store.commit(&inbox.chain(outbox).collect::<Vec<_>>()).unwrap();
        let left = store.load().unwrap();
        assert_eq!((left.inbox.len(), left.outbox.len(), left.conversations.len()), (0, 0, 1));
    }

    #[test]
    fn given_a_store_of_the_first_version_when_opened_then_everything_in_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let first = SCHEMA.replace("newest INTEGER, newest_message INTEGER,", "").replace("= 2", "= 1");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(&first).unwrap();
        connection.execute_batch("INSERT INTO conversation VALUES (1, 2, 7, 3, 2)").unwrap();
        drop(connection);
        let mut store = Sqlite::open(&path).unwrap();
        let old = store.load().unwrap().conversations[0];
        assert_eq!((old.delivered, old.newest), (Some(Sequence(7)), None));
        let newest = Some((Sequence(8), MessageId::new(9).unwrap()));
        store.commit(&[StoreOp::PutConversation(ConversationRow { newest, ..old })]).unwrap();
        assert_eq!(store.load().unwrap().conversations[0].newest, newest);
    }

    #[test]
    fn given_a_file_that_cannot_be_used_when_opened_then_the_error_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("newer.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 9).unwrap();
        assert!(matches!(Sqlite::open(&path), Err(StoreError::NewerVersion { found: 9, known: VERSION })));
        let path = folder.path().join("text.db");
        std::fs::write(&path, "this is a text and no database, however one looks at it ".repeat(40)).unwrap();
        assert!(matches!(Sqlite::open(&path), Err(StoreError::Sqlite(_))));
        let path = folder.path().join("shared.db");
        let first = Sqlite::open(&path).unwrap();
        assert!(matches!(Sqlite::open(&path), Err(StoreError::InUse)));
        drop(first);
    }
}
