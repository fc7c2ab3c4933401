//! The terminal: taken for as long as the picture is shown, and given back however that ends.

use std::collections::VecDeque;
use std::error::Error;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::Sampler;
use super::model::Picture;
use super::view::{self, Shown};

/// Pictures that are kept for the curves: more than the widest terminal has columns.
const HISTORY_MAX: usize = 600;

/// Draws a picture for each interval until a key says to stop.
pub(super) fn run(mut sampler: Sampler) -> Result<(), Box<dyn Error>> {
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, &mut sampler);
    ratatui::restore();
    shown
}

fn show(terminal: &mut DefaultTerminal, sampler: &mut Sampler) -> Result<(), Box<dyn Error>> {
    let mut history: VecDeque<Picture> = VecDeque::new();
    let mut trouble = None;
    loop {
        let shown =
            Shown { admin: sampler.options.admin, interval: sampler.options.interval, trouble: trouble.as_deref() };
        terminal.draw(|frame| view::draw(frame, &shown, &history))?;
        if sampler.is_done() || asked_to_stop(sampler)? {
            return Ok(());
        }
        if !sampler.due_in().is_zero() {
            // A key or another size: draw again.
            continue;
        }
        match sampler.take() {
            Ok(Some(picture)) => {
                trouble = None;
                history.push_back(picture);
                if history.len() > HISTORY_MAX {
                    history.pop_front();
                }
            }
            Ok(None) => trouble = Some("the server was started anew".to_owned()),
            // It may come back.
            Err(error) => trouble = Some(error.to_string()),
        }
    }
}

/// Waits for a key or another size of the terminal, at most until the next picture is due.
fn asked_to_stop(sampler: &Sampler) -> std::io::Result<bool> {
    if !event::poll(sampler.due_in())? {
        return Ok(false);
    }
    let Event::Key(key) = event::read()? else { return Ok(false) };
    let is_control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    Ok(key.kind == KeyEventKind::Press && (is_control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)))
}
