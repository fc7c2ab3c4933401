//! The live view: takes the terminal behind standard error for the time of a run, and gives it back however the run ends.
//!
//! Standard output stays free for the result. The terminal keeps sending Ctrl-C as a signal; keys are not read.

mod view;

use std::io::{self, IsTerminal as _, Stderr, stderr};
use std::panic;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::Subject;
use super::history::History;

/// A key that a terminal never sends (termios(3), `_POSIX_VDISABLE`).
const NO_KEY: u8 = 0;

/// The terminal while it is ours.
#[derive(Debug)]
pub(super) struct Live {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    given: Termios,
}

impl Live {
    /// Whether there is a terminal that is ours to draw on. A command in the background would be stopped for trying.
    pub(super) fn is_possible() -> bool {
        let in_front = tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp());
        stderr().is_terminal() && in_front && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
    }

    /// Takes the terminal.
    pub(super) fn open() -> io::Result<Self> {
        let given = tcgetattr(stderr())?;
        let mut ours = given.clone();
        // Keys would be echoed into the picture, and a suspended load generator measures nothing.
        ours.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        ours.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
        give_back_on_panic(given.clone());
        tcsetattr(stderr(), OptionalActions::Now, &ours)?;
        let taken = execute!(stderr(), EnterAlternateScreen, Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stderr())));
        match taken {
            Ok(terminal) => Ok(Self { terminal, given }),
            Err(error) => {
                give_back(&given);
                Err(error)
            }
        }
    }

    /// Draws how it stands.
    pub(super) fn draw(&mut self, subject: &Subject, history: &History) -> io::Result<()> {
        let points: Vec<_> = history.points().collect();
        self.terminal.draw(|frame| view::draw(frame, &subject.title(), &points)).map(drop)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        give_back(&self.given);
    }
}

/// Restores the terminal; there is nothing to be done when that fails. What was typed meanwhile was not meant for a shell.
fn give_back(given: &Termios) {
    let _ = execute!(stderr(), LeaveAlternateScreen, Show);
    let _ = tcsetattr(stderr(), OptionalActions::Flush, given);
}

/// Lets a panic's message be read: it would vanish with our screen.
fn give_back_on_panic(given: Termios) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        give_back(&given);
        before(info);
    }));
}
