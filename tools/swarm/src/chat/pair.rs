//! One pair: what was sent, and what has come back of it. Message number n has sequence number n, because nobody else
//! writes to the conversation.

use std::collections::VecDeque;
use std::time::Instant;

use switchyard_schema::frame::{Accepted, Deliver, Receipt};
use switchyard_schema::ids::{ClientMessageId, ConversationId, UserId};

use super::part::Found;
use super::report::Faults;
use crate::latency::Latencies;
use crate::sample::Sample;
use crate::stamp;

/// What a pair has done.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) sender: UserId,
    pub(super) recipient: UserId,
    pub(super) conversation: ConversationId,
    online: bool,
    pub(super) sent: u64,
    accepted: u64,
    delivered: u64,
    pub(super) acknowledged: u64,
    receipted: u64,
    /// When the messages after `forgotten` were sent, or due in an open loop.
    sent_at: VecDeque<Instant>,
    forgotten: u64,
}

impl Pair {
    pub(super) fn new(sender: UserId, recipient: UserId, online: bool) -> Self {
        Self {
            sender,
            recipient,
            conversation: ConversationId::direct(sender, recipient),
            online,
            sent: 0,
            accepted: 0,
            delivered: 0,
            acknowledged: 0,
            receipted: 0,
            sent_at: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// Messages whose way is complete.
    pub(super) fn routed(&self) -> u64 {
        if self.online { self.accepted.min(self.receipted).min(self.delivered) } else { self.accepted }
    }

    /// Messages that were sent and not accepted.
    pub(super) fn unanswered(&self) -> u64 {
        self.sent - self.accepted
    }

    /// Messages under way.
    pub(super) fn pending(&self) -> u64 {
        self.sent - self.routed()
    }

    /// What the server has answered, delivered and receipted: it grows while there is progress.
    pub(super) fn answers(&self) -> u64 {
        self.accepted + self.delivered + self.receipted
    }

    /// Whether the server owes nothing; the recipient may still keep an Ack back until there is more to acknowledge.
    pub(super) fn is_answered(&self) -> bool {
        let arrived = !self.online || (self.delivered == self.sent && self.receipted == self.acknowledged);
        self.accepted == self.sent && arrived
    }

    /// What the recipient may acknowledge now.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.delivered - self.acknowledged
    }

    /// Counts what the recipient says it has; gives the number to acknowledge.
    pub(super) fn acknowledge(&mut self) -> u64 {
        self.acknowledged = self.delivered;
        self.delivered
    }

    /// Notes a Send that counts from `at`; gives its number.
    pub(super) fn on_sent(&mut self, at: Instant) -> u64 {
        self.sent += 1;
        self.sent_at.push_back(at);
        self.sent
    }

    pub(super) fn on_accepted(&mut self, now: Instant, accepted: &Accepted, report: &mut Recorder<'_>) {
        let number = number_of(accepted.client_message_id);
        if number != accepted.sequence.0 || number != self.accepted + 1 {
            let expected = self.accepted + 1;
            report.out_of_order(|| format!("accepted {number} as {:?}, expected {expected}", accepted.sequence));
            return;
        }
        self.accepted = number;
        report.accepted(self.sent_at(number), now);
        self.forget();
    }

    pub(super) fn on_deliver(&mut self, now: Instant, deliver: &Deliver<'_>, report: &mut Recorder<'_>) {
        let (sequence, number) = (deliver.sequence.0, stamp::get(&deliver.body, 0));
        if sequence <= self.delivered {
            report.duplicated(|| format!("message {sequence} came again"));
            return;
        }
        if sequence != self.delivered + 1 || number != Some(sequence) || deliver.sender != self.sender {
            let expected = self.delivered + 1;
            report.out_of_order(|| format!("delivered {sequence} with content {number:?}, expected {expected}"));
            return;
        }
        self.delivered = sequence;
        report.delivered(self.sent_at(sequence), now);
        self.forget();
    }

    pub(super) fn on_receipt(&mut self, now: Instant, receipt: &Receipt, report: &mut Recorder<'_>) {
        let watermark = receipt.watermark;
        if watermark.member != self.recipient {
            return;
        }
        let head = watermark.delivered.0;
        if head > self.acknowledged {
            let acknowledged = self.acknowledged;
            report.out_of_order(|| format!("receipt for {head}, but only {acknowledged} were acknowledged"));
            return;
        }
        for number in self.receipted + 1..=head {
            report.receipted(self.sent_at(number), now);
        }
        self.receipted = self.receipted.max(head);
        self.forget();
    }

    /// Counts what never came back.
    pub(super) fn on_end(&self, faults: &mut Faults) {
        let lost = self.pending();
        if lost > 0 {
            faults.lost += lost;
            faults.note(|| {
                format!(
                    "{} → {}: sent {}, accepted {}, delivered {}, acknowledged {}, receipted {}",
                    self.sender,
                    self.recipient,
                    self.sent,
                    self.accepted,
                    self.delivered,
                    self.acknowledged,
                    self.receipted
                )
            });
        }
    }

    /// `None` for a message that the server made up.
    fn sent_at(&self, number: u64) -> Option<Instant> {
        let index = usize::try_from(number - self.forgotten - 1).expect("a message that is not forgotten");
        self.sent_at.get(index).copied()
    }

    fn forget(&mut self) {
        while self.forgotten < self.routed() {
            self.sent_at.pop_front();
            self.forgotten += 1;
        }
    }
}

/// Which messages the result is made from.
#[derive(Copy, Clone, Debug)]
pub(super) enum Window {
    /// None.
    Closed,
    /// Whatever comes back now.
    Open,
    /// Those that were due from `from` on and before `until`, whenever they come back.
    Due { from: Instant, until: Option<Instant> },
}

impl Window {
    pub(super) fn holds(self, due: Instant) -> bool {
        match self {
            Self::Closed => false,
            Self::Open => true,
            Self::Due { from, until } => due >= from && until.is_none_or(|until| due < until),
        }
    }
}

/// Where a pair's events are counted.
pub(super) struct Recorder<'r> {
    pub(super) found: &'r mut Found,
    pub(super) window: Window,
    /// For the course of the run, like the latencies.
    pub(super) counts: &'r mut Sample,
    /// Until a message is delivered, or accepted when nobody is there to deliver to.
    pub(super) latencies: &'r mut Latencies,
    pub(super) online: bool,
}

