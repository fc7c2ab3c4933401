//! The payload of a Close frame: RFC 6455 §5.5.1 and §7.4.

use super::WsError;

/// Whether this close code may be on the wire (RFC 6455 §7.4.1 and §7.4.2, and the IANA registry for 1012 to 1014).
/// 1004 is reserved; 1005, 1006 and 1015 only name a state inside a program.
#[must_use]
pub const fn close_code_on_wire(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Code and reason of a Close payload; both are missing when it is empty.
///
/// # Errors
/// [`WsError::BadClose`] for one byte or a code that must not be sent, [`WsError::BadUtf8`] for the reason.
pub fn parse_close(payload: &[u8]) -> Result<(Option<u16>, &str), WsError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok((None, "")) } else { Err(WsError::BadClose) };
    };
    let code = u16::from_be_bytes(*code);
    if !close_code_on_wire(code) {
        return Err(WsError::BadClose);
    }
    let reason = simdutf8::basic::from_utf8(reason).map_err(|_| WsError::BadUtf8)?;
    Ok((Some(code), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &[u8], expect: Result<(Option<u16>, &str), WsError>) {
        assert_eq!(parse_close(payload), expect, "{payload:02x?}");
    }

    #[test]
    fn given_a_close_payload_when_parsed_then_only_sendable_codes_pass() {
        check(b"", Ok((None, "")));
        check(b"\x03", Err(WsError::BadClose));
        check(b"\x03\xe8", Ok((Some(1000), "")));
        check(b"\x03\xe8bye", Ok((Some(1000), "bye")));
        check(b"\x03\xe8\xff", Err(WsError::BadUtf8));
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            check(&code.to_be_bytes(), Err(WsError::BadClose));
        }
        for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
            check(&code.to_be_bytes(), Ok((Some(code), "")));
        }
    }
}
