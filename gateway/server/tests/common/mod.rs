//! A gateway with real sockets, and the router's side of its links in the hands of a test.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, KeySet, SigningKey};
use switchyard_gateway_server::{DrainPlan, Gateway, GatewayConfig, RouterEnd, ThreadParts, doorbell, limits};
use switchyard_ring::{Consumer, Producer, Waker, link, wake};
use switchyard_schema::ids::{Millis, ShardCount, ShardId, UserId};
use switchyard_schema::link::{ToGateway, ToRouter};
use tungstenite::{Message, WebSocket};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The router's end of one gateway thread's link with one core.
pub(crate) struct RouterSide {
    pub(crate) requests: Consumer<(ShardId, ToRouter)>,
    pub(crate) answers: Producer<ToGateway>,
    pub(crate) gateway: Waker,
}

impl RouterSide {
    /// The next request, which must come.
    pub(crate) fn next(&self) -> ToRouter {
        wait_for("a request", || self.requests.pop()).1
    }

    pub(crate) fn answer(&self, message: ToGateway) {
        if message.returns_credit() {
            self.answers.push_reserved(message);
        } else {
            self.answers.try_push(message).expect("an open slot is free");
        }
        self.gateway.notify();
    }
}

pub(crate) struct Fixture {
    pub(crate) gateway: Gateway,
    /// By gateway thread, then router core.
    pub(crate) routers: Vec<Vec<RouterSide>>,
    pub(crate) key: SigningKey,
}

pub(crate) fn config() -> GatewayConfig {
    let mut config = GatewayConfig::new("127.0.0.1:0".parse().unwrap(), ShardCount::new(64).unwrap());
    config.echo = true;
    config
}

pub(crate) fn start(config: GatewayConfig, threads: usize, cores: usize) -> Fixture {
    let (parts, routers) = (0..threads).map(|_| thread_parts(cores)).unzip();
    let key = SigningKey::from_seed([7; 32]);
    let mut keys = KeySet::new(AUDIENCE_DEFAULT);
    keys.insert(key.kid(), key.public_key());
    let gateway = Gateway::spawn(config, Arc::new(keys), parts).expect("the gateway starts");
    Fixture { gateway, routers, key }
}

fn thread_parts(cores: usize) -> (ThreadParts, Vec<RouterSide>) {
    let (doorbell, waker) = doorbell().expect("a descriptor is free");
    let mut ends = Vec::new();
    let mut sides = Vec::new();
    for _ in 0..cores {
        let (requests, popped) = link(limits::reserved_slots_to_router(cores), limits::OPEN_SLOTS_TO_ROUTER);
        let (answers, received) = link(limits::RESERVED_SLOTS_TO_GATEWAY, limits::OPEN_SLOTS_TO_GATEWAY);
        // The test polls its links, so nobody needs to wake it.
        let (_, unheard) = wake::pair(|| ());
        ends.push(RouterEnd { requests, answers: received, waker: unheard });
        sides.push(RouterSide { requests: popped, answers, gateway: waker.clone() });
    }
    (ThreadParts { doorbell, routers: ends, processor: None }, sides)
}

impl Fixture {
    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.local_address()
    }

    /// A token that is good for an hour.
    pub(crate) fn token(&self, user: u64) -> String {
        let expires = Millis(u64::try_from(now_ms() + 3_600_000).unwrap());
        self.key.sign(AUDIENCE_DEFAULT, &Claims { user: UserId::new(user).unwrap(), device: None, expires })
    }

    pub(crate) fn open(&self, path: &str, subprotocol: Option<&str>) -> WebSocket<TcpStream> {
        open(self.address(), path, subprotocol)
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counters = self.gateway.counters();
        counters.map(|one| one.all().find(|(known, _)| *known == name).expect("the counter exists").1).sum()
    }

    /// Ends the gateway; every thread must end by itself.
    pub(crate) fn stop(self) {
        self.gateway.drain(DrainPlan { reconnect_spread_ms: 0, deadline: Instant::now() });
        wait_for("the gateway's end", || self.gateway.is_finished().then_some(()));
        self.gateway.join();
    }
}

fn now_ms() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub(crate) fn open(address: SocketAddr, path: &str, subprotocol: Option<&str>) -> WebSocket<TcpStream> {
    use tungstenite::client::IntoClientRequest;
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    if let Some(name) = subprotocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", name.parse().unwrap());
    }
    let config = tungstenite::protocol::WebSocketConfig::default()
        .max_message_size(Some(64 << 20))
        .max_frame_size(Some(64 << 20));
    tungstenite::client::client_with_config(request, connect(address), Some(config)).expect("the upgrade succeeds").0
}

/// Sends an HTTP request and reads the whole answer.
pub(crate) fn http(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Repeats `look` until it finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn text(message: Message) -> String {
    message.into_text().expect("a text message").as_str().to_owned()
}
