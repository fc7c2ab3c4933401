//! What the router says, session by session.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Accepted, Deliver, Page, Receipt, Regarding};
use switchyard_schema::ids::UserId;
use switchyard_schema::link::{DeliverFrame, PageReply, SessionRef, ToGateway};

/// What the router says to one session.
#[derive(Copy, Clone, Debug)]
pub enum FromRouter<'a> {
    /// The session is known; Welcome may go out.
    Attached,
    /// The device has a session, whose place this one may not take yet.
    Occupied,
    /// A request was refused.
    Refused {
        /// Why.
        code: ErrorCode,
        /// When to try again.
        retry_after_ms: Option<u32>,
        /// Which request.
        regarding: Regarding,
    },
    /// A Send is durable.
    Accepted(Accepted),
    /// A Fetch is answered.
    Page(&'a PageReply),
    /// A message.
    Deliver(&'a DeliverFrame),
    /// A watermark.
    Receipt(&'a Receipt),
    /// The same device connected again.
    Replaced,
    /// Nothing more is delivered before an ack.
    Stalled,
}

/// Calls `each` for every session that a message of the router is for.
pub fn dispatch(message: &ToGateway, mut each: impl FnMut(SessionRef, FromRouter<'_>)) {
    match message {
        ToGateway::Attached(session) => each(*session, FromRouter::Attached),
        ToGateway::Occupied(session) => each(*session, FromRouter::Occupied),
        &ToGateway::Refused { session, code, retry_after_ms, regarding, .. } => {
            each(session, FromRouter::Refused { code, retry_after_ms, regarding });
        }
        &ToGateway::Accepted { session, client_message_id, conversation, message, sequence } => {
            let time = message.time();
            let accepted = Accepted { client_message_id, conversation, message, sequence, time };
            each(session, FromRouter::Accepted(accepted));
        }
        ToGateway::Page(page) => each(page.session, FromRouter::Page(page)),
        ToGateway::Deliver { sessions, frame } => {
            sessions.iter().for_each(|session| each(*session, FromRouter::Deliver(frame)));
        }
        ToGateway::Receipt { sessions, receipt } => {
            sessions.iter().for_each(|session| each(*session, FromRouter::Receipt(receipt)));
        }
        ToGateway::Replaced(session) => each(*session, FromRouter::Replaced),
        ToGateway::Stalled(session) => each(*session, FromRouter::Stalled),
    }
}

/// The Page frame of a reply as `me` sees it: device and client message id only of what `me` sent.
pub(super) fn page_for(me: UserId, reply: &PageReply) -> Page<'_> {
    let messages = reply.messages.iter().map(|record| Deliver {
        conversation: record.conversation,
        message: record.message,
        sequence: record.sequence,
        sender: record.sender,
        time: record.message.time(),
        origin: (record.sender == me).then_some((record.device, record.client_message_id)),
        body: record.body.as_ref().into(),
    });
    Page {
        request: reply.request,
        conversation: reply.conversation,
        messages: messages.collect(),
        void: reply.void.clone(),
        watermarks: reply.watermarks.to_vec(),
        more: reply.more,
    }
}
