//! Events that found no room with the application, in order.
//!
//! While any wait a session is not read, so that what the server says waits with the server. Connections still come and go,
//! and each is read as far as its welcome, with whatever came along in the same bytes: therefore the limit.

use std::collections::VecDeque;

use switchyard_client_core::Event;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::limits::WAITING_EVENTS_MAX;

#[derive(Debug, Default)]
pub(crate) struct Waiting(VecDeque<Event>);

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether so many wait of those that are never left out that not even a welcome may be read.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= WAITING_EVENTS_MAX
            && self.0.iter().filter(|event| !is_passing(event)).count() >= WAITING_EVENTS_MAX
    }

    /// At the limit the oldest passing event is left out.
    pub(crate) fn push(&mut self, event: Event) {
        if let Some(last) = self.0.back_mut()
            && replaces(&event, last)
        {
            *last = event;
            return;
        }
        if self.0.len() >= WAITING_EVENTS_MAX
            && let Some(oldest) = self.0.iter().position(is_passing)
        {
            self.0.remove(oldest);
        }
        self.0.push_back(event);
    }

    /// Gives the application what it has room for.
    pub(crate) fn give(&mut self, events: &mpsc::Sender<Event>) {
        while let Some(event) = self.0.pop_front() {
            match events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.0.push_front(event);
                    return;
                }
                // Nobody will ever take them.
                Err(TrySendError::Closed(_)) => self.0.clear(),
            }
        }
    }
}

/// Whether an event is about a moment that has passed when the application comes to it. Where the connection stands it can
/// ask at any time; everything else it would miss for good.
const fn is_passing(event: &Event) -> bool {
    matches!(event, Event::StateChanged(_) | Event::ServerError { .. })
}

/// Whether an event makes the one before it pointless for an application that has not seen that one.
fn replaces(event: &Event, before: &Event) -> bool {
    matches!((event, before), (Event::StateChanged(_), Event::StateChanged(_))) || event == before
}

#[cfg(test)]
mod tests {
    use switchyard_client_core::{ConnectionState, RefusalCode};
    use switchyard_schema::frame::Watermark;
    use switchyard_schema::ids::{ConversationId, Sequence, UserId};

    use super::*;

    fn error(number: usize) -> Event {
        let code = RefusalCode::Newer(u16::try_from(number % 1000).unwrap());
        Event::ServerError { code, reason: String::new() }
    }

    fn receipt(number: u64) -> Event {
        let user = |id| UserId::new(id).unwrap();
        let watermark = Watermark { member: user(2), delivered: Sequence(number), read: Sequence(0) };
        Event::ReceiptChanged { conversation: ConversationId::direct(user(1), user(2)), watermark }
    }

    fn all(mut waiting: Waiting) -> Vec<Event> {
        let (sender, mut receiver) = mpsc::channel(2 * WAITING_EVENTS_MAX);
        waiting.give(&sender);
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn given_an_application_that_takes_nothing_when_connections_come_and_go_then_the_newest_changes_wait() {
        let mut waiting = Waiting::default();
        waiting.push(receipt(1));
        for number in 0..WAITING_EVENTS_MAX {
            waiting.push(Event::StateChanged(ConnectionState::Connected));
            waiting.push(error(number));
        }
        waiting.push(receipt(2));
        waiting.push(Event::StateChanged(ConnectionState::Disconnected));
        assert!(!waiting.is_full(), "room can be made");
        let events = all(waiting);
        assert_eq!(events.len(), WAITING_EVENTS_MAX);
        assert_eq!(events[0], receipt(1));
        let last = [error(WAITING_EVENTS_MAX - 1), receipt(2), Event::StateChanged(ConnectionState::Disconnected)];
        assert_eq!(events[WAITING_EVENTS_MAX - 3..], last);
    }

    #[test]
    fn given_only_events_that_are_never_left_out_when_the_limit_is_reached_then_none_is_and_nothing_more_is_read() {
        let mut waiting = Waiting::default();
        let count = WAITING_EVENTS_MAX as u64 + 10;
        for number in 1..=count {
            assert_eq!(waiting.is_full(), number > WAITING_EVENTS_MAX as u64);
            waiting.push(receipt(number));
        }
        assert_eq!(all(waiting), (1..=count).map(receipt).collect::<Vec<_>>());
    }

    #[test]
    fn given_the_same_thing_twice_in_a_row_then_it_waits_once() {
        let mut waiting = Waiting::default();
        waiting.push(Event::StateChanged(ConnectionState::Connecting));
        waiting.push(Event::StateChanged(ConnectionState::Disconnected));
        waiting.push(Event::DeliveryStalled);
        waiting.push(Event::DeliveryStalled);
        assert_eq!(all(waiting), [Event::StateChanged(ConnectionState::Disconnected), Event::DeliveryStalled]);
    }
}
