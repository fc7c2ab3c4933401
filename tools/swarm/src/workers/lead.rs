//! Whoever leads a run: gives each worker its share, brings all of them to each point, and adds up what they say.

use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::{Order, Told, VERSION, frame};
use crate::SwarmError;
use crate::company::Point;
use crate::connect::{Part, Share};
use crate::latency::Latencies;
use crate::limits::{
    CLOSING_MAX, FRAMES_WAITING_MAX, LOOK_PAUSE, SAMPLE_PAUSE, SILENCE_MAX, WORKER_START_MAX, WORKERS_MAX,
};
use crate::sample::Sample;

/// The workers of a run. Their lines are cut when this is dropped, and then they give up.
#[derive(Debug)]
pub(crate) struct Leader {
    workers: Vec<Worker>,
    heard: Receiver<(usize, Heard)>,
    /// Of all workers since the last sample.
    interval: Latencies,
    sampled: Instant,
}

#[derive(Debug)]
struct Worker {
    name: String,
    stream: TcpStream,
    heard_at: Instant,
    sample: Sample,
    reached: Option<(Point, bool)>,
    part: Option<Box<Part>>,
}

/// What came of a line.
type Heard = io::Result<Option<Told>>;

impl Leader {
    /// Gives each worker its share.
    ///
    /// # Errors
    /// When one cannot be reached.
    pub(crate) fn start(names: &[String], shares: Vec<Share>) -> Result<Self, SwarmError> {
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
                reached: None,
                part: None,
            });
        }
        Ok(Self { workers, heard, interval: Latencies::default(), sampled: Instant::now() })
    }

    /// Waits until all workers have come to a point; whether all are whole. Meanwhile `observer` is told once a second
    /// how all of them stand.
    ///
    /// # Errors
    /// When one fails, ends or falls silent.
    pub(crate) fn gather(&mut self, point: Point, observer: &mut dyn FnMut(Sample)) -> Result<bool, SwarmError> {
        let is_there = |worker: &Worker| worker.reached.is_some_and(|(at, _)| at == point);
        self.hear_until(|worker| is_there(worker), SILENCE_MAX, observer)?;
        Ok(self.workers.iter().all(|worker| worker.reached.is_some_and(|(_, whole)| whole)))
    }

    /// Lets the workers go on from where they are.
    ///
    /// # Errors
    /// When one is gone.
    pub(crate) fn go_on(&mut self, whole: bool) -> Result<(), SwarmError> {
        for worker in &mut self.workers {
            let failed = SwarmError::io(format!("worker {}", worker.name));
            frame::write(&mut worker.stream, &Order::GoOn { whole }).map_err(failed)?;
        }
        Ok(())
    }

    /// Waits for what the workers have counted.
    ///
    /// # Errors
    /// When one fails, ends or falls silent.
    pub(crate) fn finish(mut self, observer: &mut dyn FnMut(Sample)) -> Result<Vec<Part>, SwarmError> {
        self.hear_until(|worker| worker.part.is_some(), CLOSING_MAX, observer)?;
        observer(self.sample());
        Ok(self.workers.iter_mut().filter_map(|worker| worker.part.take()).map(|part| *part).collect())
    }

    fn hear_until(
        &mut self,
        is_done: impl Fn(&Worker) -> bool,
        silence_max: Duration,
        observer: &mut dyn FnMut(Sample),
    ) -> Result<(), SwarmError> {
        while !self.workers.iter().all(&is_done) {
            match self.heard.recv_timeout(LOOK_PAUSE) {
                Ok((index, heard)) => self.on_heard(index, heard)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(SwarmError::Server("the workers are gone".to_owned()));
                }
            }
            let silent = |worker: &&Worker| worker.part.is_none() && worker.heard_at.elapsed() > silence_max;
            if let Some(worker) = self.workers.iter().find(silent) {
                return Err(SwarmError::Server(format!(
                    "worker {}: it has said nothing for {} s; its machine or the line to it hangs",
                    worker.name,
                    silence_max.as_secs()
                )));
            }
            if self.sampled.elapsed() >= SAMPLE_PAUSE {
                observer(self.sample());
            }
        }
        Ok(())
    }

    fn on_heard(&mut self, index: usize, heard: Heard) -> Result<(), SwarmError> {
        let worker = &mut self.workers[index];
        let name = &worker.name;
        worker.heard_at = Instant::now();
        match heard {
            Ok(Some(Told::Sample { sample, interval })) => {
                worker.sample = *sample;
                self.interval.add(&interval);
            }
            Ok(Some(Told::Reached { point, whole })) => worker.reached = Some((point, whole)),
            Ok(Some(Told::Done(part))) => worker.part = Some(part),
            Ok(Some(Told::Failed(why))) => return Err(SwarmError::Server(format!("worker {name}: {why}"))),
            // Its line ends when it is done.
            _ if worker.part.is_some() => {}
            Ok(None) => {
                return Err(SwarmError::Server(format!(
                    "worker {name}: it ended in the middle of the run, of which nothing is left; see what it printed"
                )));
            }
            Err(error) => return Err(SwarmError::io(format!("worker {name}"))(error)),
        }
        Ok(())
    }

    /// How all workers stand.
    fn sample(&mut self) -> Sample {
        self.sampled = Instant::now();
        let mut all = Sample::default();
        self.workers.iter().for_each(|worker| all.add(&worker.sample));
        all.latency = std::mem::take(&mut self.interval).percentiles();
        all
    }
}

impl Drop for Leader {
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
fn listen(index: usize, mut stream: TcpStream, sender: SyncSender<(usize, Heard)>) {
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
