//! The SDK over a real socket, against a server that each test plays.

mod common;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::spawn;

use common::*;
use switchyard_client::{
    Client, ConnectionState, Error, ErrorCode, Event, FetchRange, SendFailure, Sequence, StopReason, StoreError,
};
use switchyard_schema::body;
use switchyard_schema::frame::{ClientFrame, Page, ServerFrame};
use switchyard_schema::wire::parse_client;
use tokio::sync::oneshot;
use tokio_rustls::rustls::ServerConnection;
use tungstenite::Message;

#[tokio::test]
async fn given_a_server_when_texts_go_both_ways_then_each_is_accepted_received_and_acknowledged() {
    let (script, url) = Script::new();
    let server = spawn(move || {
        let (mut peer, token) = script.welcome();
        assert_eq!(token, "token");
        let send = peer.expect_send();
        assert_eq!(body::parse(&send.body).unwrap().text, Some("Hello"));
        peer.accept_send(&send, 1);
        peer.deliver(2, "Hi");
        let mut ack = peer.expect_ack();
        while ack.read.is_none() {
            ack = peer.expect_ack();
        }
        assert_eq!((ack.delivered, ack.read), (Some(Sequence(2)), Some(Sequence(2))));
        peer.until_closed();
    });
    let (client, mut events) = connect(&url, None).await;
    assert_eq!(client.connected().await.unwrap(), user(42));
    let handle = client.send_text(conversation(), "Hello").await.unwrap();
    assert_eq!(handle.accepted().await.unwrap().sequence, Sequence(1));
    assert_eq!(next_text(&mut events).await, "Hi");
    client.mark_read(conversation(), Sequence(2)).await.unwrap();
    client.close().await;
    assert_eq!(client.state(), ConnectionState::Stopped(StopReason::Closed));
    finish(server).await;
}

