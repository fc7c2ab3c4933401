//! The SDK over QUIC, against a server that each test plays.

mod common;

use std::collections::BTreeSet;

use common::quic::{QuicScript, connect, finish};
use common::{Identity, conversation, message, next_text, user};
use switchyard_client::{ConnectionState, ErrorCode, FetchRange, Sequence, StopReason};
use switchyard_schema::body;
use switchyard_schema::frame::{ClientFrame, ErrorFrame, Page, Regarding, ServerFrame};
use switchyard_schema::wire::parse_client;

#[tokio::test]
async fn given_quic_when_texts_go_both_ways_then_each_arrives_and_the_client_says_goodbye() {
    let identity = Identity::new();
    let script = QuicScript::new(&identity);
    let url = script.url();
    let server = tokio::spawn(async move {
        let mut peer = script.welcome().await;
        for sequence in 1..=200 {
            let send = peer.expect_send().await;
            peer.accept_send(&send, sequence).await;
        }
        peer.deliver(201, &"y".repeat(4_000)).await;
        peer.until_closed().await;
    });
    let (client, mut events) = connect(&url, &identity).await;
    assert_eq!(client.connected().await.unwrap(), user(42));
    let mut handles = Vec::new();
    for _ in 0..200 {
        handles.push(client.send_text(conversation(), &"x".repeat(4_000)).await.unwrap());
    }
    assert_eq!(next_text(&mut events).await, "y".repeat(4_000));
    for handle in handles {
        handle.await.unwrap();
    }
    client.close().await;
    assert_eq!(client.state(), ConnectionState::Stopped(StopReason::Closed));
    finish(server).await;
}

