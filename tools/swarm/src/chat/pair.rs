//! One pair: what was sent, and what has come back of it. Message number n has sequence number n, because nobody else
//! writes to the conversation.

use std::collections::VecDeque;
use std::time::Instant;

use switchyard_schema::frame::{Accepted, Deliver, Receipt};
use switchyard_schema::ids::{ConversationId, UserId};

use super::TEXT_BYTES_MIN;
use super::course::Counts;
use super::report::{Faults, ThreadReport};
use crate::latency::Latencies;

/// Where the text begins in a body that `switchyard_schema::body::text` made.
pub(super) const TEXT_AT: usize = 24;

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
        let number = number_of_id(accepted.client_message_id.0);
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
        let (sequence, number) = (deliver.sequence.0, number_of_body(&deliver.body));
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
    pub(super) report: &'r mut ThreadReport,
    pub(super) window: Window,
    /// For the course of the run, like the latencies.
    pub(super) counts: &'r mut Counts,
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
            self.report.accepted.record(now.saturating_duration_since(at));
        }
    }

    fn delivered(&mut self, at: Option<Instant>, now: Instant) {
        self.counts.delivered += 1;
        let Some(at) = at else { return };
        self.latencies.record(now.saturating_duration_since(at));
        if self.window.holds(at) {
            self.report.delivered.record(now.saturating_duration_since(at));
        }
    }

    fn receipted(&mut self, at: Option<Instant>, now: Instant) {
        if let Some(at) = at.filter(|at| self.window.holds(*at)) {
            self.report.receipted.record(now.saturating_duration_since(at));
        }
    }

    /// A message that was due at `due` was not sent until the end of the run.
    pub(super) fn unsent(&mut self, due: Instant, ended: Instant) {
        self.report.unsent += 1;
        if self.window.holds(due) {
            let waited = ended.saturating_duration_since(due);
            self.report.accepted.record(waited);
            if self.online {
                self.report.delivered.record(waited);
                self.report.receipted.record(waited);
            }
        }
    }

    fn out_of_order(&mut self, what: impl FnOnce() -> String) {
        self.report.faults.out_of_order += 1;
        self.report.faults.note(what);
    }

    fn duplicated(&mut self, what: impl FnOnce() -> String) {
        self.report.faults.duplicated += 1;
        self.report.faults.note(what);
    }
}

/// Writes the number of a message into the first bytes of its text.
pub(super) fn put_number(body: &mut [u8], number: u64) {
    let mut rest = number;
    for byte in body[TEXT_AT..TEXT_AT + TEXT_BYTES_MIN].iter_mut().rev() {
        let digit = rest.to_le_bytes()[0] & 15;
        *byte = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        rest >>= 4;
    }
}

fn number_of_body(body: &[u8]) -> Option<u64> {
    let digits = body.get(TEXT_AT..TEXT_AT + TEXT_BYTES_MIN)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn number_of_id(id: [u8; 16]) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = id;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use switchyard_schema::body;

    use super::*;

    #[test]
    fn given_a_number_when_put_into_a_body_then_the_body_still_parses_and_holds_it() {
        let mut encoded = body::text(&"x".repeat(100));
        put_number(&mut encoded, 0x0123_4567_89ab_cdef);
        let text = body::parse(&encoded).expect("a body").text.expect("a text").to_owned();
        assert_eq!(text[..TEXT_BYTES_MIN], *"0123456789abcdef");
        assert_eq!(number_of_body(&encoded), Some(0x0123_4567_89ab_cdef));
    }
}
