//! Which sockets are ready: one io_uring of each thread that holds nothing but polls.
//!
//! A connection is watched by a single poll for all of its life (`IORING_POLL_ADD_MULTI`), which tells of every arrival and
//! is named by slot and epoch. So an idle connection costs its socket and a poll in the kernel, and no task, waker or entry
//! of a driver here; and reading costs no submission.
//!
//! What becomes ready the kernel only notes down, and works off when the thread asks ([`PollRing::next`]): system calls on
//! sockets are not held up by it, and a busy thread is not signalled. Monoio runs everything else of a thread and sleeps
//! for it: while it may sleep ([`PollRing::prepare_sleep`]) what becomes ready signals the thread's eventfd, which monoio
//! reads.
//!
//! Such a poll tells of *changes*: a socket that was told of and not read to its end is told of again only when more arrives.
//! The reader remembers ([`crate::readiness`]).
//!
//! A driver module with unsafe code: entries are pushed to the ring. A poll points to no memory.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;
use switchyard_gateway_core::wheel::Slot;
use switchyard_ring::EventFd;

use crate::limits::{POLL_COMPLETIONS, POLL_ENTRIES};

/// Bits of an epoch: with a slot and two bits for what was asked they fill a `u64`.
pub(crate) const EPOCH_BITS: u32 = 30;

/// What was asked about a connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Asked {
    Readable,
    Writable,
}

/// The name of what nobody waits for.
const NOBODY: u64 = u64::MAX;

/// Something became ready.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ready {
    pub(crate) slot: Slot,
    pub(crate) epoch: u32,
    pub(crate) what: What,
}

/// What became ready.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// Bytes have arrived, or the end.
    Readable {
        /// The peer has closed its side, or the connection is broken.
        ended: bool,
        /// The poll has ended; to hear more, watch again.
        unwatched: bool,
    },
    /// The socket takes bytes again.
    Writable,
}

/// The polls of one thread. Used only by the thread that made it.
pub(crate) struct PollRing {
    ring: IoUring,
    /// Entries for the next [`PollRing::submit`]: at most a few for each connection that was opened, blocked or closed.
    queued: VecDeque<squeue::Entry>,
}

