//! The token a session is opened with, and when a new one is wanted.

use switchyard_schema::ids::Millis;

use crate::limits::{RENEW_BEFORE_MS, RENEW_LIFE_PART, TOKEN_REFUSALS_MAX};

/// What to do with a token that the driver brought.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fresh {
    /// Use it.
    Use,
    /// It is the one already in use: nothing to renew.
    Same,
    /// Ask again after a back-off: the server says that tokens have expired which by this device's clock have not.
    Later,
    /// It is the one that was refused, or too many were: there is no use in trying.
    GiveUp,
}

/// Why the server did not take a token.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// It is not valid, and never will be.
    Invalid,
    /// By the server's clock it has ended. Clocks are wrong at times, and are set right again.
    Expired,
}

#[derive(Debug, Default)]
pub(crate) struct Tokens {
    token: Option<String>,
    expires: Option<Millis>,
    ask_at: Option<Millis>,
    asked: bool,
    /// Why the server did not take `token`.
    refused: Option<Refusal>,
    /// A server has welcomed the client and not refused a token since.
    welcomed: bool,
    /// `token` came after the Welcome of the present session: what the server says of that session is about the one before.
    renewed: bool,
    refusals: u32,
    /// Refusals in a row in which server and device did not agree about the time.
    disputes: u32,
    /// Since the last of those the client has waited.
    waited: bool,
    failures: u32,
}

impl Tokens {
    /// The token, unless it was refused or has expired.
    pub(crate) fn usable(&self, now: Millis) -> Option<&str> {
        let valid = self.refused.is_none() && self.expires.is_none_or(|expires| now < expires);
        self.token.as_deref().filter(|_| valid)
    }

