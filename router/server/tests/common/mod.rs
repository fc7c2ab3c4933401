//! A gateway thread made of a test: it attaches sessions, sends, acknowledges and fetches over the real links, and waits
//! for answers by parking, as a gateway does.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod pairs;
pub(crate) mod small_disk;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use switchyard_ring::{Parker, wake};
use switchyard_router_server::{
    DataFolder, GatewayEnd, LinkConfig, Links, Router, RouterConfig, RouterHandle, StartError,
};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Ack, Fetch, FetchRange, Regarding};
use switchyard_schema::ids::{
    ClientMessageId, ConversationId, DeviceId, Millis, Sequence, ShardCount, ShardId, UserId,
};
use switchyard_schema::link::{DeliverDraft, Origin, PageReply, SendRequest, SessionRef, ToGateway, ToRouter};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn folder(name: &str) -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = base.join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a folder for the test");
    path
}

pub(crate) fn user(id: u64) -> UserId {
    UserId::new(id).expect("not zero")
}

pub(crate) fn shards() -> ShardCount {
    ShardCount::new(8).expect("in range")
}

pub(crate) fn small(cores: usize) -> RouterConfig {
    let mut config = RouterConfig::new(cores, 1);
    config.segment_bytes = 4 * 1024 * 1024;
    config.reserve_bytes = 8 * 1024 * 1024;
    config
}

/// A running router and this thread's links with it.
pub(crate) struct Rig {
    pub(crate) handle: RouterHandle,
    ends: Vec<GatewayEnd>,
    parker: Parker,
    pub(crate) inbox: VecDeque<ToGateway>,
    next_slot: u32,
}

impl Rig {
    pub(crate) fn start(path: &Path, config: &RouterConfig) -> Self {
        Self::try_start(path, config).expect("the router starts")
    }

    pub(crate) fn try_start(path: &Path, config: &RouterConfig) -> Result<Self, StartError> {
        let folder = DataFolder::open(path, shards()).expect("the folder opens");
        let cores = config.cpus.len();
        let this = thread::current();
        let (parker, waker) = wake::pair(move || this.unpark());
        let links = LinkConfig {
            gateways: 1,
            cores,
            credits: 1024,
            open_to_router: 4096,
            open_to_gateway: 4096,
            open_between_cores: 4096,
        };
        let mut links = Links::new(&links, &[waker]).expect("descriptors");
        let handle = Router::recover_and_spawn(config, folder, links.cores)?;
        Ok(Self { handle, ends: links.gateways.remove(0), parker, inbox: VecDeque::new(), next_slot: 0 })
    }

    pub(crate) fn stop(self) {
        self.handle.stop();
    }

    fn push(&self, shard: ShardId, message: ToRouter) {
        let end = &self.ends[usize::from(shard.0) % self.ends.len()];
        if message.needs_credit() {
            end.requests.push_reserved((shard, message));
        } else {
            end.requests.try_push((shard, message)).expect("an open slot");
        }
        end.waker.notify();
    }

    /// Begins a session and waits for its welcome.
    pub(crate) fn attach(&mut self, user_id: u64, device: u64) -> Origin {
        self.next_slot += 1;
        let session = SessionRef { gateway: 0, slot: self.next_slot, epoch: 1 };
        let origin = Origin { session, user: user(user_id), device: DeviceId::new(device).expect("not zero") };
        self.push(shards().of_user(origin.user), ToRouter::Attach(origin));
        self.expect("the welcome", |message| matches!(message, ToGateway::Attached(to) if *to == session));
        origin
    }

    /// Begins a session, unless its user's shard refuses.
    pub(crate) fn try_attach(&mut self, user_id: u64, device: u64) -> Result<Origin, ErrorCode> {
        self.next_slot += 1;
        let session = SessionRef { gateway: 0, slot: self.next_slot, epoch: 1 };
        let origin = Origin { session, user: user(user_id), device: DeviceId::new(device).expect("not zero") };
        self.push(shards().of_user(origin.user), ToRouter::Attach(origin));
        let answer = self.expect("an answer to Attach", |message| match message {
            ToGateway::Attached(to) => *to == session,
            ToGateway::Refused { session: to, regarding, .. } => (*to, *regarding) == (session, Regarding::Session),
            _ => false,
        });
        if let ToGateway::Refused { code, .. } = answer { Err(code) } else { Ok(origin) }
    }

