//! Inputs that wait for a cold user or conversation to be loaded.

use std::collections::VecDeque;

use hashbrown::HashMap;
use switchyard_schema::ids::ShardId;
use switchyard_schema::link::{Origin, ToRouter};

use foldhash::fast::FixedState;

use crate::effects::LoadKey;
use crate::limits::{PARKED_PER_KEY_MAX, PARKED_PER_SHARD_MAX};
use crate::peer::Peer;

/// An input of a shard that concerns one user or one conversation.
#[derive(Debug)]
pub(crate) enum Input {
    Gateway(ToRouter),
    Peer(ShardId, Peer),
}

impl Input {
    /// What must be in memory before it can be taken; `None` for what means nothing to a cold entity.
    pub(crate) fn wants(&self) -> Option<LoadKey> {
        match self {
            Self::Gateway(ToRouter::Attach(origin) | ToRouter::AttachEarly(origin)) => Some(LoadKey::User(origin.user)),
            Self::Gateway(ToRouter::Send(request)) => Some(LoadKey::Conversation(request.conversation)),
            Self::Gateway(ToRouter::Fetch { fetch, .. }) => Some(LoadKey::Conversation(fetch.conversation)),
            Self::Gateway(ToRouter::Detach { .. } | ToRouter::Ack { .. }) => None,
            Self::Peer(_, Peer::Head(fact)) => Some(LoadKey::User(fact.user)),
            Self::Peer(_, Peer::Watermark(fact)) => Some(LoadKey::Conversation(fact.conversation)),
            Self::Peer(_, Peer::Read(request)) => Some(LoadKey::Conversation(request.conversation)),
            Self::Peer(
                _,
                Peer::Refused(_)
                | Peer::Repeated(_)
                | Peer::HeadConfirmed(_)
                | Peer::WatermarkConfirmed(_)
                | Peer::ReadReply(_),
            ) => None,
        }
    }
}

/// What became of an input that was to be parked.
#[derive(Debug)]
pub(crate) enum Parked {
    /// It waits for a load that must be asked for.
    First,
    /// It waits for a load that is under way.
    Behind,
    /// There is no space: the input back, to be refused.
    Full(Input),
}

/// The parked inputs, by what they wait for; an entry means that a load is under way.
#[derive(Debug)]
pub(crate) struct Parking {
    waiting: HashMap<LoadKey, VecDeque<Input>, FixedState>,
    count: usize,
}

impl Parking {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self { waiting: HashMap::with_hasher(FixedState::with_seed(hash_seed)), count: 0 }
    }

    pub(crate) fn park(&mut self, key: LoadKey, input: Input) -> Parked {
        let queue = self.waiting.get_mut(&key);
        if self.count == PARKED_PER_SHARD_MAX || queue.as_ref().is_some_and(|queue| queue.len() == PARKED_PER_KEY_MAX) {
            return Parked::Full(input);
        }
        self.count += 1;
        if let Some(queue) = queue {
            queue.push_back(input);
            return Parked::Behind;
        }
        self.waiting.insert(key, VecDeque::from_iter([input]));
        Parked::First
    }

    /// The load is over: what waited for it, in order.
    pub(crate) fn take(&mut self, key: &LoadKey) -> VecDeque<Input> {
        let inputs = self.waiting.remove(key).unwrap_or_default();
        self.count -= inputs.len();
        inputs
    }

    /// Takes out the Attach of a session that ended meanwhile.
    pub(crate) fn take_attach(&mut self, gone: &Origin) -> Option<Origin> {
        let queue = self.waiting.get_mut(&LoadKey::User(gone.user))?;
        let of_gone = |input: &Input| {
            let Input::Gateway(ToRouter::Attach(origin) | ToRouter::AttachEarly(origin)) = input else { return false };
            origin == gone
        };
        let at = queue.iter().position(of_gone)?;
        queue.remove(at);
        self.count -= 1;
        Some(*gone)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}
