//! What clients resume with, and say things early with (0-RTT): kept here, each good for once.
//!
//! A ticket that only its reader has to keep can be used again and again, and everything that was said early with it as well. So a
//! client gets a name instead, and what it names is taken out when it comes (RFC 8446 §8.1): of all datagrams that repeat a
//! client's first ones, one at most is heard before the handshake. It is kept in memory, so what another process gave is not known,
//! and what this one gave is not after its end.
//!
//! rustls' own store looks through all of it to forget one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LinkedHashMap;
use rustls::server::StoresServerSessions;

use crate::counters::Counters;

/// What rustls names something with: random.
type Name = [u8; 32];

/// What clients may resume, for all threads.
pub(super) struct Resumptions {
    /// Oldest first. The lock is held for the length of one look, by handshakes only.
    known: Mutex<LinkedHashMap<Name, Box<[u8]>>>,
    max: usize,
}

impl Resumptions {
    /// Keeps `max` at most; the oldest is forgotten for the next one.
    pub(super) fn new(max: usize) -> Self {
        // It is not moved as it grows: a handshake would wait for that.
        Self { known: Mutex::new(LinkedHashMap::with_capacity(max)), max }
    }

    fn put(&self, name: Name, what: Box<[u8]>) -> bool {
        if self.max == 0 {
            return false;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == self.max {
            known.pop_front();
        }
        known.insert(name, what);
        true
    }

    fn take(&self, name: &Name) -> Option<Box<[u8]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name)
    }
}

/// Without keys.
impl fmt::Debug for Resumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumptions").field("max", &self.max).finish_non_exhaustive()
    }
}

/// The same for one thread, which counts.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) all: Arc<Resumptions>,
    pub(super) counters: Arc<Counters>,
}

impl StoresServerSessions for Counted {
    fn put(&self, name: Vec<u8>, what: Vec<u8>) -> bool {
        Name::try_from(name).is_ok_and(|name| self.all.put(name, what.into()))
    }

    /// Only older versions than QUIC speaks look without taking.
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        let taken = Name::try_from(name).ok().and_then(|name| self.all.take(&name));
        let counter = if taken.is_some() { &self.counters.quic_resumed } else { &self.counters.quic_not_resumed };
        counter.add(1);
        taken.map(Vec::from)
    }

    fn can_cache(&self) -> bool {
        self.all.max > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(number: u8) -> (Name, Box<[u8]>) {
        ([number; 32], Box::new([number]))
    }

    #[test]
    fn given_more_than_there_may_be_then_the_oldest_are_forgotten_and_each_is_good_for_once() {
        const MAX: usize = 3;
        let kept = Resumptions::new(MAX);
        for number in 0..10 {
            let (name, what) = named(number);
            assert!(kept.put(name, what));
            assert!(kept.known.lock().unwrap().len() <= MAX);
        }
        assert!((0..7).all(|number| kept.take(&named(number).0).is_none()));
        for number in [9, 7] {
            let (name, what) = named(number);
            assert_eq!((kept.take(&name), kept.take(&name)), (Some(what), None), "{number}");
        }
        // There is room now: nothing is forgotten for those that come.
        for number in [10, 11] {
            kept.put(named(number).0, named(number).1);
        }
        assert!([8, 10, 11].into_iter().all(|number| kept.take(&named(number).0).is_some()));
    }

    #[test]
    fn given_none_that_may_be_kept_then_no_client_is_given_a_name() {
        let counters = Arc::<Counters>::default();
        let none = Counted { all: Arc::new(Resumptions::new(0)), counters: counters.clone() };
        assert!(!none.can_cache() && !none.put(vec![1; 32], vec![1]));
        assert_eq!(none.take(&[1; 32]), None);
        assert_eq!((counters.quic_resumed.get(), counters.quic_not_resumed.get()), (0, 1));
    }
}
