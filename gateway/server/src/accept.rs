//! Accepting connections.
//!
//! The listener is polled through the ring and connections are taken with a plain call. Monoio's own accept is not used:
//! cancelled, it loses the descriptor of a connection that came just then; a cancelled poll loses nothing.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use monoio::net::TcpListener;

use crate::limits::{ACCEPT_PAUSE_MS, ACCEPTS_PER_TURN};
use crate::sys;
use crate::thread::Thread;

/// Accepts until the thread drains, `secured` connections if the listener speaks TLS.
pub(crate) async fn run(thread: Rc<Thread>, listener: TcpListener, secured: bool) {
    while listener.readable(false).await.is_ok() && !thread.is_leaving() {
        if take_some(&thread, &listener, secured).is_err() {
            thread.on_accept_paused();
            monoio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
        }
    }
}

/// Takes what waits, as much as a turn allows: the poll is level-triggered, the rest comes with the next one.
///
/// # Errors
/// When taking more makes no sense now: no descriptor or no memory is left.
fn take_some(thread: &Rc<Thread>, listener: &TcpListener, secured: bool) -> io::Result<()> {
    for _ in 0..ACCEPTS_PER_TURN {
        match sys::accept(listener) {
            Ok(socket) => thread.open(socket, secured),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `accept(2)` reports errors of the connection it would have returned; the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::TimedOut
    )
}