impl Recorder<'_> {
    fn accepted(&mut self, at: Option<Instant>, now: Instant) {
        self.counts.accepted += 1;
        let Some(at) = at else { return };
        if !self.online {
            self.latencies.record(now.saturating_duration_since(at));
        }
        if self.window.holds(at) {
            self.found.accepted.record(now.saturating_duration_since(at));
        }
    }

    fn delivered(&mut self, at: Option<Instant>, now: Instant) {
        self.counts.delivered += 1;
        let Some(at) = at else { return };
        self.latencies.record(now.saturating_duration_since(at));
        if self.window.holds(at) {
            self.found.delivered.record(now.saturating_duration_since(at));
        }
    }

    fn receipted(&mut self, at: Option<Instant>, now: Instant) {
        if let Some(at) = at.filter(|at| self.window.holds(*at)) {
            self.found.receipted.record(now.saturating_duration_since(at));
        }
    }

    /// A message that was due at `due` was not sent until the end of the run.
    pub(super) fn unsent(&mut self, due: Instant, ended: Instant) {
        self.found.unsent += 1;
        if self.window.holds(due) {
            let waited = ended.saturating_duration_since(due);
            self.found.accepted.record(waited);
            if self.online {
                self.found.delivered.record(waited);
                self.found.receipted.record(waited);
            }
        }
    }

    fn out_of_order(&mut self, what: impl FnOnce() -> String) {
        self.found.faults.out_of_order += 1;
        self.found.faults.note(what);
    }

    fn duplicated(&mut self, what: impl FnOnce() -> String) {
        self.found.faults.duplicated += 1;
        self.found.faults.note(what);
    }
}

