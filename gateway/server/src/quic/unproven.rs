//! What may be sent to an address that may be forged: three times what came from it (RFC 9000 §8.1).
//!
//! quinn-proto sees to that but for the last datagram, which it begins while one byte of it is within the limit. So connections
//! whose client has not proven its address are counted here as well, in whole datagrams.

use super::steering::is_handshake;

/// How much may be sent for what came.
const FACTOR: u64 = 3;

/// A datagram that came for a connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Came {
    bytes: u64,
    /// Whether it proves the address: it is addressed to an id that this server has made up and told the address alone, or it had
    /// not found the connection (RFC 9000 §8.1).
    proves: bool,
}

impl Came {
    pub(super) fn of(datagram: &[u8]) -> Self {
        Self { bytes: datagram.len() as u64, proves: is_handshake(datagram) }
    }
}

/// The account of a connection whose client's address is not proven.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Unproven {
    received_bytes: u64,
    sent_bytes: u64,
}

impl Unproven {
    /// Begins with the client's first datagram.
    pub(super) const fn new(first: Came) -> Self {
        Self { received_bytes: first.bytes, sent_bytes: 0 }
    }

    /// After another datagram. Nothing is counted any more when the address is proven.
    pub(super) fn after(self, came: Came) -> Option<Self> {
        (!came.proves).then_some(Self { received_bytes: self.received_bytes + came.bytes, ..self })
    }

    /// How many datagrams of this size may be sent.
    pub(super) fn datagrams(self, datagram_bytes: u16) -> usize {
        let left_bytes = (FACTOR * self.received_bytes).saturating_sub(self.sent_bytes);
        usize::try_from(left_bytes / u64::from(datagram_bytes)).unwrap_or(usize::MAX)
    }

    pub(super) const fn on_sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: u8 = 0xC0;
    const HANDSHAKE: u8 = 0xE0;

    fn came(first: u8, bytes: usize) -> Came {
        let mut datagram = vec![0; bytes];
        datagram[0] = first;
        Came::of(&datagram)
    }

    #[test]
    fn given_what_has_come_then_no_datagram_goes_out_that_is_not_wholly_within_three_times_that() {
        let mut unproven = Unproven::new(came(INITIAL, 1_201));
        assert_eq!(unproven.datagrams(1_200), 3);
        unproven.on_sent(3 * 1_200);
        assert_eq!(unproven.datagrams(1_200), 0, "three bytes are left");
        let mut unproven = unproven.after(came(INITIAL, 40)).expect("nothing is proven");
        assert_eq!((unproven.datagrams(1_200), unproven.datagrams(100)), (0, 1));
        unproven.on_sent(10_000);
        assert_eq!(unproven.datagrams(1), 0);
    }

    #[test]
    fn given_a_packet_to_an_id_of_the_servers_then_the_address_is_proven() {
        let unproven = Unproven::new(came(INITIAL, 1_200));
        assert_eq!(unproven.after(came(HANDSHAKE, 50)), None);
    }
}
