//! What is answered in place of a shard: by one with damaged data a refusal to everything that waits for an answer, so
//! that credits return; by one whose journal has no room at all to what would need room.

use switchyard_router_core::effects::{Effects, Envelope};
use switchyard_router_core::limits::STORAGE_RETRY_MS;
use switchyard_router_core::peer::{Peer, ReadOutcome, ReadReply, SendRefused};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::Regarding;
use switchyard_schema::ids::{ShardCount, ShardId};
use switchyard_schema::link::{Origin, SessionRef, ToGateway, ToRouter};

const CODE: ErrorCode = ErrorCode::ShardDamaged;
/// Nothing gets better before an operator has looked.
const RETRY_AFTER_MS: Option<u32> = Some(60_000);

fn refuse(session: SessionRef, code: ErrorCode, regarding: Regarding, fx: &mut Effects) {
    let refused = ToGateway::Refused { session, code, retry_after_ms: RETRY_AFTER_MS, regarding };
    fx.to_gateways.push((session.gateway, refused));
}

/// Answers what would bring records while the queue of the journal is full: a session may not begin, since its end is
/// recorded, and an ack is dropped, since a client repeats it until it has seen its own watermark. Gives back the rest.
pub(crate) fn out_of_room(input: ToRouter, fx: &mut Effects) -> Option<ToRouter> {
    match input {
        ToRouter::Attach(Origin { session, .. }) => {
            let (code, retry_after_ms) = (ErrorCode::StorageUnavailable, Some(STORAGE_RETRY_MS));
            let refused = ToGateway::Refused { session, code, retry_after_ms, regarding: Regarding::Session };
            fx.to_gateways.push((session.gateway, refused));
            None
        }
        ToRouter::Ack { .. } => None,
        ToRouter::Send(_) | ToRouter::Fetch { .. } | ToRouter::Detach { .. } => Some(input),
    }
}

/// Answers a gateway in place of the damaged `shard`.
pub(crate) fn gateway(shard: ShardId, shards: ShardCount, input: ToRouter, fx: &mut Effects) {
    match input {
        ToRouter::Attach(origin) => refuse(origin.session, CODE, Regarding::Session, fx),
        ToRouter::Fetch { origin, fetch } => refuse(origin.session, CODE, Regarding::Request(fetch.request), fx),
        ToRouter::Send(request) => {
            // The credit is one of the sender's core, which therefore gives the answer.
            let refused = SendRefused {
                session: request.origin.session,
                code: CODE,
                retry_after_ms: RETRY_AFTER_MS,
                regarding: Regarding::Send(request.client_message_id),
            };
            let to = shards.of_user(request.origin.user);
            fx.to_shards.push(Envelope { from: shard, to, peer: Peer::Refused(refused) });
        }
        ToRouter::Detach { .. } | ToRouter::Ack { .. } => {}
    }
}

/// Answers another shard in place of the damaged `shard`.
pub(crate) fn peer(shard: ShardId, from: ShardId, input: Peer, fx: &mut Effects) {
    match input {
        Peer::Refused(refused) => refuse(refused.session, refused.code, refused.regarding, fx),
        Peer::Repeated(answer) => {
            refuse(answer.session, CODE, Regarding::Send(answer.client_message_id), fx);
        }
        Peer::Head(fact) => {
            if let Some(answer) = fact.answer {
                refuse(answer.session, CODE, Regarding::Send(answer.client_message_id), fx);
            }
        }
        Peer::Read(request) => {
            let reply = ReadReply { request, outcome: ReadOutcome::Unavailable };
            fx.to_shards.push(Envelope { from: shard, to: from, peer: Peer::ReadReply(Box::new(reply)) });
        }
        Peer::ReadReply(_) | Peer::HeadConfirmed(_) | Peer::Watermark(_) | Peer::WatermarkConfirmed(_) => {}
    }
}
