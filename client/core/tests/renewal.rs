//! A token that is renewed while the server ends the session of the one before.

mod support;

use switchyard_client_core::ConnectionState;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{ClientFrame, Hello, Regarding, ServerFrame};

use support::{Bench, device, refusal, welcome};

#[test]
fn given_a_renew_on_its_way_when_the_old_token_expires_then_the_new_one_opens_the_next_connection() {
    let mut bench = Bench::new();
    bench.start();
    bench.token_for("first", 20_000);
    bench.open();
    bench.pass(16_000);
    bench.token_for("second", 20_000);
    assert_eq!(bench.seen().frames.last(), Some(&ClientFrame::Renew { token: "second".into() }));
    bench.frame(refusal(ErrorCode::TokenExpired, Regarding::Session, None));
    let seen = bench.seen();
    assert_eq!((seen.disconnects, seen.connects, seen.token_requests), (1, 1, 0));
    bench.opened();
    let hello = Hello { token: Some("second".into()), device: device(1) };
    assert_eq!(bench.seen().frames, [ClientFrame::Hello(hello)]);
    bench.frame(ServerFrame::Welcome(welcome()));
    assert_eq!(bench.client.state(), ConnectionState::Connected);
}
