//! The program over QUIC.

use std::process::Stdio;
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::rustls::pki_types::PrivateKeyDer;
use quinn::{Endpoint, ServerConfig, rustls};
use rcgen::{CertificateParams, KeyPair};
use switchyard_client::{DeviceId, Millis, Sequence, UserId};
use switchyard_schema::frame::{Accepted, ClientFrame, ServerFrame, Welcome};
use switchyard_schema::ids::MessageId;
use switchyard_schema::wire::{encode_server, parse_client};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A server on a free port, and its certificate as PEM.
fn server() -> (Endpoint, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    tls.alpn_protocols = vec![b"switchyard.v1.fb".to_vec()];
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    (Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap(), certificate.pem())
}

/// Welcomes the next client, accepts what it sends, and closes when it has said goodbye.
async fn serve(endpoint: Endpoint) {
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let (mut sender, mut receiver) = connection.accept_bi().await.unwrap();
    let mut length = [0; 4];
    while receiver.read_exact(&mut length).await.is_ok() {
        let mut frame = vec![0; u32::from_le_bytes(length) as usize];
        receiver.read_exact(&mut frame).await.unwrap();
        let answer = match parse_client(&frame).unwrap() {
            ClientFrame::Hello(_) => ServerFrame::Welcome(Welcome {
                user: UserId::new(42).unwrap(),
                device: DeviceId::new(1).unwrap(),
                heartbeat_ms: 30_000,
                max_frame_bytes: 65_536,
                delivery_window: 256,
                max_pending_sends: 256,
                time: Millis(1),
            }),
            ClientFrame::Send(send) => ServerFrame::Accepted(Accepted {
                client_message_id: send.client_message_id,
                conversation: send.conversation,
                message: MessageId::new(101).unwrap(),
                sequence: Sequence(1),
                time: Millis(1),
            }),
            _ => continue,
        };
        let mut bytes = Vec::new();
        encode_server(&answer, &mut bytes);
        sender.write_all(&u32::try_from(bytes.len()).unwrap().to_le_bytes()).await.unwrap();
        sender.write_all(&bytes).await.unwrap();
    }
    connection.close(1000_u32.into(), b"");
    endpoint.wait_idle().await;
}

#[tokio::test]
async fn given_a_server_that_speaks_quic_when_lines_are_piped_in_then_they_go_there_and_not_to_the_url() {
    let (endpoint, certificate) = server();
    let address = endpoint.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("ca.pem");
    std::fs::write(&authorities, certificate).unwrap();
    let served = tokio::spawn(serve(endpoint));
    let mut child = Command::new(env!("CARGO_BIN_EXE_chat"))
        .args(["--to", "43", "--token", "a token", "--timeout", "20"])
        // Nobody listens at the URL.
        .args(["--url", "ws://127.0.0.1:1", "--quic", &address, "--ca"])
        .arg(authorities)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").await.unwrap();
    assert!(child.wait().await.unwrap().success());
    served.await.unwrap();
}
