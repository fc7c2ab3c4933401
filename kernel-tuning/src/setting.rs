//! What a setting is: where it stands, what it should be for whom, and why.

use crate::value::Value;

/// What a host is for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Profile {
    /// A million WebSocket connections on one host.
    MillionWebsocket,
    /// Phones over QUIC.
    QuicMobile,
    /// The shortest way from sender to recipient.
    LowLatency,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MillionWebsocket, Self::QuicMobile, Self::LowLatency];

    /// The name on the command line and in file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MillionWebsocket => "million-websocket",
            Self::QuicMobile => "quic-mobile",
            Self::LowLatency => "low-latency",
        }
    }

    /// What it is for, as a phrase.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::MillionWebsocket => "a million WebSocket connections on one host",
            Self::QuicMobile => "phones over QUIC, whose packets all arrive at one socket of each gateway thread",
            Self::LowLatency => {
                "the shortest way from sender to recipient, at the price of memory that is never swapped"
            }
        }
    }

    /// The connections that profiles are made for; [`Amount::PerThousand`] scales with them.
    pub const CONNECTIONS: u64 = 1_000_000;
}

/// Where a setting stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A file below `/proc/sys`, named as `sysctl(8)` does.
    Sysctl(&'static str),
    /// The same, of a kernel that may be older than it and then behaves as wanted: that it is absent is good.
    SysctlSince(&'static str),
    /// The same, of a part of the kernel that may not be in use: only while `count` is above 0 does `key` matter.
    SysctlInUse {
        /// Its name.
        key: &'static str,
        /// Another sysctl, which counts what the part does.
        count: &'static str,
    },
    /// A limit of the process.
    Limit(Limit),
    /// A directive of the systemd unit.
    Directive(&'static str),
}

impl Place {
    /// The name that `sysctl(8)`, `ulimit` or `systemd.exec(5)` gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sysctl(key) | Self::SysctlSince(key) | Self::SysctlInUse { key, .. } => key,
            Self::Limit(limit) => limit.name(),
            Self::Directive(name) => name,
        }
    }

    /// The sysctl, when it is one.
    #[must_use]
    pub const fn sysctl(self) -> Option<&'static str> {
        match self {
            Self::Sysctl(key) | Self::SysctlSince(key) | Self::SysctlInUse { key, .. } => Some(key),
            Self::Limit(_) | Self::Directive(_) => None,
        }
    }

    /// Whether a host may lack it and be as wanted.
    #[must_use]
    pub const fn may_be_absent(self) -> bool {
        matches!(self, Self::SysctlSince(_) | Self::SysctlInUse { .. })
    }
}

/// A limit of the process (`getrlimit(2)`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Descriptors of one table.
    Nofile,
    /// Bytes of locked memory.
    Memlock,
}

impl Limit {
    /// The name in `limits.conf(5)`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nofile => "nofile",
            Self::Memlock => "memlock",
        }
    }

    /// The name in `systemd.exec(5)`.
    #[must_use]
    pub const fn directive(self) -> &'static str {
        match self {
            Self::Nofile => "LimitNOFILE",
            Self::Memlock => "LimitMEMLOCK",
        }
    }

    /// The letter that `ulimit` knows it by, with `H` when only the hard limit counts: the server raises its limit on
    /// descriptors to that one itself.
    #[must_use]
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Nofile => "-Hn",
            Self::Memlock => "-l",
        }
    }

    /// What a server would have that the calling process starts; `u64::MAX` when there is no limit.
    #[must_use]
    pub fn of_this_process(self) -> u64 {
        use rustix::process::{Resource, getrlimit};
        let limit = match self {
            Self::Nofile => getrlimit(Resource::Nofile).maximum,
            Self::Memlock => getrlimit(Resource::Memlock).current,
        };
        limit.unwrap_or(u64::MAX)
    }
}

/// How a value is compared with the one wanted, number by number.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Rule {
    /// As large, or larger.
    AtLeast,
    /// As small, or smaller.
    AtMost,
    /// The same.
    Exactly,
    /// A range (low, high) that has the wanted one inside.
    Covers,
}

impl Rule {
    /// The words before the value.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::AtLeast => "at least",
            Self::AtMost => "at most",
            Self::Exactly => "exactly",
            Self::Covers => "covering",
        }
    }
}

/// A number that is wanted.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Amount {
    /// Whatever the number of connections.
    Fixed(u64),
    /// So many for each thousand connections, and `beside` for everything else.
    PerThousand {
        /// For a thousand connections.
        each: u64,
        /// For everything else.
        beside: u64,
    },
}

impl Amount {
    /// The number for so many connections.
    #[must_use]
    pub const fn for_connections(self, connections: u64) -> u64 {
        match self {
            Self::Fixed(number) => number,
            Self::PerThousand { each, beside } => beside + connections.div_ceil(1_000) * each,
        }
    }
}

/// What it means when a setting is not as wanted.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Weight {
    /// Something will not work.
    Needed,
    /// It works, and worse.
    Helps,
}

/// What the setting was seen to do.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Measured.
    Measured {
        /// What was seen.
        seen: &'static str,
        /// The command that shows it.
        command: &'static str,
    },
    /// Not measured, and why not.
    NotMeasured(&'static str),
}

/// One line of the table.
#[derive(Copy, Clone, Debug)]
pub struct Setting {
    /// Where it stands.
    pub place: Place,
    /// How it is compared.
    pub rule: Rule,
    /// What each profile wants; a profile that is not here leaves it alone.
    pub wanted: &'static [(Profile, &'static [Amount])],
    /// What it means when it is not as wanted.
    pub weight: Weight,
    /// Why it should be so: what happens otherwise.
    pub reason: &'static str,
    /// Where its meaning is documented.
    pub source: &'static str,
    /// What it was seen to do.
    pub effect: Effect,
}

impl Setting {
    /// What `profile` wants for so many connections; `None` when it leaves the setting alone.
    #[must_use]
    pub fn wanted(&self, profile: Profile, connections: u64) -> Option<Value> {
        let (_, amounts) = self.wanted.iter().find(|(of, _)| *of == profile)?;
        Some(Value::new(amounts.iter().map(|amount| amount.for_connections(connections)).collect()))
    }
}
