//! A whole run: phones, network, server, disk, and the faults that befall them.

use std::sync::Arc;

use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, KeySet, SigningKey};
use switchyard_schema::ids::{DeviceId, Sequence, UserId};

use crate::agenda::Event;
use crate::canary::{Canary, Memory};
use crate::disk::{Crash, Disk};
use crate::fault::Fault;
use crate::network::Network;
use crate::phone::Phone;
use crate::server::{Below, Server};
use crate::shared::Shared;
use crate::store::Store;
use crate::tell;

/// How long everything may take to come to rest once the faults have stopped: far above every timeout and back-off.
const CALM_MS_MAX: u64 = 15 * 60 * 1000;
/// Between two looks at whether everything has come to rest.
const CHECK_MS: u64 = 500;
/// How often the operator looks at the server's health.
const OPERATOR_MS: u64 = 2_000;
/// Events of one run: beyond it something runs in circles.
const EVENTS_MAX: u64 = 20_000_000;

/// Everything that takes part.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) phones: Vec<Phone>,
    pub(crate) below: Below,
    pub(crate) server: Option<Server>,
    keys: Arc<KeySet>,
    key: SigningKey,
    canary: Option<Canary>,
    calm_since_us: u64,
    auditing: bool,
    done: bool,
}

impl World {
    pub(crate) fn new(shared: &mut Shared, canary: Option<Canary>) -> Self {
        let key = SigningKey::from_seed([7; 32]);
        let mut keys = KeySet::new(AUDIENCE_DEFAULT);
        keys.insert(key.kid(), key.public_key());
        let mut phones = Vec::new();
        for user in 1..=shared.plan.users {
            for device in 1..=shared.random.between(1, shared.plan.devices_max) {
                let (user, device) = (UserId::new(user).expect("from 1"), DeviceId::new(device).expect("from 1"));
                let index = phones.len();
                phones.push(Phone::new(shared, index, user, device));
            }
        }
        let below = Below { disk: Disk::new(shared), store: Store::new(canary), memory: Memory::default() };
        Self {
            network: Network::default(),
            phones,
            below,
            server: None,
            keys: Arc::new(keys),
            key,
            canary,
            calm_since_us: 0,
            auditing: false,
            done: false,
        }
    }

    /// Runs until everything has come to rest after the faults, or something does not hold.
    pub(crate) fn run(&mut self, shared: &mut Shared) {
        shared.agenda.after(0, Event::Start);
        shared.agenda.after(OPERATOR_MS * 1000, Event::Operator);
        for phone in 0..self.phones.len() {
            // Some devices come late, when there is something to catch up.
            let late_us = if shared.random.chance(300) { shared.plan.faults_ms * 500 } else { 10_000 };
            let us = shared.random.below(late_us);
            shared.agenda.after(us, Event::Person(phone));
        }
        for index in 0..shared.plan.faults.len() {
            self.plan_fault(shared, index);
        }
        let faults_ms = shared.plan.faults_ms;
        shared.agenda.after(faults_ms * 1000, Event::Calm);
        let mut events = 0;
        while !self.done && shared.truth.failure().is_none() {
            let event = shared.agenda.pop().expect("persons never rest");
            self.on_event(shared, event);
            events += 1;
            if events > EVENTS_MAX {
                shared.truth.fail("the run goes in circles".to_owned());
            }
        }
        shared.story.mix(events);
    }

    fn on_event(&mut self, shared: &mut Shared, event: Event) {
        let Self { network, phones, below, server, .. } = self;
        let alive = |life: u64| life == shared.life;
        match event {
            Event::Phone(phone) => phones[phone].on_time(shared, network),
            Event::Person(phone) => phones[phone].on_person(shared, network),
            Event::Token { phone, start } => phones[phone].on_token(shared, network, &self.key, start),
            Event::Opened(id) => self.on_opened(shared, id),
            Event::Arrived { connection, up } => self.on_arrived(shared, connection, up),
            Event::Gateway { life, index } if alive(life) => {
                if let Some(server) = server {
                    server.run_gateway(shared, network, index);
                }
            }
            Event::Core { life, index } if alive(life) => {
                if let Some(server) = server {
                    server.run_core(shared, below, index);
                }
                self.look_for_stop(shared);
            }
            Event::Disk { life, task } if alive(life) => {
                if let Some(server) = server {
                    server.on_disk(shared, below, task);
                }
            }
            Event::Store { life } if alive(life) => {
                if let Some(server) = server {
                    server.on_store(shared, below, false);
                }
            }
            Event::StoreSynced { life } if alive(life) => {
                if let Some(server) = server {
                    server.on_store(shared, below, true);
                }
            }
            Event::Gateway { .. } | Event::Core { .. } | Event::Disk { .. } => {}
            Event::Store { .. } | Event::StoreSynced { .. } => {}
            Event::Start => self.start(shared),
            Event::Operator => self.on_operator(shared),
            Event::Fault(index) => self.on_fault(shared, index),
            Event::Calm => self.on_calm(shared),
            Event::Check => self.on_check(shared),
        }
    }

