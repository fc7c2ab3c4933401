//! Seeded defects, each of which the simulator must catch: they prove that its checks can fail.
//!
//! None of them is in the product. Each is done to what passes between the real code and its driver, the way the defect
//! would show there.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use switchyard_log::Position;
use switchyard_log::batch::{self, BatchBuilder, BatchHeader, BatchKind, BatchStart};
use switchyard_log::record::Payload;
use switchyard_router_core::effects::Envelope;
use switchyard_router_core::peer::Peer;
use switchyard_schema::ids::{ClientMessageId, ConversationId, MessageId, Sequence, UserId};
use switchyard_schema::link::{SendRequest, ToGateway};
use switchyard_schema::record::Record;

/// A seeded defect.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Canary {
    /// Accepted leaves when the batch is written, before it is durable.
    AckBeforeDurable,
    /// A repeat of a pending Send is answered at once.
    RepeatAnsweredEarly,
    /// The client message ids in the state store are not read back.
    DedupeForgotten,
    /// The state store keeps the first cursor of a conversation for ever.
    CursorBack,
    /// A fact for a shard of another core is told once only.
    FactNotRetold,
    /// A torn batch passes for a sound one.
    TornTailAccepted,
    /// A live message goes out before the older ones of a catch-up.
    LiveOvertakes,
}

impl Canary {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::AckBeforeDurable,
        Self::RepeatAnsweredEarly,
        Self::DedupeForgotten,
        Self::CursorBack,
        Self::FactNotRetold,
        Self::TornTailAccepted,
        Self::LiveOvertakes,
    ];

    /// Whether a row holds a user's cursors in one conversation (`router/core`, table 1, part 1).
    pub(crate) fn is_inbox_row(key: &[u8]) -> bool {
        key.len() == 28 && key[2] == 1 && key[11] == 1
    }

    /// Whether a row holds a client message id (`router/core`, table 2, part 1).
    pub(crate) fn is_dedupe_row(key: &[u8]) -> bool {
        key.len() > 20 && key[2] == 2 && key[19] == 1
    }
}

/// What the defects of router cores remember, crashes included.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    told: HashSet<(u8, UserId, ConversationId, u64, u64)>,
    /// Messages in a batch that is being written.
    pending: HashMap<ClientMessageId, (ConversationId, MessageId, Sequence)>,
}

impl Memory {
    /// [`Canary::FactNotRetold`]: whether this fact may be told; each one may once.
    pub(crate) fn may_tell(&mut self, envelope: &Envelope) -> bool {
        match &envelope.peer {
            Peer::Head(fact) if fact.answers.is_none() => {
                let stamp = fact.stamp;
                self.told.insert((0, fact.user, fact.conversation, stamp.head_lsn, stamp.mark_lsn))
            }
            Peer::Watermark(fact) => self.told.insert((1, fact.user, fact.conversation, fact.lsn, 0)),
            _ => true,
        }
    }

    /// [`Canary::RepeatAnsweredEarly`]: a batch is being written.
    pub(crate) fn begin(&mut self, header: &BatchHeader, bytes: &[u8]) {
        for record in messages(header, bytes) {
            self.pending.insert(record.client_message_id, (record.conversation, record.message, record.sequence));
        }
    }

    /// … and is durable.
    pub(crate) fn written(&mut self) {
        self.pending.clear();
    }

    /// The answer to a repeat of what is being written.
    pub(crate) fn early_answer(&self, request: &SendRequest) -> Option<ToGateway> {
        let &(conversation, message, sequence) = self.pending.get(&request.client_message_id)?;
        let (session, client_message_id) = (request.origin.session, request.client_message_id);
        Some(ToGateway::Accepted { session, client_message_id, conversation, message, sequence })
    }
}

fn messages(header: &BatchHeader, bytes: &[u8]) -> Vec<switchyard_schema::record::MessageRecord> {
    let records = batch::check(header, bytes).expect("a batch of ours is sound");
    let message = |record: switchyard_log::record::RecordView<'_>| match record.payload.to_record() {
        Record::Message(message) => Some(message),
        _ => None,
    };
    records.flatten().filter_map(message).collect()
}

/// [`Canary::TornTailAccepted`]: the batch as it would be read when its checksums said nothing, the end of its last message
/// torn off.
pub(crate) fn torn_and_accepted(header: &BatchHeader, bytes: &[u8]) -> Option<Vec<u8>> {
    if header.kind != BatchKind::Records {
        return None;
    }
    let start = BatchStart {
        position: header.position,
        bytes_max: header.padded_bytes(),
        salt: header.salt,
        run: header.run,
        core: header.core,
        number: header.number,
        previous_crc: header.previous_crc,
        rolled: None,
    };
    let records: Vec<_> = batch::check(header, bytes).ok()?.flatten().collect();
    let last = records.iter().rposition(|record| matches!(record.payload, Payload::Message(_)))?;
    let mut torn = BatchBuilder::new(vec![0; bytes.len()], start);
    for (index, view) in records.iter().enumerate() {
        let mut record = view.payload.to_record();
        if let Record::Message(message) = &mut record
            && index == last
        {
            let mut body = message.body.to_vec();
            let half = body.len() / 2;
            body[half..].fill(0);
            message.body = Bytes::from(body);
        }
        let previous: Option<Position> = view.previous;
        torn.append(&record, view.shard, view.lsn, previous).ok()?;
    }
    Some(torn.seal(BatchKind::Records).bytes().to_vec())
}