#[tokio::test]
async fn given_a_page_on_a_stream_of_its_own_when_it_is_whole_then_it_answers_the_fetch() {
    let identity = Identity::new();
    let script = QuicScript::new(&identity);
    let url = script.url();
    let server = tokio::spawn(async move {
        let mut peer = script.welcome().await;
        // More than may be open at once, so that their places must be given back.
        for _ in 0..20 {
            let bytes = peer.receive().await.unwrap();
            let ClientFrame::Fetch(fetch) = parse_client(&bytes).unwrap() else { panic!("a fetch comes") };
            let page = ServerFrame::Page(Page {
                request: fetch.request,
                conversation: fetch.conversation,
                messages: (1..=100).map(|sequence| message(sequence, &"x".repeat(1_000))).collect(),
                void: vec![],
                watermarks: vec![],
                more: false,
            });
            // One that is given up before it is whole is as if it had not been begun.
            peer.connection.open_uni().await.unwrap().reset(7_u8.into()).unwrap();
            peer.send_beside(&page).await;
        }
        peer.until_closed().await;
    });
    let (client, _events) = connect(&url, &identity).await;
    for _ in 0..20 {
        let page = client.fetch(conversation(), FetchRange::After(Sequence(0)), 100).await.unwrap();
        assert_eq!(page.messages.len(), 100);
    }
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_last_words_of_the_server_when_it_closes_right_behind_them_then_the_client_has_heard_them() {
    let identity = Identity::new();
    let script = QuicScript::new(&identity);
    let url = script.url();
    let server = tokio::spawn(async move {
        let mut peer = script.welcome().await;
        let error = ErrorFrame {
            code: ErrorCode::SessionReplaced,
            reason: "".into(),
            retry_after_ms: None,
            regarding: Regarding::Session,
        };
        peer.send(&ServerFrame::Error(error)).await;
        peer.end(4003, "session_replaced").await;
        script.endpoint.wait_idle().await;
    });
    let (client, _events) = connect(&url, &identity).await;
    let _ = client.connected().await;
    let _ = client.send_text(conversation(), "too late").await;
    client.close().await;
    assert_eq!(client.state(), ConnectionState::Stopped(StopReason::Replaced));
    finish(server).await;
}

#[tokio::test]
async fn given_a_server_that_sends_clients_away_when_it_names_a_time_then_the_client_comes_back() {
    let identity = Identity::new();
    let script = QuicScript::new(&identity);
    let url = script.url();
    let server = tokio::spawn(async move {
        script.connection().await.close(1013_u32.into(), b"reconnect_after_ms=20; the server is full");
        let mut peer = script.welcome().await;
        peer.send(&ServerFrame::Drain { reconnect_after_ms: 30 }).await;
        peer.end(1001, "the server is going away").await;
        let mut peer = script.welcome().await;
        peer.deliver(1, "here you are").await;
        peer.until_closed().await;
    });
    let (client, mut events) = connect(&url, &identity).await;
    assert_eq!(next_text(&mut events).await, "here you are");
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_messages_both_ways_when_the_client_moves_again_and_again_then_each_arrives_once_on_the_one_connection() {
    const TEXTS: u64 = 600;
    let identity = Identity::new();
    let script = QuicScript::new(&identity);
    let url = script.url();
    let server = tokio::spawn(async move {
        let mut peer = script.welcome().await;
        let mut addresses = BTreeSet::new();
        for number in 1..=TEXTS {
            let send = peer.expect_send().await;
            assert_eq!(body::parse(&send.body).unwrap().text, Some(&*number.to_string()));
            peer.accept_send(&send, 2 * number - 1).await;
            peer.deliver(2 * number, &number.to_string()).await;
            addresses.insert(peer.connection.remote_address());
        }
        assert!(addresses.len() > 1, "the server saw the client move");
        peer.until_closed().await;
    });
    let (client, mut events) = connect(&url, &identity).await;
    client.connected().await.unwrap();
    for number in 1..=TEXTS {
        if number % 20 == 0 {
            client.network_changed(None).await.unwrap();
        }
        client.send_text(conversation(), &number.to_string()).await.unwrap();
        if number % 50 == 0 {
            for expected in number - 49..=number {
                assert_eq!(next_text(&mut events).await, expected.to_string());
            }
        }
    }
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_a_client_that_comes_back_then_it_says_hello_early_and_again_when_that_is_not_taken() {
    let identity = Identity::new();
    let script = QuicScript::new(&identity);
    let url = script.url();
    let other = identity.clone();
    let server = tokio::spawn(async move {
        let mut peer = script.accept_early().await.welcomed().await;
        assert!(!peer.receiver.is_0rtt(), "there is nothing to resume yet");
        let send = peer.expect_send().await;
        peer.end(1001, "").await;

        let mut peer = script.accept_early().await.welcomed().await;
        assert!(peer.receiver.is_0rtt());
        assert_eq!(peer.expect_send().await, send);
        script.forget(&other);
        peer.end(1001, "").await;

        let mut peer = script.accept_early().await.welcomed().await;
        assert!(!peer.receiver.is_0rtt(), "what came early was not heard");
        assert_eq!(peer.expect_send().await, send);
        peer.accept_send(&send, 1).await;
        peer.end(1001, "").await;

        let mut peer = script.accept_early().await.welcomed().await;
        assert!(peer.receiver.is_0rtt());
        peer.deliver(2, "all is well").await;
        peer.until_closed().await;
    });
    let (client, mut events) = connect(&url, &identity).await;
    client.send_text(conversation(), "once").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut events).await, "all is well");
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_bytes_that_are_no_frame_when_they_arrive_then_the_client_tries_a_new_connection() {
    let identity = Identity::new();
    let script = QuicScript::new(&identity);
    let url = script.url();
    let server = tokio::spawn(async move {
        let mut peer = script.welcome().await;
        peer.sender.write_all(&[0xff; 4]).await.unwrap();
        let mut peer = script.welcome().await;
        let mut beside = peer.connection.open_uni().await.unwrap();
        beside.write_all(&[9, 0, 0, 0, 1]).await.unwrap();
        beside.finish().unwrap();
        let mut last = script.welcome().await;
        last.deliver(1, "again").await;
        last.until_closed().await;
        while peer.receive().await.is_some() {}
    });
    let (client, mut events) = connect(&url, &identity).await;
    assert_eq!(next_text(&mut events).await, "again");
    client.close().await;
    finish(server).await;
}

#[tokio::test]
async fn given_a_server_that_nobody_vouches_for_then_no_connection_is_made() {
    let script = QuicScript::new(&Identity::new());
    let (url, stranger) = (script.url(), Identity::new());
    let server = tokio::spawn(async move { script.endpoint.accept().await.unwrap().await.unwrap_err() });
    let (client, _events) = connect(&url, &stranger).await;
    let refused = tokio::time::timeout(common::DEADLINE, server).await.unwrap().unwrap();
    assert!(refused.to_string().contains("UnknownIssuer") || refused.to_string().contains("certificate"), "{refused}");
    client.close().await;
}
