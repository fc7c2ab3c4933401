//! Several ways to one server, tried with a head start for the better ones (RFC 8305 §5).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use switchyard_client_core::Wait;
use tokio::time::sleep;

use super::TransportError;

/// One way to the server.
pub(crate) type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send + 'a>>;

/// Begins each attempt when the one before it has failed, or has had its head start. The first that succeeds wins, and the
/// others are given up. A refusal that says when to come back ends the race too: the other ways lead to the same server.
///
/// # Errors
/// The refusal, or what failed last.
pub(crate) async fn first<T>(attempts: Vec<Attempt<'_, T>>, head_start: Duration) -> Result<T, TransportError> {
    let mut waiting = attempts.into_iter();
    let mut underway: FuturesUnordered<_> = waiting.next().into_iter().collect();
    let mut failure = TransportError::NoAddress;
    loop {
        tokio::select! {
            Some(tried) = underway.next() => match tried {
                Ok(opened) => return Ok(opened),
                Err(error) if error.wait() != Wait::Unknown => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, "one way to the server failed");
                    failure = error;
                    underway.extend(waiting.next());
                }
            },
            () = sleep(head_start), if waiting.len() > 0 => underway.extend(waiting.next()),
            else => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Mutex;

    use super::*;

    const HEAD_START: Duration = Duration::from_millis(250);

    /// Notes when it begins, after which it takes `takes` (`None`: for ever) to end in `result`.
    fn attempt<'a>(
        begun: &'a Mutex<Vec<u8>>,
        name: u8,
        takes: Option<Duration>,
        result: Result<(), TransportError>,
    ) -> Attempt<'a, u8> {
        Box::pin(async move {
            begun.lock().unwrap().push(name);
            match takes {
                Some(takes) => sleep(takes).await,
                None => pending().await,
            }
            result.map(|()| name)
        })
    }

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
    const WITHIN: Option<Duration> = Some(Duration::from_millis(200));
    const LATE: Option<Duration> = Some(Duration::from_millis(300));

    #[tokio::test(start_paused = true)]
    async fn given_two_ways_when_the_first_answers_within_its_head_start_then_the_second_is_not_begun() {
        let begun = Mutex::default();
        let ways = vec![attempt(&begun, 1, WITHIN, Ok(())), attempt(&begun, 2, AT_ONCE, Ok(()))];
        assert_eq!(first(ways, HEAD_START).await.unwrap(), 1);
        assert_eq!(*begun.lock().unwrap(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_way_that_is_silent_when_its_head_start_is_over_then_the_next_one_wins_or_it_does_after_all() {
        let begun = Mutex::default();
        let ways = vec![attempt(&begun, 1, None, Ok(())), attempt(&begun, 2, AT_ONCE, Ok(()))];
        assert_eq!(first(ways, HEAD_START).await.unwrap(), 2);
        let ways = vec![attempt(&begun, 3, LATE, Ok(())), attempt(&begun, 4, None, Ok(()))];
        assert_eq!(first(ways, HEAD_START).await.unwrap(), 3);
        assert_eq!(*begun.lock().unwrap(), [1, 2, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_way_that_fails_then_the_next_one_begins_without_waiting() {
        let begun = Mutex::default();
        let ways = vec![attempt(&begun, 1, AT_ONCE, Err(TransportError::Timeout)), attempt(&begun, 2, AT_ONCE, Ok(()))];
        let started = tokio::time::Instant::now();
        assert_eq!(first(ways, HEAD_START).await.unwrap(), 2);
        assert!(started.elapsed() < HEAD_START, "by the clock of the test");
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_refusal_with_a_time_then_the_race_is_over_and_without_one_the_last_failure_counts() {
        let begun = Mutex::default();
        let refusal = TransportError::SentAway { code: 1013, comeback_ms: 700 };
        let ways = vec![attempt(&begun, 1, LATE, Err(refusal)), attempt(&begun, 2, None, Ok(()))];
        assert_eq!(first(ways, HEAD_START).await.unwrap_err().wait(), Wait::Exactly(700));
        let ways = vec![attempt(&begun, 3, AT_ONCE, Err(TransportError::Timeout))];
        assert!(matches!(first(ways, HEAD_START).await, Err(TransportError::Timeout)));
        let none: Vec<Attempt<'_, ()>> = vec![];
        assert!(matches!(first(none, HEAD_START).await, Err(TransportError::NoAddress)));
        assert!(matches!(first(vec![Box::pin(ready(Ok(())))], HEAD_START).await, Ok(())));
    }
}
