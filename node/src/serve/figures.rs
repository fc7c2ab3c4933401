//! Every figure of the running server. Threads count for themselves; reading costs them nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use switchyard_gateway_server::{Counters, Gateway};
use switchyard_ring::Pulse;
use switchyard_router_server::router::RouterHandle;
use switchyard_router_server::{CoreCounters, StorageState};

use super::process::{self, Began};
use crate::admin::Sample;
use crate::tls::ShownFigures;

/// Where the figures are read. It outlives the threads, so that a drain can be watched to its end.
#[derive(Debug)]
pub(super) struct Figures {
    gateways: Vec<Arc<Counters>>,
    routers: Vec<Arc<CoreCounters>>,
    data_dir: PathBuf,
    /// Of the TLS certificate, where there is one.
    certificate: Option<ShownFigures>,
    began: Began,
}

impl Figures {
    pub(super) fn new(
        gateway: &Gateway,
        router: &RouterHandle,
        data_dir: PathBuf,
        certificate: Option<ShownFigures>,
        began: Began,
    ) -> Self {
        let (gateways, routers) = (gateway.counters().cloned().collect(), router.counters().to_vec());
        Self { gateways, routers, data_dir, certificate, began }
    }

    /// All of them. What is broken, and whether clients should be sent here, only the server as a whole knows.
    pub(super) fn read(&self, faults: usize, is_ready: bool) -> Vec<Sample> {
        let mut samples = vec![
            Sample::new("server_build", 1).with("version", env!("CARGO_PKG_VERSION")),
            Sample::new("server_faults", faults as u64),
            Sample::new("server_ready", u64::from(is_ready)),
        ];
        samples.extend(self.began.samples());
        samples.extend(process::usage());
        samples.extend(process::disk(&self.data_dir));
        samples.extend(self.certificate.iter().flat_map(ShownFigures::samples));
        for (core, counters) in self.gateways.iter().enumerate() {
            samples.extend(of_gateway(counters).map(|sample| sample.with("core", core)));
        }
        for (core, counters) in self.routers.iter().enumerate() {
            samples.extend(of_router(counters).map(|sample| sample.with("core", core)));
        }
        samples
    }
}

fn of_gateway(counters: &Counters) -> impl Iterator<Item = Sample> {
    let counted = counters.all().map(|(name, value)| Sample::new(format!("gateway_{name}"), value));
    let refused =
        counters.refused().map(|(code, count)| Sample::new("gateway_refused", count).with("code", code.name()));
    counted.chain(refused).chain([silence("gateway", &counters.pulse)])
}

fn of_router(counters: &CoreCounters) -> impl Iterator<Item = Sample> {
    let counted = counters.each().map(|(name, value)| Sample::new(format!("router_{name}"), value));
    let sorted = counters.histograms().into_iter().flat_map(|(name, cumulative)| {
        cumulative.into_iter().map(move |(bound, count)| {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            Sample::new(format!("router_{name}_bucket"), count).with("le", bound)
        })
    });
    let journal = [("ready", StorageState::Ready), ("full", StorageState::Full), ("failed", StorageState::Failed)];
    let is = counters.journal();
    let journal = journal
        .into_iter()
        .map(move |(name, state)| Sample::new("router_journal", u64::from(is == state)).with("state", name));
    counted.chain(sorted).chain(journal).chain([silence("router", &counters.pulse)])
}

/// How long a thread has given no sign of life; one that works sleeps for up to half a second.
fn silence(part: &str, pulse: &Pulse) -> Sample {
    let ms = u64::try_from(pulse.silence(Instant::now()).as_millis()).unwrap_or(u64::MAX);
    Sample::new(format!("{part}_silence_ms"), ms)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The figures of a server with one gateway thread, one router core and a TLS certificate, which have done nothing. They are read on a thread of
    /// that name: processor time is told of those that a server has.
    pub(crate) fn of_nothing() -> Vec<Sample> {
        let figures = Figures {
            gateways: vec![Arc::default()],
            routers: vec![Arc::default()],
            data_dir: PathBuf::from("."),
            certificate: Some(crate::tls::figures_of_some()),
            began: Began::now(),
        };
        let gateway = std::thread::Builder::new().name("gateway-0".to_owned());
        let read = gateway.spawn(move || figures.read(0, true)).expect("it starts");
        read.join().expect("it reads")
    }

    #[test]
    fn given_a_server_when_read_then_no_two_figures_have_the_same_name_and_labels() {
        let mut seen = std::collections::HashSet::new();
        for sample in of_nothing() {
            let key = format!("{} {:?}", sample.name, sample.labels);
            assert!(seen.insert(key.clone()), "{key} is told twice");
        }
    }
}
