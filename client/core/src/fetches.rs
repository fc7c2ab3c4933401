//! Fetches on their way: the application's, those that repair a gap, and those that ask for watermarks only.
//!
//! Our own wait as marks on their conversation and become requests only when there is room on the connection, so a
//! thousand conversations cost a set entry each.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_schema::frame::{Fetch, FetchRange};
use switchyard_schema::ids::{ConversationId, Millis, Sequence};

use crate::limits::{ANSWER_TIMEOUT_MS, APP_FETCHES_MAX, FETCHES_IN_FLIGHT_MAX, REPAIR_MESSAGES};

/// Why a fetch cannot be taken.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FetchRefused {
    /// As many fetches as allowed wait or are unanswered.
    #[error("too many fetches are unanswered; wait for a page")]
    TooMany,
    /// The limit is out of its bounds.
    #[error("a page holds at most 100 messages")]
    LimitOutOfBounds,
    /// The client has stopped.
    #[error("the client has stopped; make a new one")]
    Stopped,
}

/// What a request was for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    App,
    Repair(ConversationId),
    Watermarks(ConversationId),
}

#[derive(Debug)]
struct AppFetch {
    fetch: Fetch,
    refusals: u32,
    wait_until: Millis,
}

#[derive(Debug)]
struct Repair {
    refusals: u32,
    due: Option<Millis>,
}

#[derive(Debug, Default)]
pub(crate) struct Fetches {
    last_request: u64,
    app: BTreeMap<u64, AppFetch>,
    repairs: BTreeMap<ConversationId, Repair>,
    repairs_due: BTreeSet<(Millis, ConversationId)>,
    watermarks: BTreeSet<ConversationId>,
    in_flight: BTreeMap<u64, (Purpose, Millis)>,
}

impl Fetches {
    /// Takes a fetch of the application; its answer carries the number returned.
    pub(crate) fn push(
        &mut self,
        conversation: ConversationId,
        range: FetchRange,
        limit: u32,
    ) -> Result<u64, FetchRefused> {
        if limit > switchyard_schema::limits::PAGE_MESSAGES_MAX {
            return Err(FetchRefused::LimitOutOfBounds);
        }
        if self.app.len() >= APP_FETCHES_MAX {
            return Err(FetchRefused::TooMany);
        }
        let request = self.next_request();
        let fetch = Fetch { request, conversation, range, limit };
        self.app.insert(request, AppFetch { fetch, refusals: 0, wait_until: Millis(0) });
        Ok(request)
    }

    /// Repairs the gap of a conversation at `due`, or earlier when that was planned already.
    pub(crate) fn want_repair(&mut self, conversation: ConversationId, due: Millis) {
        match self.repairs.get_mut(&conversation) {
            None => {
                self.repairs.insert(conversation, Repair { refusals: 0, due: Some(due) });
                self.repairs_due.insert((due, conversation));
            }
            Some(repair) if repair.refusals == 0 => {
                let Some(planned) = repair.due else { return };
                if due < planned {
                    repair.due = Some(due);
                    self.repairs_due.remove(&(planned, conversation));
                    self.repairs_due.insert((due, conversation));
                }
            }
            Some(_) => {}
        }
    }

    /// The gap is closed.
    pub(crate) fn on_repaired(&mut self, conversation: ConversationId) {
        if let Some(Repair { due: Some(due), .. }) = self.repairs.remove(&conversation) {
            self.repairs_due.remove(&(due, conversation));
        }
    }

    /// A Page brought some of what was missing: the next may follow at once.
    pub(crate) fn on_repair_progress(&mut self, now: Millis, conversation: ConversationId) {
        self.on_repaired(conversation);
        self.want_repair(conversation, now);
    }

    /// How often the repair of this conversation brought nothing, this time included.
    pub(crate) fn repair_refusals(&mut self, conversation: ConversationId) -> u32 {
        self.repairs.get_mut(&conversation).map_or(0, |repair| {
            repair.refusals = repair.refusals.saturating_add(1);
            repair.refusals
        })
    }

