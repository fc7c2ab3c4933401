//! The record layer against a client of rustls, whose bytes arrive in every way.

use std::io::{Read, Write};

use ring::aead;
use rustls::{AlertDescription, ClientConfig, ClientConnection, ConnectionTrafficSecrets};

use super::super::certificates::Versions;
use super::super::testing::both_ends;
use super::*;

/// A client and the server's end of its connection.
struct Pair {
    client: ClientConnection,
    server: Secure,
    /// What the server has heard.
    heard: Vec<u8>,
}

impl Pair {
    fn new(versions: Versions) -> Self {
        let (server, client) = both_ends(versions);
        Self::of(server, client)
    }

    fn of(server: Arc<ServerConfig>, client: ClientConfig) -> Self {
        let client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
        Self { client, server: Secure::new(server).unwrap(), heard: Vec::new() }
    }

    /// One with which frames can be exchanged.
    fn established(versions: Versions) -> Self {
        let mut pair = Self::new(versions);
        pair.exchange(usize::MAX);
        assert!(!pair.server.is_handshaking() && !pair.client.is_handshaking());
        pair
    }

    /// Lets both say what they have to say, the client in pieces of at most so many bytes.
    fn exchange(&mut self, piece_bytes: usize) {
        while self.client.wants_write() || !self.server.unsent().is_empty() {
            let bytes = self.client_bytes();
            for piece in bytes.chunks(piece_bytes.min(bytes.len().max(1))) {
                assert_eq!(self.feed(piece), Ok(Heard::Open));
            }
            self.hand_over();
        }
    }

    /// Hands what the server wants to write to the client.
    fn hand_over(&mut self) {
        let unsent = self.server.unsent().to_vec();
        self.server.on_sent(unsent.len());
        self.tell_client(&unsent).unwrap();
    }

    fn client_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn tell_client(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// The server receives these, as a thread does.
    fn feed(&mut self, bytes: &[u8]) -> Result<Heard, Failure> {
        let mut buffer = vec![0; TLS_INCOMPLETE_BYTES_MAX + bytes.len()];
        let kept = self.server.put_incomplete(&mut buffer);
        buffer[kept..kept + bytes.len()].copy_from_slice(bytes);
        self.server.decrypt(&mut buffer[..kept + bytes.len()], &mut self.heard)
    }

    /// The server, and records that hold parts of a handshake message each, encrypted as the client's next.
    fn forge_handshake_records(self, parts: [&[u8]; 2]) -> (Secure, [Vec<u8>; 2]) {
        let (sequence, secrets) = self.client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another cipher is preferred") };
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, key.as_ref()).unwrap());
        let mut sequences = sequence..;
        let records = parts.map(|part| {
            let mut nonce = <[u8; 12]>::try_from(iv.as_ref()).unwrap();
            let sequence = sequences.next().unwrap().to_be_bytes();
            nonce[4..].iter_mut().zip(sequence).for_each(|(nonce, byte)| *nonce ^= byte);
            let mut inner = [part, &[HANDSHAKE]].concat();
            let header = [23, 3, 3, 0, u8::try_from(inner.len() + 16).unwrap()];
            let nonce = aead::Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, aead::Aad::from(header), &mut inner).unwrap();
            [&header[..], &inner].concat()
        });
        (self.server, records)
    }
}

fn alert_of(result: Result<(), Error>) -> Option<AlertDescription> {
    if let Err(Error::AlertReceived(alert)) = result { Some(alert) } else { None }
}

#[test]
fn given_a_client_whose_bytes_arrive_in_pieces_of_any_size_then_all_is_heard_and_nothing_is_kept() {
    for versions in [Versions::Only13, Versions::From12] {
        for piece_bytes in [1, 2, 3, 5, 7, 64, 1_000, usize::MAX] {
            let mut pair = Pair::new(versions);
            pair.exchange(piece_bytes);
            let said: Vec<u8> = (0..40_000_u32).map(|index| index.to_le_bytes()[1]).collect();
            for part in said.chunks(20_000) {
                pair.client.writer().write_all(part).unwrap();
                pair.exchange(piece_bytes);
            }
            assert!(pair.heard == said, "{piece_bytes}");
            assert_eq!(pair.server.kept_bytes(), 0, "{piece_bytes}");
            let mut out = Vec::new();
            pair.server.encrypt(&said, &mut out).unwrap();
            let mut read = Vec::new();
            for record in out.chunks(10_000) {
                pair.tell_client(record).unwrap();
                _ = pair.client.reader().read_to_end(&mut read);
            }
            assert!(read == said, "{piece_bytes}");
        }
    }
}

