//! A time at which something ends, or never: in the space of a time.

use switchyard_schema::ids::Millis;

/// When something ends. Each session has several, so none may cost more than the time itself.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Deadline(Millis);

impl Deadline {
    /// It does not end by itself.
    pub(crate) const NEVER: Self = Self(Millis(u64::MAX));

    pub(crate) const fn at(time: Millis) -> Self {
        Self(time)
    }

    pub(crate) fn is_set(self) -> bool {
        self != Self::NEVER
    }

    pub(crate) fn is_over(self, now: Millis) -> bool {
        self.is_set() && now >= self.0
    }

    /// The time; `None` for [`Deadline::NEVER`].
    pub(crate) fn time(self) -> Option<Millis> {
        self.is_set().then_some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_deadlines_then_each_is_over_at_its_time_and_never_is_later_than_all() {
        let (soon, never) = (Deadline::at(Millis(5)), Deadline::NEVER);
        assert_eq!(
            [soon.is_over(Millis(4)), soon.is_over(Millis(5)), never.is_over(Millis(u64::MAX))],
            [false, true, false]
        );
        assert_eq!((soon.min(never), soon.time(), never.time()), (soon, Some(Millis(5)), None));
    }
}
