//! The SDK with both transports to choose from, against servers that each test plays.

mod common;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::thread::spawn;

use common::quic::{self, QuicScript, connect_with};
use common::*;
use switchyard_client::{Client, Error, NetworkId};

/// A port that takes datagrams and never answers.
struct BlackHole(UdpSocket);

impl BlackHole {
    fn new() -> (Self, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        (Self(socket), address)
    }

    /// How many attempts fell into it so far: each comes from a port of its own.
    fn attempts(&self, known: &mut BTreeSet<u16>) -> usize {
        let mut buffer = [0; 2048];
        while let Ok((_, from)) = self.0.recv_from(&mut buffer) {
            known.insert(from.port());
        }
        known.len()
    }
}

#[tokio::test]
async fn given_a_network_without_quic_when_the_websocket_has_won_then_it_is_taken_at_once_until_the_network_changes() {
    let (script, url) = Script::new();
    let (black_hole, quic) = BlackHole::new();
    let server = spawn(move || {
        let mut ports = BTreeSet::new();
        let (peer, _) = script.welcome();
        assert_eq!(black_hole.attempts(&mut ports), 1, "QUIC is tried first");
        drop(peer);
        let (mut peer, _) = script.welcome();
        assert_eq!(black_hole.attempts(&mut ports), 1, "what is known to be in vain is not tried again");
        peer.deliver(1, "known");
        let send = peer.expect_send();
        drop(peer);
        let (mut peer, _) = script.welcome();
        assert_eq!(black_hole.attempts(&mut ports), 2, "another network is another matter");
        assert_eq!(peer.expect_send(), send);
        peer.accept_send(&send, 2);
        peer.until_closed();
    });
    let (client, mut events) =
        Client::builder(&url).quic(quic).token("token").device(device(7)).connect().await.unwrap();
    assert_eq!(next_text(&mut events).await, "known");
    client.network_changed(Some(NetworkId(7))).await.unwrap();
    client.send_text(conversation(), "from elsewhere").await.unwrap().await.unwrap();
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_both_transports_when_quic_answers_then_the_websocket_is_left_alone() {
    let identity = Identity::new();
    let (script, websocket_url) = Script::new();
    let script_of_quic = QuicScript::new(&identity);
    let address = script_of_quic.address().to_string();
    let server = tokio::spawn(async move {
        let mut peer = script_of_quic.welcome().await;
        peer.deliver(1, "over QUIC").await;
        peer.until_closed().await;
        script.listener.set_nonblocking(true).unwrap();
        assert_eq!(script.listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
    let (client, mut events) = connect_with(Client::builder(&websocket_url).quic(address), &identity).await;
    assert_eq!(next_text(&mut events).await, "over QUIC");
    client.close().await;
    quic::finish(server).await;
}

/// Passes on to `server` what comes from the first port that it hears of, and nothing of any other; answers its address.
async fn relay_for_one(server: SocketAddr) -> SocketAddr {
    let near = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    far.connect(server).await.unwrap();
    let address = near.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut out, mut back) = ([0; 2048], [0; 2048]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((bytes, from)) = near.recv_from(&mut out) => if *client.get_or_insert(from) == from {
                    far.send(&out[..bytes]).await.unwrap();
                },
                Ok(bytes) = far.recv(&mut back) => {
                    near.send_to(&back[..bytes], client.unwrap()).await.unwrap();
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn given_a_move_to_where_no_quic_gets_through_when_the_server_stays_silent_then_the_session_goes_on_by_websocket()
{
    let identity = Identity::new();
    let (script, websocket_url) = Script::new();
    let script_of_quic = QuicScript::new(&identity);
    let relay = relay_for_one(script_of_quic.address()).await.to_string();
    let over_quic = tokio::spawn(async move {
        let mut peer = script_of_quic.welcome().await;
        let send = peer.expect_send().await;
        peer.accept_send(&send, 1).await;
        // What is said to the old address meanwhile gets through, and does not pass for an answer from the new one.
        while peer.connection.close_reason().is_none() {
            peer.deliver(2, "to the old address").await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let over_websocket = spawn(move || {
        let (mut peer, _) = script.welcome();
        let send = peer.expect_send();
        peer.accept_send(&send, 3);
        peer.until_closed();
    });
    let (client, _events) = connect_with(Client::builder(&websocket_url).quic(relay), &identity).await;
    client.send_text(conversation(), "over QUIC").await.unwrap().await.unwrap();
    client.network_changed(None).await.unwrap();
    let handle = client.send_text(conversation(), "over a WebSocket").await.unwrap();
    assert_eq!(handle.await.unwrap().sequence.0, 3);
    client.close().await;
    finish(over_websocket).await;
    over_quic.abort();
}

#[tokio::test]
async fn given_quic_that_gets_through_no_more_when_the_client_comes_back_early_then_it_ends_with_a_websocket() {
    let identity = Identity::new();
    let (script, websocket_url) = Script::new();
    let script_of_quic = QuicScript::new(&identity);
    let relay = relay_for_one(script_of_quic.address()).await.to_string();
    let over_quic = tokio::spawn(async move { script_of_quic.welcome().await.end(1001, "").await });
    let over_websocket = spawn(move || {
        let (mut peer, _) = script.welcome();
        peer.deliver(1, "over a WebSocket");
        peer.until_closed();
    });
    let (client, mut events) = connect_with(Client::builder(&websocket_url).quic(relay), &identity).await;
    assert_eq!(next_text(&mut events).await, "over a WebSocket");
    client.close().await;
    quic::finish(over_quic).await;
    finish(over_websocket).await;
}

#[tokio::test]
async fn given_addresses_that_do_not_go_together_then_the_error_says_so() {
    let refused = |url: &str, quic: &str| {
        let builder = Client::builder(url).quic(quic).token("token");
        async { builder.connect().await.map(drop).unwrap_err() }
    };
    assert!(matches!(refused("quic://127.0.0.1:1", "127.0.0.1:2").await, Error::InvalidUrl { .. }));
    assert!(refused("ws://127.0.0.1:1", "127.0.0.1:many").await.to_string().contains("127.0.0.1:many"));
}
