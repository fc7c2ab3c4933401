//! Whoever leads a run: gives each worker its share, brings all of them to each point, and makes one of what they found.

use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::share::{Access, Share, Shared, divide};
use super::watch::Watch;
use super::{Order, Told, VERSION, frame};
use crate::SwarmError;
use crate::company::Point;
use crate::latency::Latencies;
use crate::limits::{
    CLOSING_MAX, FRAMES_WAITING_MAX, LOOK_PAUSE, POINTS_MAX, SAMPLE_PAUSE, SILENCE_MAX, WORKER_START_MAX, WORKERS_MAX,
};
use crate::merge::merge_all;
use crate::reading::{Reading, Readings};
use crate::sample::{Observer, Sample};

/// What came of a run on other machines.
#[derive(Debug)]
pub(crate) struct Led<Part> {
    /// What all of them found.
    pub(crate) part: Part,
    /// What was read here meanwhile, where the server's process may be.
    pub(crate) readings: Readings,
}

/// Runs it on other machines, on each of which a worker listens at the address given. This machine only leads; the
/// server's process is looked for here.
///
/// # Errors
/// When the run cannot be made, or a worker refuses, fails or falls silent.
pub(crate) fn lead<R: Shared>(
    names: &[String],
    run: &R,
    access: &Access,
    observer: Observer<'_>,
) -> Result<Led<R::Part>, SwarmError> {
    let shares = divide(run, names.len(), access)?;
    let read = || Reading::take(run.server_pid(), Vec::new());
    let mut readings = Readings::begin(read());
    let mut leader = Leader::<R::Part>::start(names, shares)?;
    let mut watch = Watch::new(run.server_pid(), observer);
    while let Some((point, whole)) = leader.gather(&mut watch)? {
        if readings.has(point) || readings.len() == POINTS_MAX {
            return Err(SwarmError::Server("the workers go round in circles; they are of another version".to_owned()));
        }
        readings.note(point, read());
        leader.go_on(point, whole)?;
    }
    let part = merge_all(leader.end(&mut watch));
    let part = part.ok_or_else(|| SwarmError::Arguments("a run on workers has one at least".to_owned()))?;
    Ok(Led { part, readings })
}

/// The workers of a run. Their lines are cut when this is dropped, and then they give up.
#[derive(Debug)]
struct Leader<Part> {
    workers: Vec<Worker<Part>>,
    heard: Receiver<(usize, Heard<Part>)>,
    /// How long a worker may say nothing.
    silence_max: Duration,
    /// Of all workers since the last sample.
    interval: Latencies,
    sampled: Instant,
}

#[derive(Debug)]
struct Worker<Part> {
    name: String,
    stream: TcpStream,
    heard_at: Instant,
    sample: Sample,
    /// Whether that was not yet told.
    is_fresh: bool,
    state: State<Part>,
}

/// How far a worker is.
#[derive(Debug)]
enum State<Part> {
    /// On its way to the next point, or to the end.
    Working,
    At(Point, bool),
    Done(Box<Part>),
}

/// What came of a line.
type Heard<Part> = io::Result<Option<Told<Part>>>;

