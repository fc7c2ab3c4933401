//! What is answered in place of a shard: by one with damaged data a refusal to everything that waits for an answer, so
//! that credits return; by one whose journal has no room at all to what would need room.

use switchyard_router_core::effects::{Effects, Envelope};
use switchyard_router_core::limits::STORAGE_RETRY_MS;
use switchyard_router_core::peer::{Peer, ReadOutcome, ReadReply, SendRefused};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::Regarding;
use switchyard_schema::ids::ShardId;
use switchyard_schema::link::{Origin, SessionRef, ToGateway, ToRouter};

use crate::config::EngineConfig;

const CODE: ErrorCode = ErrorCode::ShardDamaged;
/// Nothing gets better before an operator has looked.
const RETRY_AFTER_MS: Option<u32> = Some(60_000);

fn refuse(session: SessionRef, shard: ShardId, code: ErrorCode, regarding: Regarding, fx: &mut Effects) {
    let refused = ToGateway::Refused { session, shard, code, retry_after_ms: RETRY_AFTER_MS, regarding };
    fx.answer(session.gateway, refused);
}

/// Answers what would bring records while the queue of the journal is full: a session may not begin, since its end is
/// recorded, and an ack is dropped, since a client repeats it until it has seen its own watermark. Gives back the rest.
pub(crate) fn out_of_room(shard: ShardId, input: ToRouter, fx: &mut Effects) -> Option<ToRouter> {
    match input {
        ToRouter::Attach(Origin { session, .. }) | ToRouter::AttachEarly(Origin { session, .. }) => {
            let (code, retry_after_ms) = (ErrorCode::StorageUnavailable, Some(STORAGE_RETRY_MS));
            let refused = ToGateway::Refused { session, shard, code, retry_after_ms, regarding: Regarding::Session };
            fx.answer(session.gateway, refused);
            None
        }
        ToRouter::Ack { .. } => None,
        ToRouter::Send(_) | ToRouter::Fetch { .. } | ToRouter::Detach { .. } => Some(input),
    }
}

/// Answers a gateway in place of the damaged `shard`.
pub(crate) fn gateway(config: &EngineConfig, shard: ShardId, input: ToRouter, fx: &mut Effects) {
    match input {
        ToRouter::Attach(origin) | ToRouter::AttachEarly(origin) => {
            refuse(origin.session, shard, CODE, Regarding::Session, fx);
        }
        ToRouter::Fetch { origin, fetch } => refuse(origin.session, shard, CODE, Regarding::Request(fetch.request), fx),
        ToRouter::Send(request) => {
            // The credit is one of the sender's core, which therefore gives the answer.
            let refused = SendRefused {
                session: request.origin.session,
                code: CODE,
                retry_after_ms: RETRY_AFTER_MS,
                regarding: Regarding::Send(request.client_message_id),
            };
            let to = config.shard_count.of_user(request.origin.user);
            let core = usize::from(config.core_of(to));
            fx.send_reserved(core, Envelope { from: shard, to, peer: Peer::Refused(refused) });
        }
        ToRouter::Detach { .. } | ToRouter::Ack { .. } => {}
    }
}

/// Answers another shard in place of the damaged `shard`.
pub(crate) fn peer(config: &EngineConfig, shard: ShardId, from: ShardId, input: Peer, fx: &mut Effects) {
    match input {
        Peer::Refused(refused) => refuse(refused.session, from, refused.code, refused.regarding, fx),
        Peer::Repeated(answer) => {
            refuse(answer.session, from, CODE, Regarding::Send(answer.client_message_id), fx);
        }
        Peer::Head(fact) => {
            if let Some(answer) = fact.answer() {
                refuse(answer.session, from, CODE, Regarding::Send(answer.client_message_id), fx);
            }
        }
        Peer::Read(request) => {
            let reply = ReadReply { request, outcome: ReadOutcome::Unavailable };
            let core = usize::from(config.core_of(from));
            fx.send_reserved(core, Envelope { from: shard, to: from, peer: Peer::ReadReply(Box::new(reply)) });
        }
        Peer::ReadReply(_) | Peer::HeadConfirmed(_) | Peer::Watermark(_) | Peer::WatermarkConfirmed(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchyard_router_core::peer::ReadRequest;
    use switchyard_schema::ids::{ConversationId, DeviceId, Sequence, ShardCount, UserId};

    #[test]
    fn given_refusals_when_they_leave_then_they_take_room_from_what_is_open_behind_them() {
        let config = EngineConfig::new(0, 2, 1, ShardCount::new(4).unwrap());
        let mut fx = Effects::new(1, 2);
        (fx.gateway_room, fx.core_room) = (vec![3], vec![3, 3]);
        let (user, device) = (UserId::new(1).unwrap(), DeviceId::new(1).unwrap());
        let session = SessionRef { gateway: 0, slot: 1, epoch: 1 };
        gateway(&config, ShardId(0), ToRouter::Attach(Origin { session, user, device }), &mut fx);
        out_of_room(ShardId(0), ToRouter::Attach(Origin { session, user, device }), &mut fx);
        let conversation = ConversationId::direct(user, user);
        let request = ReadRequest { session, user, conversation, after: Sequence(0), messages: 1, bytes: 1 };
        peer(&config, ShardId(0), ShardId(1), Peer::Read(request), &mut fx);
        assert_eq!((fx.gateway_room, fx.core_room), (vec![1], vec![3, 2]));
    }
}
