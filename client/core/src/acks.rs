//! Which conversations owe the server an Ack, and when.
//!
//! Acks are gathered: one leaves after some messages or a short time. It is repeated until the own watermark shows that
//! the server has it, on the same connection a few times and on every new one.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_schema::ids::{ConversationId, Millis};

use crate::limits::{ACK_REPEAT_MS, ACK_REPEATS_MAX};

#[derive(Debug, Default)]
struct Owed {
    unsent_messages: u32,
    repeats: u32,
    due: Option<Millis>,
}

#[derive(Debug)]
pub(crate) struct Acks {
    every_messages: u32,
    after_ms: u64,
    owed: BTreeMap<ConversationId, Owed>,
    due: BTreeSet<(Millis, ConversationId)>,
}

impl Acks {
    pub(crate) const fn new(every_messages: u32, after_ms: u64) -> Self {
        Self { every_messages, after_ms, owed: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// A message arrived, or came again because the server does not know that it had.
    pub(crate) fn on_message(&mut self, now: Millis, conversation: ConversationId) {
        let owed = self.owed.entry(conversation).or_default();
        if owed.unsent_messages == 0 {
            owed.repeats = 0;
        }
        owed.unsent_messages += 1;
        let gathered = owed.unsent_messages >= self.every_messages;
        let due = if gathered { now } else { now.plus(self.after_ms) };
        // A repeat that was planned is covered by this Ack.
        let first = owed.unsent_messages == 1;
        let due = if first { due } else { owed.due.map_or(due, |earlier| earlier.min(due)) };
        self.schedule(conversation, Some(due));
    }

    /// Something was read, or an unconfirmed state was found: send without gathering more than what comes meanwhile.
    pub(crate) fn on_owed(&mut self, now: Millis, conversation: ConversationId) {
        let owed = self.owed.entry(conversation).or_default();
        owed.repeats = 0;
        let due = owed.due.map_or(now, |earlier| earlier.min(now));
        self.schedule(conversation, Some(due));
    }

    /// The own watermark shows everything that was owed. An Ack that gathers is sent nevertheless: the watermark may
    /// be another device's.
    pub(crate) fn on_confirmed(&mut self, conversation: ConversationId) {
        if self.owed.get(&conversation).is_some_and(|owed| owed.unsent_messages == 0) {
            self.schedule(conversation, None);
            self.owed.remove(&conversation);
        }
    }

    /// The next conversation whose Ack is due; the Ack counts as sent.
    pub(crate) fn next_due(
        &mut self,
        now: Millis,
        confirmed: impl Fn(ConversationId) -> bool,
    ) -> Option<ConversationId> {
        let &(due, conversation) = self.due.first()?;
        if due > now {
            return None;
        }
        let owed = self.owed.get_mut(&conversation).expect("what is due is owed");
        owed.unsent_messages = 0;
        if confirmed(conversation) || owed.repeats >= ACK_REPEATS_MAX {
            self.schedule(conversation, None);
            self.owed.remove(&conversation);
        } else {
            let repeat = now.plus(ACK_REPEAT_MS << owed.repeats);
            owed.repeats += 1;
            self.schedule(conversation, Some(repeat));
        }
        Some(conversation)
    }

    /// The conversations whose Ack is still gathering; the client leaves.
    pub(crate) fn take_unsent(&mut self) -> Vec<ConversationId> {
        let unsent = self.owed.iter().filter(|(_, owed)| owed.unsent_messages > 0).map(|(&id, _)| id).collect();
        self.on_disconnected();
        unsent
    }

    /// The connection is gone; the next one starts from what is unconfirmed then.
    pub(crate) fn on_disconnected(&mut self) {
        self.owed.clear();
        self.due.clear();
    }

    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.due.first().map(|&(due, _)| due)
    }

    fn schedule(&mut self, conversation: ConversationId, due: Option<Millis>) {
        let owed = self.owed.get_mut(&conversation).expect("scheduled after it is owed");
        if let Some(before) = owed.due.take() {
            self.due.remove(&(before, conversation));
        }
        owed.due = due;
        if let Some(due) = due {
            self.due.insert((due, conversation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchyard_schema::ids::UserId;

    fn conversation() -> ConversationId {
        ConversationId::direct(UserId::new(1).unwrap(), UserId::new(2).unwrap())
    }

    #[test]
    fn given_few_messages_when_the_time_is_over_then_one_ack_leaves() {
        let mut acks = Acks::new(8, 50);
        acks.on_message(Millis(10), conversation());
        acks.on_message(Millis(30), conversation());
        assert_eq!(acks.next_timeout(), Some(Millis(60)));
        assert_eq!(acks.next_due(Millis(59), |_| false), None);
        assert_eq!(acks.next_due(Millis(60), |_| false), Some(conversation()));
        assert_eq!(acks.next_due(Millis(60), |_| false), None);
    }

    #[test]
    fn given_many_messages_when_the_count_is_reached_then_the_ack_leaves_at_once() {
        let mut acks = Acks::new(3, 50);
        for _ in 0..3 {
            acks.on_message(Millis(10), conversation());
        }
        assert_eq!(acks.next_due(Millis(10), |_| false), Some(conversation()));
    }

    #[test]
    fn given_no_watermark_when_time_passes_then_the_ack_is_repeated_ever_later_and_then_rests() {
        let mut acks = Acks::new(1, 50);
        acks.on_message(Millis(0), conversation());
        let mut sent_at = Vec::new();
        while let Some(due) = acks.next_timeout() {
            assert!(acks.next_due(due, |_| false).is_some());
            sent_at.push(due.0);
        }
        assert_eq!(sent_at, [0, 2_000, 6_000, 14_000, 30_000, 62_000, 126_000]);
    }

    #[test]
    fn given_a_repeat_planned_when_the_watermark_is_seen_then_nothing_more_is_sent() {
        let mut acks = Acks::new(1, 50);
        acks.on_message(Millis(0), conversation());
        acks.next_due(Millis(0), |_| false);
        acks.on_confirmed(conversation());
        assert_eq!(acks.next_timeout(), None);
    }

    #[test]
    fn given_a_gathering_ack_when_another_device_moved_the_watermark_then_it_is_sent_once_nevertheless() {
        let mut acks = Acks::new(8, 50);
        acks.on_message(Millis(0), conversation());
        acks.on_confirmed(conversation());
        assert_eq!(acks.next_due(Millis(50), |_| true), Some(conversation()));
        assert_eq!(acks.next_timeout(), None);
    }
}
