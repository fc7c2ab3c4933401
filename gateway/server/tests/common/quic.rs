//! A QUIC client without a runtime: quinn's state machine over a plain socket, in the hands of a test.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event,
    StreamId, TransportConfig,
};
use serde_json::{Value, json};
use switchyard_gateway_core::framing::{self, Decoder};
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::ws;
use switchyard_gateway_server::{GatewayConfig, QuicConfig, ResetKey};
use switchyard_schema::link::{Origin, ToGateway, ToRouter};

use super::common::identity::{Identity, NAME};
use super::common::{Fixture, PATIENCE, RouterSide, config, start};

/// A gateway with QUIC, and what its clients trust.
pub(crate) fn started(change: impl FnOnce(&mut GatewayConfig)) -> (Fixture, Identity) {
    let identity = Identity::new();
    let mut config = config();
    identity.add_to(&mut config, true);
    change(&mut config);
    (start(config, 1, 1), identity)
}

/// The only gateway thread's next request, which must come.
pub(crate) fn request(fixture: &Fixture, phone: &mut QuicPhone) -> ToRouter {
    phone.quic.wait_for("a request", |_| fixture.router().requests.pop()).1
}

impl Identity {
    /// QUIC on a free port.
    pub(crate) fn add_to(&self, config: &mut GatewayConfig, steered: bool) {
        let listen = "127.0.0.1:0".parse().unwrap();
        let reset_key = ResetKey::new(&[7; ResetKey::SECRET_BYTES]);
        config.quic = Some(QuicConfig { steered, ..QuicConfig::new(listen, self.certificates.clone(), reset_key) });
    }

    /// A client that remembers what it can resume, and speaks early where it may.
    pub(crate) fn returning(&self, form: Form) -> ClientConfig {
        self.client_config(&[form.subprotocol()])
    }

    /// A client with limits of its own.
    pub(crate) fn with_transport(&self, form: Form, transport: TransportConfig) -> ClientConfig {
        let mut config = self.returning(form);
        config.transport_config(Arc::new(transport));
        config
    }

    fn client_config(&self, protocols: &[&str]) -> ClientConfig {
        let mut tls = self.client();
        tls.enable_early_data = true;
        tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        // A test that waits for the server must not be the one that gives up.
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(None);
        config.transport_config(Arc::new(transport));
        config
    }
}

/// One connection of a client.
pub(crate) struct Quic {
    socket: UdpSocket,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    pub(crate) proto: Connection,
    /// Why it ended.
    pub(crate) lost: Option<ConnectionError>,
    connected: bool,
    stream: Option<StreamId>,
    decoder: Decoder,
    heard: VecDeque<Vec<u8>>,
    /// A stream that has but a page, and what has come on it.
    page: Option<(StreamId, Vec<u8>)>,
}

impl Quic {
    /// Begins a connection, whose first datagrams are not sent yet.
    pub(crate) fn begin(identity: &Identity, to: SocketAddr, form: Form) -> Self {
        Self::begin_with(identity, to, form, &[form.subprotocol()])
    }

    pub(crate) fn begin_with(identity: &Identity, to: SocketAddr, form: Form, protocols: &[&str]) -> Self {
        Self::begin_as(&identity.client_config(protocols), to, form)
    }

