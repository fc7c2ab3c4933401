//! Signals: SIGHUP reloads keys, SIGTERM or SIGINT leaves in order, a second one stops at once.

use std::io;
use std::sync::mpsc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Iterator;

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

    /// Serves signals until one says to leave.
    pub(super) fn serve(self, mut reload: impl FnMut()) {
        while let Ok(order) = self.received.recv() {
            match order {
                Order::Reload => reload(),
                Order::Leave => return,
            }
        }
    }
}
