//! Identities: users, devices, conversations, messages, and where each of them lives.
//!
//! Every id is a newtype, so a user cannot be passed where a device is wanted. Ids that the outside names are never
//! zero; zero on the wire is refused while parsing.

use std::fmt;
use std::num::NonZeroU64;

macro_rules! non_zero_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// `None` when `value` is zero, which no wire or disk form allows.
            #[must_use]
            pub const fn new(value: u64) -> Option<Self> {
                match NonZeroU64::new(value) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The number as it stands on wire and disk.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0.get()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

non_zero_id!(
    /// A user; until there are accounts any non-zero number is one.
    UserId
);
non_zero_id!(
    /// One installation of a client; unique within its user only.
    DeviceId
);
non_zero_id!(
    /// A message, in the Snowflake layout of [`Snowflake`]: sortable by time, unique in a deployment.
    MessageId
);
non_zero_id!(
    /// A group conversation.
    GroupId
);

/// Milliseconds since the Unix epoch, or of a monotonic clock where a parameter says so.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This time plus `millis`, saturating.
    #[must_use]
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Position of a message in its conversation: dense, from 1. Zero means "before the first".
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first message.
    pub const ZERO: Self = Self(0);

    /// The sequence number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Sixteen bytes chosen by the device (any UUID); names one Send across retries.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientMessageId(pub [u8; 16]);

impl ClientMessageId {
    /// From the two words of the wire, each eight of the sixteen bytes read as a big-endian number.
    #[must_use]
    pub const fn from_words(high: u64, low: u64) -> Self {
        Self((((high as u128) << 64) | low as u128).to_be_bytes())
    }

    /// The two words of the wire.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u128")]
    pub const fn words(self) -> (u64, u64) {
        let bits = u128::from_be_bytes(self.0);
        ((bits >> 64) as u64, bits as u64)
    }

    /// From the hyphenated text form of RFC 9562 §4, in either case.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 36 || [8, 13, 18, 23].iter().any(|&at| text[at] != b'-') {
            return None;
        }
        let mut digits = text.iter().filter(|&&byte| byte != b'-').map(|&byte| char::from(byte).to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            *byte = u8::try_from(digits.next()?? * 16 + digits.next()??).expect("two hexadecimal digits make a byte");
        }
        digits.next().is_none().then_some(Self(bytes))
    }
}

impl fmt::Display for ClientMessageId {
    /// The hyphenated lower-case text form of RFC 9562 §4.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClientMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientMessageId({self})")
    }
}

/// A conversation: two words. Direct: (smaller user, larger user). Group: (0, group).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId {
    high: u64,
    low: u64,
}

/// What a [`ConversationId`] stands for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ConversationKind {
    /// Between two users; both are the same in a chat with oneself.
    Direct(UserId, UserId),
    /// A group.
    Group(GroupId),
}

impl ConversationId {
    /// The direct conversation of two users, the same whichever comes first.
    #[must_use]
    pub fn direct(one: UserId, other: UserId) -> Self {
        Self { high: one.min(other).get(), low: one.max(other).get() }
    }

    /// The conversation of a group.
    #[must_use]
    pub const fn group(group: GroupId) -> Self {
        Self { high: 0, low: group.get() }
    }

    /// From the two words of wire and disk; `None` unless they are in the form that this type documents.
    #[must_use]
    pub const fn from_words(high: u64, low: u64) -> Option<Self> {
        if low == 0 || high > low { None } else { Some(Self { high, low }) }
    }

    /// The two words of wire and disk.
    #[must_use]
    pub const fn words(self) -> (u64, u64) {
        (self.high, self.low)
    }

    /// What this id stands for.
    #[must_use]
    pub fn kind(self) -> ConversationKind {
        let low = NonZeroU64::new(self.low).expect("a conversation id never has a zero low word");
        match NonZeroU64::new(self.high) {
            Some(high) => ConversationKind::Direct(UserId(high), UserId(low)),
            None => ConversationKind::Group(GroupId(low)),
        }
    }

    /// The other user of a direct conversation as `user` sees it; `None` for a group or when `user` is not in it.
    #[must_use]
    pub fn peer_of(self, user: UserId) -> Option<UserId> {
        match self.kind() {
            ConversationKind::Direct(one, other) if one == user => Some(other),
            ConversationKind::Direct(one, other) if other == user => Some(one),
            _ => None,
        }
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ConversationKind::Direct(one, other) => write!(f, "direct:{one}-{other}"),
            ConversationKind::Group(group) => write!(f, "group:{group}"),
        }
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConversationId({self})")
    }
}

