//! Messages between partners, each checked: it is accepted, arrives once and in its sender's order.
//!
//! Nothing is shared between the thread of a sender and that of its recipient: a message carries its number and the time
//! at which it was due, and what was lost shows at the end, when what one sent is compared with what the other got. A
//! number that was left out is no disorder by itself: the message may have been refused.

use std::time::{Duration, Instant};

use switchyard_client_core::backoff::Chance;
use switchyard_schema::body;
use switchyard_schema::frame::{Accepted, Ack, ClientFrame, Deliver, Send};
use switchyard_schema::ids::{ClientMessageId, ConversationId, UserId};
use switchyard_schema::limits::PENDING_SENDS_MAX;

use super::pairing::Pairing;
use crate::crew::Seat;
use crate::limits::PICKS_MAX;
use crate::schedule::Paced;
use crate::stamp;

/// Bytes of a text that hold the number of a message and its time.
const TEXT_BYTES_MIN: usize = 2 * stamp::DIGITS;

/// What is to be said.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct TalkPlan {
    /// Messages a second of the whole run.
    pub(crate) per_second: f64,
    /// Bytes of a text.
    pub(crate) text_bytes: usize,
    /// Seeds who talks with whom; the same for all threads.
    pub(crate) seed: u64,
}

/// What one user has sent and got.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Account {
    pub(crate) sent: u32,
    /// Of its sends, those that were accepted.
    accepted: u32,
    /// The highest number among them.
    accepted_to: u32,
    /// The highest number that came from its partner.
    pub(crate) heard: u32,
    pub(crate) delivered: u32,
    /// Of its sends, those that were refused.
    pub(crate) refused: u32,
    /// The last sequence number that came.
    sequence: u32,
}

/// What is wrong with an answer to a send.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Wrong {
    /// It is to nothing that is under way.
    ToNothing,
    /// It is not to the next one, nor did refusals come between.
    OutOfTurn,
}

impl Account {
    /// Sends that have no answer yet.
    const fn under_way(&self) -> u32 {
        self.sent - self.accepted - self.refused
    }

    const fn has_under_way(&self, number: u32) -> bool {
        self.under_way() > 0 && 1 <= number && number <= self.sent
    }

    /// The send with this number was accepted. Refusals do not wait for those before them, and leave gaps.
    fn on_accepted(&mut self, number: u32) -> Result<(), Wrong> {
        if !self.has_under_way(number) || number <= self.accepted_to {
            return Err(Wrong::ToNothing);
        }
        let gap = number - self.accepted_to - 1;
        let gap_max = self.refused.saturating_sub(self.accepted_to - self.accepted);
        self.accepted += 1;
        self.accepted_to = number;
        if gap <= gap_max { Ok(()) } else { Err(Wrong::OutOfTurn) }
    }

    fn on_refused(&mut self, number: u32) -> Result<(), Wrong> {
        if !self.has_under_way(number) {
            return Err(Wrong::ToNothing);
        }
        self.refused += 1;
        Ok(())
    }
}

/// The conversations of one thread's users.
#[derive(Debug)]
pub(crate) struct Talk {
    first_user: u64,
    pairing: Pairing,
    accounts: Vec<Account>,
    plan: TalkPlan,
    /// Of the thread: whoever may send does.
    paced: Option<Paced>,
    body: Vec<u8>,
    chance: Chance,
}

/// A message that is due.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) member: u32,
    partner: u32,
    at: Instant,
}

impl Talk {
    pub(super) fn new(plan: TalkPlan, first_user: u64, seat: &Seat) -> Self {
        let mut chance = Chance::new(plan.seed);
        let pairing = Pairing::new(seat.layout.count, &mut chance);
        Self {
            first_user,
            pairing,
            accounts: vec![Account::default(); seat.layout.count_of(seat.thread) as usize],
            plan,
            paced: None,
            body: body::text(&"x".repeat(plan.text_bytes.max(TEXT_BYTES_MIN))),
            chance: Chance::new(plan.seed.wrapping_add(1 + u64::from(seat.thread))),
        }
    }

    pub(crate) fn into_accounts(self) -> (Vec<Account>, Pairing) {
        (self.accounts, self.pairing)
    }

    /// Messages are due from now on.
    pub(super) fn on_begin(&mut self, begun: Instant, seat: &Seat) {
        let place = (seat.thread, seat.layout.threads);
        self.paced = Some(Paced::new(begun, self.plan.per_second, place));
    }

    /// Notes how late this thread sees what has come due by `until`. Whether it may be sent is up to the server.
    pub(super) fn notice(&mut self, until: Instant, now: Instant, seat: &Seat) {
        while let Some(due) = self.paced.as_mut().and_then(|paced| paced.take_due(until)) {
            seat.tally.record_lateness(now.saturating_duration_since(due));
        }
    }

    /// Nothing is due from `ended` on. What was due before, and nobody may send yet, never will be.
    pub(super) fn on_end(&mut self, ended: Instant, seat: &Seat) {
        for due in self.paced.take().into_iter().flat_map(|paced| paced.unsent(ended)) {
            seat.tally.counts.unsent.add(1);
            seat.tally.record_latency(ended.saturating_duration_since(due));
        }
    }