    fn on_opened(&mut self, shared: &mut Shared, id: usize) {
        let connection = self.network.get(id);
        let (phone, gateway) = (connection.phone, connection.gateway);
        let reached = connection.phone_open && connection.life == shared.life;
        let open = reached && self.server.as_mut().is_some_and(|server| server.accept(shared, gateway, id));
        self.network.get(id).server_open = open;
        self.phones[phone].on_opened(shared, &mut self.network, id, open);
    }

    fn on_arrived(&mut self, shared: &mut Shared, id: usize, up: bool) {
        if !self.network.arrive(id, up) {
            return;
        }
        let connection = self.network.get(id);
        let (phone, gateway, life) = (connection.phone, connection.gateway, connection.life);
        if up {
            if let Some(server) = &mut self.server
                && life == shared.life
            {
                server.touch(shared, gateway, id, true);
            }
            return;
        }
        self.phones[phone].on_readable(shared, &mut self.network);
        if std::mem::take(&mut self.network.get(id).blocked)
            && let Some(server) = &mut self.server
            && life == shared.life
        {
            server.touch(shared, gateway, id, false);
        }
    }

    fn start(&mut self, shared: &mut Shared) {
        if self.server.is_some() {
            return;
        }
        let most = shared.plan.cores;
        let cores = if shared.plan.cores_change && shared.life > 0 {
            u16::try_from(shared.random.between(1, u64::from(shared.plan.shards.get().min(4)))).expect("at most 4")
        } else {
            most
        };
        match Server::start(shared, &mut self.below, cores, &self.keys, self.canary) {
            Ok(server) => self.server = Some(server),
            Err(why) => {
                tell!(shared, "server: not started: {why:?}");
                self.below.disk.crash(shared, Crash::Power);
                let us = 1_000_000 + shared.random.below(2_000_000);
                shared.agenda.after(us, Event::Start);
            }
        }
    }

    /// The server is gone without a word.
    pub(crate) fn crash(&mut self, shared: &mut Shared, crash: Crash) {
        if self.server.take().is_none() {
            return;
        }
        tell!(shared, "server: {crash:?}");
        let bent = self.canary == Some(Canary::TornTailAccepted);
        self.below.disk.crash_with(shared, crash, bent);
        self.below.store.crash(shared, crash);
        let phones_hear = crash == Crash::Kill || shared.random.chance(300);
        self.network.lose_server(shared, phones_hear);
        shared.life += 1;
        let us = 10_000 + shared.random.around(1_000_000);
        shared.agenda.after(us, Event::Start);
    }

    fn look_for_stop(&mut self, shared: &mut Shared) {
        if !self.server.as_ref().is_some_and(Server::has_stopped) {
            return;
        }
        let server = self.server.take().expect("it was just seen");
        tell!(shared, "server: has stopped");
        server.finish(shared, &mut self.below);
        self.network.lose_server(shared, true);
        shared.life += 1;
        let us = 10_000 + shared.random.around(1_000_000);
        shared.agenda.after(us, Event::Start);
    }

    /// A server that shows red is stopped in order, or killed, and started again.
    fn on_operator(&mut self, shared: &mut Shared) {
        shared.agenda.after(OPERATOR_MS * 1000, Event::Operator);
        let Some(server) = &mut self.server else { return };
        if server.is_healthy(&self.below) {
            return;
        }
        if shared.random.chance(500) {
            server.begin_stop(shared);
        } else {
            self.crash(shared, Crash::Kill);
        }
    }

    pub(crate) fn plan_fault(&self, shared: &mut Shared, index: usize) {
        let mean_ms = shared.plan.faults[index].1;
        let us = 1_000 + shared.random.around(mean_ms * 1000);
        shared.agenda.after(us, Event::Fault(index));
    }

    fn on_calm(&mut self, shared: &mut Shared) {
        tell!(shared, "the faults stop");
        shared.calm = true;
        self.calm_since_us = shared.agenda.now_us();
        self.below.disk.armed = crate::disk::Armed::default();
        self.below.disk.files.fail_reads(0);
        self.below.store.failing = 0;
        shared.plan.network.slow_per_mille = 0;
        for phone in &mut self.phones {
            phone.off_until_us = 0;
            phone.not_reading_until_us = 0;
        }
        shared.agenda.after(CHECK_MS * 1000, Event::Check);
    }