    pub(crate) fn begin_as(client: &ClientConfig, to: SocketAddr, form: Form) -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let (handle, proto) = endpoint.connect(Instant::now(), client.clone(), to, NAME).unwrap();
        let decoder = Decoder::new(form, 1 << 20);
        let socket = free_socket();
        Self {
            socket,
            endpoint,
            handle,
            proto,
            lost: None,
            connected: false,
            stream: None,
            decoder,
            heard: VecDeque::new(),
            page: None,
        }
    }

    /// A connection whose handshake is done and whose stream is open, but for the first byte on it.
    pub(crate) fn connect(identity: &Identity, to: SocketAddr, form: Form) -> Self {
        Self::connect_as(&identity.returning(form), to, form)
    }

    pub(crate) fn connect_as(client: &ClientConfig, to: SocketAddr, form: Form) -> Self {
        let mut client = Self::begin_as(client, to, form);
        client.open_stream();
        client
    }

    pub(crate) fn connect_with(identity: &Identity, to: SocketAddr, form: Form, protocols: &[&str]) -> Self {
        let mut client = Self::begin_with(identity, to, form, protocols);
        client.open_stream();
        client
    }

    /// Opens the session's stream when the handshake is done.
    pub(crate) fn open_stream(&mut self) {
        self.wait_for("the handshake", |client| client.connected.then_some(()));
        self.stream = self.proto.streams().open(Dir::Bi);
    }

    /// A connection of a client that can resume one, before anything is sent: these are its frames, and its first datagrams.
    pub(crate) fn early(client: &ClientConfig, to: SocketAddr, frames: &[Value]) -> (Self, Vec<Vec<u8>>) {
        let mut client = Self::begin_as(client, to, Form::Json);
        assert!(client.proto.has_0rtt(), "it has nothing to resume");
        let stream = client.proto.streams().open(Dir::Bi).expect("it may open one, as before");
        client.stream = Some(stream);
        let said: Vec<u8> = frames.iter().flat_map(|frame| framing::frame(frame.to_string().as_bytes())).collect();
        assert_eq!(client.proto.send_stream(stream).write(&said), Ok(said.len()));
        let flight = std::iter::from_fn(|| client.next_datagram()).collect();
        (client, flight)
    }

    /// Sends datagrams as they are.
    pub(crate) fn send_flight(&self, flight: &[Vec<u8>]) {
        for datagram in flight {
            self.socket.send_to(datagram, self.proto.remote_address()).unwrap();
        }
    }

    /// The next frame, as JSON, for which nothing is sent, not even an acknowledgement.
    pub(crate) fn hear_silently(&mut self) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let frame = loop {
            if let Some(frame) = self.heard.pop_front() {
                break frame;
            }
            assert!(Instant::now() < deadline, "nothing is heard; lost: {:?}", self.lost);
            self.receive();
        };
        serde_json::from_slice(&frame).expect("it is JSON")
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Goes on from another port, as a phone does whose address changes.
    pub(crate) fn rebind(&mut self) {
        self.socket = free_socket();
    }

    /// Writes bytes to the stream.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        let stream = self.stream.expect("the stream is open");
        while !bytes.is_empty() {
            let written =
                self.wait_for("room on the stream", |client| client.proto.send_stream(stream).write(bytes).ok());
            bytes = &bytes[written..];
        }
        self.work();
    }

    /// Writes as many of the bytes as the server grants now.
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> usize {
        let stream = self.stream.expect("the stream is open");
        let written_bytes = self.proto.send_stream(stream).write(bytes).expect("something is granted");
        self.work();
        written_bytes
    }

    pub(crate) fn say(&mut self, frame: &Value) {
        self.write(&framing::frame(frame.to_string().as_bytes()));
    }

    /// Says nothing more on the stream.
    pub(crate) fn finish(&mut self) {
        self.proto.send_stream(self.stream.unwrap()).finish().unwrap();
        self.work();
    }

    /// The next frame, as JSON.
    pub(crate) fn hear(&mut self) -> Value {
        let frame = self.wait_for("a frame", |client| client.heard.pop_front());
        serde_json::from_slice(&frame).expect("it is JSON")
    }

    /// Waits for the server's close; answers its code and reason.
    pub(crate) fn hear_close(&mut self) -> (u64, String) {
        match self.wait_for("the close", |client| client.lost.clone()) {
            ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8(close.reason.to_vec()).unwrap())
            }
            other => panic!("the server closes with a code, not: {other}"),
        }
    }

    /// Works until `look` finds something.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.work();
            if let Some(found) = look(self) {
                self.work();
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; lost: {:?}", self.lost);
        }
    }

    /// Sends what is to be sent, waits a moment for something to come, and takes it.
    pub(crate) fn work(&mut self) {
        self.send();
        while self.receive() {
            self.send();
            self.socket.set_nonblocking(true).unwrap();
        }
        self.socket.set_nonblocking(false).unwrap();
        if self.proto.poll_timeout().is_some_and(|at| at <= Instant::now()) {
            self.proto.handle_timeout(Instant::now());
        }
        self.take_events();
        self.send();
    }

    /// Takes a datagram if one has come, or comes within a moment.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 65536];
        let Ok((bytes, from)) = self.socket.recv_from(&mut buffer) else { return false };
        let (data, mut answer) = (BytesMut::from(&buffer[..bytes]), Vec::new());
        let event = self.endpoint.handle(Instant::now(), from, None, None, data, &mut answer);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.proto.handle_event(event);
        }
        self.take_events();
        true
    }

    /// Sends what is to be sent.
    pub(crate) fn send(&mut self) {
        while let Some(event) = self.proto.poll_endpoint_events() {
            if let Some(answer) = self.endpoint.handle_event(self.handle, event) {
                self.proto.handle_event(answer);
            }
        }
        while let Some(datagram) = self.next_datagram() {
            self.send_flight(&[datagram]);
        }
    }

    fn next_datagram(&mut self) -> Option<Vec<u8>> {
        let mut datagram = Vec::new();
        let transmit = self.proto.poll_transmit(Instant::now(), 1, &mut datagram)?;
        datagram.truncate(transmit.size);
        Some(datagram)
    }

    fn take_events(&mut self) {
        while let Some(event) = self.proto.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                _ => {}
            }
        }
        self.read();
    }

    /// The next page on a stream of its own, as JSON. None is read before it is asked for.
    pub(crate) fn hear_page(&mut self) -> Value {
        let said = self.wait_for("a page", Self::read_page);
        let (length, page) = said.split_first_chunk::<{ framing::LENGTH_BYTES }>().expect("a page has a length");
        assert_eq!(*length, framing::length(page.len()), "there is but one page on a stream");
        serde_json::from_slice(page).expect("it is JSON")
    }

    /// Answers with what a stream has held when its end has come.
    fn read_page(&mut self) -> Option<Vec<u8>> {
        if self.page.is_none() {
            self.page = self.proto.streams().accept(Dir::Uni).map(|stream| (stream, Vec::new()));
        }
        let (stream, said) = self.page.as_mut()?;
        let mut stream = self.proto.recv_stream(*stream);
        let mut chunks = stream.read(true).ok()?;
        let ended = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => said.extend_from_slice(&chunk.bytes),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let _ = chunks.finalize();
        if ended { self.page.take().map(|(_, said)| said) } else { None }
    }

    fn read(&mut self) {
        let Some(stream) = self.stream else { return };
        let mut stream = self.proto.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            let mut rest = &chunk.bytes[..];
            while !rest.is_empty() {
                let step = self.decoder.decode(rest).expect("the server says frames");
                self.heard.extend(step.event.map(|event| match event {
                    ws::Event::Text(text) => text.into_owned().into_bytes(),
                    ws::Event::Binary(bytes) => bytes.into_owned(),
                    other => panic!("a stream has no {other:?}"),
                }));
                rest = &rest[step.consumed..];
            }
        }
        let _ = chunks.finalize();
    }
}

