//! What a command says of its run so that several machines can share it ([`Shared`]), and how such a run is divided.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::chat::ChatOptions;
use crate::company::Company;
use crate::connect::ConnectOptions;
use crate::echo::EchoOptions;
use crate::merge::Merge;
use crate::routes::Sources;
use crate::storm::StormOptions;
use crate::target::Target;
use crate::tokens::Signer;
use crate::users;

/// A run that several machines can share: each takes a part of it, and the parts are merged.
pub(crate) trait Shared: Clone {
    /// What one machine did and saw.
    type Part: Merge + Serialize + DeserializeOwned + Send + 'static;

    /// What the machines divide among themselves.
    const PIECES: &'static str;
    /// So many pieces stay together, because they have to do with each other.
    const TOGETHER: u32;
    /// Users of a piece.
    const USERS_EACH: u32;

    /// Pieces of the whole run.
    fn pieces(&self) -> u32;

    /// The same run with so many pieces, and rates to match.
    fn with_pieces(&self, pieces: u32) -> Self;

    /// The server's process, to be looked for by whoever leads.
    fn server_pid(&self) -> Option<u32>;

    /// As what it is sent to a worker.
    fn into_task(self) -> Task;

    /// Does it for whoever leads, in step with the others.
    ///
    /// # Errors
    /// When it cannot be done, or the others are gone.
    fn take_part(self, place: Place, company: Box<dyn Company>) -> Result<Self::Part, SwarmError>;
}

/// A run of any command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    Connect(ConnectOptions),
    Storm(StormOptions),
    Chat(ChatOptions),
    Echo(EchoOptions),
}

/// What one machine is to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(super) access: Access,
    pub(super) first_user: u64,
    /// But for the server's address, which a machine looks up by itself, and its process, which is not its own.
    pub(super) task: Task,
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Access {
    /// Where it is, as each machine sees it.
    pub url: String,
    /// The text of the development key that signs its users' tokens, where a run has users.
    pub key: Option<String>,
}

/// What a machine brings to its share.
#[derive(Debug)]
pub(crate) struct Place {
    /// The server, as this machine sees it.
    pub(crate) target: Target,
    /// Addresses of its own to connect from, whatever the leader says.
    pub(crate) sources: Option<Sources>,
    pub(crate) first_user: u64,
    key: Option<String>,
}

impl Access {
    /// The place of this machine in a run.
    ///
    /// # Errors
    /// When the server's host is not known here.
    pub(super) fn place(self, first_user: u64, sources: Option<Sources>) -> Result<Place, SwarmError> {
        Ok(Place { target: Target::parse(&self.url)?, sources, first_user, key: self.key })
    }
}

impl Place {
    /// Signs the tokens of the run's users.
    ///
    /// # Errors
    /// When there is no key.
    pub(crate) fn signer(&self) -> Result<Signer, SwarmError> {
        let missing = || SwarmError::Key("the share has users and no key to sign their tokens".to_owned());
        Signer::of_key(self.key.as_ref().ok_or_else(missing)?)
    }
}

/// Divides a run: pieces and rates alike, and users so that each is on one machine.
///
/// # Errors
/// When there is less than a piece for each.
pub(super) fn divide<R: Shared>(run: &R, workers: usize, access: &Access) -> Result<Vec<Share>, SwarmError> {
    let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
    let (pieces, together) = (run.pieces(), R::TOGETHER);
    let groups = pieces / together;
    if groups < workers {
        return Err(SwarmError::Arguments(format!(
            "{pieces} {} are too few for {workers} workers, each of which takes {together} at least",
            R::PIECES
        )));
    }
    let mut first_user = users::first_user();
    let mut shares = Vec::new();
    for worker in 0..workers {
        let own_groups = groups / workers + u32::from(worker < groups % workers);
        // What is left over and has no company is the first one's.
        let own = together * own_groups + if worker == 0 { pieces % together } else { 0 };
        shares.push(Share { access: access.clone(), first_user, task: run.with_pieces(own).into_task() });
        first_user += u64::from(own) * u64::from(R::USERS_EACH);
    }
    Ok(shares)
}

/// The part of a rate that belongs to `pieces` of `all`.
pub(crate) fn part_of_rate(rate: f64, pieces: u32, all: u32) -> f64 {
    rate * f64::from(pieces) / f64::from(all.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided<R: Shared>(run: &R, workers: usize) -> Vec<Share> {
        let access = Access { url: "127.0.0.1:7400".to_owned(), key: None };
        divide(run, workers, &access).expect("enough for all")
    }

    fn users(shares: &[Share]) -> Vec<u64> {
        shares.iter().map(|share| share.first_user - shares[0].first_user).collect()
    }

    fn near(sum: f64, expect: f64) -> bool {
        (sum - expect).abs() < 1e-6
    }

    #[test]
    fn given_connections_that_talk_in_pairs_when_divided_then_nothing_is_missing_and_no_pair_is_on_two_machines() {
        let address = "127.0.0.1:7400".parse().expect("an address");
        let run = ConnectOptions { opens_per_s: Some(500.0), ..ConnectOptions::new(address, 1_001) };
        let shares = divided(&run, 3);
        assert_eq!(users(&shares), [0, 335, 335 + 334]);
        let tasks = shares.into_iter().map(|share| match share.task {
            Task::Connect(options) => options,
            task => panic!("{task:?} is of another command"),
        });
        let tasks: Vec<ConnectOptions> = tasks.collect();
        assert_eq!(tasks.iter().map(|options| options.count).collect::<Vec<_>>(), [335, 334, 332]);
        assert!(near(tasks.iter().map(|options| options.messages_per_s).sum(), 2_000.0));
        assert!(near(tasks.iter().filter_map(|options| options.opens_per_s).sum(), 500.0));
    }

    #[test]
    fn given_pairs_of_users_when_divided_then_no_user_is_on_two_machines() {
        let run = ChatOptions::new("127.0.0.1:7400".parse().expect("an address"), 5);
        let shares = divided(&run, 2);
        assert_eq!(users(&shares), [0, 6]);
    }

    #[test]
    fn given_more_workers_than_there_is_work_when_divided_then_the_run_is_refused() {
        let run = ConnectOptions::new("127.0.0.1:7400".parse().expect("an address"), 5);
        let access = Access { url: "127.0.0.1:7400".to_owned(), key: None };
        let error = divide(&run, 3, &access).unwrap_err();
        assert!(error.to_string().contains("5 connections are too few for 3 workers"), "{error}");
    }
}
