//! What a test of the SDK plays the server with: the WebSocket is another implementation's.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod quic;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use switchyard_client::limits::EVENTS_MAX;
use switchyard_client::{
    Client, ConversationId, DeviceId, ErrorCode, Event, Events, MessageId, Millis, Sequence, UserId,
};
use switchyard_schema::body;
use switchyard_schema::frame::{
    Accepted, Ack, ClientFrame, Deliver, ErrorFrame, Hello, Receipt, Regarding, Send, ServerFrame, Watermark, Welcome,
};
use switchyard_schema::wire::{encode_server, parse_client};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket, accept_hdr};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn device(number: u64) -> DeviceId {
    DeviceId::new(number).unwrap()
}

pub(crate) fn conversation() -> ConversationId {
    ConversationId::direct(user(42), user(43))
}

/// A key, and a certificate for it that vouches for itself.
#[derive(Clone)]
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: Arc<KeyPair>,
    pub(crate) pem: String,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Self { certificate: certificate.der().clone(), key: Arc::new(key), pem: certificate.pem() }
    }

    pub(crate) fn server(&self) -> ServerConfig {
        let private = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], private)
            .unwrap()
    }
}

/// A server that plays one script, each step on the next connection.
pub(crate) struct Script {
    pub(crate) listener: TcpListener,
    /// Every connection is one of TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// A connection of either kind.
pub(crate) trait Stream: Read + Write + std::fmt::Debug + std::marker::Send {}

impl<T: Read + Write + std::fmt::Debug + std::marker::Send> Stream for T {}

impl Script {
    pub(crate) fn new() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        (Self { listener, tls: None }, url)
    }

    /// One that speaks TLS, and the certificate that it shows, as PEM.
    pub(crate) fn secured() -> (Self, String, String) {
        let identity = Identity::new();
        let (script, url) = Self::new();
        let url = url.replace("ws://127.0.0.1", "wss://localhost");
        (Self { tls: Some(Arc::new(identity.server())), ..script }, url, identity.pem)
    }

    /// The next connection, up to the WebSocket.
    #[expect(clippy::result_large_err, reason = "the callback's signature is tungstenite's")]
    pub(crate) fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let stream: Box<dyn Stream> = match &self.tls {
            Some(config) => Box::new(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)),
            None => Box::new(stream),
        };
        let choose = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/v1/ws");
            let offered = request.headers()["Sec-WebSocket-Protocol"].clone();
            assert_eq!(offered, "switchyard.v1.fb");
            response.headers_mut().insert("Sec-WebSocket-Protocol", offered);
            Ok(response)
        };
        Peer { socket: accept_hdr(stream, choose).unwrap() }
    }

    /// The next connection, up to Welcome. Answers with the token of its Hello.
    pub(crate) fn welcome(&self) -> (Peer, String) {
        self.welcome_with(welcome())
    }

    pub(crate) fn welcome_with(&self, welcome: Welcome) -> (Peer, String) {
        let mut peer = self.accept();
        let token = peer.hello();
        peer.send(&ServerFrame::Welcome(welcome));
        (peer, token)
    }
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        user: user(42),
        device: device(7),
        heartbeat_ms: 30_000,
        max_frame_bytes: 65_536,
        delivery_window: 256,
        max_pending_sends: 256,
        time: Millis(1),
    }
}

/// A heartbeat of which several pass in a test.
pub(crate) fn quick() -> Welcome {
    Welcome { heartbeat_ms: 200, ..welcome() }
}

pub(crate) struct Peer {
    pub(crate) socket: WebSocket<Box<dyn Stream>>,
}

impl Peer {
    pub(crate) fn send(&mut self, frame: &ServerFrame<'_>) {
        let mut bytes = Vec::new();
        encode_server(frame, &mut bytes);
        self.socket.send(Message::binary(bytes)).unwrap();
    }

    /// The next frame; `None` when the client has closed.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => return Some(bytes.to_vec()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) fn hello(&mut self) -> String {
        let bytes = self.receive().unwrap();
        let ClientFrame::Hello(Hello { token, device: found }) = parse_client(&bytes).unwrap() else {
            panic!("a hello comes first")
        };
        assert_eq!(found, device(7));
        token.unwrap().into_owned()
    }

    /// The next Send; other frames are passed over.
    pub(crate) fn expect_send(&mut self) -> Send<'static> {
        loop {
            let bytes = self.receive().expect("a send comes");
            if let ClientFrame::Send(send) = parse_client(&bytes).unwrap() {
                return Send { body: send.body.into_owned().into(), ..send };
            }
        }
    }

    /// The next Ack; other frames are passed over.
    pub(crate) fn expect_ack(&mut self) -> Ack {
        loop {
            let bytes = self.receive().expect("an ack comes");
            if let ClientFrame::Ack(ack) = parse_client(&bytes).unwrap() {
                return ack;
            }
        }
    }

    /// The next Ping; other frames are passed over.
    pub(crate) fn expect_ping(&mut self) {
        loop {
            let bytes = self.receive().expect("a ping comes");
            if let ClientFrame::Ping { .. } = parse_client(&bytes).unwrap() {
                return;
            }
        }
    }

    /// Says more than waits for an application that takes nothing.
    pub(crate) fn fill_events(&mut self) {
        for delivered in 1..=EVENTS_MAX as u64 + 500 {
            let watermark = Watermark { member: user(43), delivered: Sequence(delivered), read: Sequence(0) };
            self.send(&ServerFrame::Receipt(Receipt { conversation: conversation(), watermark }));
        }
    }

    pub(crate) fn accept_send(&mut self, send: &Send<'_>, sequence: u64) {
        self.send(&ServerFrame::Accepted(Accepted {
            client_message_id: send.client_message_id,
            conversation: send.conversation,
            message: MessageId::new(100 + sequence).unwrap(),
            sequence: Sequence(sequence),
            time: Millis(1),
        }));
    }

    pub(crate) fn deliver(&mut self, sequence: u64, text: &str) {
        self.send(&ServerFrame::Deliver(message(sequence, text)));
    }

    pub(crate) fn refuse(&mut self, code: ErrorCode) {
        let error = ErrorFrame { code, reason: "".into(), retry_after_ms: None, regarding: Regarding::Session };
        self.send(&ServerFrame::Error(error));
    }

    /// Waits until the client has gone.
    pub(crate) fn until_closed(mut self) {
        while self.receive().is_some() {}
    }
}

pub(crate) fn message(sequence: u64, text: &str) -> Deliver<'static> {
    Deliver {
        conversation: conversation(),
        message: MessageId::new(100 + sequence).unwrap(),
        sequence: Sequence(sequence),
        sender: user(43),
        time: Millis(1),
        origin: None,
        body: body::text(text).into(),
    }
}

pub(crate) async fn next_text(events: &mut Events) -> String {
    loop {
        let event = tokio::time::timeout(DEADLINE, events.next()).await.expect("in time").expect("not the end");
        if let Event::MessageReceived(message) = event {
            return message.text().unwrap().to_owned();
        }
    }
}

pub(crate) async fn connect(url: &str, store: Option<&Path>) -> (Client, Events) {
    let builder = Client::builder(url).token("token").device(device(7));
    match store {
        Some(path) => builder.store(path),
        None => builder,
    }
    .connect()
    .await
    .unwrap()
}

/// Waits for the server's part without holding up the client.
pub(crate) async fn finish(server: JoinHandle<()>) {
    tokio::task::spawn_blocking(move || server.join().unwrap()).await.unwrap();
}
