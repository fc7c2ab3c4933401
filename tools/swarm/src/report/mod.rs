//! What a long-running command shows while it runs and leaves behind: a live view or plain lines on standard error, the
//! result on standard output, the course as CSV, all of it as one page, and thresholds that decide the exit code.
//!
//! A command hands its run to [`watch`], which observes the samples and takes the final report:
//!
//! ```text
//! report::watch(&arguments.report, Subject::new("chat", &url), |observer| chat::run(&options, &signer, observer))
//! ```

mod columns;
mod csv;
mod expect;
mod history;
mod html;
mod interrupt;
mod lines;
mod live;
mod recorder;
mod summary;
mod units;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

pub use self::expect::{ExpectError, Expectation, Judged};
use self::recorder::{Recorder, lock};
use crate::SwarmError;
use crate::latency::Percentiles;
use crate::sample::Observer;

/// How a command reports. Its progress goes to standard error: a live view on a terminal, plain lines otherwise.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Report")]
pub struct ReportArguments {
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Write the course of the run to this file as CSV, one row a second.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the result and plots of the course to this file: one page that needs nothing but a browser.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What must hold for exit code 0, such as 'p99<50ms', 'lost==0' or 'messages_per_s>=2000'. May be repeated. A name
    /// that does not exist is answered with those that do.
    #[arg(long, value_name = "EXPECTATION")]
    expect: Vec<Expectation>,
}

/// What is loaded, and by what.
#[derive(Clone, Debug)]
pub struct Subject {
    command: &'static str,
    target: String,
    command_line: String,
    begun_ms: u64,
}

/// The name of a figure of a report, such as `p99_us`, `lost` or `messages_per_s`, and its value where it was measured.
pub type Figure<R> = (&'static str, fn(&R) -> Option<f64>);

/// The final report of a command.
pub trait Report: Serialize + Sized + 'static {
    /// Every figure that a threshold may name, in the order in which people read them.
    const FIGURES: &'static [Figure<Self>];

    /// What went wrong, in words.
    fn fault(&self) -> Option<String>;

    /// Why the figures may not be what they seem, such as a swarm that was too slow itself.
    fn caution(&self) -> Option<String>;

    /// Every name that a figure may have; known before the run.
    #[must_use]
    fn names() -> Vec<&'static str> {
        Self::FIGURES.iter().map(|(name, _)| *name).collect()
    }

    /// What was measured.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        Self::FIGURES.iter().filter_map(|(name, value)| Some((*name, value(self)?))).collect()
    }
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub(crate) fn count(count: u64) -> Option<f64> {
    Some(count as f64)
}

/// A latency as a figure. Messages of which there were none had none.
pub(crate) fn latency(of: &Percentiles, value: fn(&Percentiles) -> u64) -> Option<f64> {
    (of.count > 0).then(|| value(of)).and_then(count)
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
struct Ending {
    figures: Vec<(&'static str, f64)>,
    expectations: Vec<Judged>,
    fault: Option<String>,
    caution: Option<String>,
    /// Why there is no more of it.
    cut_short: Option<String>,
}

/// What a command says at its end.
#[derive(Debug)]
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// Whether nothing went wrong and every expectation held.
    pub good: bool,
    /// Why a file could not be written, or not to its end.
    pub complaint: Option<SwarmError>,
}

impl Subject {
    /// A run that begins now.
    #[must_use]
    pub fn new(command: &'static str, target: &str) -> Self {
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let words: Vec<String> = std::env::args().map(|word| quoted(&word)).collect();
        Self {
            command,
            target: target.to_owned(),
            command_line: words.join(" "),
            begun_ms: u64::try_from(begun.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn title(&self) -> String {
        format!("swarm {} {}", self.command, self.target)
    }
}

/// Runs a command and reports on it as the arguments ask.
///
/// # Errors
/// When an expectation names no figure of the command, a file cannot be opened, or the run could not be made. The course
/// of a run that broke off is in the files all the same.
pub fn watch<R: Report>(
    arguments: &ReportArguments,
    subject: Subject,
    run: impl FnOnce(Observer<'_>) -> Result<R, SwarmError>,
) -> Result<Outcome, SwarmError> {
    let names = R::names();
    let thresholds =
        arguments.expect.iter().map(|expectation| expectation.resolve(&names)).collect::<Result<Vec<_>, _>>()?;
    let title = subject.title();
    let recorder = Recorder::open(arguments, subject)?;
    let recorder = Arc::new(Mutex::new(recorder));
    interrupt::watch(&recorder)?;
    let report = match run(&mut |sample| lock(&recorder).observe(sample)) {
        Ok(report) => report,
        Err(error) => {
            lock(&recorder).break_off(Ending { fault: Some(error.to_string()), ..Ending::default() });
            return Err(error);
        }
    };
    let figures = report.figures();
    let expectations: Vec<Judged> = thresholds.iter().map(|threshold| threshold.judge(&figures)).collect();
    let (fault, caution) = (report.fault(), report.caution());
    let ending = Ending { figures, expectations, fault, caution, cut_short: None };
    let complaint = lock(&recorder).end(&ending);
    let good = ending.fault.is_none() && ending.expectations.iter().all(|judged| judged.held);
    let text = if arguments.json {
        let judgement = Judgement { report: &report, expectations: &ending.expectations };
        serde_json::to_string_pretty(&judgement).expect("a report is plain data") + "\n"
    } else {
        summary::text(&title, &ending)
    };
    Ok(Outcome { text, good, complaint })
}

/// The report, with what came of the expectations when there are any.
#[derive(Serialize)]
struct Judgement<'r, R> {
    #[serde(flatten)]
    report: &'r R,
    #[serde(skip_serializing_if = "<[Judged]>::is_empty")]
    expectations: &'r [Judged],
}

/// A word of a command line so that a shell reads it as one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_words_when_put_on_a_command_line_then_a_shell_reads_them_back() {
        for (word, expect) in [
            ("--url", "--url"),
            ("127.0.0.1:7400", "127.0.0.1:7400"),
            ("p99<50ms", "'p99<50ms'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(word), expect);
        }
    }
}
