//! The faults that a run can meet.

/// What goes wrong.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Fault {
    /// The server's process is killed.
    Kill,
    /// The machine loses power: what was not synced is torn, dropped or kept, sector by sector.
    PowerLoss,
    /// The server is stopped and started in order.
    Restart,
    /// A connection is cut and both ends hear of it.
    Cut,
    /// A connection is cut and only the phone hears of it, so that two connections of one device exist.
    HalfOpen,
    /// A connection swallows everything and nobody hears of it.
    BlackHole,
    /// A connection takes seconds for what it carries.
    Lag,
    /// A phone stops reading for a while.
    SlowReader,
    /// A phone's application is killed and started again.
    PhoneKilled,
    /// A phone is switched off for a while.
    PhoneOff,
    /// A router core stands still for a while.
    CoreStall,
    /// A gateway thread stands still for a while.
    GatewayStall,
    /// The wall clock jumps.
    ClockJump,
    /// A write of the journal fails, wholly or in the middle.
    WriteError,
    /// A sync of the journal fails.
    SyncError,
    /// Reads of the journal fail.
    ReadError,
    /// There is no space for segments.
    DiskFull,
    /// The disk answers late.
    SlowDisk,
    /// Reads and writes of the state store fail.
    StoreError,
    /// Bits of what was durable change.
    BitFlip,
}

impl Fault {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Kill,
        Self::PowerLoss,
        Self::Restart,
        Self::Cut,
        Self::HalfOpen,
        Self::BlackHole,
        Self::Lag,
        Self::SlowReader,
        Self::PhoneKilled,
        Self::PhoneOff,
        Self::CoreStall,
        Self::GatewayStall,
        Self::ClockJump,
        Self::WriteError,
        Self::SyncError,
        Self::ReadError,
        Self::DiskFull,
        Self::SlowDisk,
        Self::StoreError,
        Self::BitFlip,
    ];

    /// In how many of a thousand runs it happens.
    #[must_use]
    pub const fn per_mille(self) -> u64 {
        match self {
            Self::BitFlip => 100,
            Self::StoreError => 200,
            _ => 500,
        }
    }

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "process killed",
            Self::PowerLoss => "power lost",
            Self::Restart => "orderly restart",
            Self::Cut => "connection cut",
            Self::HalfOpen => "connection half open",
            Self::BlackHole => "connection a black hole",
            Self::Lag => "connection lagging",
            Self::SlowReader => "phone not reading",
            Self::PhoneKilled => "phone killed",
            Self::PhoneOff => "phone off",
            Self::CoreStall => "router core stalled",
            Self::GatewayStall => "gateway stalled",
            Self::ClockJump => "clock jumped",
            Self::WriteError => "write failed",
            Self::SyncError => "sync failed",
            Self::ReadError => "reads failed",
            Self::DiskFull => "disk full",
            Self::SlowDisk => "disk slow",
            Self::StoreError => "state store failed",
            Self::BitFlip => "bits flipped",
        }
    }
}

/// How often each fault happened.
#[derive(Copy, Clone, Debug, Default)]
pub struct FaultCounts([u64; Fault::ALL.len()]);

impl FaultCounts {
    /// One more.
    pub const fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }

    /// Each kind with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.iter().map(|fault| (*fault, self.0[*fault as usize]))
    }
}
