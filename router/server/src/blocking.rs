//! Work that blocks, done on a thread of its own while the core goes on.
//!
//! It is rare: a segment is made, the manifest is written. A thread is made for each piece of work instead of using
//! glommio's pool, whose answers depend on the executor's own round (`docs/adr/0005-glommio-never-preempts.md`).

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;

use futures_util::task::AtomicWaker;

struct Answer<T> {
    value: Mutex<Option<io::Result<T>>>,
    listener: AtomicWaker,
}

/// Runs `work` on another thread.
///
/// # Errors
/// Those of `work`, and when the system gives no thread or `work` panics.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let answer = Arc::new(Answer { value: Mutex::new(None), listener: AtomicWaker::new() });
    let teller = Teller(answer.clone());
    thread::Builder::new().name("journal-folder".into()).spawn(move || teller.tell(work()))?;
    poll_fn(|context| {
        answer.listener.register(context.waker());
        match answer.take() {
            Some(value) => Poll::Ready(value),
            None => Poll::Pending,
        }
    })
    .await
}

impl<T> Answer<T> {
    fn take(&self) -> Option<io::Result<T>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Answers even when the work panics.
struct Teller<T>(Arc<Answer<T>>);

impl<T> Teller<T> {
    fn tell(&self, value: io::Result<T>) {
        *self.0.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell(Err(io::Error::other("the work panicked")));
        }
        self.0.listener.wake();
    }
}
