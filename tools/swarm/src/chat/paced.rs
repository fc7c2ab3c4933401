//! The messages of one pair in an open loop: when each comes due, and which of them are owed because the pair has as many
//! under way as it may. A pair that stands still keeps owing its messages; nobody else sends them in its place.

use std::time::Instant;

use crate::schedule::Schedule;

/// Of one pair.
#[derive(Copy, Clone, Debug)]
pub(super) struct Paced {
    coming: Schedule,
    owed: Schedule,
}

impl Paced {
    /// Of the n-th of so many pairs, which send in turn at a rate of all together.
    pub(super) fn new(begun: Instant, per_second: f64, pair: u32, pairs: u32) -> Self {
        let schedule = Schedule::new(begun, per_second, (pair, pairs));
        Self { coming: schedule, owed: schedule }
    }

    /// When the next message comes due.
    pub(super) fn next_due(&self) -> Instant {
        self.coming.due()
    }

    /// The next message is due now.
    pub(super) fn on_due(&mut self) {
        self.coming.advance();
    }

    /// When the oldest message was due that is not sent.
    pub(super) fn oldest_owed(&self) -> Option<Instant> {
        let due = self.owed.due();
        (due < self.coming.due()).then_some(due)
    }

    /// The oldest message was sent.
    pub(super) fn on_sent(&mut self) {
        self.owed.advance();
    }

    /// When each message was due that was due before `until` and was never sent.
    pub(super) fn unsent(self, until: Instant) -> impl Iterator<Item = Instant> {
        self.owed.unsent(until)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use switchyard_schema::frame::Accepted;
    use switchyard_schema::ids::{ClientMessageId, ConversationId, MessageId, Millis, Sequence, UserId};

    use super::*;
    use crate::chat::course::Counts;
    use crate::chat::pair::{Pair, Recorder, Window};
    use crate::chat::report::ThreadReport;
    use crate::latency::{Latencies, Percentiles};

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
        let (mut pair, mut paced) = (Pair::new(user(1), user(2), false), Paced::new(begun, MESSAGES_PER_S, 0, 1));
        let (mut report, mut counts, mut latencies) =
            (ThreadReport::default(), Counts::default(), Latencies::default());
        let mut under_way = VecDeque::new();
        for now in (0..RUN_MS).map(at) {
            while paced.next_due() <= now {
                paced.on_due();
            }
            while pair.unanswered() < UNDER_WAY_MAX
                && let Some(due) = paced.oldest_owed()
            {
                paced.on_sent();
                under_way.push_back(pair.on_sent(counts_from(due, now)));
            }
            if (at(STALL_MS.start)..at(STALL_MS.end)).contains(&now) {
                continue;
            }
            let mut recorder = Recorder {
                report: &mut report,
                window: Window::Due { from: begun, until: None },
                counts: &mut counts,
                latencies: &mut latencies,
                online: false,
            };
            for number in under_way.drain(..) {
                pair.on_accepted(now, &accepted(number), &mut recorder);
            }
        }
        assert_eq!(report.faults, Default::default());
        assert_eq!(paced.unsent(at(RUN_MS)).count(), 0, "the server caught up");
        report.accepted.percentiles()
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
    fn given_pairs_that_take_turns_when_one_may_not_send_then_it_owes_its_own_messages_and_no_others() {
        let begun = Instant::now();
        let after = |paced: Instant| (paced - begun).as_millis();
        let mut second = Paced::new(begun, 100.0, 1, 4);
        assert_eq!((after(second.next_due()), second.oldest_owed()), (10, None));
        second.on_due();
        second.on_due();
        assert_eq!(second.oldest_owed().map(after), Some(10));
        second.on_sent();
        assert_eq!((second.oldest_owed().map(after), after(second.next_due())), (Some(50), 90));
        let unsent: Vec<u128> = second.unsent(begun + Duration::from_millis(130)).map(after).collect();
        assert_eq!(unsent, [50, 90]);
    }
}