    /// Looks whether everything has come to rest, and then whether it is as it should be.
    fn on_check(&mut self, shared: &mut Shared) {
        shared.agenda.after(CHECK_MS * 1000, Event::Check);
        let left = self
            .unfinished(shared)
            .or_else(|| self.server.as_ref().map_or(Some("no server".to_owned()), Server::leaks));
        let late = shared.agenda.now_us() > self.calm_since_us + CALM_MS_MAX * 1000;
        let audited = self.auditing && self.phones.iter().all(Phone::has_audited);
        let left = left.or_else(|| if audited { shared.truth.taken_back() } else { None });
        if !late
            && self.phones.iter().all(Phone::is_quiet)
            && (!self.auditing && left.is_none() || audited && left.is_some())
        {
            self.auditing = true;
            shared.truth.on_rest();
            self.begin_audit(shared);
            return;
        }
        match left {
            None if audited => {
                self.check_rest(shared);
                self.done = true;
            }
            _ if late && shared.trouble.damaged > 0 => {
                // What is damaged may be refused, but it must be said.
                if shared.trouble.damage_shown == 0 {
                    shared.truth.fail(format!("damage was not shown: {left:?}"));
                }
                self.done = true;
            }
            _ if late => {
                let phones: Vec<String> = self.phones.iter().map(Phone::state).collect();
                shared.truth.fail(format!("does not come to rest: {left:?}\n{}", phones.join("\n")));
            }
            _ => {}
        }
    }

    /// One person of each conversation reads all of it.
    fn begin_audit(&mut self, shared: &mut Shared) {
        let heads = shared.truth.heads();
        for phone in 0..self.phones.len() {
            let user = self.phones[phone].user;
            let mine = heads.keys().copied().filter(|id| id.peer_of(user).is_some());
            self.phones[phone].begin_audit(mine);
        }
    }

    /// What is still to arrive somewhere.
    fn unfinished(&self, shared: &Shared) -> Option<String> {
        if let Some(phone) = self.phones.iter().find(|phone| !phone.is_quiet()) {
            return Some(phone.state());
        }
        let heads = shared.truth.heads();
        for phone in &self.phones {
            for (id, head) in &heads {
                let Some(peer) = id.peer_of(phone.user) else { continue };
                let own = shared.truth.own(phone.index(), *id);
                let taken = phone.witness.taken.get(id);
                let has = |sequence| own.contains(&sequence) || taken.is_some_and(|taken| taken.contains(&sequence));
                let from = if phone.witness.is_first {
                    1
                } else {
                    // A later device starts where its user is: at what was acked, or sent by the user since.
                    let before = phone.witness.user_before.as_ref().and_then(|user| user.get(id)).copied();
                    shared.truth.next_of_others(*id, before.unwrap_or_default(), phone.user).0
                };
                let lacks = (from..=head.0).map(Sequence).find(|sequence| !has(*sequence));
                if let Some(lacks) = lacks {
                    return Some(format!("{} lacks {id} {} of {}", phone.name, lacks.0, head.0));
                }
                // Who sent something learns how far the others are in it.
                let Some(newest) = taken.and_then(|taken| taken.last()) else { continue };
                for other in self.phones.iter().filter(|other| other.user == peer && peer != phone.user) {
                    let sent = shared.truth.own(other.index(), *id);
                    let Some(known) = sent.range(..=*newest).last() else { continue };
                    let told = other.flash.watermark(*id, phone.user).map_or(0, |told| told.delivered.0);
                    if told < known.0 {
                        let (name, of) = (&other.name, &phone.name);
                        return Some(format!("{name} was told {told} of {id} for {of}, which has {}", known.0));
                    }
                }
            }
        }
        None
    }

    /// Everything has come to rest: is everything there?
    fn check_rest(&self, shared: &mut Shared) {
        let unaccepted = shared.truth.sent.iter().find(|(_, sent)| !sent.accepted).map(|(id, _)| *id);
        if let Some(id) = unaccepted {
            shared.truth.fail(format!("{id} was never accepted"));
        }
        if let Some((id, sequence)) = shared.truth.gaps().first().copied() {
            shared.truth.fail(format!("nobody ever saw {id} {}", sequence.0));
        }
    }

    fn on_fault(&mut self, shared: &mut Shared, index: usize) {
        if shared.calm {
            return;
        }
        let fault = shared.plan.faults[index].0;
        self.plan_fault(shared, index);
        self.inject(shared, fault);
    }

    /// Does what a fault means now.
    fn inject(&mut self, shared: &mut Shared, fault: Fault) {
        crate::inject::inject(self, shared, fault);
    }
}
