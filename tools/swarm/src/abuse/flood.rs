//! Connections of abusers: plain sockets from many addresses, written to as far as they take it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect as connect_socket, socket};
use switchyard_schema::ids::{DeviceId, UserId};
use switchyard_schema::wire::Encoder;

use crate::SwarmError;
use crate::limits::ABUSER_OPENING_MAX;
use crate::session::{Incoming, Session};
use crate::tokens::Signer;
use crate::users;

/// Addresses that the abuse comes from: so many that the server's limit for each keeps none of it away, and one kind does not
/// use up what the next needs.
const ADDRESSES: u64 = 10_000;
/// Addresses that differ in the last byte alone.
const HOSTS: u64 = 250;

/// One of many addresses.
pub(super) fn address(number: u64) -> [u8; 4] {
    let place = number % ADDRESSES;
    let byte = |part: u64| u8::try_from(1 + part).expect("there are few addresses");
    [127, 1, byte(place / HOSTS), byte(place % HOSTS)]
}

/// A connection from one of many addresses.
pub(super) fn connect(server: SocketAddr, number: u64) -> Result<TcpStream, SwarmError> {
    let address = address(number);
    let opened = || -> io::Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::from((address, 0)))?;
        connect_socket(&socket, &server)?;
        Ok(socket.into())
    };
    opened().map_err(SwarmError::io(format!("connecting to {server} from {}", Ipv4Addr::from(address))))
}

/// A user who abuses the server. The token is signed once: that is not what a server has to put up with.
pub(super) struct Abuser {
    pub(super) user: UserId,
    token: String,
}

/// Users nobody had before.
pub(super) fn abusers(count: usize, signer: &Signer) -> Vec<Abuser> {
    let first = users::first_user();
    let users = (first..).take(count).map(|number| UserId::new(number).expect("users of a run are far from 0"));
    users.map(|user| Abuser { user, token: signer.token(user) }).collect()
}

/// A session that has begun to open.
pub(super) struct Opening {
    stream: TcpStream,
    session: Session,
}

/// Connects and asks for the upgrade.
pub(super) fn begin(server: SocketAddr, number: u64, abuser: &Abuser) -> Result<Opening, SwarmError> {
    let device = DeviceId::new(1).expect("one is not 0");
    let mut session = Session::new(abuser.user, device, abuser.token.clone(), number + 1);
    let mut stream = connect(server, number)?;
    let failed = || SwarmError::io("asking for an upgrade");
    stream.set_read_timeout(Some(ABUSER_OPENING_MAX)).map_err(failed())?;
    let mut request = Vec::new();
    session.start(&mut request);
    stream.write_all(&request).map_err(failed())?;
    Ok(Opening { stream, session })
}

impl Opening {
    /// Says Hello and waits for the first frame.
    ///
    /// # Errors
    /// When the server closes instead.
    pub(super) fn finish(mut self) -> Result<TcpStream, SwarmError> {
        let (mut encoder, mut buffer) = (Encoder::default(), [0; 4096]);
        loop {
            let bytes = self.stream.read(&mut buffer).map_err(SwarmError::io("opening a session"))?;
            if bytes == 0 {
                return Err(SwarmError::Server("a session was refused".to_owned()));
            }
            let (mut input, mut out) = (&mut buffer[..bytes], Vec::new());
            while !input.is_empty() {
                let decoded = self.session.decode(input, &mut encoder, &mut out).map_err(SwarmError::Server)?;
                let consumed = decoded.consumed;
                match decoded.incoming {
                    Some(Incoming::Frame(_)) => return Ok(self.stream),
                    Some(Incoming::Close { code }) => {
                        return Err(SwarmError::Server(format!("a session was closed with {code:?}")));
                    }
                    None if consumed == 0 => break,
                    None => {}
                }
                input = &mut std::mem::take(&mut input)[consumed..];
            }
            self.stream.write_all(&out).map_err(SwarmError::io("saying hello"))?;
        }
    }
}

/// An open session's socket.
pub(super) fn open(server: SocketAddr, number: u64, abuser: &Abuser) -> Result<Flood, SwarmError> {
    begin(server, number, abuser)?.finish().map(Flood::new)
}

/// A socket that is written to without waiting.
pub(super) struct Flood {
    stream: TcpStream,
    sent_bytes: u64,
}

impl Flood {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Should it fail, the flood waits for the server instead of the other way round.
        let _ = stream.set_nonblocking(true);
        Self { stream, sent_bytes: 0 }
    }

    /// Bytes that were written since it began.
    pub(super) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// From now on other frames are written, from their beginning.
    pub(super) const fn begin(&mut self) {
        self.sent_bytes = 0;
    }

    /// Whether the server has not closed. Drops what it said.
    pub(super) fn is_open(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Writes the frames, and goes on in the middle of one where the socket took no more. `None` when the server has
    /// closed.
    pub(super) fn pour(&mut self, frames: &[u8]) -> Option<u64> {
        let begin = usize::try_from(self.sent_bytes).unwrap_or_default() % frames.len();
        match self.stream.write(&frames[begin..]) {
            Ok(bytes) => {
                self.sent_bytes += bytes as u64;
                Some(bytes as u64)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }

    /// Reads what is there and drops it.
    pub(super) fn read_all(&mut self) {
        let mut buffer = [0; 16 * 1024];
        while matches!(self.stream.read(&mut buffer), Ok(bytes) if bytes > 0) {}
    }
}
