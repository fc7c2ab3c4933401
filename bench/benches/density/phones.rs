//! The same clients over QUIC, with an address each: what a connection costs that has no socket of its own.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use switchyard_bench::quic::{Happened, Phones};
use switchyard_gateway_core::framing;
use switchyard_gateway_core::handshake::Form;
use switchyard_schema::frame::{ClientFrame, Hello};
use switchyard_schema::ids::{DeviceId, UserId};
use switchyard_schema::wire::Encoder;
use switchyard_swarm::limits::LOOK_PAUSE;
use switchyard_swarm::tokens::Signer;
use switchyard_swarm::users;

/// Handshakes under way at a time: fewer than those of which a server asks for a proof of the address.
const OPENING_MAX: usize = 24;
/// When somebody is put off, nobody else comes for so long.
const PUT_OFF: Duration = Duration::from_millis(100);

/// Opens `count` sessions and keeps them until `leave` becomes true. The server's pings are answered by the transport.
pub(crate) fn hold(
    address: SocketAddr,
    config: &ClientConfig,
    count: usize,
    signer: &Signer,
    leave: &AtomicBool,
) -> io::Result<()> {
    let mut config = config.clone();
    config.alpn_protocols = vec![Form::Binary.subprotocol().as_bytes().to_vec()];
    let mut phones = Phones::new(address, Arc::new(config))?;
    let (first_user, mut encoder) = (users::first_user(), Encoder::new());
    let device = DeviceId::new(1).expect("not zero");
    // How many are begun and not put off, and who has been welcomed.
    let (mut begun, mut welcomed) = (0, HashSet::new());
    let (mut rests_until, mut failed) = (Instant::now(), None);
    while !leave.load(Ordering::Relaxed) {
        while begun < count && begun - welcomed.len() < OPENING_MAX && Instant::now() >= rests_until {
            phones.connect()?;
            begun += 1;
        }
        phones.turn(LOOK_PAUSE, &mut |id, happened, out| match happened {
            Happened::Connected => {
                let user = UserId::new(first_user + id as u64).expect("not zero");
                let token = Some(Cow::Owned(signer.token(user)));
                let hello = encoder.client(&ClientFrame::Hello(Hello { token, device }));
                out.extend_from_slice(&framing::frame(hello));
            }
            // A Welcome comes in one piece, and nothing else is said to who is idle.
            Happened::Bytes(_) => {
                welcomed.insert(id);
            }
            Happened::Ended(reason) if welcomed.contains(&id) => failed = Some(reason),
            // Over an allocator that keeps a ledger the server may find itself busy.
            Happened::Ended(_) => {
                begun -= 1;
                rests_until = Instant::now() + PUT_OFF;
            }
        })?;
        if let Some(reason) = failed {
            return Err(io::Error::other(format!("the server ended a session: {reason}")));
        }
    }
    Ok(())
}