    /// Tries the repair again at `due`.
    pub(crate) fn postpone_repair(&mut self, conversation: ConversationId, due: Millis) {
        if let Some(repair) = self.repairs.get_mut(&conversation) {
            if let Some(planned) = repair.due.replace(due) {
                self.repairs_due.remove(&(planned, conversation));
            }
            self.repairs_due.insert((due, conversation));
        }
    }

    /// Asks for the watermarks of a conversation as soon as there is room.
    pub(crate) fn want_watermarks(&mut self, conversation: ConversationId) {
        self.watermarks.insert(conversation);
    }

    /// How often this fetch of the application was refused for now, this time included.
    pub(crate) fn app_refusals(&mut self, request: u64) -> u32 {
        self.app.get_mut(&request).map_or(0, |app| {
            app.refusals = app.refusals.saturating_add(1);
            app.refusals
        })
    }

    /// Tries the fetch of the application again at `due`.
    pub(crate) fn postpone_app(&mut self, request: u64, due: Millis) {
        if let Some(app) = self.app.get_mut(&request) {
            app.wait_until = due;
        }
    }

    /// The application's fetch is answered for good.
    pub(crate) fn finish_app(&mut self, request: u64) {
        self.app.remove(&request);
    }

    /// The next request that may leave, marked as sent. `after` tells from where a repair continues.
    pub(crate) fn next_to_send(
        &mut self,
        now: Millis,
        room_for_messages: bool,
        mut after: impl FnMut(ConversationId) -> Option<Sequence>,
    ) -> Option<Fetch> {
        while self.in_flight.len() < FETCHES_IN_FLIGHT_MAX {
            if room_for_messages
                && let Some(&(due, conversation)) = self.repairs_due.first()
                && due <= now
            {
                self.repairs_due.pop_first();
                let Some(after) = after(conversation) else {
                    self.repairs.remove(&conversation);
                    continue;
                };
                self.repairs.get_mut(&conversation).expect("what is due is wanted").due = None;
                return Some(self.own(now, Purpose::Repair(conversation), after, REPAIR_MESSAGES));
            }
            let waiting = self.app.iter().find(|(id, app)| app.wait_until <= now && !self.in_flight.contains_key(id));
            if let Some((&request, app)) = waiting {
                let fetch = app.fetch;
                self.in_flight.insert(request, (Purpose::App, now));
                return Some(fetch);
            }
            let conversation = self.watermarks.pop_first()?;
            return Some(self.own(now, Purpose::Watermarks(conversation), Sequence::ZERO, 0));
        }
        None
    }

    /// The request is answered: what it was for, or `None` when nobody waits for it any more.
    pub(crate) fn on_answered(&mut self, request: u64) -> Option<Purpose> {
        self.in_flight.remove(&request).map(|(purpose, _)| purpose)
    }

    /// The connection is gone: everything unanswered is asked again on the next.
    pub(crate) fn on_disconnected(&mut self, now: Millis) {
        for (purpose, _) in std::mem::take(&mut self.in_flight).into_values() {
            self.requeue(now, purpose);
        }
    }

    /// Asks again for what was never answered.
    pub(crate) fn on_time(&mut self, now: Millis) {
        let overdue = |&(_, &(_, since)): &(&u64, &(Purpose, Millis))| since.plus(ANSWER_TIMEOUT_MS) <= now;
        let requests: Vec<u64> = self.in_flight.iter().filter(overdue).map(|(&request, _)| request).collect();
        for request in requests {
            if let Some(purpose) = self.on_answered(request) {
                self.requeue(now, purpose);
            }
        }
    }

    pub(crate) fn next_timeout(&self, room_for_messages: bool) -> Option<Millis> {
        let unanswered = self.in_flight.values().map(|&(_, since)| since.plus(ANSWER_TIMEOUT_MS)).min();
        if self.in_flight.len() >= FETCHES_IN_FLIGHT_MAX {
            return unanswered;
        }
        let repair = self.repairs_due.first().filter(|_| room_for_messages).map(|&(due, _)| due);
        let app = self.app.iter().filter(|(id, _)| !self.in_flight.contains_key(id)).map(|(_, app)| app.wait_until);
        unanswered.into_iter().chain(repair).chain(app.min()).min()
    }

