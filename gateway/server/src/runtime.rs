//! One thread's io_uring runtime: what accepts connections, hears the doorbell and sleeps. Connections have a ring of their
//! own ([`crate::poll_ring`]).

use std::io;

use io_uring::{Probe, opcode};
use io_uring_monoio as monoio_ring;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

use crate::limits::RUNTIME_ENTRIES;
use crate::poll_ring;

/// The runtime of the calling thread, which must be the one that uses it: the ring accepts no other.
///
/// Monoio sets no ring flags of its own. One issuer lets the kernel skip locks; cooperative task work, with the flag that
/// tells when there is some, spares an interrupt per completion. Deferred task work is left out on purpose: with it a ring
/// starves while tasks never run out.
///
/// # Errors
/// When io_uring is missing, disabled, or out of locked memory.
pub(crate) fn build() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let ring = ring_builder();
    RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(RUNTIME_ENTRIES).enable_timer().build()
}

fn ring_builder() -> monoio_ring::Builder {
    let mut ring = monoio_ring::IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
    ring
}

/// What a thread asks its two rings for; sockets are read and written by system calls.
const OPERATIONS: &[(&str, u8)] = &[
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("POLL_REMOVE", opcode::PollRemove::CODE),
    ("READ", opcode::Read::CODE),
    ("TIMEOUT", opcode::Timeout::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ("CLOSE", opcode::Close::CODE),
];

/// Makes the rings of a gateway thread, and asks for everything that a thread uses. What this kernel lacks is
/// returned: operations, and `CQE_SKIP`, an operation that is silent when it succeeds.
///
/// # Errors
/// When no such ring can be made: io_uring is missing or disabled, or the kernel is too old for how it is set up.
pub fn missing_ring_operations() -> io::Result<Vec<&'static str>> {
    let _runtime: monoio_ring::IoUring = ring_builder().build(RUNTIME_ENTRIES)?;
    let ring = poll_ring::make_ring()?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let silent = ring.params().is_feature_skip_cqe_on_success();
    let missing = OPERATIONS.iter().filter(|(_, code)| !probe.is_supported(*code)).map(|(name, _)| *name);
    Ok(missing.chain((!silent).then_some("CQE_SKIP")).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::rc::Rc;

    use monoio::net::TcpStream;

    use super::RUNTIME_ENTRIES;

    /// Monoio panics when its submission queue stays full; more entries than fit are submitted in between instead.
    #[test]
    fn given_more_polls_at_once_than_the_queue_holds_then_all_complete() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        super::build().unwrap().block_on(async move {
            let stream = Rc::new(TcpStream::from_std(accepted).unwrap());
            let completed = Rc::new(Cell::new(0));
            let polls: Vec<_> = (0..3 * RUNTIME_ENTRIES)
                .map(|_| {
                    let (stream, completed) = (stream.clone(), completed.clone());
                    monoio::spawn(async move {
                        stream.readable(false).await.unwrap();
                        completed.set(completed.get() + 1);
                    })
                })
                .collect();
            let begin = monoio::spawn(async move { client.write_all(b"x").unwrap() });
            begin.await;
            for poll in polls {
                poll.await;
            }
            assert_eq!(completed.get(), 3 * RUNTIME_ENTRIES);
        });
    }

    /// A cancelled accept of monoio loses the descriptor of a connection that came just then. A cancelled poll must not.
    #[test]
    fn given_a_poll_of_the_listener_that_is_cancelled_then_the_next_connection_is_not_lost() {
        let listener = crate::sys::listener("127.0.0.1:0".parse().unwrap(), 16, 1).unwrap();
        let address = listener.local_addr().unwrap();
        super::build().unwrap().block_on(async move {
            let listener = monoio::net::TcpListener::from_std(listener).unwrap();
            for _ in 0..100 {
                {
                    let mut poll = std::pin::pin!(listener.readable(false));
                    let polled = std::future::poll_fn(|context| std::task::Poll::Ready(poll.as_mut().poll(context)));
                    assert!(polled.await.is_pending());
                }
                let client = std::net::TcpStream::connect(address).unwrap();
                listener.readable(false).await.unwrap();
                let accepted = crate::sys::accept(&listener).unwrap();
                let accepted = std::net::TcpStream::from(accepted);
                assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
                assert!(accepted.nodelay().unwrap(), "it is inherited from the listener");
                let none = crate::sys::accept(&listener).map(drop).unwrap_err();
                assert_eq!(none.kind(), std::io::ErrorKind::WouldBlock);
            }
        });
    }
}
