//! Who a session is, and what it has under way.

use switchyard_schema::ids::{DeviceId, Millis, UserId};
use switchyard_schema::limits::PENDING_SENDS_MAX;

use super::Context;
use crate::limits::PENDING_FETCHES_MAX;
use crate::rate::{Buckets, Kind, Rate, UserRates};

/// Who a session is, and what it has under way.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) user: UserId,
    pub(super) device: DeviceId,
    /// When its token ends, by the monotonic clock.
    pub(super) expires: Millis,
    pub(super) pending_sends: u16,
    pub(super) pending_fetches: u16,
    /// Beginnings of conversations that are set aside for Sends without an answer.
    begins_aside: u16,
    /// Of those that were set aside, how many were not needed and are not put back yet.
    begins_unused: u16,
    /// What is used up of the connection's rates; nothing of it, when there are none.
    rates: Option<Box<Buckets>>,
}

impl Member {
    pub(super) fn new(user: UserId, device: DeviceId, expires: Millis) -> Self {
        Self {
            user,
            device,
            expires,
            pending_sends: 0,
            pending_fetches: 0,
            begins_aside: 0,
            begins_unused: 0,
            rates: None,
        }
    }

    /// Whether its client may ask for more before something is answered.
    pub(super) fn has_room(&self) -> bool {
        u32::from(self.pending_sends) < PENDING_SENDS_MAX && self.pending_fetches < PENDING_FETCHES_MAX
    }

    /// Whether something that its client asked for is not answered.
    pub(super) const fn awaits_answers(&self) -> bool {
        self.pending_sends > 0 || self.pending_fetches > 0
    }

    /// A Send leaves. Whether it begins a conversation only the conversation's shard knows, so a beginning is set aside for
    /// it; with none left, answers the milliseconds until there is one, else 0.
    pub(super) fn on_send(&mut self, context: &Context<'_>, users: &mut UserRates) -> u32 {
        let (now, rate, key) = (context.now.monotonic, context.settings.rates.user.begins, (self.user, Kind::Begin));
        users.put_back(&key, std::mem::take(&mut self.begins_unused), rate);
        self.pending_sends += 1;
        let taken = users.take(now, key, rate);
        self.begins_aside += u16::from(taken.is_ok());
        taken.err().unwrap_or(0)
    }

    /// A Send is answered. What was set aside for those that never are stays used up.
    pub(super) fn on_send_answered(&mut self, began: bool) {
        self.pending_sends = self.pending_sends.saturating_sub(1);
        if self.begins_aside > 0 {
            self.begins_aside -= 1;
            self.begins_unused += u16::from(!began);
        }
    }

    /// Uses up one of a kind, of the connection's and of the user's.
    ///
    /// # Errors
    /// When one of the two has none left: the milliseconds until it has.
    pub(super) fn take(&mut self, context: &Context<'_>, kind: Kind, users: &mut UserRates) -> Result<(), u32> {
        let (now, rates) = (context.now.monotonic, &context.settings.rates);
        if rates.connection.of(kind) != Rate::UNLIMITED {
            self.rates.get_or_insert_default().take(now, kind, &rates.connection)?;
        }
        users.take(now, (self.user, kind), rates.user.of(kind))
    }

    /// Forgets rates of which nothing is used up any more.
    pub(super) fn rest(&mut self, now: Millis) {
        self.rates.take_if(|rates| rates.are_full(now));
    }
}
