//! Writing: JSON objects straight into the caller's buffer, so that a frame costs no allocation.

use std::fmt::Display;
use std::io::Write as _;

use crate::body;
use crate::ids::{ConversationId, ConversationKind, UserId};

/// An object that is being written; closed when it is dropped.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    pub(super) fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// A frame: an object whose first field is its type.
    pub(super) fn frame(out: &'o mut Vec<u8>, kind: &str) -> Self {
        let mut object = Self::open(out);
        object.text("type", kind);
        object
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A string, escaped as it must be.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        serde_json::to_writer(self.name(name), value).expect("a string always serialises, and a Vec takes any write");
    }

    /// Something whose text needs no escaping, as a string: a 64-bit number or a UUID.
    pub(super) fn plain(&mut self, name: &str, value: impl Display) {
        write!(self.name(name), "\"{value}\"").expect("a Vec takes any write");
    }

    /// A small number, a flag: as JSON has them.
    pub(super) fn bare(&mut self, name: &str, value: impl Display) {
        write!(self.name(name), "{value}").expect("a Vec takes any write");
    }

    pub(super) fn null(&mut self, name: &str) {
        self.name(name).extend_from_slice(b"null");
    }

    pub(super) fn object(&mut self, name: &str) -> Object<'_> {
        Object::open(self.name(name))
    }

    /// An array of objects.
    pub(super) fn list<T>(&mut self, name: &str, items: &[T], mut write: impl FnMut(&mut Object<'_>, &T)) {
        let out = self.name(name);
        out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(&mut Object::open(out), item);
        }
        out.push(b']');
    }

    /// A conversation, as the user `me` names it.
    ///
    /// # Panics
    /// When it is a direct conversation of two other users: a session never hears of those.
    pub(super) fn conversation(&mut self, id: ConversationId, me: UserId) {
        let mut object = self.object("conversation");
        match id.kind() {
            ConversationKind::Group(group) => object.plain("group", group),
            ConversationKind::Direct(..) => {
                object.plain("direct", id.peer_of(me).expect("a session hears of its own conversations only"));
            }
        }
    }

    /// A body, as far as this form can say it: what only newer clients know is left out.
    pub(super) fn body(&mut self, encoded: &[u8]) {
        let mut object = self.object("body");
        if let Ok(body::BodyView { text: Some(text) }) = body::parse(encoded) {
            object.text("text", text);
        }
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}