    /// Whether a token must be asked for; it counts as asked then.
    pub(crate) const fn ask(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// Takes a token that is valid for so long. Whether one that seems to have expired really has is for the server to
    /// say: this device's clock may be wrong.
    pub(crate) fn on_token(&mut self, now: Millis, token: String, valid_for_ms: Option<u64>) -> Fresh {
        let same = self.token.as_deref() == Some(&token);
        let valid_for_ms = valid_for_ms.filter(|&millis| millis > 0);
        let again = self.refused.filter(|_| same);
        let disputed = again == Some(Refusal::Expired) && valid_for_ms.is_some();
        if (again.is_some() && !disputed) || self.refusals >= TOKEN_REFUSALS_MAX {
            return Fresh::GiveUp;
        }
        self.asked = false;
        self.failures = 0;
        if (disputed || self.disputes > 1) && !std::mem::replace(&mut self.waited, true) {
            return Fresh::Later;
        }
        self.token = Some(token);
        self.refused = None;
        self.renewed |= self.welcomed && !same;
        self.expires = valid_for_ms.map(|millis| now.plus(millis));
        self.ask_at = valid_for_ms.filter(|_| !same).map(|millis| {
            let lead = RENEW_BEFORE_MS.min(millis / RENEW_LIFE_PART);
            now.plus(millis - lead)
        });
        if same && again.is_none() { Fresh::Same } else { Fresh::Use }
    }

    /// No token could be had. Returns how often in a row.
    pub(crate) const fn on_failed(&mut self) -> u32 {
        self.asked = false;
        self.ask_at = None;
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// Asks again at `at`.
    pub(crate) const fn ask_again(&mut self, at: Millis) {
        self.ask_at = Some(at);
    }

    /// The server did not take the token. When a newer one has come meanwhile, that one is tried first.
    ///
    /// A token that the server takes for expired and this device does not counts for nothing but a longer wait: one of the
    /// two clocks is wrong, and the same token is good again when that one is set right.
    pub(crate) fn on_refused(&mut self, now: Millis, refusal: Refusal) {
        self.welcomed = false;
        if std::mem::replace(&mut self.renewed, false) {
            return;
        }
        if refusal == Refusal::Expired && self.expires.is_some_and(|expires| now < expires) {
            self.disputes = self.disputes.saturating_add(1);
        } else {
            self.refusals += 1;
        }
        self.refused = Some(refusal);
        self.waited = false;
        self.ask_at = None;
    }

    /// How often in a row server and device did not agree about the time.
    pub(crate) const fn disputes(&self) -> u32 {
        self.disputes
    }

    /// The server took the token.
    pub(crate) const fn on_welcome(&mut self) {
        (self.refusals, self.disputes) = (0, 0);
        (self.welcomed, self.renewed) = (true, false);
    }

    /// When a new token is to be asked for.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        self.ask_at.filter(|_| !self.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_token_with_an_end_when_it_comes_near_then_a_new_one_is_wanted_before() {
        let mut tokens = Tokens::default();
        for (valid_for_ms, asked_after_ms) in [(3_600_000, 3_540_000), (100_000, 80_000), (1_000, 800)] {
            assert_eq!(tokens.on_token(Millis(5), valid_for_ms.to_string(), Some(valid_for_ms)), Fresh::Use);
            assert_eq!(tokens.next_timeout(), Some(Millis(5 + asked_after_ms)));
            assert!(tokens.usable(Millis(4 + valid_for_ms)).is_some());
            assert!(tokens.usable(Millis(5 + valid_for_ms)).is_none());
        }
    }

    #[test]
    fn given_a_refused_token_when_the_same_comes_again_then_the_client_gives_up() {
        let mut tokens = Tokens::default();
        tokens.on_token(Millis(0), "a".into(), None);
        tokens.on_refused(Millis(1), Refusal::Invalid);
        assert_eq!(tokens.usable(Millis(1)), None);
        assert_eq!(tokens.on_token(Millis(1), "a".into(), None), Fresh::GiveUp);
        assert_eq!(tokens.on_token(Millis(1), "b".into(), None), Fresh::Use);
        assert_eq!(tokens.usable(Millis(1)), Some("b"));
    }

    #[test]
    fn given_a_newer_token_when_the_session_of_the_one_before_ends_then_the_newer_one_is_tried_once() {
        let mut tokens = Tokens::default();
        tokens.on_token(Millis(0), "a".into(), None);
        tokens.on_welcome();
        tokens.on_token(Millis(1), "b".into(), None);
        tokens.on_refused(Millis(2), Refusal::Expired);
        assert_eq!(tokens.usable(Millis(2)), Some("b"));
        tokens.on_refused(Millis(2), Refusal::Expired);
        assert_eq!(tokens.usable(Millis(2)), None);
    }

    #[test]
    fn given_the_same_token_again_when_it_was_not_refused_then_it_is_not_asked_for_once_more() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.on_token(Millis(0), "a".into(), Some(1_000)), Fresh::Use);
        assert!(tokens.ask());
        assert_eq!(tokens.on_token(Millis(800), "a".into(), Some(200)), Fresh::Same);
        assert_eq!(tokens.next_timeout(), None);
        assert_eq!(tokens.on_token(Millis(2_000), "a".into(), Some(0)), Fresh::Same);
        assert_eq!(tokens.usable(Millis(2_000)), Some("a"), "the server decides whether it has expired");
    }

    #[test]
    fn given_several_refused_tokens_in_a_row_when_another_comes_then_the_client_gives_up() {
        let mut tokens = Tokens::default();
        for number in 0..TOKEN_REFUSALS_MAX {
            assert_eq!(tokens.on_token(Millis(0), number.to_string(), None), Fresh::Use);
            tokens.on_refused(Millis(0), Refusal::Expired);
        }
        assert_eq!(tokens.on_token(Millis(0), "next".into(), None), Fresh::GiveUp);
    }
    #[test]
    fn given_a_token_that_only_the_server_takes_for_expired_when_it_comes_again_then_it_is_tried_after_a_wait() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.on_token(Millis(0), "a".into(), Some(90_000)), Fresh::Use);
        for round in 1..=2 * TOKEN_REFUSALS_MAX {
            tokens.on_refused(Millis(1), Refusal::Expired);
            assert_eq!(tokens.disputes(), round);
            assert_eq!(tokens.on_token(Millis(1), "a".into(), Some(90_000)), Fresh::Later);
            assert_eq!(tokens.usable(Millis(1)), None);
            assert_eq!(tokens.on_token(Millis(1), "a".into(), Some(90_000)), Fresh::Use);
            assert_eq!(tokens.usable(Millis(1)), Some("a"));
        }
    }

    #[test]
    fn given_ever_new_tokens_that_only_the_server_takes_for_expired_when_another_comes_then_the_first_is_used_at_once()
    {
        let mut tokens = Tokens::default();
        tokens.on_token(Millis(0), "a".into(), Some(90_000));
        tokens.on_refused(Millis(1), Refusal::Expired);
        assert_eq!(tokens.on_token(Millis(1), "b".into(), Some(90_000)), Fresh::Use);
        tokens.on_refused(Millis(1), Refusal::Expired);
        assert_eq!(tokens.on_token(Millis(1), "c".into(), Some(90_000)), Fresh::Later);
        assert_eq!(tokens.on_token(Millis(1), "d".into(), Some(90_000)), Fresh::Use);
    }

    #[test]
    fn given_an_expired_token_when_it_comes_again_and_is_over_by_this_clock_too_then_the_client_gives_up() {
        for valid_for_ms in [Some(0), None] {
            let mut tokens = Tokens::default();
            tokens.on_token(Millis(0), "a".into(), valid_for_ms);
            tokens.on_refused(Millis(1), Refusal::Expired);
            assert_eq!(tokens.on_token(Millis(1), "a".into(), valid_for_ms), Fresh::GiveUp);
        }
    }
}
