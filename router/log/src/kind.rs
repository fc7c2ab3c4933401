//! The one table of record kinds. A number is never given twice; those of later features are reserved from the start.

/// What a record is: the first field of its header.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RecordKind {
    /// A message got its place in its conversation.
    Message = 1,
    /// A member's watermark, at the conversation's shard.
    Watermark = 2,
    /// A device of a user.
    Device = 3,
    /// A device's cursor in a conversation.
    Cursor = 4,
    /// What a member was told of a conversation.
    Inbox = 5,
}

/// Kinds that no version writes yet, with the feature each is kept for.
pub const RESERVED_KINDS: &[(u8, &str)] = &[
    (16, "group made or changed"),
    (17, "group member joined, left or changed role"),
    (18, "block of sequence numbers reserved (spill mode)"),
    (19, "void: a range of sequence numbers that will never be filled"),
    (20, "edit of a message"),
    (21, "deletion of a message for everyone"),
    (22, "retention of a conversation changed"),
    (23, "reaction to a message"),
    (24, "profile or contact list of a user"),
    (25, "key bundle of a device"),
];

impl RecordKind {
    /// The newest version of this kind's payload; a reader knows all from 1 to this.
    #[must_use]
    pub const fn version(self) -> u8 {
        match self {
            Self::Message | Self::Watermark | Self::Device | Self::Cursor | Self::Inbox => 1,
        }
    }

    /// The kind of a number; `None` for reserved and unknown numbers.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Message,
            2 => Self::Watermark,
            3 => Self::Device,
            4 => Self::Cursor,
            5 => Self::Inbox,
            _ => return None,
        })
    }

    /// The number on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_every_number_when_looked_up_then_no_kind_is_reserved_and_known() {
        for number in 0..=u8::MAX {
            let known = RecordKind::from_number(number);
            assert!(known.is_none_or(|kind| kind.number() == number));
            assert!(known.is_none() || RESERVED_KINDS.iter().all(|(reserved, _)| *reserved != number));
        }
    }
}
