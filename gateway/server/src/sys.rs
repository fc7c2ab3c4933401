//! The system calls that monoio has no form of: non-blocking socket calls, placement of threads, descriptor tables.
//!
//! The only file of this crate with unsafe code.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use monoio::net::TcpListener;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, bind, getpeername, ipproto,
    listen, recv, send, shutdown, socket_with, sockopt,
};
use rustix::thread::{CpuSet, UnshareFlags, sched_setaffinity, unshare_unsafe};

/// Reads what has arrived, without waiting. Zero bytes mean that the peer has closed its side.
///
/// # Errors
/// `WouldBlock` when nothing has arrived; otherwise the connection is broken.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (bytes, _) = rustix::io::retry_on_intr(|| recv(socket, &mut *buffer, RecvFlags::DONTWAIT))?;
    Ok(bytes)
}

/// Writes what the socket's buffer takes, without waiting.
///
/// # Errors
/// `WouldBlock` when it takes nothing; otherwise the connection is broken.
pub(crate) fn transmit(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(rustix::io::retry_on_intr(|| send(socket, bytes, flags))?)
}

/// Ends a connection at once: everything that waits for it, reading or writing, completes.
fn end(socket: BorrowedFd<'_>) {
    // It fails when the peer was faster, and then there is nothing left to end.
    let _ = shutdown(socket, Shutdown::Both);
}

/// Ends a connection at once and hard: what waits is dropped, and the peer gets a reset when the descriptor is closed. A
/// peer that was not read has its window closed, and would hear of a plain end only with its next probe, minutes later.
pub(crate) fn reset(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    end(socket);
}

/// Tells the peer that nothing more comes; its own bytes still arrive.
pub(crate) fn end_writing(socket: BorrowedFd<'_>) {
    let _ = shutdown(socket, Shutdown::Write);
}

/// Ends a listener for every descriptor table that holds it; connections that nobody accepted are reset.
pub(crate) fn end_listener(listener: &std::net::TcpListener) {
    let _ = shutdown(listener, Shutdown::Both);
}

/// Takes one connection, without waiting.
///
/// # Errors
/// `WouldBlock` when there is none; those of `accept(2)`.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::io::retry_on_intr(|| accept_with(listener_descriptor(listener), flags))?)
}

/// Where a connection comes from; `None` when it has gone already.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> Option<IpAddr> {
    SocketAddr::try_from(getpeername(socket).ok()??).ok().map(|address| address.ip())
}

/// A listener that shares its port with the other gateway threads; the kernel spreads connections over them. What it
/// accepts sends small frames at once (`TCP_NODELAY` is inherited).
///
/// # Errors
/// Those of `socket`, `bind` and `listen`.
pub(crate) fn listener(address: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
    let socket = tcp_socket(address)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, backlog)?;
    Ok(socket.into())
}

/// Whether the address can be bound by somebody who does not share it: another server of the same user that shares its
/// port would not be noticed otherwise.
///
/// # Errors
/// Those of `socket` and `bind`.
pub(crate) fn probe(address: SocketAddr) -> io::Result<()> {
    Ok(bind(&tcp_socket(address)?, &address)?)
}

fn tcp_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    // Connections of a server that has just ended do not keep its successor from the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(socket)
}

/// Keeps the calling thread on one processor.
///
/// # Errors
/// When the processor does not exist or is not allowed for this process.
pub(crate) fn pin_to(processor: usize) -> io::Result<()> {
    if processor >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut processors = CpuSet::new();
    processors.set(processor);
    Ok(sched_setaffinity(None, &processors)?)
}

/// Gives the calling thread a descriptor table of its own, a copy of the one it shared.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn own_descriptors() -> io::Result<()> {
    // SAFETY: `unshare(CLONE_FILES)` is unsafe because descriptors made by other threads later mean nothing here. The
    // gateway thread calls this first thing; everything it gets from others afterwards are rings in memory, and the
    // eventfds it signals were made before it was started.
    Ok(unsafe { unshare_unsafe(UnshareFlags::FILES) }?)
}

fn listener_descriptor(listener: &TcpListener) -> BorrowedFd<'_> {
    // SAFETY: the listener owns the descriptor and keeps it open for as long as it is borrowed.
    unsafe { BorrowedFd::borrow_raw(listener.as_raw_fd()) }
}