#[tokio::test]
async fn given_a_server_that_speaks_tls_when_the_client_trusts_it_then_all_goes_through_and_after_a_break_again() {
    const TEXTS: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("ca.pem");
    let (script, url, certificate) = Script::secured();
    std::fs::write(&authorities, certificate).unwrap();
    let server = spawn(move || {
        let (mut peer, _) = script.welcome();
        let _ = peer.expect_send();
        drop(peer);
        let (mut peer, _) = script.welcome();
        for sequence in 1..=TEXTS {
            let send = peer.expect_send();
            peer.accept_send(&send, sequence);
        }
        peer.deliver(TEXTS + 1, &"y".repeat(4_000));
        peer.until_closed();
    });
    let builder = Client::builder(&url).token("token").device(device(7)).certificate_authorities(&authorities);
    let (client, mut events) = builder.sends_in_flight_per_conversation(50).connect().await.unwrap();
    let mut handles = Vec::new();
    for _ in 0..TEXTS {
        handles.push(client.send_text(conversation(), &"x".repeat(4_000)).await.unwrap());
    }
    assert_eq!(next_text(&mut events).await, "y".repeat(4_000));
    for handle in handles {
        handle.await.unwrap();
    }
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_a_server_that_nobody_vouches_for_then_the_client_says_nothing_to_it() {
    let (script, url, _) = Script::secured();
    let (client, _events) = Client::builder(&url).token("token").device(device(7)).connect().await.unwrap();
    let server = spawn(move || {
        let (mut stream, _) = script.listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut connection = ServerConnection::new(script.tls.unwrap()).unwrap();
        connection.complete_io(&mut stream).unwrap_err()
    });
    let refused = tokio::task::spawn_blocking(move || server.join().unwrap()).await.unwrap();
    assert!(refused.to_string().contains("UnknownCA"), "{refused}");
    client.close().await;
}

#[tokio::test]
async fn given_a_connection_that_breaks_before_the_answer_when_the_client_comes_back_then_it_sends_the_same_id() {
    let (script, url) = Script::new();
    let server = spawn(move || {
        let (mut peer, _) = script.welcome();
        let first = peer.expect_send();
        drop(peer);
        let (mut peer, _) = script.welcome();
        let second = peer.expect_send();
        assert_eq!(first, second);
        peer.accept_send(&second, 1);
        peer.until_closed();
    });
    let (client, _events) = connect(&url, None).await;
    let handle = client.send_text(conversation(), "once").await.unwrap();
    assert_eq!(handle.await.unwrap().sequence, Sequence(1));
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_a_store_when_the_program_starts_again_then_unsent_and_untaken_messages_are_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let (script, url) = Script::new();
    let server = spawn(move || {
        let (mut peer, _) = script.welcome();
        peer.expect_send();
        peer.deliver(1, "taken");
        peer.deliver(2, "not taken");
        peer.until_closed();
        let (mut peer, _) = script.welcome();
        peer.deliver(2, "not taken");
        peer.deliver(3, "new");
        let send = peer.expect_send();
        assert_eq!(body::parse(&send.body).unwrap().text, Some("kept"));
        peer.accept_send(&send, 4);
        peer.until_closed();
    });
    let (client, mut events) = connect(&url, Some(&path)).await;
    let handle = client.send_text(conversation(), "kept").await.unwrap();
    assert_eq!(next_text(&mut events).await, "taken");
    assert_eq!(next_text(&mut events).await, "not taken");
    let second = Client::builder(&url).token("token").device(device(7)).store(&path).connect().await;
    assert!(matches!(second, Err(Error::Store(StoreError::InUse))), "one client at a time");
    client.close().await;
    assert_eq!(handle.accepted().await, Err(SendFailure::Stopped));

    let (client, mut events) = connect(&url, Some(&path)).await;
    assert_eq!(next_text(&mut events).await, "not taken");
    assert_eq!(next_text(&mut events).await, "new");
    loop {
        if let Some(Event::MessageAccepted(accepted)) = events.next().await {
            assert_eq!(accepted.sequence, Sequence(4));
            break;
        }
    }
    client.close().await;
    finish(server).await;
    let other = Client::builder("ws://127.0.0.1:1").token("token").device(device(8)).store(&path).connect().await;
    assert!(matches!(other, Err(Error::Store(StoreError::OtherDevice { found: 7, wanted: 8 }))));
}

#[tokio::test]
async fn given_a_refused_token_when_the_provider_has_another_then_the_client_goes_on_with_it() {
    let (script, url) = Script::new();
    let server = spawn(move || {
        let mut peer = script.accept();
        assert_eq!(peer.hello(), "token 0");
        peer.refuse(ErrorCode::TokenExpired);
        peer.until_closed();
        let (peer, token) = script.welcome();
        assert_eq!(token, "token 1");
        peer.until_closed();
    });
    let count = Arc::new(AtomicUsize::new(0));
    let provider = move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move { Ok(format!("token {number}")) }
    };
    let builder = Client::builder(&url).token_provider(provider).device(device(7));
    let (client, _events) = builder.connect().await.unwrap();
    client.connected().await.unwrap();
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_one_token_only_when_it_is_refused_then_the_client_stops_and_says_so() {
    let (script, url) = Script::new();
    let server = spawn(move || {
        let mut peer = script.accept();
        peer.hello();
        peer.refuse(ErrorCode::InvalidToken);
        peer.until_closed();
    });
    let (client, mut events) = connect(&url, None).await;
    let stopped = client.connected().await;
    assert!(matches!(stopped, Err(Error::Stopped(StopReason::TokenRefused))), "{stopped:?}");
    while events.next().await.is_some() {}
    let refused = client.send_text(conversation(), "late").await;
    assert!(matches!(refused, Err(Error::Stopped(StopReason::TokenRefused))));
    finish(server).await;
}

#[tokio::test]
async fn given_a_history_when_it_is_fetched_then_the_page_answers_the_call() {
    let (script, url) = Script::new();
    let server = spawn(move || {
        let (mut peer, _) = script.welcome();
        let bytes = peer.receive().unwrap();
        let ClientFrame::Fetch(fetch) = parse_client(&bytes).unwrap() else { panic!("a fetch comes") };
        assert_eq!((fetch.range, fetch.limit), (FetchRange::Before(Sequence(9)), 2));
        peer.send(&ServerFrame::Page(Page {
            request: fetch.request,
            conversation: fetch.conversation,
            messages: vec![message(7, "seven"), message(8, "eight")],
            void: Vec::new(),
            watermarks: Vec::new(),
            more: true,
        }));
        peer.until_closed();
    });
    let (client, _events) = connect(&url, None).await;
    let page = client.fetch(conversation(), FetchRange::Before(Sequence(9)), 2).await.unwrap();
    let texts: Vec<_> = page.messages.iter().map(|message| message.text().unwrap()).collect();
    assert_eq!((texts, page.more), (vec!["seven", "eight"], true));
    assert!(matches!(client.fetch(conversation(), FetchRange::After(Sequence(0)), 101).await, Err(Error::Fetch(_))));
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_bytes_that_are_no_frame_when_they_arrive_then_the_client_tries_a_new_connection() {
    let (script, url) = Script::new();
    let server = spawn(move || {
        let (mut peer, _) = script.welcome();
        peer.socket.send(Message::binary(vec![0xff; 40])).unwrap();
        peer.until_closed();
        let (mut peer, _) = script.welcome();
        peer.deliver(1, "again");
        peer.until_closed();
    });
    let (client, mut events) = connect(&url, None).await;
    assert_eq!(next_text(&mut events).await, "again");
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_a_ping_of_the_websocket_when_it_arrives_then_it_is_answered() {
    let (script, url) = Script::new();
    let server = spawn(move || {
        let (mut peer, _) = script.welcome();
        peer.socket.send(Message::Ping("are you there".into())).unwrap();
        let Message::Pong(payload) = peer.socket.read().unwrap() else { panic!("a pong comes") };
        assert_eq!(&payload[..], b"are you there");
        peer.deliver(1, "you are");
        peer.until_closed();
    });
    let (client, mut events) = connect(&url, None).await;
    assert_eq!(next_text(&mut events).await, "you are");
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_an_application_that_takes_nothing_when_heartbeats_pass_then_its_connection_lives_and_says_so() {
    let (script, url) = Script::new();
    let (passed, may_take) = oneshot::channel();
    let server = spawn(move || {
        let (mut peer, _) = script.welcome_with(quick());
        peer.fill_events();
        // Two for a heartbeat: four heartbeats in which nothing is read, so that no ping of the server is answered.
        for _ in 0..8 {
            peer.expect_ping();
        }
        passed.send(()).unwrap();
        peer.deliver(1, "on the same connection");
        peer.until_closed();
    });
    let (client, mut events) = connect(&url, None).await;
    may_take.await.expect("the connection lives");
    assert_eq!(next_text(&mut events).await, "on the same connection");
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_an_application_that_takes_nothing_when_its_connection_breaks_then_the_next_one_is_welcomed() {
    let (script, url) = Script::new();
    let (passed, may_take) = oneshot::channel();
    let server = spawn(move || {
        let (mut peer, _) = script.welcome_with(quick());
        peer.fill_events();
        peer.expect_ping();
        drop(peer);
        let (mut peer, _) = script.welcome_with(quick());
        peer.expect_ping();
        passed.send(()).unwrap();
        peer.deliver(1, "on the next connection");
        peer.until_closed();
    });
    let (client, mut events) = connect(&url, None).await;
    may_take.await.expect("the client comes back");
    assert_eq!(next_text(&mut events).await, "on the next connection");
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_a_server_that_keeps_a_place_in_time_when_it_refuses_then_the_client_comes_then() {
    let (script, url) = Script::new();
    let server = spawn(move || {
        // Who goes by the seconds alone comes after this test has given up.
        let (mut stream, _) = script.listener.accept().unwrap();
        let refusal = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3600\r\nRetry-After-Ms: 50\r\n\r\n";
        stream.write_all(refusal.as_bytes()).unwrap();
        // It is read to its end, so that closing it does not take the answer back.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        let (mut peer, _) = script.welcome();
        peer.deliver(1, "here you are");
        peer.until_closed();
    });
    let (client, mut events) = connect(&url, None).await;
    assert_eq!(next_text(&mut events).await, "here you are");
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_an_unusable_builder_when_connecting_then_the_error_says_what_to_do() {
    let no_token = Client::builder("ws://127.0.0.1:1").connect().await;
    assert!(matches!(no_token, Err(Error::NoToken)));
    let wrong = Client::builder("http://127.0.0.1:1").token("t").connect().await.unwrap_err();
    assert!(wrong.to_string().contains("ws://"), "{wrong}");
}
