//! One shard: the inputs it takes and the state they change.

use std::fmt;

use switchyard_schema::error::ErrorCode;
use switchyard_schema::ids::{ConversationId, MessageId, Millis, Sequence, ShardId, Snowflake, UserId};
use switchyard_schema::link::{ToGateway, ToRouter};

use crate::agenda::Agenda;
use crate::attach::Entry;
use crate::config::ShardConfig;
use crate::conversation::Conversation;
use crate::effects::{Effects, HistoryResult, LoadKey, Row, StorageState};
use crate::facts::Facts;
use crate::limits::{CATCH_UP_STEPS_PER_INPUT, CATCH_UP_STEPS_PER_TICK, EVICTIONS_PER_TICK, TICK_SOON_MS};
use crate::log::{Log, Release};
use crate::memory::{Met, Table};
use crate::parking::{Input, Parked, Parking};
use crate::peer::{Peer, SendRefused};
use crate::post;
use crate::reading::Readings;
use crate::snapshot::Changes;
use crate::tail::Tail;
use crate::user::User;

/// One shard of the router. `now` is the Unix clock in milliseconds; a step back is taken as no step.
///
/// Before its first input: `install(LoadKey::Shard, …)`, the records after the store's LSN through `replay`, then
/// `recovered`.
pub struct Shard {
    pub(crate) config: ShardConfig,
    pub(crate) now: Millis,
    pub(crate) log: Log,
    pub(crate) ids: Snowflake,
    /// The newest message id made here.
    pub(crate) last_message: Option<MessageId>,
    pub(crate) users: Table<UserId, User>,
    pub(crate) conversations: Table<ConversationId, Conversation>,
    pub(crate) tail: Tail,
    pub(crate) facts: Facts,
    pub(crate) parked: Parking,
    pub(crate) agenda: Agenda,
    pub(crate) readings: Readings,
    pub(crate) changes: Changes,
}

/// How much a shard holds, for health and metrics.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct ShardStats {
    /// Users in memory.
    pub users: usize,
    /// Conversations in memory.
    pub conversations: usize,
    /// Estimated bytes of both.
    pub state_bytes: usize,
    /// Bytes of recent messages.
    pub tail_bytes: usize,
    /// What waits for the journal, or to be put there.
    pub pending: usize,
    /// Facts that other shards have not confirmed.
    pub unconfirmed: usize,
    /// Inputs that wait for loads.
    pub parked: usize,
    /// Reads of the journal under way.
    pub reads: usize,
    /// Users and conversations that left memory so far.
    pub evicted: u64,
    /// Attached sessions that lack messages: they are being caught up, or their window is full.
    pub sessions_behind: usize,
    /// Conversations that have messages for them, counted for each session.
    pub conversations_behind: usize,
}

