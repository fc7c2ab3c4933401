//! What a connection keeps of TLS: all of it for its handshake, and then no more than its next keys are made from.
//!
//! The session that comes with quinn-proto keeps rustls's connection for as long as its own lives: three kilobytes of which
//! nothing is used again once the handshake is done and the tickets are written. This one lets go of it then.
//!
//! It also makes the next key for sending only when it is sent with. The next one for receiving is there in advance, as that of
//! quinn-proto is: how long a packet takes must not tell whether it began a key update (RFC 9001 §6.3).

use std::any::Any;
use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::crypto::{
    self, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::AlertDescription;
use rustls::quic::{DirectionalKeys, KeyChange, Secrets, ServerConnection, Version};

use super::parameters;
use super::protocol::Protocol;

/// QUIC version 1 (RFC 9000), the only one that is spoken.
pub(super) const VERSION: u32 = 1;

/// What all connections are encrypted with.
pub(super) struct Crypto {
    tls: Arc<rustls::ServerConfig>,
    /// Knows the keys that anybody can make.
    public: QuicServerConfig,
}

impl Crypto {
    /// # Errors
    /// When rustls cannot be used for QUIC with this configuration.
    pub(super) fn new(tls: rustls::ServerConfig) -> Result<Self, rustls::Error> {
        let tls = Arc::new(tls);
        // No handshake is refused for what is wrong with the configuration.
        ServerConnection::new(tls.clone(), Version::V1, Vec::new())?;
        let public = QuicServerConfig::try_from(tls.clone());
        let public = public.map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self { tls, public })
    }
}

impl crypto::ServerConfig for Crypto {
    fn initial_keys(&self, version: u32, id: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.public.initial_keys(version, id)
    }

    fn retry_tag(&self, version: u32, id: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.public.retry_tag(version, id, packet)
    }

    fn start_session(self: Arc<Self>, _: u32, parameters: &TransportParameters) -> Box<dyn crypto::Session> {
        let mut told = Vec::new();
        parameters.write(&mut told);
        let tls = ServerConnection::new(self.tls.clone(), Version::V1, told);
        let tls = tls.expect("its configuration was tried at the start");
        Box::new(Session { config: self, stage: Stage::Handshake(Box::new(tls)), protocol: None, next: None })
    }
}

/// TLS of one connection.
struct Session {
    config: Arc<Crypto>,
    stage: Stage,
    /// What the client has chosen to speak, from when that is known.
    protocol: Option<Protocol>,
    /// What the next keys are made from, from when there are keys.
    next: Option<Box<Secrets>>,
}

enum Stage {
    Handshake(Box<ServerConnection>),
    /// It has succeeded, and all that belongs to it is written.
    Done,
}

impl crypto::Session for Session {
    fn initial_keys(&self, id: &ConnectionId, _: Side) -> Keys {
        crypto::ServerConfig::initial_keys(&*self.config, VERSION, id).expect("the version is known")
    }

    /// A [`Protocol`].
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        Some(Box::new(self.protocol?))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let Stage::Handshake(tls) = &self.stage else { return None };
        let keys = tls.zero_rtt_keys()?;
        Some((Box::new(keys.header), Box::new(keys.packet)))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        matches!(&self.stage, Stage::Handshake(tls) if tls.is_handshaking())
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let Stage::Handshake(tls) = &mut self.stage else {
            // Nothing that TLS knows may come from a client behind its handshake (RFC 9001 §4.1.3 and §6).
            return Err(refusal(AlertDescription::UnexpectedMessage, "a handshake that is done goes on"));
        };
        if let Err(error) = tls.read_hs(bytes) {
            return Err(match tls.alert() {
                Some(alert) => refusal(alert, &error.to_string()),
                None => TransportError { reason: error.to_string(), ..TransportErrorCode::PROTOCOL_VIOLATION.into() },
            });
        }
        let was_known = self.protocol.is_some();
        self.protocol = tls.alpn_protocol().and_then(Protocol::from_name);
        Ok(!was_known && self.protocol.is_some())
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Stage::Handshake(tls) = &self.stage else { return Ok(None) };
        let Some(told) = tls.quic_transport_parameters() else { return Ok(None) };
        Ok(Some(parameters::read(told)?))
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        let Stage::Handshake(tls) = &mut self.stage else { return None };
        let written_bytes = out.len();
        match tls.write_hs(out) {
            Some(KeyChange::Handshake { keys }) => Some(both(keys.local, keys.remote)),
            Some(KeyChange::OneRtt { keys, next }) => {
                self.next = Some(Box::new(next));
                Some(both(keys.local, keys.remote))
            }
            None => {
                if out.len() == written_bytes && !tls.is_handshaking() {
                    self.stage = Stage::Done;
                }
                None
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let next = self.next.as_mut()?;
        let before = next.clone();
        let remote = next.next_packet_keys().remote;
        let local = LazyLock::new(move || { before }.next_packet_keys().local);
        Some(KeyPair { local: Box::new(Later(local)), remote: Box::new(remote) })
    }

    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        unreachable!("servers are sent no Retry")
    }

