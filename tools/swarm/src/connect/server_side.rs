//! What is known of the server: its memory and processor time at the stages of a run, read by whoever leads it.

use super::report::Course;
use crate::company::Point;
use crate::process::usage;
use crate::reading::{Costs, Reading, Readings};

/// Numbers of connections at which the server's memory is noted while they are being opened.
const COURSE: [u64; 10] = [1_000, 5_000, 10_000, 15_000, 50_000, 100_000, 200_000, 300_000, 500_000, 1_000_000];

/// What the server had used at the stages.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerSide {
    pub(super) before_bytes: Option<u64>,
    pub(super) open_bytes: Option<u64>,
    pub(super) end_bytes: Option<u64>,
    pub(super) opening: Costs,
    pub(super) holding: Costs,
    pub(super) course: Vec<Course>,
}

impl ServerSide {
    pub(super) fn new(readings: &Readings, course: Vec<Course>) -> Self {
        let before = readings.before();
        let rss = |reading: &Reading| reading.server.map(|usage| usage.rss_bytes);
        Self {
            before_bytes: rss(before),
            open_bytes: rss(readings.at(Point::Calm)),
            end_bytes: rss(readings.at(Point::Arrived)),
            opening: readings.at(Point::Opened).since(before),
            holding: readings.between(Point::Due, Point::Held),
            course,
        }
    }
}

/// Notes the server's memory while connections are opened.
#[derive(Debug)]
pub(super) struct Noting {
    server_pid: Option<u32>,
    next: usize,
    pub(super) course: Vec<Course>,
}

impl Noting {
    pub(super) const fn new(server_pid: Option<u32>) -> Self {
        Self { server_pid, next: 0, course: Vec::new() }
    }

    /// So many are open now.
    pub(super) fn look(&mut self, open: u64) {
        if COURSE.get(self.next).is_some_and(|&next| open >= next) {
            self.note(open);
            self.next = COURSE.partition_point(|&next| next <= open);
        }
    }

    /// No more will be opened.
    pub(super) fn end(&mut self, open: u64) {
        if self.course.last().is_none_or(|last| last.open < open) {
            self.note(open);
        }
    }

    fn note(&mut self, open: u64) {
        let rss_bytes = self.server_pid.and_then(|pid| usage(pid).ok()).map(|usage| usage.rss_bytes);
        self.course.extend(rss_bytes.map(|rss_bytes| Course { open, rss_bytes }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_run_that_grows_when_looked_at_then_each_step_is_noted_once_and_the_end_too() {
        let mut noting = Noting::new(Some(std::process::id()));
        for open in [0, 900, 1_010, 1_020, 12_000, 12_500, 14_000] {
            noting.look(open);
        }
        noting.end(14_000);
        let open: Vec<u64> = noting.course.iter().map(|course| course.open).collect();
        assert_eq!(open, [1_010, 12_000, 14_000]);
        let mut unseen = Noting::new(None);
        unseen.end(7);
        assert_eq!(unseen.course, []);
    }
}
