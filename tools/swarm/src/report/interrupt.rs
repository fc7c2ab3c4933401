//! Ctrl-C in the middle of a run: the terminal is given back and what was measured so far is written, then the process
//! ends with the signal's exit code. A second one ends it at once.

use std::io::{self, Write as _};
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};
use signal_hook::flag::register_conditional_shutdown;
use signal_hook::iterator::Signals;

use super::Ending;
use super::recorder::{Recorder, lock};
use crate::SwarmError;

/// A process that a signal ended has this exit code and the signal's number added, by the shells' convention.
const SIGNAL_EXIT_CODE: i32 = 128;

/// Watches for signals until the process ends.
pub(super) fn watch(recorder: &Arc<Mutex<Recorder>>) -> Result<(), SwarmError> {
    let failed = || SwarmError::io("signals");
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        register_conditional_shutdown(signal, SIGNAL_EXIT_CODE + signal, Arc::clone(&told)).map_err(failed())?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGWINCH]).map_err(failed())?;
    let recorder = Arc::clone(recorder);
    let watcher = move || {
        for signal in signals.forever() {
            if signal == SIGWINCH {
                lock(&recorder).redraw();
            } else {
                told.store(true, Ordering::SeqCst);
                end(&recorder, signal);
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watcher).map_err(failed())?;
    Ok(())
}

fn end(recorder: &Mutex<Recorder>, signal: i32) -> ! {
    // Kept until the process is gone, so that the run has nobody to tell of its own end.
    let mut recorder = lock(recorder);
    let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
    let cut_short = format!("cut short by {name} after {:.0} s", recorder.at_s());
    let said = format!("The run was {cut_short}: there is no result, and expectations were not judged.");
    recorder.break_off(Ending { cut_short: Some(said), ..Ending::default() });
    // Once the live view has given the screen back.
    let _ = writeln!(io::stderr(), "swarm: {cut_short}");
    exit(SIGNAL_EXIT_CODE + signal)
}