impl Shard {
    /// An empty shard.
    ///
    /// # Panics
    /// When the configuration names a shard that does not exist, or no router core.
    #[must_use]
    pub fn new(config: ShardConfig) -> Self {
        assert!(config.shard.0 < config.shard_count.get() && config.router_cores > 0);
        Self {
            config,
            now: Millis(0),
            log: Log::new(config.shard),
            ids: Snowflake::new(config.shard),
            last_message: None,
            users: Table::new(config.hash_seed),
            conversations: Table::new(config.hash_seed),
            tail: Tail::new(config.tail_bytes),
            facts: Facts::default(),
            parked: Parking::new(config.hash_seed),
            agenda: Agenda::default(),
            readings: Readings::new(config.hash_seed),
            changes: Changes::default(),
        }
    }

    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.config.shard
    }

    /// The LSN of the newest record appended or replayed.
    #[must_use]
    pub fn last_lsn(&self) -> u64 {
        self.log.last_lsn
    }

    /// How much it holds.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        ShardStats {
            users: self.users.len(),
            conversations: self.conversations.len(),
            state_bytes: self.users.bytes() + self.conversations.bytes(),
            tail_bytes: self.tail.bytes(),
            pending: self.log.pending.len() + self.agenda.inbox_records.len(),
            unconfirmed: self.facts.open_count(),
            parked: self.parked.len(),
            reads: self.readings.len(),
            evicted: self.users.evicted() + self.conversations.evicted(),
            sessions_behind: self.agenda.lag.sessions,
            conversations_behind: self.agenda.lag.conversations,
        }
    }

    /// A message from a gateway for this shard.
    pub fn handle_gateway(&mut self, now: Millis, input: ToRouter, fx: &mut Effects) {
        self.begin(now);
        self.take(Input::Gateway(input), fx);
        self.catch_up(CATCH_UP_STEPS_PER_INPUT, fx);
    }

    /// A message from another shard, or from this one.
    pub fn handle_peer(&mut self, now: Millis, from: ShardId, peer: Peer, fx: &mut Effects) {
        self.begin(now);
        self.take(Input::Peer(from, peer), fx);
        self.catch_up(CATCH_UP_STEPS_PER_INPUT, fx);
    }

    /// All records of this shard up to `lsn` are durable, and its messages among them are placed.
    pub fn handle_durable(&mut self, now: Millis, lsn: u64, fx: &mut Effects) {
        self.begin(now);
        assert!(lsn <= self.log.last_lsn, "only what was appended is durable");
        self.log.durable_lsn = self.log.durable_lsn.max(lsn);
        while let Some((lsn, release)) = self.log.pop_durable() {
            match release {
                Release::Message { live, session } => self.release_message(lsn, live, session, fx),
                Release::Repeat(answer) => self.answer_repeat(answer, fx),
                Release::Attach { origin, entry, gone } => self.release_attach(origin, entry, gone, fx),
                Release::Cursor { user, conversation, device, mark, explicit } => {
                    self.release_cursor(lsn, (user, conversation), device, (mark, explicit), fx);
                }
                Release::Inbox { user, conversation, stamp } => self.release_inbox(user, conversation, stamp, fx),
                Release::Watermark { conversation, member, fact_lsn } => {
                    self.release_watermark(conversation, member, fact_lsn, fx);
                }
            }
        }
        self.catch_up(CATCH_UP_STEPS_PER_INPUT, fx);
    }

    /// Answers `Effects::loads`: every row under `key.prefix(shard)`; none when the store has none.
    pub fn handle_loaded(&mut self, now: Millis, key: LoadKey, rows: Vec<Row>, fx: &mut Effects) {
        self.begin(now);
        if self.install(key, &rows).is_err() {
            return self.handle_load_failed(now, key, ErrorCode::ShardDamaged, fx);
        }
        for input in self.parked.take(&key) {
            self.take(input, fx);
        }
        self.catch_up(CATCH_UP_STEPS_PER_INPUT, fx);
    }

    /// Answers `Effects::loads` when the store could not be read: what waits is refused with `code`.
    pub fn handle_load_failed(&mut self, now: Millis, key: LoadKey, code: ErrorCode, fx: &mut Effects) {
        self.begin(now);
        for input in self.parked.take(&key) {
            self.refuse(input, code, fx);
        }
    }

    /// Answers `Effects::reads`.
    pub fn handle_history(&mut self, now: Millis, token: u64, result: HistoryResult, fx: &mut Effects) {
        self.begin(now);
        self.on_history(token, result, fx);
    }

    /// Bounded housekeeping: facts told again, catch-up, timers, inboxes to be journaled, eviction. Returns when it wants the next tick; `None`
    /// when only an input can bring work.
    pub fn handle_tick(&mut self, now: Millis, fx: &mut Effects) -> Option<Millis> {
        self.begin(now);
        self.tell_replaced_again(fx);
        self.retell(fx);
        self.reads_due();
        self.own_receipts_due();
        self.stalls_due(fx);
        self.inbox_records_due(fx);
        self.catch_up(CATCH_UP_STEPS_PER_TICK, fx);
        let evicts = self.evict();
        let soon = !self.agenda.ready.is_empty() || !self.agenda.replaced.is_empty() || evicts;
        let soon = soon.then(|| self.now.plus(TICK_SOON_MS));
        [soon, self.facts.next_due(), self.agenda.next_due()].into_iter().flatten().min()
    }

    /// The journal's state changed. `Failed` is final and refuses everything that was not durable yet.
    pub fn handle_storage(&mut self, now: Millis, state: StorageState, fx: &mut Effects) {
        self.begin(now);
        assert!(self.log.takes_records() || state == StorageState::Failed, "a failed journal stays failed");
        self.log.state = state;
        if state == StorageState::Failed {
            self.refuse_pending(fx);
        }
    }

    /// The position of a message in the journal is known: called once per message record, in LSN order, when its batch
    /// is sealed and before it is durable. Returns the position of the conversation's previous message, zero when there
    /// is none: the record's back link.
    pub fn place(&mut self, conversation: ConversationId, sequence: Sequence, position: u64) -> u64 {
        self.log.unplaced.pop_front().expect("a message is placed once");
        let id = conversation;
        let conversation = self.conversations.peek_mut(&id).expect("a pending message holds its conversation");
        assert_eq!(conversation.placed.0.next(), sequence, "messages are placed in order");
        self.changes.conversation(id, conversation);
        conversation.place(sequence, position)
    }

    pub(crate) fn is_resident(&self, key: &LoadKey) -> bool {
        match key {
            LoadKey::Shard => true,
            LoadKey::User(user) => self.users.contains(user),
            LoadKey::Conversation(conversation) => self.conversations.contains(conversation),
        }
    }

    fn begin(&mut self, now: Millis) {
        self.now = self.now.max(now);
    }

    /// Takes an input, or parks it until what it concerns is in memory.
    fn take(&mut self, input: Input, fx: &mut Effects) {
        match &input {
            Input::Gateway(ToRouter::Send(request)) => {
                if let Some(code) = self.refusal_of(request) {
                    return self.refuse_send(&request.origin, request.client_message_id, code, fx);
                }
            }
            Input::Gateway(ToRouter::Fetch { origin, fetch }) if fetch.conversation.peer_of(origin.user).is_none() => {
                return self.refuse_fetch(origin.session, fetch.request, ErrorCode::NotAMember, fx);
            }
            _ => {}
        }
        match input.wants().filter(|key| !self.is_resident(key)) {
            Some(key) => self.park(key, input, fx),
            None => self.dispatch(input, fx),
        }
    }

    fn dispatch(&mut self, input: Input, fx: &mut Effects) {
        match input {
            Input::Gateway(ToRouter::Attach(origin)) => self.on_attach(origin, Entry::Replacing, fx),
            Input::Gateway(ToRouter::AttachEarly(origin)) => self.on_attach(origin, Entry::IfVacant, fx),
            Input::Gateway(ToRouter::Detach { origin, last_seen }) => self.on_detach(origin, last_seen, fx),
            Input::Gateway(ToRouter::Send(request)) => self.on_send(request, fx),
            Input::Gateway(ToRouter::Ack { origin, ack }) => self.on_ack(&origin, ack, fx),
            Input::Gateway(ToRouter::Fetch { origin, fetch }) => self.on_fetch(&origin, &fetch, fx),
            Input::Peer(shard, Peer::Refused(SendRefused { session, code, retry_after_ms, regarding })) => {
                post::answer(session, ToGateway::Refused { session, shard, code, retry_after_ms, regarding }, fx);
            }
            Input::Peer(_, Peer::Repeated(answer)) => self.on_repeated(&answer, fx),
            Input::Peer(_, Peer::Head(fact)) => self.on_head(&fact, fx),
            Input::Peer(_, Peer::HeadConfirmed(confirmed)) => self.on_head_confirmed(&confirmed),
            Input::Peer(_, Peer::Watermark(fact)) => self.on_watermark(&fact, fx),
            Input::Peer(_, Peer::WatermarkConfirmed(confirmed)) => self.on_watermark_confirmed(&confirmed),
            Input::Peer(from, Peer::Read(request)) => self.on_read(from, request, fx),
            Input::Peer(from, Peer::ReadReply(reply)) => self.on_read_reply(from, *reply, fx),
        }
    }

    fn park(&mut self, key: LoadKey, mut input: Input, fx: &mut Effects) {
        // The answer to a Send owes nothing to the state that is loaded; only its user's sessions do, and there are none.
        if let Input::Peer(_, Peer::Head(fact)) = &mut input
            && let Some(answer) = fact.answer()
        {
            fact.answers = None;
            self.accept(&answer, fx);
        }
        match self.parked.park(key, input) {
            Parked::First => fx.loads.push((self.config.shard, key)),
            Parked::Behind => {}
            Parked::Full(input) => self.refuse(input, ErrorCode::Overloaded, fx),
        }
    }

    /// Answers an input that cannot be taken; what has no answer is told again by its origin.
    fn refuse(&self, input: Input, code: ErrorCode, fx: &mut Effects) {
        match input {
            Input::Gateway(ToRouter::Attach(origin) | ToRouter::AttachEarly(origin)) => {
                self.refuse_attach(&origin, code, fx);
            }
            Input::Gateway(ToRouter::Send(request)) => {
                self.refuse_send(&request.origin, request.client_message_id, code, fx);
            }
            Input::Gateway(ToRouter::Fetch { origin, fetch }) => {
                self.refuse_fetch(origin.session, fetch.request, code, fx)
            }
            Input::Peer(from, Peer::Read(request)) => self.refuse_read(from, request, fx),
            Input::Gateway(ToRouter::Detach { .. } | ToRouter::Ack { .. }) | Input::Peer(..) => {}
        }
    }

    /// Drops what was not touched lately while there is too much; whether looking on may drop more.
    fn evict(&mut self) -> bool {
        let mut looks_on = false;
        for _ in 0..EVICTIONS_PER_TICK {
            if self.users.bytes() + self.conversations.bytes() <= self.config.state_bytes {
                return false;
            }
            // Users with sessions stay, however many they are, so conversations take their turn even when users are more.
            if self.users.bytes() > self.conversations.bytes()
                && !matches!(self.users.evict_one(self.changes.stored), Met::Nothing)
            {
                looks_on = true;
                continue;
            }
            match self.conversations.evict_one(self.changes.stored) {
                Met::Nothing => {}
                Met::Spared | Met::Evicted(..) => looks_on = true,
            }
        }
        looks_on
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("id", &self.config.shard).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