    /// When the next message comes due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.paced.as_ref().map(Paced::next_due)
    }

    /// Somebody at random for the oldest message that was noticed. `None` when all are sent, or when none of those looked at
    /// may send: it stays due, and whoever sends it later is late.
    pub(super) fn take_due(&mut self, seat: &Seat, is_open: impl Fn(u32) -> bool) -> Option<Due> {
        let paced = self.paced.as_mut()?;
        let at = paced.oldest_owed()?;
        let last = u64::try_from(self.accounts.len()).unwrap_or_default().checked_sub(1)?;
        for _ in 0..PICKS_MAX {
            let member = u32::try_from(self.chance.up_to(last)).expect("a member's number");
            let account = self.accounts[member as usize];
            let may_send = is_open(member) && account.under_way() < PENDING_SENDS_MAX;
            if let Some(partner) = self.pairing.partner(seat.global(member)).filter(|_| may_send) {
                paced.on_sent();
                return Some(Due { member, partner, at });
            }
        }
        None
    }

    /// The frame of a message that is due.
    pub(super) fn send(&mut self, due: &Due, seat: &Seat) -> ClientFrame<'_> {
        let account = &mut self.accounts[due.member as usize];
        account.sent += 1;
        let number = u64::from(account.sent);
        seat.tally.counts.sent.add(1);
        stamp::put(&mut self.body, 0, number);
        stamp::put(&mut self.body, 1, micros(due.at.saturating_duration_since(seat.orders.begun())));
        let users = (self.user(seat.global(due.member)), self.user(due.partner));
        ClientFrame::Send(Send {
            client_message_id: ClientMessageId(u128::from(number).to_be_bytes()),
            conversation: ConversationId::direct(users.0, users.1),
            body: (&self.body).into(),
        })
    }

    pub(super) fn on_accepted(&mut self, member: u32, accepted: &Accepted, seat: &Seat) {
        let answered = self.accounts[member as usize].on_accepted(number_of(accepted.client_message_id));
        if answered != Err(Wrong::ToNothing) {
            seat.tally.counts.accepted.add(1);
        }
        note(seat, answered);
    }

    /// A send was refused.
    pub(super) fn on_refused(&mut self, member: u32, id: ClientMessageId, seat: &Seat) {
        let answered = self.accounts[member as usize].on_refused(number_of(id));
        if answered.is_ok() {
            seat.tally.counts.refused_messages.add(1);
            seat.tally.counts.refused.add(1);
        }
        note(seat, answered);
    }

    /// A message came; what is to be acknowledged.
    pub(super) fn on_deliver(&mut self, member: u32, deliver: &Deliver<'_>, now: Instant, seat: &Seat) -> Ack {
        let ack = Ack { conversation: deliver.conversation, delivered: Some(deliver.sequence), read: None };
        let partner = self.pairing.partner(seat.global(member)).map(|partner| self.user(partner));
        let (number, due_us) = (stamp::get(&deliver.body, 0), stamp::get(&deliver.body, 1));
        let (Some(number), Some(due_us)) = (number.and_then(|number| u32::try_from(number).ok()), due_us) else {
            seat.fault(&seat.tally.counts.out_of_order, "delivered with another content than was sent");
            return ack;
        };
        if partner != Some(deliver.sender) {
            seat.fault(&seat.tally.counts.out_of_order, format!("delivered from {} to a stranger", deliver.sender));
            return ack;
        }
        let account = &mut self.accounts[member as usize];
        // A sequence number of a run fits: both partners together send less than 2^32 messages.
        let sequence = u32::try_from(deliver.sequence.0).unwrap_or(u32::MAX);
        if sequence <= account.sequence {
            seat.fault(&seat.tally.counts.duplicated, "delivered again");
            return ack;
        }
        // One that was left out was refused, or is lost, or comes later and is wrong then.
        if number <= account.heard {
            seat.fault(&seat.tally.counts.out_of_order, "delivered behind a later message");
        }
        account.heard = account.heard.max(number);
        account.sequence = sequence;
        account.delivered += 1;
        seat.tally.counts.delivered.add(1);
        let age = now.saturating_duration_since(seat.orders.begun()).saturating_sub(Duration::from_micros(due_us));
        seat.tally.record_latency(age);
        ack
    }

    fn user(&self, number: u32) -> UserId {
        super::user(self.first_user, number)
    }
}

/// Counts what is wrong with an answer.
fn note(seat: &Seat, answered: Result<(), Wrong>) {
    let what = match answered {
        Ok(()) => return,
        Err(Wrong::ToNothing) => "answered what was not under way",
        Err(Wrong::OutOfTurn) => "accepted another message than the next",
    };
    seat.fault(&seat.tally.counts.out_of_order, what);
}

fn number_of(id: ClientMessageId) -> u32 {
    u32::try_from(u128::from_be_bytes(id.0)).unwrap_or(u32::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_sends_of_which_some_are_refused_when_answered_then_their_gaps_are_no_disorder_and_others_are() {
        let mut account = Account { sent: 6, ..Account::default() };
        // The refusal overtakes those that wait for the disk.
        assert_eq!(account.on_refused(3), Ok(()));
        for number in [1, 2, 4] {
            assert_eq!(account.on_accepted(number), Ok(()), "{number}");
        }
        assert_eq!(account.on_accepted(6), Err(Wrong::OutOfTurn));
        assert_eq!(account.under_way(), 1);
    }

    #[test]
    fn given_an_answer_to_something_that_was_not_sent_when_it_comes_then_nothing_is_taken_for_answered() {
        let mut account = Account { sent: 2, ..Account::default() };
        for number in [0, 3, u32::MAX] {
            assert_eq!(account.on_accepted(number), Err(Wrong::ToNothing), "{number}");
            assert_eq!(account.on_refused(number), Err(Wrong::ToNothing), "{number}");
        }
        assert_eq!(account.on_accepted(1), Ok(()));
        assert_eq!(account.on_accepted(1), Err(Wrong::ToNothing));
        assert_eq!(account.on_refused(2), Ok(()));
        assert_eq!(account.on_refused(2), Err(Wrong::ToNothing));
        assert_eq!(account.under_way(), 0);
    }
}