#[test]
fn given_a_record_that_has_not_arrived_whole_then_only_it_is_kept_until_it_has() {
    let mut pair = Pair::established(Versions::Only13);
    pair.client.writer().write_all(b"first").unwrap();
    let mut bytes = pair.client_bytes();
    let whole = bytes.len();
    pair.client.writer().write_all(b"second").unwrap();
    bytes.extend(pair.client_bytes());
    assert_eq!(pair.feed(&bytes[..bytes.len() - 1]), Ok(Heard::Open));
    assert_eq!(pair.heard, b"first");
    assert_eq!(pair.server.kept_bytes(), bytes.len() - 1 - whole);
    // Meanwhile others may be written.
    let mut out = Vec::new();
    pair.server.encrypt(b"answer", &mut out).unwrap();
    pair.tell_client(&out).unwrap();
    assert_eq!(pair.feed(&bytes[bytes.len() - 1..]), Ok(Heard::Open));
    assert_eq!(pair.heard, b"firstsecond");
    assert_eq!(pair.server.kept_bytes(), 0);
}

#[test]
fn given_a_part_of_a_key_update_when_something_is_written_then_it_goes_out_and_the_update_is_answered_when_it_is_whole()
{
    let (begin, rest) = [24, 0, 0, 1, 1].split_at(2);
    let (mut server, [mut first, second]) = Pair::established(Versions::Only13).forge_handshake_records([begin, rest]);
    assert_eq!(server.decrypt(&mut first, &mut Vec::new()), Ok(Heard::Open));
    assert_eq!(server.kept_bytes(), first.len());
    let mut out = Vec::new();
    server.encrypt(b"answer", &mut out).unwrap();
    assert_eq!(out.len(), b"answer".len() + 5 + 1 + 16);
    let mut received = vec![0; server.kept_bytes()];
    server.put_incomplete(&mut received);
    received.extend(second);
    assert_eq!(server.decrypt(&mut received, &mut Vec::new()), Ok(Heard::Open));
    out.clear();
    server.encrypt(b"answer", &mut out).unwrap();
    assert_eq!(out.len(), 5 + 5 + 1 + 16 + b"answer".len() + 5 + 1 + 16, "the update goes along");
}

#[test]
fn given_a_message_that_never_becomes_whole_then_no_more_than_the_limit_is_kept() {
    let mut pair = Pair::new(Versions::Only13);
    // A ClientHello of 60,000 bytes in records of 1,024.
    let mut record = vec![HANDSHAKE, 3, 1, 4, 0];
    record.extend([1, 0, 0xea, 0x60]);
    record.resize(5 + 1_024, 0);
    let mut failed = false;
    for _ in 0..TLS_INCOMPLETE_BYTES_MAX / record.len() + 1 {
        assert!(!failed);
        failed = pair.feed(&record) == Err(Failure::Malformed);
        record[5..9].fill(0);
    }
    assert!(failed);
    assert_eq!(pair.server.incomplete.capacity(), 0);
    assert_eq!(pair.feed(&record), Ok(Heard::Open), "nothing more is looked at");
}

#[test]
fn given_bytes_that_break_the_protocol_then_the_client_is_told_and_nothing_more_is_encrypted() {
    let mut pair = Pair::established(Versions::Only13);
    pair.client.writer().write_all(b"before").unwrap();
    let mut bytes = pair.client_bytes();
    pair.client.writer().write_all(b"broken").unwrap();
    bytes.extend(pair.client_bytes());
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(pair.feed(&bytes), Err(Failure::Malformed));
    assert_eq!(pair.heard, b"before");
    assert!(pair.server.has_ended());
    let alert = pair.server.unsent().to_vec();
    assert_eq!(alert_of(pair.tell_client(&alert)), Some(AlertDescription::BadRecordMac));

    let mut pair = Pair::new(Versions::Only13);
    assert_eq!(pair.feed(&[HANDSHAKE, 3, 3, 0xff, 0xff]), Err(Failure::Malformed));
    assert!(!pair.server.unsent().is_empty());
}

