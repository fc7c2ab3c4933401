//! A TCP connection, plain or under TLS, that never blocks.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with, sockopt};

use super::tls::{self, Tls};
use crate::event_loop::{Ended, Route};

/// One connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

impl Stream {
    /// Begins to connect.
    ///
    /// # Errors
    /// When the kernel gives no socket, or refuses at once.
    pub(crate) fn connect(route: Route, tls: Option<&tls::Client>) -> io::Result<Self> {
        let stream = connect_tcp(route)?;
        match tls {
            None => Ok(Self::Plain(stream)),
            Some(client) => Ok(Self::Tls(Box::new(Tls::new(client, stream)?))),
        }
    }

    /// What became of a connection that is not open yet; `None` while that is open.
    pub(crate) fn on_event(&mut self, event: epoll::EventFlags) -> Option<Result<(), Ended>> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &tls.stream,
        };
        match (stream.take_error(), self) {
            (Ok(None), _) if !event.contains(epoll::EventFlags::OUT) => None,
            (Ok(None), Self::Plain(_)) => Some(Ok(())),
            (Ok(None), Self::Tls(tls)) => tls.handshake().map_err(|error| ended_by(&error)).transpose(),
            (Ok(Some(error)) | Err(error), _) => Some(Err(ended_by(&error))),
        }
    }

    /// Reads what has come; nothing at the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Whether what came with the last event is all read when less came than was asked for.
    pub(crate) const fn reads_all_at_once(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Writes as much as is taken now.
    ///
    /// # Errors
    /// `WouldBlock` when that is nothing.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Lets go of what was taken and waits here.
    ///
    /// # Errors
    /// `WouldBlock` when the kernel does not take all of it now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
            Self::Tls(tls) => tls.stream.as_fd(),
        }
    }
}

/// Why a connection failed.
pub(crate) fn ended_by(error: &io::Error) -> Ended {
    tls::alert_of(error).map_or(Ended::Failed(error.kind()), Ended::Alert)
}

fn connect_tcp(Route { source, destination: address }: Route) -> io::Result<TcpStream> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    if let Some(source) = source {
        bind(&socket, &SocketAddr::new(source, 0))?;
    }
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno.into()),
    }
}
