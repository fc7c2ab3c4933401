//! One run on several machines: each opens its share of the connections, whose messages stay among themselves and are
//! checked there; all hold them at the same time, and what they found becomes one report.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::part::{Part, Readings};
use super::report::ConnectReport;
use super::server_side::{Noting, ServerSide};
use super::{ConnectOptions, take_part};
use crate::SwarmError;
use crate::company::{Company, Point};
use crate::cost::CostMeter;
use crate::limits::SAMPLE_PAUSE;
use crate::reading::Reading;
use crate::routes::Sources;
use crate::sample::{Observer, Sample};
use crate::target::Target;
use crate::tokens::Signer;
use crate::users;
use crate::workers::Leader;

/// What one machine is to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Share {
    url: String,
    /// The development key that signs its users' tokens.
    key: String,
    first_user: u64,
    /// But for the address, which a machine looks up by itself, and the server's process, which is not its own.
    options: ConnectOptions,
}

/// Runs it on other machines, on each of which `swarm worker` listens at the address given. This machine only leads; the
/// server's process is looked for here.
///
/// # Errors
/// When the run cannot be made, or a worker refuses, fails or falls silent. What the server did wrong is in the report.
pub fn run_on(
    workers: &[String],
    options: &ConnectOptions,
    (url, key): (&str, &str),
    observer: Observer<'_>,
) -> Result<ConnectReport, SwarmError> {
    let shares = shares(options, workers.len(), (url, key), users::first_user())?;
    let take = || Reading::take(options.server_pid, Vec::new());
    let before = take();
    let mut leader = Leader::start(workers, shares)?;
    let mut watch = Watch::new(options.server_pid, observer);
    let whole = leader.gather(Point::Opened, &mut |sample| watch.tell(sample))?;
    let opened = take();
    leader.go_on(whole)?;
    let whole = leader.gather(Point::Calm, &mut |sample| watch.tell(sample))? && whole;
    let calm = take();
    leader.go_on(whole)?;
    let begun = take();
    let mut held = begun.clone();
    if whole {
        leader.gather(Point::Held, &mut |sample| watch.tell(sample))?;
        held = take();
        leader.go_on(true)?;
    }
    leader.gather(Point::Arrived, &mut |sample| watch.tell(sample))?;
    let end = take();
    leader.go_on(true)?;
    leader.gather(Point::Asked, &mut |sample| watch.tell(sample))?;
    leader.go_on(true)?;
    let mut whole = Part::default();
    let parts = leader.finish(&mut |sample| watch.tell(sample))?;
    parts.iter().for_each(|part| whole.merge(part));
    let readings = Readings { before, opened, calm, begun, held, end };
    let server = ServerSide::new(&readings, watch.noting.end(whole.totals.open));
    Ok(ConnectReport::new(options, workers.len(), whole, server))
}

/// Does a share for another machine that leads the run, from addresses of this one when it has some of its own.
///
/// # Errors
/// When it cannot be done, or the other machine is gone.
pub(crate) fn run_share(
    share: Share,
    own_sources: Option<Sources>,
    company: Box<dyn Company>,
) -> Result<Part, SwarmError> {
    let signer = Signer::of_key(&share.key)?;
    let options = ConnectOptions {
        address: Target::parse(&share.url)?.address,
        sources: own_sources.unwrap_or(share.options.sources),
        server_pid: None,
        ..share.options
    };
    take_part(&options, share.first_user, signer, &mut |_| {}, company).map(|(part, _)| part)
}

/// Divides a run: connections in pairs, since they talk in pairs, and rates alike.
fn shares(
    options: &ConnectOptions,
    workers: usize,
    (url, key): (&str, &str),
    first_user: u64,
) -> Result<Vec<Share>, SwarmError> {
    let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
    let pairs = options.count / 2;
    if pairs < workers {
        return Err(SwarmError::Server(format!(
            "{} connections are too few for {workers} workers, each of which takes two at least",
            options.count
        )));
    }
    let mut shares = Vec::new();
    let mut given = 0;
    for worker in 0..workers {
        let of_pairs = pairs / workers + u32::from(worker < pairs % workers);
        let count = 2 * of_pairs + u32::from(worker == 0) * (options.count % 2);
        let part = f64::from(count) / f64::from(options.count);
        shares.push(Share {
            url: url.to_owned(),
            key: key.to_owned(),
            first_user: first_user + u64::from(given),
            options: ConnectOptions {
                count,
                opens_per_s: options.opens_per_s.map(|rate| rate * part),
                messages_per_s: options.messages_per_s * part,
                ..options.clone()
            },
        });
        given += count;
    }
    Ok(shares)
}

/// Adds what is known here to what the workers say, and tells the observer.
struct Watch<'o> {
    observer: Observer<'o>,
    meter: CostMeter,
    begun: Instant,
    told: Option<Instant>,
    noting: Noting,
}

impl<'o> Watch<'o> {
    fn new(server_pid: Option<u32>, observer: Observer<'o>) -> Self {
        let (meter, noting) = (CostMeter::begin(server_pid), Noting::new(server_pid));
        Self { observer, meter, begun: Instant::now(), told: None, noting }
    }

    fn tell(&mut self, sample: Sample) {
        let now = Instant::now();
        self.noting.look(sample.open);
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < SAMPLE_PAUSE / 2) {
            return;
        }
        self.told = Some(now);
        let (server, _) = self.meter.read(now);
        let at_s = now.saturating_duration_since(self.begun).as_secs_f64();
        (self.observer)(&Sample { at_s, server, ..sample });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_run_when_divided_then_nothing_is_missing_and_no_user_is_on_two_machines() {
        let address = "127.0.0.1:7400".parse().expect("an address");
        let options = ConnectOptions { opens_per_s: Some(500.0), ..ConnectOptions::new(address, 1_001) };
        let shares = shares(&options, 3, ("127.0.0.1:7400", "key"), 1 << 40).expect("enough for all");
        assert_eq!(shares.iter().map(|share| share.options.count).collect::<Vec<_>>(), [335, 334, 332]);
        let mut next = 1 << 40;
        for share in &shares {
            assert_eq!(share.first_user, next);
            next += u64::from(share.options.count);
        }
        let near = |sum: f64, expect: f64| (sum - expect).abs() < 1e-6;
        assert!(near(shares.iter().map(|share| share.options.messages_per_s).sum(), 2_000.0));
        assert!(near(shares.iter().filter_map(|share| share.options.opens_per_s).sum(), 500.0));
        let few = ConnectOptions { count: 5, ..options };
        let error = super::shares(&few, 3, ("127.0.0.1:7400", "key"), 1).unwrap_err();
        assert!(error.to_string().contains("too few for 3 workers"), "{error}");
    }
}