#[test]
fn given_any_byte_of_a_first_flight_turned_around_then_the_server_bears_it() {
    let (server, client) = both_ends(Versions::From12);
    let hello = Pair::of(server.clone(), client.clone()).client_bytes();
    for at in 0..hello.len() {
        let mut pair = Pair::of(server.clone(), client.clone());
        let mut hello = hello.clone();
        hello[at] ^= 0xff;
        let heard = pair.feed(&hello);
        assert!(heard.is_err() || pair.server.is_handshaking(), "{at}");
    }
}

#[test]
fn given_something_else_than_tls_then_that_is_known_from_the_first_byte_on() {
    for first in [&b"G"[..], b"GET / HTTP/1.1\r\n\r\n", &[0x80, 0x2e, 1], &[0]] {
        let mut pair = Pair::new(Versions::Only13);
        assert_eq!(pair.feed(first), Err(Failure::NotTls));
        assert_eq!(pair.server.kept_bytes(), 0);
    }
}

#[test]
fn given_a_client_that_has_nothing_in_common_or_does_not_trust_then_why_is_known() {
    let (server, client) = both_ends(Versions::Only13);
    let mut other_protocol = client.clone();
    other_protocol.alpn_protocols = vec![b"h2".to_vec()];
    let mut pair = Pair::of(server.clone(), other_protocol);
    let hello = pair.client_bytes();
    assert_eq!(pair.feed(&hello), Err(Failure::Incompatible));
    let alert = pair.server.unsent().to_vec();
    assert_eq!(alert_of(pair.tell_client(&alert)), Some(AlertDescription::NoApplicationProtocol));

    let (_, stranger) = both_ends(Versions::Only13);
    let mut pair = Pair::of(server, stranger);
    let hello = pair.client_bytes();
    assert_eq!(pair.feed(&hello), Ok(Heard::Open));
    let flight = pair.server.unsent().to_vec();
    assert!(pair.tell_client(&flight).is_err());
    let alert = pair.client_bytes();
    assert_eq!(pair.feed(&alert), Err(Failure::Refused));
}

#[test]
fn given_a_client_that_comes_again_then_it_resumes() {
    for versions in [Versions::Only13, Versions::From12] {
        let (server, client) = both_ends(versions);
        let resumed = [(); 2].map(|()| {
            let mut pair = Pair::of(server.clone(), client.clone());
            pair.exchange(usize::MAX);
            assert!(!pair.server.is_handshaking());
            pair.server.is_resumed()
        });
        assert_eq!(resumed, [false, true], "{versions:?}");
    }
}

#[test]
fn given_an_end_of_either_side_then_the_other_hears_it() {
    let mut pair = Pair::established(Versions::Only13);
    let mut out = Vec::new();
    pair.server.encrypt(b"last", &mut out).unwrap();
    pair.server.say_goodbye(&mut out);
    let said_bytes = out.len();
    pair.server.say_goodbye(&mut out);
    assert_eq!(out.len(), said_bytes, "it is said once");
    pair.tell_client(&out).unwrap();
    let mut read = Vec::new();
    assert_eq!(pair.client.reader().read_to_end(&mut read).unwrap(), 4);

    let mut pair = Pair::established(Versions::Only13);
    pair.client.writer().write_all(b"last").unwrap();
    pair.client.send_close_notify();
    let bytes = pair.client_bytes();
    assert_eq!(pair.feed(&bytes), Ok(Heard::Goodbye));
    assert_eq!(pair.heard, b"last");
    let mut out = Vec::new();
    pair.server.encrypt(b"answer", &mut out).unwrap();
    pair.server.say_goodbye(&mut out);
    pair.tell_client(&out).unwrap();
    assert_eq!(pair.client.reader().read_to_end(&mut Vec::new()).unwrap(), 6);
}
