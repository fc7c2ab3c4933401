//! What a client has told of its transport, as far as it is used.
//!
//! A client says how many connection ids it takes at a time (RFC 9000 §18.2), and quinn-proto gives it as many, up to eight. Each
//! is an entry in four tables here, a hundred and fifty bytes for a connection that hardly ever uses a second one. Two are
//! what everybody has to take and what a client needs to go on from another address; when it does, it gets the next.

use quinn_proto::coding::Codec as _;
use quinn_proto::transport_parameters::{Error, TransportParameters};
use quinn_proto::{Side, VarInt};

/// `active_connection_id_limit`. Who does not name it takes two.
const IDS_MAX: VarInt = VarInt::from_u32(0x0e);

/// Reads what a client has told.
///
/// # Errors
/// When it may not say that.
pub(super) fn read(told: &[u8]) -> Result<TransportParameters, Error> {
    // Also what is left out must be right.
    TransportParameters::read(Side::Server, &mut &*told)?;
    TransportParameters::read(Side::Server, &mut &*without(IDS_MAX, told))
}

/// The parameters but for one. They are known to be well-formed.
fn without(left_out: VarInt, told: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::with_capacity(told.len()), told);
    while !rest.is_empty() {
        let mut behind = rest;
        let (Ok(id), Ok(value_bytes)) = (VarInt::decode(&mut behind), VarInt::decode(&mut behind)) else { break };
        let value_bytes = usize::try_from(value_bytes.into_inner()).unwrap_or(usize::MAX).min(behind.len());
        let (one, others) = rest.split_at(rest.len() - behind.len() + value_bytes);
        if id != left_out {
            kept.extend_from_slice(one);
        }
        rest = others;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_parameters_of_all_lengths_when_one_is_left_out_then_the_others_are_as_they_were() {
        let (first, limit, last) = ([0x01, 0x02, 0x67, 0x10], [0x0e, 0x01, 0x08], [0x7f, 0xff, 0x40, 0x03, 1, 2, 3]);
        let told = [&first[..], &limit, &last].concat();
        assert_eq!(without(IDS_MAX, &told), [&first[..], &last].concat());
        assert_eq!(without(IDS_MAX, &first), first);
        assert!(without(IDS_MAX, &[]).is_empty());
    }

    #[test]
    fn given_a_limit_that_nobody_may_have_when_read_then_it_is_refused_although_it_is_not_used() {
        assert!(read(&[0x0e, 0x01, 0x08]).is_ok());
        assert!(read(&[0x0e, 0x01, 0x01]).is_err());
        assert!(read(&[0x0e, 0x01, 0x08, 0x0e, 0x01, 0x08]).is_err(), "twice");
    }
}
