//! Messages between partners, each checked: it is accepted, arrives once and in its sender's order.
//!
//! Nothing is shared between the thread of a sender and that of its recipient: a message carries its number and the time
//! at which it was due, and what was lost shows at the end, when what one sent is compared with what the other got.

use std::time::{Duration, Instant};

use switchyard_client_core::backoff::Chance;
use switchyard_schema::body;
use switchyard_schema::frame::{Accepted, Ack, ClientFrame, Deliver, Send};
use switchyard_schema::ids::{ClientMessageId, ConversationId, UserId};
use switchyard_schema::limits::PENDING_SENDS_MAX;

use super::pairing::Pairing;
use crate::crew::Seat;
use crate::limits::PICKS_MAX;
use crate::schedule::Schedule;
use crate::stamp;

/// Bytes of a text that hold the number of a message and its time.
pub(crate) const TEXT_BYTES_MIN: usize = 2 * stamp::DIGITS;

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
    /// The number up to which its messages were answered.
    answered: u32,
    /// The highest number that came from its partner.
    heard: u32,
    pub(crate) delivered: u32,
    /// Of its sends, those that were refused.
    pub(crate) refused: u32,
    /// The last sequence number that came.
    sequence: u32,
}

/// The conversations of one thread's users.
#[derive(Debug)]
pub(crate) struct Talk {
    first_user: u64,
    pairing: Pairing,
    accounts: Vec<Account>,
    plan: TalkPlan,
    schedule: Option<Schedule>,
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
            schedule: None,
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
        self.schedule = Some(Schedule::new(begun, self.plan.per_second, place));
    }

    /// Nothing is due from `ended` on. What was due before, and nobody may send yet, never will be.
    pub(super) fn on_end(&mut self, ended: Instant, seat: &Seat) {
        for due in self.schedule.take().into_iter().flat_map(|schedule| schedule.unsent(ended)) {
            seat.tally.counts.unsent.add(1);
            seat.tally.record_latency(ended.saturating_duration_since(due));
        }
    }

    /// When the next message is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.schedule.map(|schedule| schedule.due())
    }

    /// Somebody at random for the message that is due now. `None` when none is, or when none of those looked at may
    /// send: it stays due, and whoever sends it later is late.
    pub(super) fn take_due(&mut self, now: Instant, seat: &Seat, is_open: impl Fn(u32) -> bool) -> Option<Due> {
        let schedule = self.schedule.as_mut().filter(|schedule| schedule.due() <= now)?;
        let last = u64::try_from(self.accounts.len()).unwrap_or_default().checked_sub(1)?;
        for _ in 0..PICKS_MAX {
            let member = u32::try_from(self.chance.up_to(last)).expect("a member's number");
            let account = self.accounts[member as usize];
            let may_send = is_open(member) && account.sent - account.answered < PENDING_SENDS_MAX;
            if let Some(partner) = self.pairing.partner(seat.global(member)).filter(|_| may_send) {
                let at = schedule.due();
                schedule.advance();
                return Some(Due { member, partner, at });
            }
        }
        None
    }

    /// The frame of a message that is due.
    pub(super) fn send(&mut self, due: &Due, now: Instant, seat: &Seat) -> ClientFrame<'_> {
        let account = &mut self.accounts[due.member as usize];
        account.sent += 1;
        let number = u64::from(account.sent);
        seat.tally.counts.sent.add(1);
        seat.tally.record_lateness(now.saturating_duration_since(due.at));
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
        let account = &mut self.accounts[member as usize];
        let number = number_of(accepted.client_message_id);
        if number != account.answered + 1 {
            let expected = account.answered + 1;
            return fault(seat, &seat.tally.counts.out_of_order, || {
                format!("accepted as {number}, but {expected} was the next")
            });
        }
        account.answered = number;
        seat.tally.counts.accepted.add(1);
    }

    /// A send was refused.
    pub(super) fn on_refused(&mut self, member: u32, id: ClientMessageId, seat: &Seat) {
        let account = &mut self.accounts[member as usize];
        account.refused += 1;
        account.answered = account.answered.max(number_of(id));
        seat.tally.counts.refused_messages.add(1);
        seat.tally.counts.refused.add(1);
    }

    /// A message came; what is to be acknowledged.
    pub(super) fn on_deliver(&mut self, member: u32, deliver: &Deliver<'_>, now: Instant, seat: &Seat) -> Ack {
        let ack = Ack { conversation: deliver.conversation, delivered: Some(deliver.sequence), read: None };
        let partner = self.pairing.partner(seat.global(member)).map(|partner| self.user(partner));
        let (number, due_us) = (stamp::get(&deliver.body, 0), stamp::get(&deliver.body, 1));
        let (Some(number), Some(due_us)) = (number.and_then(|number| u32::try_from(number).ok()), due_us) else {
            fault(seat, &seat.tally.counts.out_of_order, || "delivered with another content than was sent".to_owned());
            return ack;
        };
        if partner != Some(deliver.sender) {
            fault(seat, &seat.tally.counts.out_of_order, || format!("delivered from {} to a stranger", deliver.sender));
            return ack;
        }
        let account = &mut self.accounts[member as usize];
        // A sequence number of a run fits: both partners together send less than 2^32 messages.
        let sequence = u32::try_from(deliver.sequence.0).unwrap_or(u32::MAX);
        if sequence <= account.sequence {
            fault(seat, &seat.tally.counts.duplicated, || "delivered again".to_owned());
            return ack;
        }
        if number != account.heard + 1 {
            fault(seat, &seat.tally.counts.out_of_order, || "delivered another message than the next".to_owned());
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

fn fault(seat: &Seat, count: &crate::tally::Count, what: impl FnOnce() -> String) {
    count.add(1);
    seat.tally.count_reason(what());
}

fn number_of(id: ClientMessageId) -> u32 {
    u32::try_from(u128::from_be_bytes(id.0)).unwrap_or(u32::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