fn number_of(id: ClientMessageId) -> u64 {
    u64::try_from(u128::from_be_bytes(id.0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use switchyard_schema::ids::{MessageId, Millis, Sequence};

    use super::*;
    use crate::latency::Percentiles;
    use crate::schedule::Paced;

    /// Sends that a pair may have under way.
    const UNDER_WAY_MAX: u64 = 4;
    const MESSAGES_PER_S: f64 = 100.0;
    /// In milliseconds of a clock that only the test moves.
    const RUN_MS: u64 = 10_000;
    const STALL_MS: std::ops::Range<u64> = 4_000..6_000;

    /// A pair and a server that answers within the millisecond, but for two seconds in the middle. Each message counts
    /// from the time that `counts_from` makes of when it was due and when it was sent.
    fn latencies(counts_from: fn(Instant, Instant) -> Instant) -> Percentiles {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let (mut pair, mut paced) = (Pair::new(user(1), user(2), false), Paced::new(begun, MESSAGES_PER_S, (0, 1)));
        let mut noted = Noted::default();
        let mut under_way = VecDeque::new();
        for now in (0..RUN_MS).map(at) {
            while paced.take_due(now).is_some() {}
            while pair.unanswered() < UNDER_WAY_MAX
                && let Some(due) = paced.oldest_owed()
            {
                paced.on_sent();
                under_way.push_back(pair.on_sent(counts_from(due, now)));
            }
            if (at(STALL_MS.start)..at(STALL_MS.end)).contains(&now) {
                continue;
            }
            let mut recorder = noted.recorder(Window::Due { from: begun, until: None }, false);
            for number in under_way.drain(..) {
                pair.on_accepted(now, &accepted(number), &mut recorder);
            }
        }
        assert_eq!(noted.found.faults, Default::default());
        assert_eq!(paced.unsent(at(RUN_MS)).count(), 0, "the server caught up");
        noted.found.accepted.percentiles()
    }

    /// What a thread notes of its pairs.
    #[derive(Default)]
    struct Noted {
        found: Found,
        counts: Sample,
        latencies: Latencies,
    }

    impl Noted {
        fn recorder(&mut self, window: Window, online: bool) -> Recorder<'_> {
            let Self { found, counts, latencies } = self;
            Recorder { found, window, counts, latencies, online }
        }
    }

    fn user(number: u64) -> UserId {
        UserId::new(number).expect("not zero")
    }

    fn accepted(number: u64) -> Accepted {
        Accepted {
            client_message_id: ClientMessageId(u128::from(number).to_be_bytes()),
            conversation: ConversationId::direct(user(1), user(2)),
            message: MessageId::new(number).expect("not zero"),
            sequence: Sequence(number),
            time: Millis(0),
        }
    }

    #[test]
    fn given_a_server_that_stands_still_when_messages_count_from_when_they_were_due_then_the_percentiles_show_it() {
        let from_due = latencies(|due, _| due);
        // A fifth of all messages fell due meanwhile, and waited for up to two seconds.
        assert_eq!(from_due.count, 1_000);
        assert!(from_due.p50_us < 2_000, "{from_due:?}");
        assert!((900_000..1_100_000).contains(&from_due.p90_us), "{from_due:?}");
        assert!((1_800_000..2_100_000).contains(&from_due.p99_us), "{from_due:?}");
        // Who counts from the moment of sending sees four slow messages, and a p99 as if nothing had been.
        let from_sent = latencies(|_, sent| sent);
        assert_eq!(from_sent.count, 1_000);
        assert!(from_sent.p99_us < 2_000, "{from_sent:?}");
    }

    #[test]
    fn given_a_recipient_that_keeps_its_ack_back_when_all_has_arrived_then_the_server_owes_nothing() {
        let now = Instant::now();
        let mut pair = Pair::new(user(1), user(2), true);
        let mut noted = Noted::default();
        let mut recorder = noted.recorder(Window::Open, true);
        let number = pair.on_sent(now);
        let Accepted { conversation, message, sequence, time, .. } = accepted(number);
        let mut body = switchyard_schema::body::text(&"x".repeat(stamp::DIGITS));
        stamp::put(&mut body, 0, number);
        let deliver =
            Deliver { conversation, message, sequence, sender: user(1), time, origin: None, body: body.into() };
        pair.on_accepted(now, &accepted(number), &mut recorder);
        assert!(!pair.is_answered(), "it is not delivered");
        pair.on_deliver(now, &deliver, &mut recorder);
        assert_eq!((pair.is_answered(), pair.pending(), pair.answers()), (true, 1, 2));
        pair.acknowledge();
        assert!(!pair.is_answered(), "the receipt is owed");
    }

    #[test]
    fn given_an_accept_of_an_id_that_only_ends_like_the_next_when_it_comes_then_it_is_none_of_the_pairs() {
        let now = Instant::now();
        let mut pair = Pair::new(user(1), user(2), false);
        let mut noted = Noted::default();
        let mut recorder = noted.recorder(Window::Open, false);
        let number = pair.on_sent(now);
        let foreign = ClientMessageId((u128::from(number) | 1 << 64).to_be_bytes());
        pair.on_accepted(now, &Accepted { client_message_id: foreign, ..accepted(number) }, &mut recorder);
        assert_eq!((pair.pending(), noted.found.faults.out_of_order), (1, 1));
    }
}
