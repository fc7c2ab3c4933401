//! The shape of a round, and the names of its messages.

use switchyard_schema::ids::{ClientMessageId, ConversationId, UserId};

use crate::random::random;

/// The first user; user number `n` is this plus `n`.
const FIRST_USER: u64 = 100;

/// One kill.
#[derive(Copy, Clone, Debug)]
pub(super) struct Round {
    pub(super) number: u32,
    clients: u32,
    pub(super) sends_per_client: u32,
    /// The server is killed once so many messages of the round were accepted.
    pub(super) kill_after: u64,
}

/// Who sent a message, and which of theirs it is: what its client message id and its text say.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Name {
    pub(super) round: u32,
    pub(super) client: u32,
    pub(super) number: u32,
}

impl Round {
    pub(super) fn new(number: u32, clients: u32, sends: u32) -> Self {
        let sends_per_client = (sends / clients).max(1);
        let messages = u64::from(sends_per_client) * u64::from(clients);
        // Anywhere between a fifth and four fifths of the way.
        let kill_after = messages / 5 + random() % (messages * 3 / 5 + 1);
        Self { number, clients, sends_per_client, kill_after }
    }

    /// Messages of this round.
    pub(super) fn messages(&self) -> u64 {
        u64::from(self.sends_per_client) * u64::from(self.clients)
    }

    /// Messages in each conversation once this round is complete.
    pub(super) fn head(&self) -> u64 {
        u64::from(self.number) * u64::from(self.sends_per_client) * 2
    }
}

impl Name {
    pub(super) fn id(self) -> ClientMessageId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.round.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.client.to_be_bytes());
        bytes[12..].copy_from_slice(&self.number.to_be_bytes());
        ClientMessageId(bytes)
    }

    pub(super) fn of_id(id: ClientMessageId) -> Self {
        let word = |at: usize| u32::from_be_bytes([id.0[at], id.0[at + 1], id.0[at + 2], id.0[at + 3]]);
        Self { round: word(0), client: word(4), number: word(12) }
    }

    pub(super) fn text(self) -> String {
        format!("{}/{}/{}", self.round, self.client, self.number)
    }

    pub(super) fn of_text(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::parse::<u32>);
        let (round, client, number) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        parts.next().is_none().then_some(Self { round, client, number })
    }
}

pub(super) fn user(client: u32) -> UserId {
    UserId::new(FIRST_USER + u64::from(client)).expect("not zero")
}

/// The conversation of a client with its partner.
pub(super) fn conversation(client: u32) -> ConversationId {
    ConversationId::direct(user(client), user(client ^ 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_name_when_it_travels_as_id_and_as_text_then_it_comes_back() {
        let name = Name { round: 7, client: 49, number: 123_456 };
        assert_eq!(Name::of_id(name.id()), name);
        assert_eq!(Name::of_text(&name.text()), Some(name));
        for wrong in ["", "1/2", "1/2/3/4", "a/b/c"] {
            assert_eq!(Name::of_text(wrong), None, "{wrong}");
        }
    }
}
