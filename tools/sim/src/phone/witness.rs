//! What one phone sees of the server, checked frame by frame and message by message.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_schema::frame::{Deliver, ServerFrame, Watermark};
use switchyard_schema::ids::{ConversationId, Sequence, UserId};

use crate::truth::{Seen, Truth};

/// What one phone saw.
#[derive(Debug)]
pub(crate) struct Witness {
    user: UserId,
    /// Of the present session: the newest message that was sent to it in each conversation.
    sent: BTreeMap<ConversationId, Sequence>,
    /// Of the present session: its own messages that were accepted.
    accepted: BTreeSet<(ConversationId, Sequence)>,
    /// The device's cursors when the session was asked for: nothing up to them comes again.
    cursors: BTreeMap<ConversationId, Sequence>,
    /// Of the present session: the newest receipt of each member.
    watermarks: BTreeMap<(ConversationId, UserId), Watermark>,
    /// What the application was given since it was started.
    given: BTreeMap<ConversationId, Sequence>,
    /// What the application has taken, ever.
    pub(crate) taken: BTreeMap<ConversationId, BTreeSet<Sequence>>,
    /// How far its user was when this device first had a session: what is older may be left out for it.
    pub(crate) user_before: Option<BTreeMap<ConversationId, Sequence>>,
    /// No other device of its user had ever asked for a session then, so that nothing is left out.
    pub(crate) is_first: bool,
}

impl Witness {
    pub(crate) const fn new(user: UserId) -> Self {
        Self {
            user,
            sent: BTreeMap::new(),
            accepted: BTreeSet::new(),
            cursors: BTreeMap::new(),
            watermarks: BTreeMap::new(),
            given: BTreeMap::new(),
            taken: BTreeMap::new(),
            user_before: None,
            is_first: false,
        }
    }

    /// A connection is about to be used.
    pub(crate) fn on_connect(&mut self, cursors: BTreeMap<ConversationId, Sequence>) {
        self.sent.clear();
        self.accepted.clear();
        self.watermarks.clear();
        self.cursors = cursors;
    }

    /// The application starts.
    pub(crate) fn on_start(&mut self) {
        self.given.clear();
    }

    /// A frame arrived. `audit` is the number of a request that was made when everything had come to rest.
    pub(crate) fn on_frame(&mut self, truth: &mut Truth, name: &str, frame: &ServerFrame<'_>, audit: Option<u64>) {
        match frame {
            ServerFrame::Welcome(welcome) => {
                if self.user_before.is_none() {
                    self.user_before = Some(truth.acked(welcome.user));
                    self.is_first = truth.devices_greeted(welcome.user) == 1;
                }
            }
            ServerFrame::Accepted(accepted) => {
                let place = (accepted.conversation, accepted.sequence);
                truth.on_accepted(accepted.client_message_id, place, accepted.message);
                self.accepted.insert(place);
            }
            ServerFrame::Deliver(deliver) => {
                truth.on_seen(&seen(deliver));
                self.on_deliver(truth, name, deliver);
            }
            ServerFrame::Receipt(receipt) => {
                truth.on_watermark(receipt.conversation, receipt.watermark);
                if receipt.watermark.member != self.user {
                    truth.on_told_by_conversation(receipt.conversation, receipt.watermark);
                }
                self.on_receipt(truth, name, receipt.conversation, receipt.watermark);
            }
            ServerFrame::Page(page) => {
                let mut last = None;
                for message in &page.messages {
                    truth.on_seen(&seen(message));
                    if last.is_some_and(|last: Sequence| last.next() != message.sequence) {
                        truth.fail(format!("{name}: a page of {} has a hole", page.conversation));
                    }
                    last = Some(message.sequence);
                }
                if !page.void.is_empty() {
                    truth.fail(format!("{name}: {} is said to have lost {:?}", page.conversation, page.void));
                }
                for watermark in &page.watermarks {
                    truth.on_watermark(page.conversation, *watermark);
                    if audit == Some(page.request) {
                        truth.on_page_at_rest(page.conversation, *watermark);
                    }
                    truth.on_told_by_conversation(page.conversation, *watermark);
                }
            }
            ServerFrame::Error(_) | ServerFrame::Pong { .. } | ServerFrame::Drain { .. } => {}
        }
    }

    /// Messages reach a session in order, without a hole, and none that the device is known to have.
    fn on_deliver(&mut self, truth: &mut Truth, name: &str, deliver: &Deliver<'_>) {
        let (id, sequence) = (deliver.conversation, deliver.sequence);
        let cursor = self.cursors.get(&id).copied().unwrap_or_default();
        if sequence <= cursor {
            truth.fail(format!("{name}: {id} {} was delivered again, the cursor is at {}", sequence.0, cursor.0));
        }
        // What this session was told is accepted need not be delivered to it.
        let passed_over =
            |sent: Sequence| (sent.0 + 1..sequence.0).all(|at| self.accepted.contains(&(id, Sequence(at))));
        if let Some(sent) = self.sent.insert(id, sequence)
            && (sequence <= sent || !passed_over(sent))
        {
            truth.fail(format!("{name}: {id} {} was delivered after {}", sequence.0, sent.0));
        }
    }

    /// Receipts of one session never go back. Those of the next may begin lower, after a crash, until the fact is told
    /// again; what counts then is that none is lost in the end.
    fn on_receipt(&mut self, truth: &mut Truth, name: &str, id: ConversationId, told: Watermark) {
        let known = self.watermarks.insert((id, told.member), told).unwrap_or(told);
        if told.delivered < known.delivered || told.read < known.read {
            truth.fail(format!("{name}: {id}: the watermark went back from {known:?} to {told:?}"));
        }
    }

    /// The application is given a message: each once, each conversation in order.
    pub(crate) fn on_given(&mut self, truth: &mut Truth, name: &str, id: ConversationId, sequence: Sequence) {
        let last = self.given.insert(id, sequence);
        if last.is_some_and(|last| sequence <= last) {
            truth.fail(format!("{name}: {id} {} was given after {}", sequence.0, last.unwrap_or_default().0));
        }
        if self.taken.get(&id).is_some_and(|taken| taken.contains(&sequence)) {
            truth.fail(format!("{name}: {id} {} was given again after it was taken", sequence.0));
        }
    }

    /// The application has taken a message.
    pub(crate) fn on_taken(&mut self, id: ConversationId, sequence: Sequence) {
        self.taken.entry(id).or_default().insert(sequence);
    }
}

fn seen<'a>(deliver: &'a Deliver<'_>) -> Seen<'a> {
    Seen {
        conversation: deliver.conversation,
        sequence: deliver.sequence,
        message: deliver.message,
        sender: deliver.sender,
        body: &deliver.body,
    }
}
