//! How far a device, or a member, is.

use switchyard_schema::frame::Watermark;
use switchyard_schema::ids::{Sequence, UserId};

/// Delivered up to, read up to. Both only grow.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) delivered: Sequence,
    pub(crate) read: Sequence,
}

impl Mark {
    pub(crate) fn new(delivered: Sequence, read: Sequence) -> Self {
        Self { delivered, read }
    }

    /// Takes the higher of each number; whether anything changed.
    pub(crate) fn raise(&mut self, other: Self) -> bool {
        let before = *self;
        self.delivered = self.delivered.max(other.delivered);
        self.read = self.read.max(other.read);
        *self != before
    }

    pub(crate) fn watermark(self, member: UserId) -> Watermark {
        Watermark { member, delivered: self.delivered, read: self.read }
    }
}

/// Where one device is in one conversation, and what its session was sent.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Cursor {
    /// Index of the device in its user.
    pub(crate) device: u8,
    /// A Cursor record is on its way to the disk.
    pub(crate) pending: bool,
    /// An Ack, not only the device's own sending, moved it since the last record.
    pub(crate) explicit: bool,
    pub(crate) session: SessionMarks,
    /// As far as the device acknowledged.
    pub(crate) mark: Mark,
    /// As far as records say.
    pub(crate) recorded: Mark,
}

/// The part of a cursor that lives as long as a session.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct SessionMarks {
    /// Which attachment of the device this belongs to; an older number means none of it holds.
    pub(crate) attachment: u32,
    /// Everything up to here was sent to the session, or given up.
    pub(crate) sent: Sequence,
    /// In the session's queue of conversations that are behind.
    pub(crate) behind: bool,
    /// A read is under way.
    pub(crate) reading: bool,
    /// The other member's watermark has to be told.
    pub(crate) peer_receipt: bool,
    /// The user's own watermark has to be told.
    pub(crate) own_receipt: bool,
    /// In the session's queue of receipts.
    pub(crate) receipt_queued: bool,
    /// The timer of the user's own watermark runs.
    pub(crate) own_timer: bool,
}

impl Cursor {
    pub(crate) fn new(device: u8, mark: Mark) -> Self {
        Self { device, pending: false, explicit: false, session: SessionMarks::default(), mark, recorded: mark }
    }

    /// The session's part, begun anew when it belongs to an older attachment: what the device lacks starts at what it
    /// has.
    pub(crate) fn of_attachment(&mut self, attachment: u32) -> &mut SessionMarks {
        if self.session.attachment != attachment {
            self.session = SessionMarks { attachment, sent: self.mark.delivered, ..SessionMarks::default() };
        }
        &mut self.session
    }
}
