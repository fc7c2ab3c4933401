//! The devices on their sockets.

use std::net::SocketAddr;
use std::time::Instant;

use switchyard_schema::wire::Encoder;

use super::device::Device;
use super::round::Round;
use crate::event_loop::{self, Ended, SocketId, Sockets, Turn, Work};
use crate::limits::{CRASH_PATIENCE, TURN_PAUSE_MAX};
use crate::session::Incoming;

/// Sends until the moment the server is to be killed. The connections are dropped with the loop, as they would be.
pub(super) fn until_kill(mut devices: Vec<Device>, round: &Round, address: SocketAddr) -> Result<Vec<Device>, String> {
    devices.iter_mut().for_each(|device| device.on_round(round));
    CrashWork::run(devices, *round, address, Goal::Kill)
}

/// Goes on until every send is accepted and every device has seen everything.
pub(super) fn until_complete(devices: Vec<Device>, round: &Round, address: SocketAddr) -> Result<Vec<Device>, String> {
    CrashWork::run(devices, *round, address, Goal::Complete)
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Goal {
    Kill,
    Complete,
}

struct CrashWork {
    devices: Vec<Device>,
    round: Round,
    address: SocketAddr,
    goal: Goal,
    /// Which device a socket belongs to.
    owners: Vec<usize>,
    /// Devices that are to connect.
    waiting: Vec<usize>,
    /// Nobody sends until all are there: a device that registers later starts where its user already is.
    all_welcomed: bool,
    deadline: Instant,
    encoder: Encoder,
    scratch: Vec<u8>,
    breach: Option<String>,
}

impl CrashWork {
    fn run(devices: Vec<Device>, round: Round, address: SocketAddr, goal: Goal) -> Result<Vec<Device>, String> {
        let mut work = Self {
            waiting: (0..devices.len()).collect(),
            devices,
            round,
            address,
            goal,
            owners: Vec::new(),
            all_welcomed: false,
            deadline: Instant::now() + CRASH_PATIENCE,
            encoder: Encoder::new(),
            scratch: Vec::new(),
            breach: None,
        };
        event_loop::run(&mut work).map_err(|error| format!("epoll: {error}"))?;
        if let Some(breach) = work.breach {
            return Err(breach);
        }
        work.devices.iter_mut().for_each(Device::on_disconnect);
        Ok(work.devices)
    }

    fn reached(&self) -> bool {
        match self.goal {
            Goal::Kill => {
                let accepted: u64 = self.devices.iter().map(|device| device.accepted_in(&self.round)).sum();
                accepted >= self.round.kill_after
            }
            Goal::Complete => self.devices.iter().all(|device| device.is_complete(&self.round)),
        }
    }

    fn stuck(&self) -> String {
        let unfinished = self.devices.iter().filter(|device| !device.is_complete(&self.round));
        let states: Vec<String> = unfinished.take(5).map(Device::state).collect();
        format!("not complete after {CRASH_PATIENCE:?}; {}", states.join("; "))
    }
}

impl Work for CrashWork {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        if let Some(out) = sockets.out(id) {
            self.devices[self.owners[id]].session.start(out);
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let (device, mut at) = (&mut self.devices[self.owners[id]], 0);
        while at < bytes.len() {
            match device.session.decode(&mut bytes[at..], &mut self.encoder, &mut self.scratch) {
                Ok(decoded) => {
                    at += decoded.consumed;
                    if let Some(Incoming::Frame(frame)) = decoded.incoming
                        && let Err(breach) = device.on_frame(&frame)
                    {
                        return self.breach = Some(breach);
                    }
                }
                Err(error) => return self.breach = Some(error),
            }
        }
        device.speak(self.all_welcomed, &mut self.encoder, &mut self.scratch);
        if !self.scratch.is_empty()
            && let Some(out) = sockets.out(id)
        {
            out.append(&mut self.scratch);
        }
    }

    fn on_closed(&mut self, _: &mut Sockets, id: SocketId, _: Ended) {
        let device = self.owners[id];
        self.devices[device].on_disconnect();
        self.waiting.push(device);
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        if self.breach.is_some() || self.reached() {
            return Turn::Stop;
        }
        if now >= self.deadline {
            self.breach = Some(self.stuck());
            return Turn::Stop;
        }
        if !self.all_welcomed && self.devices.iter().all(Device::is_welcomed) {
            self.all_welcomed = true;
            for (id, &device) in self.owners.iter().enumerate() {
                if let Some(out) = sockets.out(id) {
                    self.devices[device].speak(true, &mut self.encoder, out);
                }
            }
        }
        for device in std::mem::take(&mut self.waiting) {
            match sockets.connect(self.address) {
                Ok(id) => {
                    self.owners.resize(self.owners.len().max(id + 1), 0);
                    self.owners[id] = device;
                }
                Err(error) => self.breach = Some(format!("connecting: {error}")),
            }
        }
        Turn::By(now + TURN_PAUSE_MAX)
    }
}
