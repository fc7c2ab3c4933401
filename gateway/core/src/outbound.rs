//! The frames that wait to be written to one connection.
//!
//! Empty it owns no heap memory, and one waiting frame needs none either: most turns write one frame and are done.
//! Frames are whole and shared (`Bytes`), so the same Deliver waits in a thousand queues and exists once.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// The queue would grow over its limit: the peer does not read. The connection is closed without waiting for it
/// (`CloseCode::TooSlow`).
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("more waits to be written than the connection may hold")]
pub struct Overflow;

/// Frames waiting to be written, oldest first.
#[derive(Debug)]
pub struct Outbound {
    frames: Frames,
    queued_bytes: u32,
    bytes_max: u32,
}

#[derive(Debug)]
enum Frames {
    None,
    One(Bytes),
    /// Two or more.
    Many(VecDeque<Bytes>),
}

impl Outbound {
    /// An empty queue that holds at most `bytes_max`.
    ///
    /// # Panics
    /// When that is 4 GiB or more.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        assert!(bytes_max <= u32::MAX as usize, "a connection never holds 4 GiB");
        Self::with_max(narrow(bytes_max))
    }

    const fn with_max(bytes_max: u32) -> Self {
        Self { frames: Frames::None, queued_bytes: 0, bytes_max }
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.frames, Frames::None)
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.queued_bytes as usize
    }

    /// Adds a frame behind the others. An empty one is dropped.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit; the queue is as before.
    pub fn push(&mut self, frame: Bytes) -> Result<(), Overflow> {
        if frame.is_empty() {
            return Ok(());
        }
        if frame.len() > (self.bytes_max - self.queued_bytes) as usize {
            return Err(Overflow);
        }
        self.queued_bytes += narrow(frame.len());
        self.frames = match std::mem::replace(&mut self.frames, Frames::None) {
            Frames::None => Frames::One(frame),
            Frames::One(first) => Frames::Many(VecDeque::from([first, frame])),
            Frames::Many(mut frames) => {
                frames.push_back(frame);
                Frames::Many(frames)
            }
        };
        Ok(())
    }

    /// The oldest frame, or what is left of it: to be written as it is when it is large or alone.
    #[must_use]
    pub fn front(&self) -> Option<&Bytes> {
        match &self.frames {
            Frames::None => None,
            Frames::One(frame) => Some(frame),
            Frames::Many(frames) => frames.front(),
        }
    }

    /// Whether exactly one frame waits.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        matches!(self.frames, Frames::One(_))
    }

    /// Appends the oldest bytes to `buffer` until everything is in or it holds `buffer_bytes_max`; a frame may be cut.
    /// Nothing leaves the queue before [`Outbound::advance`]. Answers with the bytes appended.
    pub fn gather(&self, buffer: &mut Vec<u8>, buffer_bytes_max: usize) -> usize {
        let before_bytes = buffer.len();
        let mut add = |frame: &Bytes| {
            let room = buffer_bytes_max.saturating_sub(buffer.len());
            buffer.extend_from_slice(&frame[..frame.len().min(room)]);
            frame.len() < room
        };
        match &self.frames {
            Frames::None => {}
            Frames::One(frame) => _ = add(frame),
            Frames::Many(frames) => _ = frames.iter().all(add),
        }
        buffer.len() - before_bytes
    }

    /// Forgets the oldest `written_bytes`, which may end inside a frame.
    ///
    /// # Panics
    /// When fewer bytes wait.
    pub fn advance(&mut self, written_bytes: usize) {
        assert!(written_bytes <= self.queued_bytes(), "more was written than waits");
        self.queued_bytes -= narrow(written_bytes);
        if self.queued_bytes == 0 {
            self.frames = Frames::None;
            return;
        }
        match &mut self.frames {
            Frames::None => {}
            Frames::One(frame) => {
                frame.advance(written_bytes);
            }
            Frames::Many(frames) => {
                let mut left_bytes = written_bytes;
                while let Some(front) = frames.front_mut() {
                    if left_bytes < front.len() {
                        front.advance(left_bytes);
                        break;
                    }
                    left_bytes -= front.len();
                    frames.pop_front();
                }
                if frames.len() == 1 {
                    let last = frames.pop_front().expect("its length is one");
                    self.frames = Frames::One(last);
                }
            }
        }
    }
}

/// A number of bytes inside one queue, whose limit is a u32.
#[expect(clippy::cast_possible_truncation, reason = "no queue holds more than its limit")]
const fn narrow(bytes: usize) -> u32 {
    bytes as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn gathered(queue: &Outbound, bytes_max: usize) -> Vec<u8> {
        let mut buffer = Vec::new();
        let added_bytes = queue.gather(&mut buffer, bytes_max);
        assert_eq!(added_bytes, buffer.len());
        buffer
    }

    #[test]
    fn given_frames_when_gathered_and_partly_written_then_the_rest_follows_in_order() {
        let mut queue = Outbound::new(100);
        for frame in ["alpha", "", "beta", "gamma"] {
            queue.push(bytes(frame)).unwrap();
        }
        assert_eq!(queue.queued_bytes(), 14);
        assert_eq!(gathered(&queue, 100), b"alphabetagamma");
        assert_eq!(gathered(&queue, 7), b"alphabe");
        queue.advance(7);
        assert_eq!(queue.front().unwrap(), "ta");
        assert_eq!(gathered(&queue, 100), b"tagamma");
        queue.advance(2);
        assert!(queue.is_single());
        queue.advance(1);
        assert_eq!(gathered(&queue, 100), b"amma");
        queue.advance(4);
        assert!(queue.is_empty());
        assert_eq!(queue.front(), None);
        assert_eq!(gathered(&queue, 100), b"");
    }

    #[test]
    fn given_every_split_of_writes_when_advanced_then_every_byte_is_written_once() {
        for step in 1..=14 {
            let mut queue = Outbound::new(100);
            for frame in ["alpha", "beta", "gamma"] {
                queue.push(bytes(frame)).unwrap();
            }
            let mut written = Vec::new();
            while !queue.is_empty() {
                let part = gathered(&queue, step);
                queue.advance(part.len());
                written.extend_from_slice(&part);
            }
            assert_eq!(written, b"alphabetagamma", "step {step}");
        }
    }

    #[test]
    fn given_a_full_queue_when_a_frame_is_pushed_then_it_is_refused_and_nothing_changes() {
        let mut queue = Outbound::new(9);
        queue.push(bytes("alpha")).unwrap();
        assert_eq!(queue.push(bytes("gamma")), Err(Overflow));
        queue.push(bytes("beta")).unwrap();
        assert_eq!(gathered(&queue, 100), b"alphabeta");
        queue.advance(1);
        queue.push(bytes("!")).unwrap();
        assert_eq!(queue.push(bytes("!")), Err(Overflow));
    }

    #[test]
    #[should_panic(expected = "more was written than waits")]
    fn given_two_bytes_when_three_are_reported_written_then_it_is_our_bug() {
        let mut queue = Outbound::new(9);
        queue.push(bytes("ab")).unwrap();
        queue.advance(3);
    }

    #[test]
    fn given_a_connection_when_it_is_idle_then_its_queue_is_small() {
        assert!(size_of::<Outbound>() <= 48, "{}", size_of::<Outbound>());
    }
}
