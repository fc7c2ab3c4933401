//! A gateway with real sockets, and the router's side of its links in the hands of a test.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod identity;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, KeySet, SigningKey};
use switchyard_gateway_server::limits::LinkSizes;
use switchyard_gateway_server::{DrainPlan, Gateway, GatewayConfig, RouterEnd, ThreadParts, doorbell};
use switchyard_ring::{Consumer, Producer, Waker, link, wake};
use switchyard_schema::ids::{ClientMessageId, Millis, Sequence, ShardCount, ShardId, Snowflake, UserId};
use switchyard_schema::link::{DeliverFrame, Origin, SendRequest, ToGateway, ToRouter};
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

/// A gateway whose threads share the descriptors of the process, unlike a server's. A table of its own would hold the clients
/// of every other test that runs just then, and what those close would not end before this gateway does.
pub(crate) fn config() -> GatewayConfig {
    let mut config = GatewayConfig::new("127.0.0.1:0".parse().unwrap(), ShardCount::new(64).unwrap());
    config.echo = true;
    config.own_descriptors = false;
    config
}

pub(crate) fn start(config: GatewayConfig, threads: usize, cores: usize) -> Fixture {
    let sizes = LinkSizes::of(threads, cores);
    let (parts, routers) = (0..threads).map(|_| thread_parts(cores, sizes)).unzip();
    let key = SigningKey::from_seed([7; 32]);
    let mut keys = KeySet::new(AUDIENCE_DEFAULT);
    keys.insert(key.kid(), key.public_key());
    let gateway = Gateway::spawn(config, Arc::new(keys), parts).expect("the gateway starts");
    Fixture { gateway, routers, key }
}

pub(crate) fn thread_parts(cores: usize, sizes: LinkSizes) -> (ThreadParts, Vec<RouterSide>) {
    let (doorbell, waker) = doorbell().expect("a descriptor is free");
    let mut ends = Vec::new();
    let mut sides = Vec::new();
    for _ in 0..cores {
        let (requests, popped) = link(sizes.reserved(), sizes.open_to_router);
        let (answers, received) = link(sizes.reserved(), sizes.open_to_gateway);
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

    /// Waits until a counter is this.
    pub(crate) fn await_counter(&self, name: &str, value: u64) {
        wait_for(name, || (self.counter(name) == value).then_some(()));
    }

    /// Waits until a counter is at least this.
    pub(crate) fn await_at_least(&self, name: &str, at_least: u64) {
        wait_for(name, || (self.counter(name) >= at_least).then_some(()));
    }

    /// Ends the gateway; every thread must end by itself.
    pub(crate) fn stop(self) {
        self.gateway.drain(DrainPlan { deadline: Instant::now() });
        wait_for("the gateway's end", || self.gateway.is_finished().then_some(()));
        self.gateway.join().unwrap();
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

/// A JSON session of one device.
pub(crate) struct Phone {
    pub(crate) socket: WebSocket<TcpStream>,
    pub(crate) origin: Origin,
}

impl Fixture {
    /// Opens a session: Hello, Attach, Attached, Welcome. The gateway must have one thread and one router core.
    pub(crate) fn phone(&self, user: u64) -> Phone {
        let mut socket = self.open("/v1/ws", Some("switchyard.v1.json"));
        say(&mut socket, &json!({"type": "hello", "token": self.token(user), "device": "1"}));
        let ToRouter::Attach(origin) = self.router().next() else { panic!("a hello becomes an attach") };
        assert_eq!((origin.user.get(), origin.device.get()), (user, 1));
        self.router().answer(ToGateway::Attached(origin.session));
        let mut phone = Phone { socket, origin };
        let welcome = phone.hear();
        assert_eq!((&welcome["type"], &welcome["user"]), (&json!("welcome"), &json!(user.to_string())));
        phone
    }

    /// The only link.
    pub(crate) fn router(&self) -> &RouterSide {
        &self.routers[0][0]
    }
}

impl Phone {
    pub(crate) fn say(&mut self, frame: &Value) {
        say(&mut self.socket, frame);
    }

    /// The next frame.
    pub(crate) fn hear(&mut self) -> Value {
        hear(&mut self.socket)
    }

    /// Lets the thread end a turn: everything that was there before has been handled, and written as far as it goes.
    pub(crate) fn turn(&mut self) {
        self.say(&json!({"type": "ping", "nonce": "0"}));
        assert_eq!(self.hear(), json!({"type": "pong", "nonce": "0"}));
    }

    /// Reads up to the Close and answers its code.
    pub(crate) fn hear_close(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.socket.read().expect("a close comes") {
                return frame.expect("it has a code").code.into();
            }
        }
    }
}

pub(crate) fn say(socket: &mut WebSocket<TcpStream>, frame: &Value) {
    socket.send(Message::text(frame.to_string())).expect("the gateway reads");
}

pub(crate) fn hear(socket: &mut WebSocket<TcpStream>) -> Value {
    serde_json::from_str(&text(socket.read().expect("a frame comes"))).expect("it is JSON")
}

/// A Send whose client message id is made from `number`.
pub(crate) fn send_frame(number: u64, to: u64, body: &str) -> Value {
    json!({
        "type": "send",
        "client_message_id": ClientMessageId(u128::from(number).to_be_bytes()).to_string(),
        "conversation": {"direct": to.to_string()},
        "body": {"text": body},
    })
}

/// The answer to a Send, and the frame that its recipients get.
pub(crate) fn accept(request: SendRequest, sequence: u64) -> (ToGateway, DeliverFrame) {
    let mut ids = Snowflake::new(ShardId(0));
    let message = (0..sequence).map(|_| ids.next(Millis(1_800_000_000_000))).last().expect("sequences start at 1");
    let SendRequest { origin, conversation, client_message_id, draft, .. } = request;
    let sequence = Sequence(sequence);
    let (frame, _) = draft.stamp(message, sequence);
    let session = origin.session;
    (ToGateway::Accepted { session, client_message_id, conversation, message, sequence }, frame)
}