    fn requeue(&mut self, now: Millis, purpose: Purpose) {
        match purpose {
            Purpose::App => {}
            Purpose::Repair(conversation) => self.postpone_repair(conversation, now),
            Purpose::Watermarks(conversation) => self.want_watermarks(conversation),
        }
    }

    fn own(&mut self, now: Millis, purpose: Purpose, after: Sequence, limit: u32) -> Fetch {
        let (Purpose::Repair(conversation) | Purpose::Watermarks(conversation)) = purpose else {
            unreachable!("the application's fetches keep their request")
        };
        let request = self.next_request();
        self.in_flight.insert(request, (purpose, now));
        Fetch { request, conversation, range: FetchRange::After(after), limit }
    }

    const fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchyard_schema::ids::UserId;

    fn conversation(peer: u64) -> ConversationId {
        ConversationId::direct(UserId::new(1).unwrap(), UserId::new(peer).unwrap())
    }

    fn next(fetches: &mut Fetches, now: u64) -> Option<Fetch> {
        fetches.next_to_send(Millis(now), true, |_| Some(Sequence(4)))
    }

    #[test]
    fn given_many_wishes_when_sending_then_repairs_go_first_and_only_so_many_are_in_flight() {
        let mut fetches = Fetches::default();
        for peer in 2..20 {
            fetches.want_watermarks(conversation(peer));
        }
        let app = fetches.push(conversation(2), FetchRange::Before(Sequence(9)), 10).unwrap();
        fetches.want_repair(conversation(30), Millis(0));
        let sent: Vec<Fetch> = std::iter::from_fn(|| next(&mut fetches, 0)).collect();
        assert_eq!(sent.len(), FETCHES_IN_FLIGHT_MAX);
        assert_eq!(sent[0].range, FetchRange::After(Sequence(4)));
        assert_eq!(sent[1].request, app);
        assert!(sent[2..].iter().all(|fetch| fetch.limit == 0));
        assert_eq!(fetches.on_answered(sent[2].request), Some(Purpose::Watermarks(sent[2].conversation)));
        assert!(next(&mut fetches, 0).is_some());
    }

    #[test]
    fn given_an_unanswered_fetch_when_the_connection_goes_then_it_is_asked_again() {
        let mut fetches = Fetches::default();
        let app = fetches.push(conversation(2), FetchRange::After(Sequence(0)), 10).unwrap();
        fetches.want_repair(conversation(3), Millis(0));
        assert_eq!(std::iter::from_fn(|| next(&mut fetches, 0)).count(), 2);
        fetches.on_disconnected(Millis(5));
        let again: Vec<Fetch> = std::iter::from_fn(|| next(&mut fetches, 5)).collect();
        assert_eq!(again.len(), 2);
        assert!(again.iter().any(|fetch| fetch.request == app));
    }

    #[test]
    fn given_no_room_for_messages_when_sending_then_repairs_wait_without_a_timeout() {
        let mut fetches = Fetches::default();
        fetches.want_repair(conversation(3), Millis(0));
        assert_eq!(fetches.next_to_send(Millis(0), false, |_| None), None);
        assert_eq!(fetches.next_timeout(false), None);
        assert_eq!(fetches.next_timeout(true), Some(Millis(0)));
    }

    #[test]
    fn given_limits_when_they_are_reached_then_a_fetch_is_refused() {
        let mut fetches = Fetches::default();
        let range = FetchRange::After(Sequence(0));
        assert_eq!(fetches.push(conversation(2), range, 101), Err(FetchRefused::LimitOutOfBounds));
        for _ in 0..APP_FETCHES_MAX {
            fetches.push(conversation(2), range, 1).unwrap();
        }
        assert_eq!(fetches.push(conversation(2), range, 1), Err(FetchRefused::TooMany));
    }
}