/// A socket of its own port, on which a read waits for a moment.
fn free_socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    socket
}

/// A JSON session of one device over QUIC.
pub(crate) struct QuicPhone {
    pub(crate) quic: Quic,
    pub(crate) origin: Origin,
    /// Which thread has it.
    pub(crate) thread: usize,
}

impl Fixture {
    pub(crate) fn quic_address(&self) -> SocketAddr {
        self.gateway.local_quic_address().expect("it speaks QUIC")
    }

    /// The Hello of a user's only device.
    pub(crate) fn hello(&self, user: u64) -> Value {
        json!({"type": "hello", "token": self.token(user), "device": "1"})
    }

    /// Opens a session over QUIC: Hello, Attach, Attached, Welcome. There must be one router core.
    pub(crate) fn quic_phone(&self, identity: &Identity, user: u64) -> QuicPhone {
        self.quic_phone_as(&identity.returning(Form::Json), user)
    }

    pub(crate) fn quic_phone_as(&self, client: &ClientConfig, user: u64) -> QuicPhone {
        let mut quic = Quic::connect_as(client, self.quic_address(), Form::Json);
        quic.say(&self.hello(user));
        let (thread, origin) = quic.wait_for("an attach", |_| {
            let next = |(thread, cores): (usize, &Vec<RouterSide>)| Some((thread, cores[0].requests.pop()?.1));
            self.routers.iter().enumerate().find_map(next)
        });
        let ToRouter::Attach(origin) = origin else { panic!("a hello becomes an attach") };
        assert_eq!((origin.user.get(), origin.session.gateway), (user, u16::try_from(thread).unwrap()));
        self.routers[thread][0].answer(ToGateway::Attached(origin.session));
        assert_eq!(quic.hear()["type"], "welcome");
        QuicPhone { quic, origin, thread }
    }
}

impl QuicPhone {
    /// A ping and its pong: whether the session still works.
    pub(crate) fn turn(&mut self) {
        self.quic.say(&json!({"type": "ping", "nonce": "7"}));
        assert_eq!(self.quic.hear(), json!({"type": "pong", "nonce": "7"}));
    }
}
