//! A worker: takes one share after the other from whoever asks, one at a time.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use super::share::{Share, Shared, Task};
use super::{Order, Place, Told, VERSION, frame};
use crate::SwarmError;
use crate::company::{Company, Point};
use crate::latency::Latencies;
use crate::limits::{FRAMES_WAITING_MAX, SILENCE_MAX, WORKER_START_MAX};
use crate::routes::Sources;
use crate::sample::Sample;

/// Takes shares for as long as the process lives, and tells `log` of each. Connections come from `sources` when there are
/// any, and else from where the leader says.
///
/// # Errors
/// When no more connections are accepted.
pub fn serve(listener: &TcpListener, sources: Option<&Sources>, log: fn(&str)) -> Result<(), SwarmError> {
    let is_busy = Arc::new(AtomicBool::new(false));
    for stream in listener.incoming() {
        let stream = stream.map_err(SwarmError::io("accepting a leader"))?;
        let leader = stream.peer_addr().map_or_else(|_| "somebody".to_owned(), |address| address.to_string());
        let share = match receive(&stream) {
            Ok(share) => share,
            Err(error) => {
                log(&format!("{leader}: {error}"));
                continue;
            }
        };
        let Some(busy) = Busy::take(&is_busy) else {
            refuse(&stream, "it is in the middle of another run");
            continue;
        };
        let (line, sources) = (EndsLine(stream), sources.cloned());
        thread::spawn(move || {
            log(&format!("{leader} leads a run"));
            let done = work(&line.0, share, sources, busy);
            if let Err(error) = &done {
                refuse(&line.0, &error.to_string());
            }
            drop(line);
            match done {
                Ok(()) => log(&format!("the run of {leader} is over")),
                Err(error) => log(&format!("the run of {leader} broke off: {error}")),
            }
        });
    }
    Ok(())
}

/// A worker has one run at a time, and is free again however that ends.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn take(is_busy: &Arc<AtomicBool>) -> Option<Self> {
        (!is_busy.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(is_busy)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The line to a leader, who hears that a run is over however it ends.
struct EndsLine(TcpStream);

impl Drop for EndsLine {
    fn drop(&mut self) {
        // The reader has a handle of its own; it ends with the line.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// The share that a leader gives when it has just connected.
fn receive(stream: &TcpStream) -> io::Result<Share> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WORKER_START_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    match frame::read(&mut &*stream)? {
        Some(Order::Begin { version, share }) if version == VERSION => Ok(*share),
        Some(Order::Begin { version, .. }) => {
            let why = format!("it is swarm {VERSION}, and the run is of {version}");
            refuse(stream, &why);
            Err(io::Error::other(why))
        }
        Some(Order::GoOn { .. }) => Err(io::Error::other("no run has begun")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A leader that cannot be told any more has its own error.
fn refuse(stream: &TcpStream, why: &str) {
    let _ = frame::write(&mut &*stream, &Told::<()>::Failed(why.to_owned()));
    let _ = stream.shutdown(Shutdown::Write);
}

fn work(stream: &TcpStream, share: Share, sources: Option<Sources>, busy: Busy) -> Result<(), SwarmError> {
    let Share { access, first_user, task } = share;
    let place = access.place(first_user, sources)?;
    match task {
        Task::Connect(run) => take_part(stream, run, place, busy),
        Task::Storm(run) => take_part(stream, run, place, busy),
        Task::Chat(run) => take_part(stream, run, place, busy),
        Task::Echo(run) => take_part(stream, run, place, busy),
    }
}

fn take_part<R: Shared>(stream: &TcpStream, run: R, place: Place, busy: Busy) -> Result<(), SwarmError> {
    let failed = || SwarmError::io("the line to whoever leads the run");
    let part = run.take_part(place, Box::new(Line::new(stream).map_err(failed())?))?;
    // Whoever is told may come with the next run at once.
    drop(busy);
    frame::write(&mut &*stream, &Told::Done(Box::new(part))).map_err(failed())
}

/// The leader, as its worker sees it.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    orders: Receiver<Order>,
    go_on: Option<bool>,
    /// The first thing that could not be said.
    failed: Option<io::Error>,
}

impl Line {
    fn new(stream: &TcpStream) -> io::Result<Self> {
        let (stream, mut reader) = (stream.try_clone()?, stream.try_clone()?);
        // A leader says nothing while its workers work; that it is gone shows as the end of the line.
        reader.set_read_timeout(None)?;
        let (sender, orders) = mpsc::sync_channel(FRAMES_WAITING_MAX);
        thread::spawn(move || {
            while let Ok(Some(order)) = frame::read(&mut reader) {
                if sender.send(order).is_err() {
                    return;
                }
            }
        });
        Ok(Self { stream, orders, go_on: None, failed: None })
    }

    /// Says something in the middle of the run.
    fn say(&mut self, told: &Told<()>) {
        if self.failed.is_none() {
            self.failed = frame::write(&mut self.stream, told).err();
        }
    }
}

impl Company for Line {
    fn reach(&mut self, point: Point, whole: bool) -> Result<(), SwarmError> {
        self.say(&Told::Reached { point, whole });
        self.check()
    }

    fn go_on(&mut self) -> Result<Option<bool>, SwarmError> {
        self.check()?;
        Ok(self.go_on.take())
    }

    fn check(&mut self) -> Result<(), SwarmError> {
        if let Some(error) = self.failed.take() {
            return Err(SwarmError::io("the line to whoever leads the run")(error));
        }
        match self.orders.try_recv() {
            Ok(Order::GoOn { whole }) => self.go_on = Some(whole),
            Ok(Order::Begin { .. }) => {
                return Err(SwarmError::Server("a second run began within the first".to_owned()));
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(SwarmError::Server("whoever led the run is gone".to_owned()));
            }
        }
        Ok(())
    }

    fn tell(&mut self, sample: &Sample, interval: &Latencies) {
        self.say(&Told::Sample { sample: Box::new(*sample), interval: interval.clone() });
    }
}
