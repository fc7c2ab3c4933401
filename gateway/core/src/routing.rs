//! Which router core a message goes to, which core answers it, and which core an answer was asked of.
//!
//! A request takes a credit of the pair of cores that it goes to and that answers it, and its answer puts that credit back.
//! So both questions must have one answer, whoever drives a gateway.

use switchyard_schema::ids::{ShardCount, ShardId};
use switchyard_schema::link::{ToGateway, ToRouter};

/// How the shards of a deployment lie on its router cores.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Routing {
    shards: ShardCount,
    cores: usize,
}

impl Routing {
    /// # Panics
    /// When there is no router core.
    #[must_use]
    pub const fn new(shards: ShardCount, cores: usize) -> Self {
        assert!(cores > 0, "a gateway needs a router core");
        Self { shards, cores }
    }

    /// The shard that a message is for.
    #[must_use]
    pub fn shard_of(&self, message: &ToRouter) -> ShardId {
        match message {
            ToRouter::Attach(origin)
            | ToRouter::AttachEarly(origin)
            | ToRouter::Detach { origin, .. }
            | ToRouter::Ack { origin, .. } => self.shards.of_user(origin.user),
            ToRouter::Send(request) => self.shards.of_conversation(request.conversation),
            ToRouter::Fetch { fetch, .. } => self.shards.of_conversation(fetch.conversation),
        }
    }

    /// The core that owns a shard.
    #[must_use]
    pub fn core_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0) % self.cores
    }

    /// The core that will answer a message; `None` when nobody does and it needs no credit.
    #[must_use]
    pub fn answering_core(&self, message: &ToRouter) -> Option<usize> {
        let shard = match message {
            ToRouter::Attach(origin) | ToRouter::AttachEarly(origin) => self.shards.of_user(origin.user),
            ToRouter::Send(request) => self.shards.of_user(request.origin.user),
            ToRouter::Fetch { fetch, .. } => self.shards.of_conversation(fetch.conversation),
            ToRouter::Detach { .. } | ToRouter::Ack { .. } => return None,
        };
        Some(self.core_of(shard))
    }

    /// The core that a request went to whose answer this is, from core `answering`; `None` when it answers none and returns
    /// no credit.
    #[must_use]
    pub fn asked_core(&self, answering: usize, answer: &ToGateway) -> Option<usize> {
        match answer {
            ToGateway::Attached(_) | ToGateway::Occupied(_) => Some(answering),
            ToGateway::Refused { shard, .. } => Some(self.core_of(*shard)),
            ToGateway::Accepted { conversation, .. } => Some(self.core_of(self.shards.of_conversation(*conversation))),
            ToGateway::Page(page) => Some(self.core_of(self.shards.of_conversation(page.conversation))),
            ToGateway::Deliver { .. } | ToGateway::Receipt { .. } | ToGateway::Replaced(_) | ToGateway::Stalled(_) => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use switchyard_schema::encode;
    use switchyard_schema::error::ErrorCode;
    use switchyard_schema::frame::{Ack, Fetch, FetchRange, Regarding};
    use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, Millis, Sequence, Snowflake, UserId};
    use switchyard_schema::link::{Origin, PageReply, SendRequest, SessionRef};

    use super::*;

    const SESSION: SessionRef = SessionRef { gateway: 0, slot: 0, epoch: 1 };

    /// A user's requests in a conversation, each with what may answer it.
    fn requests(me: UserId, peer: UserId, shards: ShardCount) -> [(ToRouter, Vec<ToGateway>); 4] {
        let origin = Origin { session: SESSION, user: me, device: DeviceId::new(1).unwrap() };
        let conversation = ConversationId::direct(me, peer);
        let client_message_id = ClientMessageId([1; 16]);
        let draft = encode::deliver_draft(conversation, me, b"hi");
        let message = Snowflake::new(shards.of_conversation(conversation)).next(Millis(1_800_000_000_000));
        let refused = |shard, regarding| {
            let code = ErrorCode::Overloaded;
            ToGateway::Refused { session: SESSION, shard, code, retry_after_ms: None, regarding }
        };
        let accepted =
            ToGateway::Accepted { session: SESSION, client_message_id, conversation, message, sequence: Sequence(1) };
        let page = PageReply {
            session: SESSION,
            request: 7,
            conversation,
            messages: Vec::new(),
            void: Vec::new(),
            watermarks: smallvec::SmallVec::new(),
            more: false,
        };
        let refused_send = refused(shards.of_conversation(conversation), Regarding::Send(client_message_id));
        let refused_fetch = refused(shards.of_conversation(conversation), Regarding::Request(7));
        let fetch = Fetch { request: 7, conversation, range: FetchRange::After(Sequence::ZERO), limit: 1 };
        let send = SendRequest { origin, conversation, client_message_id, begin_in_ms: 0, draft };
        [
            (
                ToRouter::Attach(origin),
                vec![ToGateway::Attached(SESSION), refused(shards.of_user(me), Regarding::Session)],
            ),
            (ToRouter::AttachEarly(origin), vec![ToGateway::Attached(SESSION), ToGateway::Occupied(SESSION)]),
            (ToRouter::Send(send), vec![accepted, refused_send]),
            (ToRouter::Fetch { origin, fetch }, vec![ToGateway::Page(Box::new(page)), refused_fetch]),
        ]
    }

    #[test]
    fn given_any_request_when_answered_then_the_credit_goes_back_to_the_pair_of_cores_that_it_was_taken_from() {
        let shards = ShardCount::new(64).unwrap();
        for cores in [1, 2, 3, 64] {
            let routing = Routing::new(shards, cores);
            for (me, peer) in (1..20).map(|user| (UserId::new(user).unwrap(), UserId::new(1_000 - user).unwrap())) {
                for (request, answers) in requests(me, peer, shards) {
                    let target = routing.core_of(routing.shard_of(&request));
                    let answering = routing.answering_core(&request).expect("it needs a credit");
                    assert!(request.needs_credit());
                    for answer in answers {
                        assert!(answer.returns_credit());
                        assert_eq!(routing.asked_core(answering, &answer), Some(target), "{answer:?} of {cores} cores");
                    }
                }
            }
        }
    }

    #[test]
    fn given_messages_that_nobody_answers_and_answers_to_none_then_no_core_is_named() {
        let routing = Routing::new(ShardCount::new(64).unwrap(), 3);
        let (me, peer) = (UserId::new(42).unwrap(), UserId::new(43).unwrap());
        let origin = Origin { session: SESSION, user: me, device: DeviceId::new(1).unwrap() };
        let ack = Ack { conversation: ConversationId::direct(me, peer), delivered: Some(Sequence(1)), read: None };
        for message in [ToRouter::Detach { origin, last_seen: Millis(0) }, ToRouter::Ack { origin, ack }] {
            assert_eq!((routing.answering_core(&message), message.needs_credit()), (None, false), "{message:?}");
        }
        assert_eq!(routing.asked_core(0, &ToGateway::Replaced(SESSION)), None);
        assert_eq!(routing.asked_core(0, &ToGateway::Stalled(SESSION)), None);
    }
}
