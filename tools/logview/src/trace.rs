//! `trace`: what the journal knows of one message.
//!
//! Cursors live on the shard of the user, the message on that of its conversation, and a cursor may be met before the
//! message: so the journal is read twice, first for the message, then for everything that speaks of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use switchyard_log::Position;
use switchyard_log::batch::BatchHeader;
use switchyard_log::record::{Payload, RecordView};
use switchyard_log::recovery::{Recovered, Visitor};
use switchyard_schema::ids::{ConversationId, DeviceId, MessageId, Millis, Sequence, ShardId, UserId};

use crate::folder::Folder;
use crate::{Failure, Verdict, text, verify};

pub(crate) fn trace(dir: &Path, message: MessageId, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let folder = Folder::open(dir)?;
    let mut search = Search { wanted: message, batch: None, found: None };
    let first = read(&folder, &mut search)?;
    let Some(accepted) = search.found else {
        let text = format!(
            "message {message} is not in the journal: it was never accepted here, or its segment was dropped (history \
             begins at segment {})",
            first.manifest.oldest_segment()
        );
        return Err(Failure::Refused(text));
    };
    let mut steps = Steps::new(&accepted);
    let found = read(&folder, &mut steps)?;
    accepted.print(out)?;
    steps.print(out)?;
    if found.damages.is_empty() {
        return Ok(Verdict::Clean);
    }
    verify::findings(&found, &mut std::io::stderr())?;
    Ok(Verdict::Damaged)
}

fn read(folder: &Folder, visitor: &mut dyn Visitor) -> Result<Recovered, Failure> {
    let manifest = folder.manifest()?.map_err(|damage| {
        let path = folder.manifest_path();
        Failure::Refused(format!("{}: {damage}; run `logview repair {}`", path.display(), folder.path.display()))
    })?;
    Ok(folder.read(manifest, None, visitor)?)
}

/// The message, as it stands in its conversation's shard.
struct Accepted {
    message: MessageId,
    conversation: ConversationId,
    sequence: Sequence,
    sender: UserId,
    device: DeviceId,
    client: String,
    shard: ShardId,
    lsn: u64,
    position: Position,
    batch: Option<BatchHeader>,
}

impl Accepted {
    fn print(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let Self { message, conversation, sequence, sender, device, client, .. } = self;
        writeln!(out, "message    {message} in {conversation}, sequence {}", sequence.0)?;
        let at = text::time(message.time());
        writeln!(out, "accepted   {at}  from user {sender} device {device}, client message id {client}")?;
        write!(out, "durable    shard {} lsn {} at {}", self.shard.0, self.lsn, self.position)?;
        if let Some(batch) = &self.batch {
            write!(out, ", in batch {} of core {} in run {}", batch.number, batch.core, batch.run)?;
        }
        writeln!(out)?;
        Ok(())
    }
}

struct Search {
    wanted: MessageId,
    batch: Option<BatchHeader>,
    found: Option<Accepted>,
}

impl Visitor for Search {
    fn record(&mut self, view: &RecordView<'_>) {
        if let Payload::Message(m) = view.payload
            && m.message == self.wanted
        {
            self.found = Some(Accepted {
                message: m.message,
                conversation: m.conversation,
                sequence: m.sequence,
                sender: m.sender,
                device: m.device,
                client: m.client_message_id.to_string(),
                shard: view.shard,
                lsn: view.lsn,
                position: view.position,
                batch: self.batch,
            });
        }
    }

    fn withheld(&mut self, view: &RecordView<'_>) {
        self.record(view);
    }

    fn batch(&mut self, header: &BatchHeader) {
        self.batch = Some(*header);
    }
}

/// Whose news it is.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Whose {
    /// A device's cursor, at the user's shard.
    Device(UserId, DeviceId),
    /// A member's watermark, at the conversation's shard.
    Member(UserId),
    /// What this user's shard was told of the other member.
    Told(UserId),
}

/// The first record that says so.
#[derive(Copy, Clone, Debug)]
struct Step {
    position: Position,
    shard: ShardId,
    lsn: u64,
    time: Option<Millis>,
}

/// The first record that says "delivered" and the first that says "read", per device, member and informed user.
struct Steps {
    conversation: ConversationId,
    sequence: Sequence,
    sender: UserId,
    delivered: BTreeMap<Whose, Step>,
    read: BTreeMap<Whose, Step>,
}

impl Steps {
    fn new(accepted: &Accepted) -> Self {
        let Accepted { conversation, sequence, sender, .. } = *accepted;
        Self { conversation, sequence, sender, delivered: BTreeMap::new(), read: BTreeMap::new() }
    }

    fn print(&self, out: &mut dyn Write) -> Result<(), Failure> {
        for (name, steps) in [("delivered", &self.delivered), ("read", &self.read)] {
            if steps.is_empty() {
                writeln!(out, "{name:<10} not yet, or acknowledged in history that was dropped")?;
            }
            for (whose, step) in steps {
                let who = match whose {
                    Whose::Device(user, device) => format!("user {user} device {device}: cursor"),
                    Whose::Member(user) => format!("user {user}: watermark at the conversation"),
                    Whose::Told(user) => format!("told to user {user}"),
                };
                write!(out, "{name:<10} {who}, shard {} lsn {} at {}", step.shard.0, step.lsn, step.position)?;
                match step.time {
                    Some(time) => writeln!(out, ", {}", text::time(time))?,
                    None => writeln!(out)?,
                }
            }
        }
        Ok(())
    }
}

impl Visitor for Steps {
    fn record(&mut self, view: &RecordView<'_>) {
        let (conversation, whose, delivered, read, time) = match view.payload {
            Payload::Cursor(c) => (c.conversation, Whose::Device(c.user, c.device), c.delivered, c.read, None),
            Payload::Watermark(w) => (w.conversation, Whose::Member(w.member), w.delivered, w.read, None),
            Payload::Inbox(i) if i.user == self.sender => {
                (i.conversation, Whose::Told(i.user), i.peer_delivered, i.peer_read, Some(i.peer_moved))
            }
            Payload::Inbox(_) | Payload::Message(_) | Payload::Device(_) => return,
        };
        if conversation != self.conversation {
            return;
        }
        let step = Step { position: view.position, shard: view.shard, lsn: view.lsn, time };
        if delivered >= self.sequence {
            self.delivered.entry(whose).or_insert(step);
        }
        if read >= self.sequence {
            self.read.entry(whose).or_insert(step);
        }
    }

    fn withheld(&mut self, view: &RecordView<'_>) {
        self.record(view);
    }
}
