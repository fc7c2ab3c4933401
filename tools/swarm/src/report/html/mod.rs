//! The result and the course of a run as one page that needs nothing but a browser: figures, expectations, and plots
//! over time. Style, script and data are inside; the page's own policy keeps a browser from loading anything else.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::columns::COLUMNS;
use super::history::{History, Point};
use super::{Ending, Subject};
use crate::SwarmError;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const PLOT_SCRIPT: &str = include_str!("plot.js");
const PAGE_SCRIPT: &str = include_str!("page.js");

/// Where the page goes.
#[derive(Debug)]
pub(super) struct HtmlFile {
    path: PathBuf,
    file: File,
}

impl HtmlFile {
    /// Opens the file before the run, so that a bad path does not cost the run. What it holds stays until there is a page.
    pub(super) fn open(path: &Path) -> Result<Self, SwarmError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(SwarmError::io(format!("--html {}", path.display())))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes the page.
    pub(super) fn write(mut self, page: &str) -> Result<(), SwarmError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.write_all(page.as_bytes()))
            .map_err(SwarmError::io(format!("--html {}", self.path.display())))
    }
}

/// The page of a run.
pub(super) fn page(subject: &Subject, history: &History, ending: &Ending) -> String {
    PAGE.replace("{{style}}", STYLE)
        .replace("{{plot script}}", PLOT_SCRIPT)
        .replace("{{page script}}", PAGE_SCRIPT)
        // Last, so that nothing in it is taken for a place to fill.
        .replace("{{run}}", &inside_script(&run(subject, history, ending)))
}

/// What the script shows.
fn run(subject: &Subject, history: &History, ending: &Ending) -> Value {
    let points: Vec<Point> = history.points().collect();
    let course: Map<String, Value> = COLUMNS
        .iter()
        .map(|column| (column.name.to_owned(), points.iter().map(|point| number((column.value)(point))).collect()))
        .collect();
    json!({
        "title": subject.title(),
        "version": env!("CARGO_PKG_VERSION"),
        "command_line": subject.command_line,
        "begun_ms": subject.begun_ms,
        "figures": ending.figures.iter().map(|(name, value)| json!([name, number(Some(*value))])).collect::<Value>(),
        "expectations": ending.expectations,
        "fault": ending.fault,
        "caution": ending.caution,
        "cut_short": ending.cut_short,
        "course": course,
    })
}

/// With three decimals at most: a page of a long run holds a hundred thousand numbers.
fn number(value: Option<f64>) -> Value {
    value.map_or(Value::Null, |value| {
        let rounded = (value * 1000.0).round() / 1000.0;
        if rounded.fract() == 0.0 && rounded.abs() < 9e15 {
            #[expect(clippy::cast_possible_truncation, reason = "whole, and within the range")]
            let whole = rounded as i64;
            whole.into()
        } else {
            rounded.into()
        }
    })
}

/// JSON that may stand between script tags: nothing in it can end the element.
fn inside_script(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::expect::Judged;
    use crate::sample::{Sample, ServerSample};

    /// A page of three seconds of which the last is told, with text that tries to break out of it.
    fn example() -> String {
        let subject = Subject {
            command: "chat",
            target: "127.0.0.1:7400".to_owned(),
            command_line: "swarm chat --data '</script><script>alert(1)</script>' {{run}}".to_owned(),
            begun_ms: 1_700_000_000_000,
        };
        let mut history = History::default();
        for at_s in [1.0, 2.0, 3.0] {
            let server = Some(ServerSample { rss_bytes: 1 << 30, cpu_percent: 12.345_678 });
            history.push(Sample { at_s, open: 64, sent: 7, server, ..Sample::default() });
        }
        let expectations =
            vec![Judged { expect: "lost==0".to_owned(), figure: "lost".to_owned(), measured: Some(0.0), held: true }];
        let figures = vec![("messages", 21.0), ("messages_per_s", 6.999_96)];
        page(&subject, &history, &Ending { figures, expectations, ..Ending::default() })
    }

    fn data(page: &str) -> Value {
        let (_, rest) = page.split_once("<script type=\"application/json\" id=\"run\">").expect("the data");
        let (data, _) = rest.split_once("</script>").expect("its end");
        serde_json::from_str(data).expect("JSON")
    }

    #[test]
    fn given_a_run_when_the_page_is_made_then_its_data_is_all_there_and_cannot_break_out() {
        let page = example();
        let run = data(&page);
        assert_eq!(run["title"], "swarm chat 127.0.0.1:7400");
        assert_eq!(run["command_line"], "swarm chat --data '</script><script>alert(1)</script>' {{run}}");
        assert_eq!(run["figures"], json!([["messages", 21], ["messages_per_s", 7]]));
        assert_eq!(run["expectations"][0]["held"], true);
        assert_eq!(run["course"]["at_s"], json!([1, 2, 3]));
        assert_eq!(run["course"]["sent_per_s"], json!([7, 0, 0]));
        assert_eq!(run["course"]["p99_us"], json!([null, null, null]), "nothing was delivered");
        assert_eq!(run["course"]["server_cpu_percent"], json!([12.346, 12.346, 12.346]));
        assert_eq!(page.matches("<script").count(), 2, "the data and ours");
    }

    #[test]
    fn given_a_page_when_read_then_it_has_every_plot_and_names_nothing_outside_of_it() {
        let page = example();
        for plot in ["connections", "connecting", "messages", "latency", "memory", "cpu"] {
            assert!(page.contains(&format!("<figure id=\"plot-{plot}\"")), "{plot} has no place");
        }
        for column in PLOT_SCRIPT.split("column: \"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(COLUMNS.iter().any(|known| known.name == column), "a plot of {column}, which there is not");
        }
        for outside in ["http:", "https:", "src=", "url(", "@import", "<link", "fetch("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
