//! Reading: a field as JSON gives it, and the typed values that are made of it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::body;
use crate::frame::Regarding;
use crate::frame_error::FrameError;
use crate::ids::{ClientMessageId, ConversationId, DeviceId, GroupId, MessageId, Millis, Sequence, UserId};
use crate::limits;

/// A field that should be a string, a number or a flag; which of them is known only when its name is.
#[derive(Default, Debug)]
pub(super) enum Scalar<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Number(u64),
    Flag(bool),
    /// An object, an array, or a number that is negative or not whole.
    Other,
}

/// A field that should be an object.
#[derive(Default, Debug)]
pub(super) enum Node<T> {
    #[default]
    Absent,
    Object(T),
    Other,
}

/// A conversation as JSON names it.
#[derive(Deserialize, Debug)]
pub(super) struct RawConversation<'a> {
    #[serde(borrow, default)]
    direct: Scalar<'a>,
    #[serde(borrow, default)]
    group: Scalar<'a>,
}

/// A body as JSON writes it.
#[derive(Deserialize, Debug)]
pub(super) struct RawBody<'a> {
    #[serde(borrow, default)]
    text: Scalar<'a>,
}

impl<'a> Scalar<'a> {
    /// A string.
    pub(super) fn text(self, field: &'static str) -> Result<Option<Cow<'a, str>>, FrameError> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            _ => Err(FrameError::invalid(field, "must be a string")),
        }
    }

    /// A 64-bit number: a string of decimal digits without sign or leading zeros.
    pub(super) fn decimal(&self, field: &'static str) -> Result<Option<u64>, FrameError> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => canonical_decimal(text)
                .map(Some)
                .ok_or(FrameError::invalid(field, "must be decimal digits without leading zeros, below 2^64")),
            _ => Err(FrameError::invalid(field, "must be a string of decimal digits")),
        }
    }

    /// A number that fits 32 bits, as a JSON number.
    pub(super) fn small(&self, field: &'static str) -> Result<Option<u32>, FrameError> {
        match self {
            Self::Absent => Ok(None),
            Self::Number(number) => {
                u32::try_from(*number).map(Some).map_err(|_| FrameError::invalid(field, "is too large"))
            }
            _ => Err(FrameError::invalid(field, "must be a whole number")),
        }
    }

    pub(super) fn flag(&self, field: &'static str) -> Result<bool, FrameError> {
        match self {
            Self::Absent => Ok(false),
            Self::Flag(flag) => Ok(*flag),
            _ => Err(FrameError::invalid(field, "must be true or false")),
        }
    }

    pub(super) fn client_message_id(&self) -> Result<Option<ClientMessageId>, FrameError> {
        const FIELD: &str = "client_message_id";
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => ClientMessageId::from_text(text)
                .map(Some)
                .ok_or(FrameError::invalid(FIELD, "must be a UUID with its hyphens")),
            _ => Err(FrameError::invalid(FIELD, "must be a string")),
        }
    }

    pub(super) fn number_or_zero(&self, field: &'static str) -> Result<u64, FrameError> {
        Ok(self.decimal(field)?.unwrap_or_default())
    }

    pub(super) fn sequence(&self, field: &'static str) -> Result<Option<Sequence>, FrameError> {
        Ok(self.decimal(field)?.map(Sequence))
    }

    /// The sequence number of a message.
    pub(super) fn place(&self) -> Result<Sequence, FrameError> {
        match self.sequence("sequence")? {
            None => Err(missing("sequence")),
            Some(Sequence::ZERO) => Err(FrameError::invalid("sequence", "is zero")),
            Some(sequence) => Ok(sequence),
        }
    }

    pub(super) fn user(&self, field: &'static str) -> Result<UserId, FrameError> {
        self.required_id(field, UserId::new)
    }

    pub(super) fn device(&self) -> Result<DeviceId, FrameError> {
        self.required_id("device", DeviceId::new)
    }

    pub(super) fn message(&self) -> Result<MessageId, FrameError> {
        self.required_id("message", MessageId::new)
    }

    pub(super) fn time(&self) -> Result<Millis, FrameError> {
        self.decimal("time_ms")?.map(Millis).ok_or_else(|| missing("time_ms"))
    }

    fn required_id<T>(&self, field: &'static str, id: fn(u64) -> Option<T>) -> Result<T, FrameError> {
        let number = self.decimal(field)?.ok_or_else(|| missing(field))?;
        id(number).ok_or(FrameError::invalid(field, "is zero"))
    }
}