    /// A page of history, unless the conversation's shard refuses.
    pub(crate) fn try_fetch(
        &mut self,
        origin: Origin,
        with: u64,
        after: u64,
        limit: u32,
    ) -> Result<Box<PageReply>, ErrorCode> {
        let conversation = ConversationId::direct(origin.user, user(with));
        let range = FetchRange::After(Sequence(after));
        let fetch = Fetch { request: 9, conversation, range, limit };
        self.push(shards().of_conversation(conversation), ToRouter::Fetch { origin, fetch });
        let answer = self.expect("an answer to Fetch", |message| match message {
            ToGateway::Page(page) => page.session == origin.session,
            ToGateway::Refused { session, regarding, .. } => {
                (*session, *regarding) == (origin.session, Regarding::Request(9))
            }
            _ => false,
        });
        match answer {
            ToGateway::Page(page) => Ok(page),
            ToGateway::Refused { code, .. } => Err(code),
            other => panic!("not an answer: {other:?}"),
        }
    }

    pub(crate) fn detach(&mut self, origin: Origin) {
        let shard = shards().of_user(origin.user);
        self.push(shard, ToRouter::Detach { origin, last_seen: Millis(1) });
    }

    /// Sends a message, without waiting.
    pub(crate) fn begin_send(&mut self, origin: Origin, to: u64, name: u128, body: &[u8]) {
        let conversation = ConversationId::direct(origin.user, user(to));
        let mut bytes = BytesMut::from(&[0; 24][..]);
        bytes.extend_from_slice(body);
        let end = bytes.len();
        let request = SendRequest {
            origin,
            conversation,
            client_message_id: ClientMessageId(name.to_be_bytes()),
            begin_in_ms: 0,
            draft: DeliverDraft::new(bytes, 0, 0, 24..end),
        };
        self.push(shards().of_conversation(conversation), ToRouter::Send(request));
    }

    /// Sends a message and waits until it is durable.
    pub(crate) fn send(&mut self, origin: Origin, to: u64, name: u128, body: &[u8]) -> Sequence {
        self.begin_send(origin, to, name, body);
        let id = ClientMessageId(name.to_be_bytes());
        let answer = self.expect(
            "Accepted",
            |message| matches!(message, ToGateway::Accepted { client_message_id, .. } if *client_message_id == id),
        );
        match answer {
            ToGateway::Accepted { sequence, .. } => sequence,
            other => panic!("not an answer: {other:?}"),
        }
    }

    pub(crate) fn ack(&mut self, origin: Origin, from: u64, read: u64) {
        let conversation = ConversationId::direct(origin.user, user(from));
        let ack = Ack { conversation, delivered: Some(Sequence(read)), read: Some(Sequence(read)) };
        self.push(shards().of_user(origin.user), ToRouter::Ack { origin, ack });
    }

    pub(crate) fn fetch(&mut self, origin: Origin, with: u64, after: u64, limit: u32) -> Box<PageReply> {
        let conversation = ConversationId::direct(origin.user, user(with));
        let range = FetchRange::After(Sequence(after));
        let fetch = Fetch { request: 7, conversation, range, limit };
        self.push(shards().of_conversation(conversation), ToRouter::Fetch { origin, fetch });
        let page =
            self.expect("a page", |message| matches!(message, ToGateway::Page(page) if page.session == origin.session));
        match page {
            ToGateway::Page(page) => page,
            other => panic!("not a page: {other:?}"),
        }
    }

    /// The first message that matches, whatever came before; the others stay.
    pub(crate) fn expect(&mut self, what: &str, mut wanted: impl FnMut(&ToGateway) -> bool) -> ToGateway {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(index) = self.inbox.iter().position(&mut wanted) {
                return self.inbox.remove(index).expect("just found");
            }
            self.wait(what, deadline);
        }
    }

    /// What came and was not expected, each in a few words.
    fn seen(&self) -> Vec<String> {
        self.inbox.iter().map(|message| format!("{message:?}").chars().take(100).collect()).collect()
    }

    /// Waits for anything new.
    pub(crate) fn wait(&mut self, what: &str, deadline: Instant) {
        loop {
            let before = self.inbox.len();
            for end in &self.ends {
                while let Some(message) = end.answers.pop() {
                    self.inbox.push_back(message);
                }
            }
            if self.inbox.len() > before {
                return;
            }
            self.parker.prepare_park();
            if self.ends.iter().all(|end| end.answers.is_empty()) {
                let left = deadline.saturating_duration_since(Instant::now());
                assert!(!left.is_zero(), "{what} did not come; what came: {:?}", self.seen());
                thread::park_timeout(left);
            }
            self.parker.awake();
        }
    }
}
