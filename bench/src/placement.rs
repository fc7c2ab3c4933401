//! Which processors server and load run on.

use std::str::FromStr;

use rustix::thread::{CpuSet, sched_setaffinity};

/// The processor of the servers, when they stand apart.
const SERVER: usize = 0;
/// The processor of the load, when they stand apart.
const LOAD: usize = 1;

/// Where server and load run.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Placement {
    /// The server has one processor and the load another, so that neither takes time from the other and every server has
    /// the same.
    Apart,
    /// Wherever the kernel puts them: the server as it is run.
    Free,
}

/// `apart` or `free`.
impl FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "apart" => Ok(Self::Apart),
            "free" => Ok(Self::Free),
            other => Err(format!("{other} is no placement: apart or free")),
        }
    }
}

impl Placement {
    /// Starts a server in its place. The calling thread, and every thread it starts later, then stands in the load's.
    ///
    /// # Errors
    /// Those of `start`, and when there is only one processor to stand apart on.
    pub fn start<T>(self, start: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        if self == Self::Free {
            return start();
        }
        // A child process inherits the place of the thread that starts it.
        stay_on(SERVER)?;
        let started = start();
        stay_on(LOAD)?;
        started
    }
}

fn stay_on(processor: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set)
        .map_err(|errno| format!("processor {processor} cannot be used: {errno}; the comparison needs two processors"))
}