    fn export_keying_material(&self, _: &mut [u8], _: &[u8], _: &[u8]) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

fn refusal(alert: AlertDescription, reason: &str) -> TransportError {
    TransportError { reason: reason.to_owned(), ..TransportErrorCode::crypto(alert.into()).into() }
}

fn both(local: DirectionalKeys, remote: DirectionalKeys) -> Keys {
    Keys {
        header: KeyPair { local: Box::new(local.header), remote: Box::new(remote.header) },
        packet: KeyPair { local: Box::new(local.packet), remote: Box::new(remote.packet) },
    }
}

/// A key that is made when it is used.
struct Later<F>(LazyLock<Box<dyn rustls::quic::PacketKey>, F>);

impl<F: FnOnce() -> Box<dyn rustls::quic::PacketKey> + Send> PacketKey for Later<F> {
    fn encrypt(&self, number: u64, packet: &mut [u8], header_bytes: usize) {
        PacketKey::encrypt(&*self.0, number, packet, header_bytes);
    }

    fn decrypt(&self, number: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        PacketKey::decrypt(&*self.0, number, header, payload)
    }

    fn tag_len(&self) -> usize {
        PacketKey::tag_len(&*self.0)
    }

    fn confidentiality_limit(&self) -> u64 {
        PacketKey::confidentiality_limit(&*self.0)
    }

    fn integrity_limit(&self) -> u64 {
        PacketKey::integrity_limit(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use quinn_proto::crypto::Session as Trait;
    use quinn_proto::crypto::rustls::QuicClientConfig;
    use switchyard_gateway_core::handshake::Form;

    use super::*;
    use crate::tls::certificates::Versions;
    use crate::tls::testing::both_ends;

    /// A client and a server that have not said anything.
    fn sessions() -> (Box<dyn Trait>, Box<dyn Trait>) {
        let (server, mut client) = both_ends(Versions::Only13);
        let mut server = Arc::unwrap_or_clone(server);
        let names = || vec![Protocol::Session(Form::Json).name().as_bytes().to_vec()];
        (server.alpn_protocols, client.alpn_protocols) = (names(), names());
        let parameters = TransportParameters::read(Side::Server, &mut &[][..]).unwrap();
        let server = crypto::ServerConfig::start_session(Arc::new(Crypto::new(server).unwrap()), VERSION, &parameters);
        let client = Arc::new(QuicClientConfig::try_from(client).unwrap());
        (crypto::ClientConfig::start_session(client, VERSION, "localhost", &parameters).unwrap(), server)
    }

    /// One side says all that it has to say.
    fn speak(from: &mut dyn Trait, to: &mut dyn Trait) {
        loop {
            let mut said = Vec::new();
            let keys = from.write_handshake(&mut said);
            if !said.is_empty() {
                to.read_handshake(&said).unwrap();
            } else if keys.is_none() {
                return;
            }
        }
    }

    #[test]
    fn given_a_handshake_when_it_is_done_then_what_was_chosen_is_known_and_nothing_more_is_taken() {
        let (mut client, mut server) = sessions();
        assert!(server.handshake_data().is_none());
        for _ in 0..2 {
            speak(&mut *client, &mut *server);
            assert!(server.transport_parameters().unwrap().is_some());
            speak(&mut *server, &mut *client);
        }
        assert!(!server.is_handshaking() && !client.is_handshaking());
        assert!(server.transport_parameters().unwrap().is_none(), "rustls's connection is gone");
        let chosen = server.handshake_data().unwrap().downcast::<Protocol>().unwrap();
        assert_eq!(*chosen, Protocol::Session(Form::Json));
        let refused = server.read_handshake(&[24, 0, 0, 1, 0]).expect_err("a key update of TLS");
        assert_eq!(refused.code, TransportErrorCode::crypto(10));
    }

    #[test]
    fn given_a_session_when_keys_are_updated_then_each_side_reads_what_the_other_writes() {
        let (mut client, mut server) = sessions();
        for _ in 0..2 {
            speak(&mut *client, &mut *server);
            speak(&mut *server, &mut *client);
        }
        for generation in 0..3 {
            let [ours, theirs] = [&mut server, &mut client].map(|session| session.next_1rtt_keys().unwrap());
            for (write, read) in [(&ours.local, &theirs.remote), (&theirs.local, &ours.remote)] {
                let mut packet = [&b"header, and what is said"[..], &vec![0; write.tag_len()]].concat();
                write.encrypt(generation, &mut packet, 6);
                let (header, mut payload) = (&packet[..6], BytesMut::from(&packet[6..]));
                read.decrypt(generation, header, &mut payload).expect("both have the same key");
                assert_eq!(payload, &b", and what is said"[..]);
            }
        }
    }
}
