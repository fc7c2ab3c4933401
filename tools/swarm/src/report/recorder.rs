//! What becomes of each sample: it is remembered, shown, and written where the arguments say.

use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::csv::CsvFile;
use super::history::History;
use super::html::{self, HtmlFile};
use super::lines::Lines;
use super::live::Live;
use super::{Ending, ReportArguments, Subject};
use crate::SwarmError;
use crate::sample::Sample;

/// Shared by the run and by whoever interrupts it.
#[derive(Debug)]
pub(super) struct Recorder {
    subject: Subject,
    history: History,
    view: View,
    csv: Option<CsvFile>,
    html: Option<HtmlFile>,
    /// The first thing that could not be written.
    complaint: Option<SwarmError>,
}

/// Where the progress is shown.
#[derive(Debug)]
enum View {
    Live(Box<Live>),
    Lines(Lines),
    Closed,
}

/// Takes the recorder. One that a panic left behind is as good: it holds no promise between two samples.
pub(super) fn lock(recorder: &Mutex<Recorder>) -> MutexGuard<'_, Recorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    pub(super) fn open(arguments: &ReportArguments, subject: Subject) -> Result<Self, SwarmError> {
        let csv = arguments.csv.as_deref().map(CsvFile::create).transpose()?;
        let html = arguments.html.as_deref().map(HtmlFile::open).transpose()?;
        // A terminal that cannot be drawn on still takes lines.
        let live = if Live::is_possible() { Live::open().ok() } else { None };
        let view = live.map_or_else(|| View::Lines(Lines::default()), |live| View::Live(Box::new(live)));
        let mut recorder = Self { subject, history: History::default(), view, csv, html, complaint: None };
        recorder.redraw();
        Ok(recorder)
    }

    /// Takes a sample.
    pub(super) fn observe(&mut self, sample: &Sample) {
        let point = self.history.push(*sample);
        if let View::Lines(lines) = &mut self.view {
            // Nobody reads standard error any more; the run goes on for its files and its exit code.
            let _ = lines.write(&point, &mut io::stderr().lock());
        }
        self.redraw();
        if let Some(Err(error)) = self.csv.as_mut().map(|file| file.write(&point)) {
            self.csv = None;
            self.complain(error);
        }
    }

    /// Draws the live view again, as when the terminal has another size.
    pub(super) fn redraw(&mut self) {
        if let View::Live(live) = &mut self.view
            && live.draw(&self.subject, &self.history).is_err()
        {
            self.view = View::Lines(Lines::default());
        }
    }

    /// Ends the view and writes the page; gives what could not be written.
    pub(super) fn end(&mut self, ending: &Ending) -> Option<SwarmError> {
        self.view = View::Closed;
        if let Some(Err(error)) =
            self.html.take().map(|file| file.write(&html::page(&self.subject, &self.history, ending)))
        {
            self.complain(error);
        }
        self.complaint.take()
    }

    /// Ends a run that has no report: its last sample stands for the figures. What cannot be written is said here.
    pub(super) fn break_off(&mut self, mut ending: Ending) {
        ending.figures = self.history.last().map(last_figures).unwrap_or_default();
        if let Some(complaint) = self.end(&ending) {
            let _ = writeln!(io::stderr(), "swarm: {complaint}");
        }
    }

    /// Seconds since the run began, as of the last sample.
    pub(super) fn at_s(&self) -> f64 {
        self.history.last().map_or(0.0, |sample| sample.at_s)
    }

    fn complain(&mut self, error: SwarmError) {
        self.complaint.get_or_insert(error);
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn last_figures(sample: &Sample) -> Vec<(&'static str, f64)> {
    let counts = [
        ("open", sample.open),
        ("opening", sample.opening),
        ("dropped", sample.dropped),
        ("refused", sample.refused),
        ("sent", sample.sent),
        ("accepted", sample.accepted),
        ("delivered", sample.delivered),
    ];
    counts.into_iter().map(|(name, count)| (name, count as f64)).collect()
}
