//! Credits: how many requests one thread may have unanswered at another.

/// A plain counter, owned by the thread that asks; the thread that answers knows only the limit.
///
/// The link that carries the answers has `limit` reserved slots. A request takes a credit before it leaves and its
/// answer puts it back when it is popped, so there are never more answers on their way than reserved slots.
#[derive(Debug)]
pub struct Credits {
    free: usize,
    limit: usize,
}

impl Credits {
    /// All `limit` credits are free.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { free: limit, limit }
    }

    /// Takes a credit. `false` when none is free: the request has to wait.
    #[must_use]
    pub const fn take(&mut self) -> bool {
        match self.free.checked_sub(1) {
            Some(free) => {
                self.free = free;
                true
            }
            None => false,
        }
    }

    /// Puts a credit back: its answer has arrived, or its request was never sent.
    ///
    /// # Panics
    /// When none is out: somebody answered twice, which is our own bug.
    pub const fn put_back(&mut self) {
        assert!(self.free < self.limit, "a credit came back that was never taken");
        self.free += 1;
    }

    /// Credits that could be taken now.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.free
    }

    /// Credits there are.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::Credits;

    #[test]
    fn given_all_credits_taken_then_none_is_given_until_one_returns() {
        let mut credits = Credits::new(2);
        assert!(credits.take() && credits.take());
        assert!(!credits.take());
        credits.put_back();
        assert_eq!((credits.free(), credits.limit()), (1, 2));
        assert!(credits.take());
    }

    #[test]
    #[should_panic(expected = "never taken")]
    fn given_no_credit_out_then_putting_one_back_panics() {
        Credits::new(1).put_back();
    }
}
