//! Whose address counts as whose: what the limit on new connections goes by.

use std::net::IpAddr;

/// Where a connection comes from: an IPv4 address, or the /64 that an IPv6 host picks its addresses from.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum AddressBlock {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for AddressBlock {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_addresses_then_those_of_one_host_are_the_same_and_others_are_not() {
        let block = |text: &str| AddressBlock::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff::9"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
        assert_eq!(block("192.0.2.1"), block("::ffff:192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
    }
}
