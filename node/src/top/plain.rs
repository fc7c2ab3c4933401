//! A line for each interval: names and values in turn, for pipes and files.

use std::error::Error;
use std::io::{self, Write};
use std::time::SystemTime;

use super::Sampler;
use super::model::Picture;

/// Writes lines until as many were asked for, nobody reads them any more, or the server does not answer.
pub(super) fn run(mut sampler: Sampler) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    while !sampler.is_done() {
        std::thread::sleep(sampler.due_in());
        let Some(picture) = sampler.take()? else {
            eprintln!("the server was started anew; the figures begin again");
            continue;
        };
        let line = line(SystemTime::now(), &picture);
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    Ok(())
}

/// One interval. Rates are by the second; what was not measured is a dash.
fn line(now: SystemTime, picture: &Picture) -> String {
    let Picture { connections, messages, commits, rings, .. } = picture;
    let measured =
        |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |it| format!("{it:.digits$}"));
    let in_ms = |value: Option<f64>| measured(value.map(|us| us / 1e3), 3);
    [
        ("connections", connections.all.to_string()),
        ("open", connections.open.to_string()),
        ("accepts/s", format!("{:.0}", connections.accepts_per_s)),
        ("in/s", format!("{:.0}", messages.received_per_s)),
        ("out/s", format!("{:.0}", messages.sent_per_s)),
        ("accepted/s", format!("{:.0}", messages.accepted_per_s)),
        ("delivered/s", format!("{:.0}", messages.delivered_per_s)),
        ("refused/s", format!("{:.0}", messages.refused_per_s)),
        ("commits/s", format!("{:.0}", commits.per_s)),
        ("records/commit", measured(commits.records_mean, 1)),
        ("commit_p50_ms", in_ms(commits.p50_us)),
        ("commit_p99_ms", in_ms(commits.p99_us)),
        ("ring_depth", rings.depth.to_string()),
        ("ring_stalls/s", format!("{:.0}", rings.stalls_per_s)),
        ("behind", picture.behind.0.to_string()),
        ("cpu", format!("{:.2}", picture.cpu)),
        ("rss_mib", (picture.resident_bytes >> 20).to_string()),
        ("faults", picture.faults.to_string()),
    ]
    .iter()
    .fold(humantime::format_rfc3339_seconds(now).to_string(), |line, (name, value)| format!("{line} {name} {value}"))
}