impl PollRing {
    /// A ring for the calling thread. Whenever something becomes ready while the thread may sleep, `event` is signalled.
    ///
    /// # Errors
    /// When the kernel gives no such io_uring.
    pub(crate) fn new(event: &EventFd) -> io::Result<Self> {
        let ring = make_ring()?;
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Self { ring, queued: VecDeque::new() })
    }

    /// Tells whenever bytes arrive, and of the end, until [`PollRing::forget`].
    pub(crate) fn watch(&mut self, socket: BorrowedFd<'_>, slot: Slot, epoch: u32) {
        let events = PollFlags::IN | PollFlags::RDHUP;
        let poll = opcode::PollAdd::new(Fd(socket.as_raw_fd()), u32::from(events.bits())).multi(true).build();
        self.queued.push_back(poll.user_data(name(Asked::Readable, slot, epoch)));
    }

    /// Tells once when the socket takes bytes.
    pub(crate) fn watch_writable(&mut self, socket: BorrowedFd<'_>, slot: Slot, epoch: u32) {
        let events = u32::from(PollFlags::OUT.bits());
        let poll = opcode::PollAdd::new(Fd(socket.as_raw_fd()), events).build();
        self.queued.push_back(poll.user_data(name(Asked::Writable, slot, epoch)));
    }

    /// Tells no more of a connection. Its socket is closed for good when this has been submitted and [`PollRing::next`] has
    /// found nothing more: polls hold it.
    pub(crate) fn forget(&mut self, slot: Slot, epoch: u32, awaits_writable: bool) {
        let mut remove = |asked| {
            let remove = opcode::PollRemove::new(name(asked, slot, epoch)).build();
            self.queued.push_back(remove.flags(squeue::Flags::SKIP_SUCCESS).user_data(NOBODY));
        };
        remove(Asked::Readable);
        if awaits_writable {
            remove(Asked::Writable);
        }
    }

    /// Hands the kernel what was asked for. `true` when some of it has to be tried again, because memory is short.
    ///
    /// # Panics
    /// When the kernel refuses for a reason that only our own bug explains.
    pub(crate) fn submit(&mut self) -> bool {
        loop {
            let mut submission = self.ring.submission();
            while let Some(entry) = self.queued.front() {
                // SAFETY: polls, and removals of polls, point to no memory.
                if unsafe { submission.push(entry) }.is_err() {
                    break;
                }
                self.queued.pop_front();
            }
            if submission.is_empty() {
                return false;
            }
            drop(submission);
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::INTR) => {}
                    Some(Errno::AGAIN | Errno::BUSY) => return true,
                    _ => panic!("io_uring takes no poll: {error}"),
                },
            }
        }
    }

    /// The next socket that is ready. A connection may have ended meanwhile: its epoch tells.
    pub(crate) fn next(&mut self) -> Option<Ready> {
        loop {
            let mut completion = self.ring.completion().next();
            if completion.is_none() && self.kernel_holds_some() {
                // Handed over now, or at the next try.
                let _ = self.ring.submit();
                completion = self.ring.completion().next();
            }
            if let Some(ready) = ready(&completion?) {
                return Some(ready);
            }
        }
    }

    /// Whether [`PollRing::next`] may have something.
    pub(crate) fn has_ready(&mut self) -> bool {
        !self.ring.completion().is_empty() || self.kernel_holds_some()
    }

    /// Something was noted down and not worked off, or became ready when the queue was full.
    fn kernel_holds_some(&mut self) -> bool {
        let submission = self.ring.submission();
        submission.taskrun() || submission.cq_overflow()
    }

    /// From now on what becomes ready signals the thread's eventfd. Look at [`PollRing::has_ready`] once more before
    /// sleeping.
    pub(crate) fn prepare_sleep(&mut self) {
        self.ring.completion().enable_eventfd();
        // The kernel notes down before it looks whether to signal; here it is the other way round, and one of the two sees
        // what the other did.
        fence(Ordering::SeqCst);
    }

    /// The thread runs, and looks by itself.
    pub(crate) fn awake(&mut self) {
        self.ring.completion().disable_eventfd();
    }
}

/// A ring as a thread uses it. One issuer, which runs the work that is due itself when it asks for completions: the kernel
/// takes no lock and interrupts nobody, and its flag says when there is some.
///
/// # Errors
/// When the kernel gives no such io_uring.
pub(crate) fn make_ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_cqsize(POLL_COMPLETIONS);
    builder.build(POLL_ENTRIES)
}

fn name(asked: Asked, slot: Slot, epoch: u32) -> u64 {
    u64::from(slot) | u64::from(epoch) << 32 | (asked as u64) << (32 + EPOCH_BITS)
}

/// What a completion says; `None` when nobody waits for it.
#[expect(clippy::cast_possible_truncation, reason = "the parts of a name")]
fn ready(completion: &cqueue::Entry) -> Option<Ready> {
    let name = completion.user_data();
    if name == NOBODY || completion.result() == -Errno::CANCELED.raw_os_error() {
        return None;
    }
    let (slot, epoch) = (name as u32, (name >> 32) as u32 & ((1 << EPOCH_BITS) - 1));
    let what = if name >> (32 + EPOCH_BITS) == Asked::Readable as u64 {
        let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        // A poll that failed is taken for the end: the read that follows says what is the matter.
        let ended = u16::try_from(completion.result()).map_or(true, |bits| bits & ends.bits() != 0);
        What::Readable { ended, unwatched: !cqueue::more(completion.flags()) }
    } else {
        What::Writable
    };
    Some(Ready { slot, epoch, what })
}

