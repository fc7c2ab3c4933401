//! How messages leave a shard: into reserved slots, or into open ones while there is room.

use switchyard_schema::ids::ShardId;
use switchyard_schema::link::{SessionRef, ToGateway};

use crate::config::ShardConfig;
use crate::effects::{Effects, Envelope};
use crate::peer::Peer;

/// Sends a message that a credit has set a slot aside for.
pub(crate) fn reserved(config: &ShardConfig, to: ShardId, peer: Peer, fx: &mut Effects) {
    fx.send_reserved(config.core_of(to), Envelope { from: config.shard, to, peer });
}

/// Sends a message if there is room for it; otherwise it is gone, and whoever sent it tells it again.
pub(crate) fn open(config: &ShardConfig, to: ShardId, peer: Peer, fx: &mut Effects) {
    let room = &mut fx.core_room[config.core_of(to)];
    if *room > 0 {
        *room -= 1;
        fx.to_shards.push(Envelope { from: config.shard, to, peer });
    }
}

/// Sends an answer that gives a gateway its credit back.
pub(crate) fn answer(session: SessionRef, message: ToGateway, fx: &mut Effects) {
    fx.answer(session.gateway, message);
}

/// Takes a slot to a gateway if one is left.
pub(crate) fn take_room(gateway: u16, fx: &mut Effects) -> bool {
    match fx.gateway_room.get_mut(usize::from(gateway)) {
        Some(room) if *room > 0 => {
            *room -= 1;
            true
        }
        _ => false,
    }
}
