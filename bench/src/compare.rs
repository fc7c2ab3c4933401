//! Runs scenarios with everybody who takes part, in turns, so that what the machine does meanwhile meets all alike.

use std::num::NonZeroUsize;

use crate::load::Times;
use crate::placement::Placement;
use crate::scenario::{Contender, Scenario};
use crate::server::{Kind, Places, Running};
use crate::table::{Entry, Idle, Measured, Row};
use switchyard_swarm::process;

/// How to compare.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Programs and data.
    pub places: Places,
    /// Which processors they run on.
    pub placement: Placement,
    /// Runs of each contender.
    pub rounds: NonZeroUsize,
    /// How long each lasts; the warm-up is what the work makes of it ([`Work::warm_up`](crate::scenario::Work::warm_up)).
    pub times: Times,
}

impl Comparison {
    /// Runs scenarios, with those contenders whom `takes_part` lets, and hands out each row when it is done.
    ///
    /// # Errors
    /// A sentence about what went wrong.
    pub fn run(
        &self,
        scenarios: &[Scenario],
        takes_part: impl Fn(&Contender) -> bool,
        mut on_row: impl FnMut(&Row<Measured>),
    ) -> Result<Vec<Row<Measured>>, String> {
        process::raise_descriptor_limit();
        let mut servers: Vec<(Kind, Running)> = Vec::new();
        let mut rows = Vec::new();
        for scenario in scenarios {
            let contenders: Vec<&Contender> = scenario.contenders.iter().filter(|one| takes_part(one)).collect();
            let mut entries: Vec<Entry<Measured>> = contenders.iter().map(|one| Entry::new(one.name)).collect();
            let times = Times { warm_up: scenario.work.warm_up(self.times.warm_up), ..self.times };
            for _ in 0..self.rounds.get() {
                for (contender, entry) in contenders.iter().zip(&mut entries) {
                    let server = self.server(&mut servers, contender.kind)?;
                    match contender.run(scenario.work, server, times) {
                        Ok(measured) => entry.runs.push(measured),
                        Err(reason) => return Err(failure(scenario.name, contender, &reason, server)),
                    }
                }
            }
            let row = Row { name: scenario.name, entries };
            on_row(&row);
            rows.push(row);
        }
        servers.into_iter().try_for_each(|(_, server)| server.stop())?;
        Ok(rows)
    }

    /// What connections without traffic cost. Each run has a server of its own, whose memory nothing else has shaped.
    ///
    /// # Errors
    /// A sentence about what went wrong.
    pub fn run_idle(&self, first: usize, count: usize, contenders: &[Contender]) -> Result<Row<Idle>, String> {
        process::raise_descriptor_limit();
        let mut entries: Vec<Entry<Idle>> = contenders.iter().map(|one| Entry::new(one.name)).collect();
        for _ in 0..self.rounds.get() {
            for (contender, entry) in contenders.iter().zip(&mut entries) {
                let mut server = self.placement.start(|| Running::start(contender.kind, &self.places))?;
                match contender.idle(first, count, &server) {
                    Ok(idle) => entry.runs.push(idle),
                    Err(reason) => return Err(failure("idle", contender, &reason, &mut server)),
                }
                server.stop()?;
            }
        }
        Ok(Row { name: "an idle connection", entries })
    }

    /// The server of a kind, started when it is first wanted.
    fn server<'s>(&self, servers: &'s mut Vec<(Kind, Running)>, kind: Kind) -> Result<&'s mut Running, String> {
        let index = match servers.iter().position(|(known, _)| *known == kind) {
            Some(index) => index,
            None => {
                servers.push((kind, self.placement.start(|| Running::start(kind, &self.places))?));
                servers.len() - 1
            }
        };
        Ok(&mut servers[index].1)
    }
}

fn failure(what: &str, contender: &Contender, reason: &str, server: &mut Running) -> String {
    format!("{what}, {}: {reason}{}", contender.name, server.fate())
}
