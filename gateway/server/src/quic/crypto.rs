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
use switchyard_gateway_core::handshake::Form;

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
        Box::new(Session { config: self, stage: Stage::Handshake(Box::new(tls)), form: None, next: None })
    }
}

/// TLS of one connection.
struct Session {
    config: Arc<Crypto>,
    stage: Stage,
    /// The form that the client has chosen, from when that is known.
    form: Option<Form>,
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

    /// A [`Form`].
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        Some(Box::new(self.form?))
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
        let was_known = self.form.is_some();
        let name = tls.alpn_protocol().and_then(|name| str::from_utf8(name).ok());
        self.form = name.and_then(Form::from_subprotocol);
        Ok(!was_known && self.form.is_some())
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Stage::Handshake(tls) = &self.stage else { return Ok(None) };
        let Some(mut told) = tls.quic_transport_parameters() else { return Ok(None) };
        Ok(Some(TransportParameters::read(Side::Server, &mut told)?))
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
