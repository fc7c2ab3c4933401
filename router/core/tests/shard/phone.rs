//! A device as the router sees it: attach, send, ack, fetch.

use switchyard_schema::encode::deliver_draft;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Ack, Fetch, FetchRange, Receipt, Regarding, Watermark};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, Sequence, UserId};
use switchyard_schema::link::{Origin, SendRequest, SessionRef, ToRouter};

use crate::world::{Seen, World};

/// One session of one device.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Phone {
    pub(crate) origin: Origin,
    /// When its user may begin another conversation.
    pub(crate) begin_in_ms: u32,
}

pub(crate) fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn direct(one: u64, other: u64) -> ConversationId {
    ConversationId::direct(user(one), user(other))
}

pub(crate) fn name(number: u64) -> ClientMessageId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    ClientMessageId(id)
}

impl Phone {
    /// A device with a session that the world knows nothing of.
    pub(crate) fn new(id: u64, device: u64, epoch: u32) -> Self {
        let slot = u32::try_from(id * 100 + device).unwrap();
        let session = SessionRef { gateway: u16::try_from(id % 2).unwrap(), slot, epoch };
        let origin = Origin { session, user: user(id), device: DeviceId::new(device).unwrap() };
        Self { origin, begin_in_ms: 0 }
    }

    /// A device whose session is attached and has caught up with nothing yet.
    pub(crate) fn attached(world: &mut World, id: u64, device: u64) -> Self {
        let phone = Self::new(id, device, 1);
        phone.attach(world);
        world.settle();
        let seen = phone.seen(world);
        assert_eq!(seen.first(), Some(&Seen::Attached), "{seen:?}");
        phone
    }

    /// The same device in a new session.
    pub(crate) fn again(&self) -> Self {
        let mut next = *self;
        next.origin.session.epoch += 1;
        next
    }

    pub(crate) fn attach(&self, world: &mut World) {
        world.at_user(self.origin.user, ToRouter::Attach(self.origin));
    }

    /// Attaches unless the device has a session.
    pub(crate) fn attach_early(&self, world: &mut World) {
        world.at_user(self.origin.user, ToRouter::AttachEarly(self.origin));
    }

    pub(crate) fn detach(&self, world: &mut World) {
        let last_seen = world.now;
        world.at_user(self.origin.user, ToRouter::Detach { origin: self.origin, last_seen });
    }

    pub(crate) fn with(&self, peer: u64) -> ConversationId {
        ConversationId::direct(self.origin.user, user(peer))
    }

    pub(crate) fn send(&self, world: &mut World, to: u64, number: u64) {
        self.send_text(world, to, number, "hi");
    }

    pub(crate) fn send_text(&self, world: &mut World, to: u64, number: u64, text: &str) {
        self.send_into(world, self.with(to), number, text);
    }

    pub(crate) fn send_into(&self, world: &mut World, conversation: ConversationId, number: u64, text: &str) {
        let body = switchyard_schema::body::text(text);
        let request = SendRequest {
            origin: self.origin,
            conversation,
            client_message_id: name(number),
            begin_in_ms: self.begin_in_ms,
            draft: deliver_draft(conversation, self.origin.user, &body),
        };
        world.at_conversation(conversation, ToRouter::Send(request));
    }

    pub(crate) fn ack(&self, world: &mut World, peer: u64, delivered: u64, read: u64) {
        let some = |value: u64| (value > 0).then_some(Sequence(value));
        let ack = Ack { conversation: self.with(peer), delivered: some(delivered), read: some(read) };
        world.at_user(self.origin.user, ToRouter::Ack { origin: self.origin, ack });
    }

    pub(crate) fn fetch(&self, world: &mut World, conversation: ConversationId, range: FetchRange, limit: u32) {
        let fetch = Fetch { request: 9, conversation, range, limit };
        world.at_conversation(conversation, ToRouter::Fetch { origin: self.origin, fetch });
    }

    pub(crate) fn seen(&self, world: &mut World) -> Vec<Seen> {
        world.take_seen(self.origin.session)
    }

    /// Sequence numbers delivered since the last look; everything else that was seen is dropped.
    pub(crate) fn delivered(&self, world: &mut World) -> Vec<u64> {
        let seen = self.seen(world).into_iter();
        seen.filter_map(|seen| if let Seen::Deliver { sequence, .. } = seen { Some(sequence) } else { None }).collect()
    }
}

pub(crate) fn accepted_sequences(seen: &[Seen]) -> Vec<u64> {
    let sequence = |seen: &Seen| if let Seen::Accepted { sequence, .. } = seen { Some(*sequence) } else { None };
    seen.iter().filter_map(sequence).collect()
}

pub(crate) fn receipt(conversation: ConversationId, member: u64, delivered: u64, read: u64) -> Seen {
    let watermark = Watermark { member: user(member), delivered: Sequence(delivered), read: Sequence(read) };
    Seen::Receipt(Receipt { conversation, watermark })
}

pub(crate) fn refused_send(code: ErrorCode, number: u64) -> Seen {
    Seen::Refused(code, Regarding::Send(name(number)))
}
