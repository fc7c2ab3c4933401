//! Which thread a datagram is for.
//!
//! Each thread has its own socket and its own connections. A client keeps its connection when its address changes, and the
//! kernel, left to itself, picks the socket by the address. So the connection ids that a thread gives out name it: their first
//! byte, modulo the number of threads, is the thread's index. The kernel is told to pick the socket by that byte
//! ([`crate::sys::steer_by_connection_id`]); where it does otherwise, the thread that got a datagram passes it on
//! ([`super::misrouted`]).
//!
//! The first datagrams of a client carry an id that it made up. They are for whichever thread gets them.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use std::time::Duration;

use crate::limits::QUIC_ID_BYTES;

/// Which of how many threads this is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Steering {
    /// Less than `threads`.
    index: u16,
    /// 1 to [`crate::limits::QUIC_THREADS_MAX`].
    threads: u16,
}

impl Steering {
    pub(super) const fn new(index: u16, threads: u16) -> Self {
        assert!(index < threads && threads <= crate::limits::QUIC_THREADS_MAX);
        Self { index, threads }
    }

    /// The other thread that has the connection of this datagram.
    pub(super) fn other_owner(self, datagram: &[u8]) -> Option<usize> {
        let owner = u16::from(first_id_byte(datagram)?) % self.threads;
        (owner != self.index).then_some(usize::from(owner))
    }

    /// An id that names this thread, from random bytes.
    fn id(self, mut random: [u8; QUIC_ID_BYTES]) -> [u8; QUIC_ID_BYTES] {
        let first = u16::from(random[0]);
        let mine = first - first % self.threads + self.index;
        random[0] = u8::try_from(mine).unwrap_or_else(|_| {
            u8::try_from(mine - self.threads).expect("one round less lies below the byte that it was made from")
        });
        random
    }
}

/// In the first byte of a packet, RFC 9000 §17.2.
const LONG: u8 = 0x80;
const TYPE: u8 = 0x30;
const HANDSHAKE: u8 = 0x20;

/// Whether a datagram begins with a Handshake packet, which is addressed to an id that a server has chosen.
pub(super) fn is_handshake(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & (LONG | TYPE) == LONG | HANDSHAKE)
}

/// The first byte of the id that a datagram is addressed to, if a server has chosen it: RFC 9000 §17.2 and §17.3, and §5.2 of
/// RFC 8999 for the place of the id.
fn first_id_byte(datagram: &[u8]) -> Option<u8> {
    let first = *datagram.first()?;
    if first & LONG == 0 {
        return datagram.get(1).copied();
    }
    // 0-RTT and the first Initial carry an id that the client made up, or that a Retry gave. A later Initial, which acknowledges the
    // server's, carries the server's; it is not told from the first one, and comes to the same thread while the client's address
    // stays.
    if is_handshake(datagram) { datagram.get(6).copied() } else { None }
}

/// Makes the connection ids of a thread.
impl ConnectionIdGenerator for Steering {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut random = [0; QUIC_ID_BYTES];
        getrandom::fill(&mut random).expect("the system gives random bytes");
        ConnectionId::new(&self.id(random))
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let is_mine = id.first().is_some_and(|&first| u16::from(first) % self.threads == self.index);
        if is_mine { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        QUIC_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_any_random_bytes_and_any_number_of_threads_then_an_id_names_its_thread() {
        for threads in [1, 2, 3, 7, 60, 128, 255, 256] {
            for index in [0, threads / 2, threads - 1] {
                let mut steering = Steering::new(index, threads);
                for first in 0..=u8::MAX {
                    let id = steering.id([first, 1, 2, 3, 4, 5, 6, 7]);
                    assert_eq!(u16::from(id[0]) % threads, index, "{first} for {index} of {threads}");
                    assert_eq!(id[1..], [1, 2, 3, 4, 5, 6, 7]);
                }
                let id = steering.generate_cid();
                assert!(steering.validate(&id).is_ok());
                assert_eq!(id.len(), steering.cid_len());
            }
        }
    }

    #[test]
    fn given_datagrams_then_those_with_an_id_of_another_thread_are_for_that_one_and_first_ones_for_whoever_gets_them() {
        let steering = Steering::new(1, 4);
        let long = |kind: u8| [0xC0 | kind, 0, 0, 0, 1, 8, 6, 9, 9, 9, 9, 9, 9, 9];
        let short = |id: u8| [0x40, id, 9, 9, 9, 9, 9, 9, 9];
        assert_eq!(steering.other_owner(&short(7)), Some(3));
        assert_eq!(steering.other_owner(&short(5)), None, "mine");
        for (kind, owner) in [(0x00, None), (0x10, None), (0x20, Some(2)), (0x30, None)] {
            assert_eq!(steering.other_owner(&long(kind)), owner, "Initial, 0-RTT, Handshake, Retry");
        }
        for length in 0..7 {
            assert_eq!(steering.other_owner(&long(0x20)[..length.min(6)]), None, "{length} bytes");
        }
        assert_eq!(steering.other_owner(&[0x40]), None);
    }
}