/// The logical unit of state. The number of shards is fixed when a data folder is made.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u16);

/// How many shards a deployment has: 1 to [`crate::limits::SHARD_COUNT_MAX`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ShardCount(u16);

impl ShardCount {
    /// `None` outside 1 to [`crate::limits::SHARD_COUNT_MAX`].
    #[must_use]
    pub const fn new(count: u16) -> Option<Self> {
        if count == 0 || count > crate::limits::SHARD_COUNT_MAX { None } else { Some(Self(count)) }
    }

    /// The count.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The shard that owns a user.
    #[must_use]
    pub const fn of_user(self, user: UserId) -> ShardId {
        self.of_words(USER_SALT, user.get())
    }

    /// The shard that owns a conversation.
    #[must_use]
    pub const fn of_conversation(self, conversation: ConversationId) -> ShardId {
        self.of_words(mix(conversation.high ^ CONVERSATION_SALT), conversation.low)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a remainder of a u16 fits a u16")]
    const fn of_words(self, salt: u64, word: u64) -> ShardId {
        ShardId((mix(salt ^ word) % self.0 as u64) as u16)
    }
}

const USER_SALT: u64 = 0x5357_5543_4859_0001;
const CONVERSATION_SALT: u64 = 0x5357_5543_4859_0002;

/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). It decides where data lives, so it never changes.
const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Milliseconds from the Unix epoch to the epoch of message ids, 2024-01-01T00:00:00Z.
pub const SNOWFLAKE_EPOCH_MS: u64 = 1_704_067_200_000;
const SHARD_BITS: u32 = 10;
const COUNTER_BITS: u32 = 12;
const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;

/// Makes the message ids of one shard: 41 bit milliseconds since [`SNOWFLAKE_EPOCH_MS`], 10 bit shard, 12 bit counter.
///
/// Ids only grow, whatever the clock does: the time used is the later of `now` and the last time used, and a counter
/// that runs over borrows the next millisecond. Nothing ever waits for a clock.
#[derive(Debug, Clone)]
pub struct Snowflake {
    shard: ShardId,
    time_ms: u64,
    counter: u64,
}

impl Snowflake {
    /// A generator that has made nothing yet. Recovery calls [`Snowflake::observe`] for every id it finds.
    #[must_use]
    pub const fn new(shard: ShardId) -> Self {
        Self { shard, time_ms: 0, counter: COUNTER_MAX }
    }

    /// Never makes an id at or below `id` from now on.
    pub fn observe(&mut self, id: MessageId) {
        let time_ms = id.get() >> (SHARD_BITS + COUNTER_BITS);
        let counter = id.get() & COUNTER_MAX;
        if (time_ms, counter) > (self.time_ms, self.counter) || self.time_ms < time_ms {
            (self.time_ms, self.counter) = (time_ms, counter);
        }
    }

    /// The next id and the time it carries.
    pub fn next(&mut self, now: Millis) -> MessageId {
        let clock_ms = now.0.saturating_sub(SNOWFLAKE_EPOCH_MS).max(1);
        if clock_ms > self.time_ms {
            (self.time_ms, self.counter) = (clock_ms, 0);
        } else if self.counter == COUNTER_MAX {
            (self.time_ms, self.counter) = (self.time_ms + 1, 0);
        } else {
            self.counter += 1;
        }
        let word =
            (self.time_ms << (SHARD_BITS + COUNTER_BITS)) | (u64::from(self.shard.0) << COUNTER_BITS) | self.counter;
        MessageId::new(word).expect("the time of an id is at least one millisecond after its epoch")
    }
}

impl MessageId {
    /// The time this id was made, as the server reports it in `time_ms`.
    #[must_use]
    pub const fn time(self) -> Millis {
        Millis((self.get() >> (SHARD_BITS + COUNTER_BITS)) + SNOWFLAKE_EPOCH_MS)
    }

    /// The shard of the conversation it was sent to.
    #[must_use]
    pub const fn shard(self) -> ShardId {
        ShardId(((self.get() >> COUNTER_BITS) & ((1 << SHARD_BITS) - 1)) as u16)
    }
}
