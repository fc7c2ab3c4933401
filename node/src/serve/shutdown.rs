//! Signals: SIGHUP reloads keys and certificate, SIGTERM or SIGINT leaves in order, a second one stops at once.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Iterator;

/// How often the main thread looks whether all others are there.
const LOOK_MS: u64 = 250;

/// What the main thread waits for.
#[derive(Debug)]
pub(super) struct Signals {
    received: mpsc::Receiver<Order>,
}

#[derive(Debug, PartialEq, Eq)]
enum Order {
    Reload,
    Leave,
}

impl Signals {
    /// Takes the signals over, before any other thread exists.
    pub(super) fn install() -> io::Result<Self> {
        let mut signals = Iterator::new([SIGHUP, SIGINT, SIGTERM])?;
        let (send, received) = mpsc::channel();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut leaving = false;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    let _ = send.send(Order::Reload);
                } else if leaving {
                    // What was accepted is durable; what was not has not been answered.
                    eprintln!("switchyard: stopped at once by a second signal");
                    std::process::exit(1);
                } else {
                    leaving = true;
                    let _ = send.send(Order::Leave);
                }
            }
        })?;
        Ok(Self { received })
    }

    /// Serves signals, and looks around in between, until a signal says to leave, or until `on_event` names something that only
    /// a restart brings back.
    pub(super) fn serve(self, mut on_event: impl FnMut(Event) -> Option<&'static str>) -> Leaving {
        loop {
            let lost = match self.received.recv_timeout(Duration::from_millis(LOOK_MS)) {
                Ok(Order::Reload) => on_event(Event::Reload),
                Ok(Order::Leave) | Err(RecvTimeoutError::Disconnected) => return Leaving::Told,
                Err(RecvTimeoutError::Timeout) => None,
            };
            if let Some(what) = lost.or_else(|| on_event(Event::Look)) {
                return Leaving::Lost(what);
            }
        }
    }
}

/// What the main thread does while the server runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// Read again what may have changed: somebody says so.
    Reload,
    /// Look whether all is well.
    Look,
}

/// Why the server leaves.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Leaving {
    /// A signal said so.
    Told,
    /// A part of it is gone.
    Lost(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_thread_that_is_gone_when_nobody_says_to_leave_then_the_server_leaves_and_says_why() {
        let (send, received) = mpsc::channel();
        let signals = Signals { received };
        let mut looks = 0;
        let leaving = signals.serve(|event| {
            assert_eq!(event, Event::Look);
            looks += 1;
            (looks == 3).then_some("a gateway thread has ended")
        });
        assert_eq!(leaving, Leaving::Lost("a gateway thread has ended"));
        drop(send);
    }

    #[test]
    fn given_signals_when_they_come_then_keys_are_reloaded_and_the_last_one_ends_it() {
        let (send, received) = mpsc::channel();
        for order in [Order::Reload, Order::Reload, Order::Leave] {
            send.send(order).expect("it is heard");
        }
        let mut reloads = 0;
        let leaving = Signals { received }.serve(|event| {
            reloads += u32::from(event == Event::Reload);
            None
        });
        assert_eq!((leaving, reloads), (Leaving::Told, 2));
    }
}
