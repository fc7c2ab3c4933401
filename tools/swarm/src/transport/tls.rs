//! TLS on a TCP connection: rustls between the event loop and the kernel.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection};

use crate::SwarmError;

/// How TLS is spoken.
#[derive(Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl Client {
    /// TLS with a server of this name.
    ///
    /// # Errors
    /// When it is no name.
    pub(crate) fn new(config: ClientConfig, server_name: String) -> Result<Self, SwarmError> {
        let wrong = |error| SwarmError::Arguments(format!("no certificate has this name: {error}"));
        Ok(Self { config: Arc::new(config), server_name: ServerName::try_from(server_name).map_err(wrong)? })
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(super) stream: TcpStream,
    session: ClientConnection,
}

impl Tls {
    pub(super) fn new(client: &Client, stream: TcpStream) -> io::Result<Self> {
        let session = ClientConnection::new(Arc::clone(&client.config), client.server_name.clone());
        Ok(Self { stream, session: session.map_err(io::Error::other)? })
    }

    /// Goes on with the handshake; `None` while it is not done.
    ///
    /// # Errors
    /// When it failed, with what rustls says about it inside.
    pub(super) fn handshake(&mut self) -> io::Result<Option<()>> {
        loop {
            match self.flush() {
                Ok(()) if !self.session.is_handshaking() => return Ok(Some(())),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
            match self.take() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if self.take()? == 0 {
                return Ok(0);
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // As much as rustls keeps at most; there is room when the kernel has taken what was there.
        self.flush()?;
        self.session.writer().write(bytes)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// Takes what the kernel has, as much as rustls takes at once.
    fn take(&mut self) -> io::Result<usize> {
        let bytes = self.session.read_tls(&mut self.stream)?;
        if let Err(error) = self.session.process_new_packets() {
            // The server hears why, if it still can.
            let _ = self.flush();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(bytes)
    }
}

/// The alert that one end gave the other, when that was the end.
pub(super) fn alert_of(error: &io::Error) -> Option<u8> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(u8::from(*alert)),
        rustls::Error::InvalidCertificate(why) => Some(u8::from(AlertDescription::from(why.clone()))),
        _ => None,
    }
}