impl std::fmt::Debug for PollRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollRing").field("queued", &self.queued.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// What is told next, which must come; slept for as a thread does.
    fn told(polls: &mut PollRing, event: &EventFd) -> Ready {
        loop {
            if let Some(ready) = polls.next() {
                return ready;
            }
            polls.prepare_sleep();
            if !polls.has_ready() {
                event.wait().unwrap();
            }
            polls.awake();
        }
    }

    fn is_signalled(event: &EventFd) -> bool {
        let mut events = [rustix::event::PollFd::new(event, PollFlags::IN)];
        rustix::event::poll(&mut events, Some(&rustix::event::Timespec::default())).unwrap() > 0
    }

    const fn readable(slot: Slot, epoch: u32, ended: bool) -> Ready {
        Ready { slot, epoch, what: What::Readable { ended, unwatched: false } }
    }

    #[test]
    fn given_a_watched_socket_when_bytes_arrive_again_and_again_then_one_poll_tells_each_time_and_of_the_end() {
        let event = EventFd::new().unwrap();
        let mut polls = PollRing::new(&event).unwrap();
        let (mut client, server) = connected();
        server.set_nonblocking(true).unwrap();
        polls.watch(server.as_fd(), 7, 3);
        assert!(!polls.submit());
        for _ in 0..3 {
            client.write_all(b"x").unwrap();
            assert_eq!(told(&mut polls, &event), readable(7, 3, false));
            io::copy(&mut &server, &mut io::sink()).unwrap_err();
            assert_eq!(polls.next(), None);
        }
        drop(client);
        assert_eq!(told(&mut polls, &event), readable(7, 3, true));
    }

    #[test]
    fn given_a_running_thread_when_bytes_arrive_then_it_finds_them_and_is_not_signalled_until_it_may_sleep() {
        let event = EventFd::new().unwrap();
        let mut polls = PollRing::new(&event).unwrap();
        let (mut client, server) = connected();
        polls.watch(server.as_fd(), 7, 3);
        assert!(!polls.submit());
        polls.awake();
        client.write_all(b"x").unwrap();
        assert!(polls.has_ready(), "loopback hands bytes over before the write returns");
        assert_eq!(polls.next(), Some(readable(7, 3, false)));
        assert!(!is_signalled(&event));
        polls.prepare_sleep();
        assert!(!polls.has_ready());
        client.write_all(b"x").unwrap();
        assert!(is_signalled(&event));
    }

    #[test]
    fn given_a_forgotten_socket_then_nothing_more_is_told_and_the_peer_sees_it_closed() {
        let event = EventFd::new().unwrap();
        let mut polls = PollRing::new(&event).unwrap();
        let (client, server) = connected();
        polls.watch(server.as_fd(), 1, 1);
        polls.watch_writable(server.as_fd(), 1, 1);
        assert!(!polls.submit());
        assert_eq!(told(&mut polls, &event), Ready { slot: 1, epoch: 1, what: What::Writable });
        polls.forget(1, 1, true);
        drop(server);
        assert!(!polls.submit());
        assert_eq!(polls.next(), None);
        assert_eq!(io::copy(&mut &client, &mut io::sink()).unwrap(), 0, "the poll holds the socket no more");
    }

    #[test]
    fn given_more_sockets_ready_at_once_than_the_queues_hold_then_each_is_told() {
        let event = EventFd::new().unwrap();
        let mut polls = PollRing::new(&event).unwrap();
        let (mut client, server) = connected();
        let slots = POLL_COMPLETIONS + POLL_ENTRIES;
        for slot in 0..slots {
            polls.watch(server.as_fd(), slot, 1);
        }
        assert!(!polls.submit());
        client.write_all(b"x").unwrap();
        let mut seen = vec![false; slots as usize];
        for _ in 0..slots {
            let ready = told(&mut polls, &event);
            assert!(matches!(ready.what, What::Readable { ended: false, .. }));
            assert!(!std::mem::replace(&mut seen[ready.slot as usize], true), "each is told once");
        }
        assert!(seen.into_iter().all(|seen| seen));
    }
}
