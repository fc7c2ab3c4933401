//! A session with Switchyard: upgrade, Hello with a signed token, Welcome.

use std::cell::RefCell;
use std::rc::Rc;

use switchyard_schema::frame::ServerFrame;
use switchyard_schema::ids::{DeviceId, UserId};
use switchyard_schema::wire::{Encoder, parse_server};
use switchyard_swarm::random::random;
use switchyard_swarm::session::{Incoming, Session};

use super::{Client, Said, Taken};

/// A client that authenticates itself and says nothing more.
#[derive(Debug)]
pub struct SessionClient {
    session: Session,
    encoder: Rc<RefCell<Encoder>>,
}

impl SessionClient {
    /// The first device of a user. The encoder may be shared by all connections of a thread.
    #[must_use]
    pub fn new(user: UserId, token: String, encoder: Rc<RefCell<Encoder>>) -> Self {
        let device = DeviceId::new(1).expect("not zero");
        Self { session: Session::new(user, device, token, random()), encoder }
    }
}

impl Client for SessionClient {
    fn start(&mut self, out: &mut Vec<u8>) {
        self.session.start(out);
    }

    fn take(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<Taken, String> {
        let decoded = self.session.decode(input, &mut self.encoder.borrow_mut(), out)?;
        let said = match decoded.incoming {
            None => None,
            Some(Incoming::Frame(frame)) => match parse_server(&frame) {
                Ok(ServerFrame::Welcome(_)) => Some(Said::Ready),
                other => return Err(format!("expected a Welcome, got {other:?}")),
            },
            Some(Incoming::Close { code }) => return Err(format!("closed by the server with code {code:?}")),
        };
        Ok(Taken { consumed: decoded.consumed, said })
    }
}
