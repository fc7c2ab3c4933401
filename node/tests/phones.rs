//! The SDK over QUIC and the real binary: phones that move, and a server that is restarted.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{BINARY, Server};
use switchyard_client::{Client, ConversationId, Event, Events, FetchRange, Sequence, UserId};
use switchyard_swarm::tokens::Signer;

const DEADLINE: Duration = Duration::from_secs(60);
/// Messages of each phone.
const MESSAGES: usize = 300;
/// A phone moves after so many of its messages.
const MESSAGES_PER_MOVE: usize = 10;

/// Somebody with a phone.
struct Phone {
    client: Client,
    events: Events,
    other: ConversationId,
}

impl Phone {
    async fn connect(data: &Path, address: &str, user: UserId, other: UserId) -> Self {
        let (client, events) = Client::builder(format!("quic://{address}"))
            .token(Signer::of_data(data).unwrap().token(user))
            .certificate_authorities(data.join("tls/ca.pem"))
            .connect()
            .await
            .unwrap();
        assert_eq!(client.connected().await.unwrap(), user);
        Self { client, events, other: ConversationId::direct(user, other) }
    }

    /// Says all of `says`, moving all the while, and hears as many messages.
    async fn talk_on_the_move(&mut self, says: &[String]) -> Vec<String> {
        let (client, events, other) = (&self.client, &mut self.events, self.other);
        let saying = async {
            for texts in says.chunks(MESSAGES_PER_MOVE) {
                client.network_changed(None).await.unwrap();
                let mut handles = Vec::new();
                for text in texts {
                    handles.push(client.send_text(other, text).await.unwrap());
                }
                // By then the server has seen the phone at its new address.
                for handle in handles {
                    handle.await.unwrap();
                }
            }
        };
        let hearing = async {
            let mut heard = Vec::new();
            while heard.len() < says.len() {
                match events.next().await.expect("not the end") {
                    Event::MessageReceived(message) if message.origin.is_none() => {
                        heard.push(message.text().unwrap().to_owned());
                    }
                    _ => {}
                }
            }
            heard
        };
        tokio::join!(saying, hearing).1
    }

    /// Says `count` long texts, and fetches them: a page that is large.
    async fn look_back(&self, count: usize) {
        let long = "x".repeat(4_000);
        for _ in 0..count {
            self.client.send_text(self.other, &long).await.unwrap().await.unwrap();
        }
        let range = FetchRange::Before(Sequence(u64::MAX));
        let page = self.client.fetch(self.other, range, u32::try_from(count).unwrap()).await.unwrap();
        assert!(page.messages.len() == count && page.messages.iter().all(|message| message.text() == Some(&*long)));
    }
}

/// Both talk; what each hears is what the other said.
async fn talk(alice: &mut Phone, bob: &mut Phone, round: &str) {
    let texts = |who: &str| (0..MESSAGES).map(|number| format!("{round} {who} {number}")).collect::<Vec<_>>();
    let (from_alice, from_bob) = (texts("alice"), texts("bob"));
    let both = async { tokio::join!(alice.talk_on_the_move(&from_alice), bob.talk_on_the_move(&from_bob)) };
    let (heard_by_alice, heard_by_bob) = tokio::time::timeout(DEADLINE, both).await.expect("in time");
    assert!(heard_by_alice == from_bob && heard_by_bob == from_alice, "each once, and in order");
}

#[tokio::test]
async fn given_phones_over_quic_when_they_move_and_the_server_is_restarted_then_no_message_is_lost_or_repeated() {
    let cores = ("SWITCHYARD_GATEWAY__CORES", "2");
    let server = Server::start("phones", &[BINARY], &[cores, ("SWITCHYARD_GATEWAY__LISTEN_QUIC", "127.0.0.1:0")]);
    let address = server.told("listening quic ").to_owned();
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("phones");
    let user = |number| UserId::new(number).unwrap();
    let mut alice = Phone::connect(&data, &address, user(42), user(43)).await;
    let mut bob = Phone::connect(&data, &address, user(43), user(42)).await;
    talk(&mut alice, &mut bob, "first").await;
    assert!(server.stop().success());
    let _server = Server::start_on(&data, &[BINARY], &[cores, ("SWITCHYARD_GATEWAY__LISTEN_QUIC", &address)]);
    talk(&mut alice, &mut bob, "second").await;
    alice.look_back(20).await;
    alice.client.close().await;
    bob.client.close().await;
}
