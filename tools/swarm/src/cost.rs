//! What the server and the swarm cost from one sample to the next.

use std::time::Instant;

use crate::process::{Usage, usage};
use crate::sample::ServerSample;

/// Remembers the last reading of both processes.
#[derive(Debug)]
pub struct CostMeter {
    server: Option<(u32, Usage)>,
    own: Usage,
    at: Instant,
}

impl CostMeter {
    /// Takes the first reading. Without a process id the server's cost stays unknown.
    #[must_use]
    pub fn begin(server_pid: Option<u32>) -> Self {
        Self { server: server_pid.and_then(|pid| Some((pid, usage(pid).ok()?))), own: own_usage(), at: Instant::now() }
    }

    /// What the server costs, unless it is unknown or gone, and the swarm's processor time in percent of one processor.
    pub fn read(&mut self, now: Instant) -> (Option<ServerSample>, f64) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let percent =
            |before: Usage, after: Usage| after.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds * 100.0;
        self.at = now;
        let own_before = std::mem::replace(&mut self.own, own_usage());
        let generator_cpu_percent = percent(own_before, self.own);
        let server = self.server.as_mut().and_then(|(pid, before)| {
            let after = usage(*pid).ok()?;
            let before = std::mem::replace(before, after);
            Some(ServerSample { rss_bytes: after.rss_bytes, cpu_percent: percent(before, after) })
        });
        (server, generator_cpu_percent)
    }
}

fn own_usage() -> Usage {
    usage(std::process::id()).unwrap_or_default()
}