impl Node<RawConversation<'_>> {
    /// The conversation, as the user `me` means it.
    pub(super) fn conversation(&self, me: Option<UserId>) -> Result<ConversationId, FrameError> {
        const FIELD: &str = "conversation";
        let raw = match self {
            Self::Object(raw) => raw,
            Self::Absent => return Err(missing(FIELD)),
            Self::Other => return Err(FrameError::invalid(FIELD, "must be an object")),
        };
        match (raw.direct.decimal(FIELD)?, raw.group.decimal(FIELD)?) {
            (Some(direct), None) => {
                let peer = UserId::new(direct).ok_or(FrameError::invalid(FIELD, "user 0 does not exist"))?;
                let me = me.ok_or(FrameError::BeforeHello { regarding: Regarding::Session })?;
                Ok(ConversationId::direct(me, peer))
            }
            (None, Some(group)) => {
                let group = GroupId::new(group).ok_or(FrameError::invalid(FIELD, "group 0 does not exist"))?;
                Ok(ConversationId::group(group))
            }
            _ => Err(FrameError::invalid(FIELD, "must have either direct or group")),
        }
    }
}

impl<'a> Node<RawBody<'a>> {
    /// The body of a Send, encoded, within the bounds of a message.
    pub(super) fn checked(self) -> Result<Vec<u8>, FrameError> {
        let text = self.text()?.ok_or(FrameError::invalid("body", "is empty"))?;
        body::check_text(&text)?;
        Ok(body::text(&text))
    }

    /// The body of a Deliver, encoded; empty when the server could not say it in JSON.
    pub(super) fn encoded(self) -> Result<Vec<u8>, FrameError> {
        Ok(self.text()?.map_or_else(body::empty, |text| body::text(&text)))
    }

    fn text(self) -> Result<Option<Cow<'a, str>>, FrameError> {
        match self {
            Self::Object(raw) => raw.text.text("body"),
            Self::Absent => Err(missing("body")),
            Self::Other => Err(FrameError::invalid("body", "must be an object")),
        }
    }
}

/// Reads the fields of a frame, each as whatever JSON gives.
pub(super) fn object_of<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, FrameError> {
    // serde would also take the fields of a struct as an array, by position.
    if !text.trim_start().starts_with('{') {
        return Err(FrameError::malformed("it is not a JSON object"));
    }
    if nests_deeper_than(text, limits::JSON_DEPTH_MAX) {
        return Err(FrameError::malformed("its values are nested too deeply"));
    }
    serde_json::from_str(text).map_err(|error| {
        FrameError::malformed(match error.classify() {
            Category::Data => "it is not an object with each field once",
            Category::Eof => "the JSON ends too early",
            Category::Syntax | Category::Io => "it is not JSON",
        })
    })
}

/// Whether brackets outside strings nest deeper than `depth_max`. Text that is no JSON gets some answer; it is refused
/// later either way.
fn nests_deeper_than(text: &str, depth_max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

pub(super) const fn missing(field: &'static str) -> FrameError {
    FrameError::invalid(field, "is missing")
}

/// A u64 in the one way of writing it.
pub(super) fn canonical_decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Absent)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Flag(flag))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(list).map(|_| Scalar::Other)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Node<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor(PhantomData))
    }
}

struct NodeVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NodeVisitor<T> {
    type Value = Node<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Absent)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Node::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(list).map(|_| Node::Other)
    }
}
