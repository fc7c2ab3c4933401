//! A server over QUIC that a test plays.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use switchyard_client::{Client, Event, Events, MessageId, Millis, Sequence};
use switchyard_schema::frame::{Accepted, ClientFrame, Hello, Send, ServerFrame};
use switchyard_schema::wire::{encode_server, parse_client};

use super::{DEADLINE, Identity, device, message, welcome};

/// Plays one script, each step on the next connection.
pub(crate) struct QuicScript {
    pub(crate) endpoint: Endpoint,
}

impl QuicScript {
    pub(crate) fn new(identity: &Identity) -> Self {
        Self { endpoint: Endpoint::server(config(identity), "127.0.0.1:0".parse().unwrap()).unwrap() }
    }

    /// Forgets what clients could resume.
    pub(crate) fn forget(&self, identity: &Identity) {
        self.endpoint.set_server_config(Some(config(identity)));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("quic://{}", self.address())
    }

    /// The next connection, with its handshake done.
    pub(crate) async fn connection(&self) -> Connection {
        self.endpoint.accept().await.unwrap().await.unwrap()
    }

    /// The next connection, up to the stream of its session.
    pub(crate) async fn accept(&self) -> QuicPeer {
        let connection = self.connection().await;
        let (sender, receiver) = connection.accept_bi().await.unwrap();
        QuicPeer { connection, sender, receiver }
    }

    /// The next connection, from the first datagram that it takes.
    pub(crate) async fn accept_early(&self) -> QuicPeer {
        let connecting = self.endpoint.accept().await.unwrap().accept().unwrap();
        let Ok((connection, _)) = connecting.into_0rtt() else { panic!("a server can speak early") };
        let (sender, receiver) = connection.accept_bi().await.unwrap();
        QuicPeer { connection, sender, receiver }
    }

    /// The next connection, up to Welcome.
    pub(crate) async fn welcome(&self) -> QuicPeer {
        self.accept().await.welcomed().await
    }
}

/// One that takes early data, and keeps what clients resume for itself.
fn config(identity: &Identity) -> quinn::ServerConfig {
    let mut tls = identity.server();
    tls.alpn_protocols = vec![b"switchyard.v1.fb".to_vec()];
    tls.max_early_data_size = u32::MAX;
    quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

/// The server's side of a connection.
pub(crate) struct QuicPeer {
    pub(crate) connection: Connection,
    pub(crate) sender: SendStream,
    pub(crate) receiver: RecvStream,
}

impl QuicPeer {
    pub(crate) async fn send(&mut self, frame: &ServerFrame<'_>) {
        self.sender.write_all(&framed(frame)).await.unwrap();
    }

    /// Says a frame on a stream of its own.
    pub(crate) async fn send_beside(&self, frame: &ServerFrame<'_>) {
        let mut sender = self.connection.open_uni().await.unwrap();
        sender.write_all(&framed(frame)).await.unwrap();
        sender.finish().unwrap();
    }

    pub(crate) async fn deliver(&mut self, sequence: u64, text: &str) {
        self.send(&ServerFrame::Deliver(message(sequence, text))).await;
    }

    /// The next frame; `None` when the client has ended the stream.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.receiver.read_exact(&mut length).await.ok()?;
        let mut frame = vec![0; u32::from_le_bytes(length) as usize];
        self.receiver.read_exact(&mut frame).await.unwrap();
        Some(frame)
    }

    /// Hears Hello and says Welcome.
    pub(crate) async fn welcomed(mut self) -> Self {
        self.hello().await;
        self.send(&ServerFrame::Welcome(welcome())).await;
        self
    }

    pub(crate) async fn hello(&mut self) {
        let bytes = self.receive().await.unwrap();
        let ClientFrame::Hello(Hello { token, device: found }) = parse_client(&bytes).unwrap() else {
            panic!("a hello comes first")
        };
        assert_eq!((token.unwrap().as_ref(), found), ("token", device(7)));
    }

    /// The next Send; other frames are passed over.
    pub(crate) async fn expect_send(&mut self) -> Send<'static> {
        loop {
            let bytes = self.receive().await.expect("a send comes");
            if let ClientFrame::Send(send) = parse_client(&bytes).unwrap() {
                return Send { body: send.body.into_owned().into(), ..send };
            }
        }
    }

    pub(crate) async fn accept_send(&mut self, send: &Send<'_>, sequence: u64) {
        self.send(&ServerFrame::Accepted(Accepted {
            client_message_id: send.client_message_id,
            conversation: send.conversation,
            message: MessageId::new(100 + sequence).unwrap(),
            sequence: Sequence(sequence),
            time: Millis(1),
        }))
        .await;
    }

    /// Ends the session as the server does: the stream first, and the connection when the client has all of it.
    pub(crate) async fn end(mut self, code: u32, reason: &str) {
        self.sender.finish().unwrap();
        let _ = self.sender.stopped().await;
        self.connection.close(code.into(), reason.as_bytes());
    }

    /// Waits until the client has said goodbye, and closes.
    pub(crate) async fn until_closed(mut self) {
        while self.receive().await.is_some() {}
        self.end(1000, "").await;
    }
}

fn framed(frame: &ServerFrame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_server(frame, &mut bytes);
    let mut framed = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
    framed.append(&mut bytes);
    framed
}

/// A client that trusts the identity.
pub(crate) async fn connect(url: &str, identity: &Identity) -> (Client, Events) {
    connect_with(Client::builder(url), identity).await
}

pub(crate) async fn connect_with(builder: switchyard_client::Builder, identity: &Identity) -> (Client, Events) {
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("ca.pem");
    std::fs::write(&authorities, &identity.pem).unwrap();
    builder.token("token").device(device(7)).certificate_authorities(&authorities).connect().await.unwrap()
}

/// The next event that `look` finds something in.
pub(crate) async fn next<T>(events: &mut Events, mut look: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = tokio::time::timeout(DEADLINE, events.next()).await.expect("in time").expect("not the end");
        if let Some(found) = look(event) {
            return found;
        }
    }
}

/// Waits for the server's part.
pub(crate) async fn finish(server: tokio::task::JoinHandle<()>) {
    tokio::time::timeout(DEADLINE, server).await.expect("in time").unwrap();
}
