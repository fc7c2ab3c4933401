//! Datagrams that came to another thread than that of their connection: a bounded queue of each thread that all others fill.
//!
//! Where the kernel steers that happens only when a thread has ended, for the kernel's order of sockets has changed then.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use switchyard_ring::EventFd;

use super::socket::Datagram;
use crate::limits::QUIC_MISROUTED_MAX;

/// One thread's part of the queues.
#[derive(Debug)]
pub(super) struct Misrouted {
    index: usize,
    queues: Arc<[Queue]>,
    /// Threads that were given something since they were last woken.
    touched: Vec<usize>,
}

#[derive(Debug)]
struct Queue {
    datagrams: ArrayQueue<Datagram>,
    /// Wakes the thread that it is of.
    event: EventFd,
}

/// The queues of all threads.
#[derive(Clone, Debug)]
pub(super) struct Queues(Arc<[Queue]>);

impl Queues {
    /// One for each thread that is woken by one of `events`.
    pub(super) fn new(events: impl Iterator<Item = EventFd>) -> Self {
        Self(events.map(|event| Queue { datagrams: ArrayQueue::new(QUIC_MISROUTED_MAX), event }).collect())
    }

    pub(super) fn of(self, index: u16) -> Misrouted {
        Misrouted { index: usize::from(index), queues: self.0, touched: Vec::new() }
    }
}

impl Misrouted {
    /// Passes a datagram on to its thread. `false` when that has no room for it.
    pub(super) fn pass_on(&mut self, owner: usize, datagram: Datagram) -> bool {
        let passed = self.queues[owner].datagrams.push(datagram).is_ok();
        if passed && !self.touched.contains(&owner) {
            self.touched.push(owner);
        }
        passed
    }

    /// Wakes every thread that something was passed on to since the last call, once.
    pub(super) fn notify(&mut self) {
        self.touched.drain(..).for_each(|owner| self.queues[owner].event.signal());
    }

    /// The oldest that was passed on to this thread.
    pub(super) fn next(&self) -> Option<Datagram> {
        self.queues[self.index].datagrams.pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues[self.index].datagrams.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(byte: u8) -> Datagram {
        let remote = "127.0.0.1:9".parse().unwrap();
        Datagram { remote, local_ip: None, ecn: None, bytes: [byte].as_slice().into() }
    }

    #[test]
    fn given_a_thread_that_does_not_look_then_it_gets_as_much_as_its_queue_holds_in_order_and_is_woken() {
        let events = [EventFd::new().unwrap(), EventFd::new().unwrap()];
        let queues = Queues::new(events.iter().cloned());
        let (mut first, second) = (queues.clone().of(0), queues.of(1));
        for number in 0..=QUIC_MISROUTED_MAX {
            let passed = first.pass_on(1, datagram(u8::try_from(number % 256).unwrap()));
            assert_eq!(passed, number < QUIC_MISROUTED_MAX, "datagram {number}");
        }
        first.notify();
        events[1].wait().unwrap();
        assert!(first.is_empty(), "nothing was for the thread itself");
        assert_eq!([second.next(), second.next()].map(|one| one.unwrap().bytes[0]), [0, 1]);
    }
}