impl<Part: DeserializeOwned + Send + 'static> Leader<Part> {
    /// Gives each worker its share.
    fn start(names: &[String], shares: Vec<Share>) -> Result<Self, SwarmError> {
        if names.len() > WORKERS_MAX {
            return Err(SwarmError::Server(format!("a run has {WORKERS_MAX} workers at most, not {}", names.len())));
        }
        // All are connected to before any begins.
        let streams = names.iter().map(|name| connect(name)).collect::<Result<Vec<_>, _>>()?;
        let (sender, heard) = mpsc::sync_channel(FRAMES_WAITING_MAX);
        let mut workers = Vec::new();
        for (index, ((name, stream), share)) in names.iter().zip(streams).zip(shares).enumerate() {
            let failed = || SwarmError::io(format!("worker {name}"));
            let order = Order::Begin { version: VERSION.to_owned(), share: Box::new(share) };
            frame::write(&mut &stream, &order).map_err(failed())?;
            listen(index, stream.try_clone().map_err(failed())?, sender.clone());
            workers.push(Worker {
                name: name.clone(),
                stream,
                heard_at: Instant::now(),
                sample: Sample::default(),
                is_fresh: false,
                state: State::Working,
            });
        }
        let (interval, sampled) = (Latencies::default(), Instant::now());
        Ok(Self { workers, heard, silence_max: SILENCE_MAX, interval, sampled })
    }

    /// Waits until all workers have come to the next point, which they do together; that point and whether all are whole,
    /// or nothing when all are done. Meanwhile once a second it is told how all of them stand.
    fn gather(&mut self, watch: &mut Watch<'_>) -> Result<Option<(Point, bool)>, SwarmError> {
        while self.workers.iter().any(|worker| matches!(worker.state, State::Working)) {
            match self.heard.recv_timeout(LOOK_PAUSE) {
                Ok((index, heard)) => self.on_heard(index, heard)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(SwarmError::Server("the workers are gone".to_owned()));
                }
            }
            self.check_silence()?;
            // With something new of each, so that a rate is of the time between; unless one says nothing.
            if self.workers.iter().all(|worker| worker.is_fresh) || self.sampled.elapsed() >= 2 * SAMPLE_PAUSE {
                watch.tell(self.sample());
            }
        }
        let point = self.workers.first().and_then(|first| first.state.point());
        if let Some(other) = self.workers.iter().find(|worker| worker.state.point() != point) {
            return Err(SwarmError::Server(format!(
                "worker {}: it is out of step with the others: {:?}, they {point:?}",
                other.name,
                other.state.point()
            )));
        }
        let whole = self.workers.iter().all(|worker| matches!(worker.state, State::At(_, true)));
        Ok(point.map(|point| (point, whole)))
    }

    /// Lets the workers go on from where they are.
    fn go_on(&mut self, from: Point, whole: bool) -> Result<(), SwarmError> {
        if from == Point::Closing {
            self.silence_max = CLOSING_MAX;
        }
        for worker in &mut self.workers {
            worker.state = State::Working;
        }
        for worker in &mut self.workers {
            let failed = SwarmError::io(format!("worker {}", worker.name));
            frame::write(&mut worker.stream, &Order::GoOn { whole }).map_err(failed)?;
        }
        Ok(())
    }

    /// What the workers have handed in.
    fn end(mut self, watch: &mut Watch<'_>) -> Vec<Part> {
        if self.workers.iter().any(|worker| worker.is_fresh) {
            watch.tell(self.sample());
        }
        let take = |worker: &mut Worker<Part>| match std::mem::replace(&mut worker.state, State::Working) {
            State::Done(part) => Some(*part),
            State::Working | State::At(..) => None,
        };
        self.workers.iter_mut().filter_map(take).collect()
    }

    fn on_heard(&mut self, index: usize, heard: Heard<Part>) -> Result<(), SwarmError> {
        let worker = &mut self.workers[index];
        let name = &worker.name;
        worker.heard_at = Instant::now();
        match heard {
            Ok(Some(Told::Sample { sample, interval })) => {
                (worker.sample, worker.is_fresh) = (*sample, true);
                self.interval.add(&interval);
            }
            Ok(Some(Told::Reached { point, whole })) => worker.state = State::At(point, whole),
            Ok(Some(Told::Done(part))) => worker.state = State::Done(part),
            Ok(Some(Told::Failed(why))) => return Err(SwarmError::Server(format!("worker {name}: {why}"))),
            // Its line ends when it is done.
            _ if matches!(worker.state, State::Done(_)) => {}
            Ok(None) => {
                return Err(SwarmError::Server(format!(
                    "worker {name}: it ended in the middle of the run, of which nothing is left; see what it printed"
                )));
            }
            Err(error) => return Err(SwarmError::io(format!("worker {name}"))(error)),
        }
        Ok(())
    }

    fn check_silence(&self) -> Result<(), SwarmError> {
        let is_silent = |worker: &&Worker<Part>| {
            !matches!(worker.state, State::Done(_)) && worker.heard_at.elapsed() > self.silence_max
        };
        self.workers.iter().find(is_silent).map_or(Ok(()), |worker| {
            Err(SwarmError::Server(format!(
                "worker {}: it has said nothing for {} s; its machine or the line to it hangs",
                worker.name,
                self.silence_max.as_secs()
            )))
        })
    }

    /// How all workers stand.
    fn sample(&mut self) -> Sample {
        self.sampled = Instant::now();
        let mut all = Sample::default();
        for worker in &mut self.workers {
            all.add(&worker.sample);
            worker.is_fresh = false;
        }
        all.latency = std::mem::take(&mut self.interval).percentiles();
        all
    }
}

impl<Part> State<Part> {
    const fn point(&self) -> Option<Point> {
        match self {
            Self::At(point, _) => Some(*point),
            Self::Working | Self::Done(_) => None,
        }
    }
}

impl<Part> Drop for Leader<Part> {
    fn drop(&mut self) {
        for worker in &self.workers {
            // One that is gone has no line to cut.
            let _ = worker.stream.shutdown(Shutdown::Both);
        }
    }
}

fn connect(name: &str) -> Result<TcpStream, SwarmError> {
    let reach = || -> io::Result<TcpStream> {
        let address = name.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the host has no address"))?;
        let stream = TcpStream::connect_timeout(&address, WORKER_START_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(stream)
    };
    reach().map_err(|error| {
        SwarmError::Server(format!("worker {name}: {error}; is `swarm worker --listen {name}` running there?"))
    })
}

/// Reads what a worker says until its line ends.
fn listen<Part: DeserializeOwned + Send + 'static>(
    index: usize,
    mut stream: TcpStream,
    sender: SyncSender<(usize, Heard<Part>)>,
) {
    thread::spawn(move || {
        loop {
            let heard = frame::read(&mut stream);
            let is_last = !matches!(heard, Ok(Some(_)));
            if sender.send((index, heard)).is_err() || is_last {
                return;
            }
        }
    });
}
