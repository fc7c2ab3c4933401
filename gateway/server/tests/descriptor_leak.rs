//! A gateway that ended holds nothing any more. In a file of its own: it counts the descriptors of the process.

mod common;

use std::io::Write;

use common::{config, connect, start, wait_for};
use tungstenite::Message;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn given_connections_that_end_in_every_way_when_the_gateway_ends_then_no_descriptor_is_left() {
    let before = descriptors();
    for _ in 0..3 {
        let mut config = config();
        config.session.drain_grace_ms = 100;
        let fixture = start(config, 2, 1);
        let mut sockets: Vec<_> = (0..20).map(|_| fixture.open("/echo", None)).collect();
        for socket in &mut sockets {
            socket.send(Message::text("x")).unwrap();
            assert_eq!(socket.read().unwrap(), Message::text("x"));
        }
        // Closed by the client, cut off, never upgraded, refused, and the rest ended by the drain.
        for mut socket in sockets.drain(..5) {
            socket.close(None).unwrap();
            while socket.read().is_ok() {}
        }
        drop(sockets.drain(..5));
        let halfway = connect(fixture.address());
        connect(fixture.address()).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        wait_for("the refused one", || (fixture.counter("handshakes_not_found") == 1).then_some(()));
        fixture.stop();
        drop((sockets, halfway));
    }
    assert_eq!(descriptors(), before);
}
