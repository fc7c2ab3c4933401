//! A gateway thread that panics takes nobody with it and holds on to nobody. In a file of its own: of its threads some have
//! descriptor tables of their own, as those of the server, and such a table holds whatever the process has open by then.

mod common;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Instant;

use common::{Fixture, PATIENCE, config, hear, say, start, wait_for};
use serde_json::json;
use switchyard_gateway_server::DrainPlan;
use switchyard_schema::link::{SessionRef, ToGateway, ToRouter};
use tungstenite::{Error, WebSocket, error::ProtocolError};

/// Connections after the panic: more than would all come to the other thread by chance.
const NEWCOMERS: u32 = 32;

#[test]
fn given_a_thread_that_panics_then_its_clients_are_cut_off_and_the_other_thread_serves_on_until_the_drain() {
    for own_descriptors in [true, false] {
        let mut config = config();
        config.own_descriptors = own_descriptors;
        // The newcomers and the one that stays fill the other thread, and there is room for one more: what the thread had
        // does not count.
        config.connections_per_thread_max = NEWCOMERS + 1;
        config.connections_max = NEWCOMERS + 2;
        let fixture = start(config, 2, 1);
        let (broken, mut lost, mut kept) = attach_to_both(&fixture);
        assert!(fixture.gateway.is_whole() && !fixture.gateway.is_full());
        // A message for another thread is a defect of the router, which the thread does not survive.
        let elsewhere = SessionRef { gateway: 9, slot: 0, epoch: 0 };
        fixture.routers[broken][0].answer(ToGateway::Replaced(elsewhere));
        assert!(lost.iter_mut().all(is_cut_off), "with tables of their own: {own_descriptors}");
        wait_for("the thread to end", || (!fixture.gateway.is_whole()).then_some(()));
        say(&mut kept, &json!({"type": "ping", "nonce": "1"}));
        assert_eq!(hear(&mut kept)["type"], "pong");
        wait_for("only one to be left", || (fixture.counter("open") == 1).then_some(()));
        assert_eq!(fixture.counter("sessions"), 1);
        let newcomers: Vec<_> = (0..NEWCOMERS).map(|number| attach(&fixture, 1_000 + u64::from(number))).collect();
        assert!(newcomers.iter().all(|(_, thread)| *thread != broken));
        assert!(fixture.gateway.is_full(), "the thread that is left takes no more, and the other none at all");
        fixture.gateway.drain(DrainPlan { deadline: Instant::now() + PATIENCE });
        assert_eq!(hear(&mut kept)["type"], "drain");
        drop((kept, newcomers));
        wait_for("the gateway's end", || fixture.gateway.is_finished().then_some(()));
        assert!(!fixture.gateway.is_full(), "where no thread runs, room is not what is missing");
        assert_eq!(fixture.gateway.join().unwrap_err().0, 1);
    }
}

/// A thread with two or more sessions and what they are, and one session of the other thread.
fn attach_to_both(fixture: &Fixture) -> (usize, Vec<WebSocket<TcpStream>>, WebSocket<TcpStream>) {
    let mut by_thread = [Vec::new(), Vec::new()];
    for user in 1.. {
        let (socket, thread) = attach(fixture, user);
        by_thread[thread].push(socket);
        if by_thread.iter().all(|sockets| !sockets.is_empty()) && by_thread[thread].len() > 1 {
            let kept = by_thread[1 - thread].pop().expect("it has one at least");
            return (thread, std::mem::take(&mut by_thread[thread]), kept);
        }
    }
    unreachable!("each thread gets some")
}

/// A session, and the thread that has it.
fn attach(fixture: &Fixture, user: u64) -> (WebSocket<TcpStream>, usize) {
    let mut socket = fixture.open("/v1/ws", None);
    say(&mut socket, &json!({"type": "hello", "token": fixture.token(user), "device": "1"}));
    let origin = wait_for("an attach", || {
        fixture.routers.iter().find_map(|cores| match cores[0].requests.pop()?.1 {
            ToRouter::Attach(origin) => Some(origin),
            _ => None,
        })
    });
    let thread = usize::from(origin.session.gateway);
    fixture.routers[thread][0].answer(ToGateway::Attached(origin.session));
    assert_eq!(hear(&mut socket)["type"], "welcome");
    (socket, thread)
}

/// Whether the next thing that comes is the connection's end. Silence is none.
fn is_cut_off(socket: &mut WebSocket<TcpStream>) -> bool {
    match socket.read() {
        Err(Error::Io(error)) => error.kind() == ErrorKind::ConnectionReset,
        Err(Error::Protocol(error)) => error == ProtocolError::ResetWithoutClosingHandshake,
        _ => false,
    }
}
