//! Accepting when the process runs out of descriptors. In a file of its own: it changes a limit of the process.

mod common;

use common::{config, connect, start, wait_for};
use rustix::process::{Resource, getrlimit, setrlimit};
use tungstenite::Message;

#[test]
fn given_no_descriptor_left_when_clients_connect_then_accepting_pauses_and_goes_on_later() {
    let mut config = config();
    // Each thread has its table, so the clients of this test do not compete with the gateway for the limit.
    config.own_descriptors = true;
    let fixture = start(config, 1, 1);
    let mut first = fixture.open("/echo", None);
    let mut limit = getrlimit(Resource::Nofile);
    let usual = limit.current;
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    limit.current = Some(used + 20);
    setrlimit(Resource::Nofile, limit).unwrap();
    // Less is used in this table than in the gateway's only by what it has accepted; so fill both.
    let mut waiting = Vec::new();
    wait_for("accepting to pause", || {
        if let Ok(stream) = std::net::TcpStream::connect(fixture.address()) {
            waiting.push(stream);
        }
        (fixture.counter("accept_pauses") > 0).then_some(())
    });
    // Whoever is connected is served meanwhile, and a pause is no busy loop.
    let turns_before = fixture.counter("turns");
    first.send(Message::text("still here")).unwrap();
    assert_eq!(first.read().unwrap(), Message::text("still here"));
    assert!(fixture.counter("turns") - turns_before < 1000);
    limit.current = usual;
    setrlimit(Resource::Nofile, limit).unwrap();
    drop(waiting);
    drop(connect(fixture.address()));
    let mut next = fixture.open("/echo", None);
    next.send(Message::text("in")).unwrap();
    assert_eq!(next.read().unwrap(), Message::text("in"));
    drop((first, next));
    fixture.stop();
}
