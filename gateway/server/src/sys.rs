//! The system calls that monoio has no form of: non-blocking socket calls, placement of threads, descriptor tables.
//!
//! A driver module with unsafe code, as [`crate::poll_ring`] is: socket options, descriptor tables and a borrowed descriptor.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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

/// A listener that shares its port with those of the other gateway threads, `sharers` with itself; each connection goes to
/// one of them at random. What it accepts sends small frames at once (`TCP_NODELAY` is inherited).
///
/// # Errors
/// Those of `socket`, `bind`, `listen` and `setsockopt`.
pub(crate) fn listener(address: SocketAddr, backlog: i32, sharers: u32) -> io::Result<std::net::TcpListener> {
    let socket = tcp_socket(address)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, backlog)?;
    spread_at_random(socket.as_fd(), sharers)?;
    Ok(socket.into())
}

/// Has the kernel pick one of `sharers` listeners at random. Left to itself it hashes the addresses and ports, without the
/// local address where a listener has none: clients behind few addresses heap up on some threads, and one that a full
/// thread sends away meets the same thread when it comes again. While fewer listeners are there, some picks find none, and
/// for these the kernel hashes.
fn spread_at_random(listener: BorrowedFd<'_>, sharers: u32) -> io::Result<()> {
    /// What the kernel's classic packet filters read instead of a packet's bytes (`linux/filter.h`): a random word.
    #[expect(clippy::cast_sign_loss, reason = "such places lie below zero, and are passed as a word")]
    const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
    attach(
        listener,
        &mut [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, RANDOM),
            step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, sharers.max(1)),
            step(libc::BPF_RET | libc::BPF_A, 0),
        ],
    )
}

/// A UDP socket that shares its port with those of the other gateway threads. Each datagram goes to one of them: left to
/// itself the kernel hashes the addresses and ports.
///
/// # Errors
/// Those of `socket`, `bind` and `setsockopt`.
pub(crate) fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = unbound_udp_socket(address)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket.into())
}

/// Whether the address can be bound by somebody who does not share it, as [`probe`] does for TCP.
///
/// # Errors
/// Those of `socket` and `bind`.
pub(crate) fn probe_udp(address: SocketAddr) -> io::Result<()> {
    Ok(bind(&unbound_udp_socket(address)?, &address)?)
}

fn unbound_udp_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?)
}

/// Has the kernel hand each datagram to the socket, of `sharers` in the order of their binding, that the first byte of its
/// connection id names (RFC 8999 §5.1 and §5.2): the id lies behind the first byte of a packet with a short header, and
/// behind version and length in one with a long header. While a socket of that number is not there, the kernel hashes. One
/// socket tells it for all.
///
/// # Errors
/// When the kernel takes no such program.
pub(crate) fn steer_by_connection_id(socket: BorrowedFd<'_>, sharers: u32) -> io::Result<()> {
    const LONG_HEADER: u32 = 0x80;
    const SHORT_ID: u32 = 1;
    const LONG_ID: u32 = 6;
    let byte_at = |place| step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, place);
    let mut is_long = step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, LONG_HEADER);
    is_long.jt = 2;
    attach(
        socket,
        &mut [
            byte_at(0),
            is_long,
            byte_at(SHORT_ID),
            step(libc::BPF_JMP | libc::BPF_JA, 1),
            byte_at(LONG_ID),
            step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, sharers.max(1)),
            step(libc::BPF_RET | libc::BPF_A, 0),
        ],
    )
}

/// One step of a packet filter. One with a condition goes on with the next step either way, unless its `jt` or `jf` says otherwise.
fn step(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("codes are short"), jt: 0, jf: 0, k }
}

/// Lets a program pick among the sockets that share a port.
fn attach(socket: BorrowedFd<'_>, steps: &mut [libc::sock_filter]) -> io::Result<()> {
    let program =
        libc::sock_fprog { len: u16::try_from(steps.len()).expect("a few steps"), filter: steps.as_mut_ptr() };
    let size = libc::socklen_t::try_from(size_of_val(&program)).expect("a small structure");
    // SAFETY: the option takes a `sock_fprog` of this size, which points to `len` steps; the kernel copies both before it
    // returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
    use std::time::{Duration, Instant};

    use rustix::io::Errno;
    use rustix::net::connect;

    use super::*;

    /// How long the kernel may take to complete connections.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A connection to one of many local addresses, always from the same address and port.
    fn connected(from: SocketAddr, to: SocketAddr) -> (SocketAddr, TcpStream) {
        let socket = tcp_socket(from).unwrap();
        bind(&socket, &from).unwrap();
        match connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => panic!("cannot connect from {from} to {to}: {error}"),
        }
        let stream = TcpStream::from(socket);
        (stream.local_addr().unwrap(), stream)
    }

    #[test]
    fn given_one_source_and_many_destinations_when_listeners_share_a_port_then_each_gets_some() {
        const SHARERS: u32 = 4;
        let mut listeners = vec![listener("0.0.0.0:0".parse().unwrap(), 128, SHARERS).unwrap()];
        let port = listeners[0].local_addr().unwrap().port();
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        listeners.extend((1..SHARERS).map(|_| listener(any, 128, SHARERS).unwrap()));
        let mut from: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut clients = Vec::new();
        // That one of four is never picked in a hundred times happens once in 10^12 runs.
        for last in 1..=100 {
            let (local, client) = connected(from, SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, last), port).into());
            from = local;
            clients.push(client);
        }
        let mut accepted = [0; SHARERS as usize];
        let deadline = Instant::now() + PATIENCE;
        while accepted.iter().sum::<usize>() < clients.len() {
            for (accepted, listener) in accepted.iter_mut().zip(&listeners) {
                *accepted += listener.incoming().map_while(Result::ok).count();
            }
            assert!(Instant::now() < deadline, "of {} only {accepted:?} were accepted", clients.len());
            std::thread::yield_now();
        }
        assert!(accepted.iter().all(|&of_one| of_one > 0), "{accepted:?}");
    }
}
