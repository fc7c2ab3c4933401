//! What a client sends, receives, acknowledges and repairs.

mod support;

use bytes::Bytes;
use support::{Bench, accepted, deliver, device, id, page, receipt, refusal, user, watermark, welcome, with};
use switchyard_client_core::limits::{INBOX_MESSAGES_MAX, INBOX_OVERSHOOT_MAX};
use switchyard_client_core::{
    ConversationRow, Effect, Event, FailedSend, OutboxRow, RefusalCode, Restored, SendRefused, StoreOp,
};
use switchyard_schema::NewerError;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{
    Ack, ClientFrame, Deliver, FetchRange, Page, Regarding, ServerFrame, VoidRange, Welcome,
};
use switchyard_schema::ids::{MessageId, Sequence};

fn position(effects: &[Effect], wanted: impl Fn(&Effect) -> bool) -> usize {
    effects.iter().position(wanted).expect("it is there")
}

#[test]
fn given_a_message_when_it_is_sent_then_it_is_in_the_outbox_before_it_leaves() {
    let mut bench = Bench::connected();
    bench.send(1, with(2));
    let effects = bench.effects();
    let stored = position(&effects, |effect| matches!(effect, Effect::Store(StoreOp::PutOutbox(_))));
    let sent = position(&effects, |effect| matches!(effect, Effect::Transmit(ClientFrame::Send(_))));
    assert!(stored < sent);
    bench.frame(accepted(1, with(2), 1));
    let seen = bench.seen();
    assert!(seen.stores.contains(&StoreOp::DropOutbox(id(1))));
    assert!(matches!(seen.events[..], [Event::MessageAccepted(accepted)] if accepted.sequence == Sequence(1)));
}

#[test]
fn given_an_unanswered_send_when_the_client_comes_back_then_it_is_sent_again_with_its_id_and_accepted_once() {
    let mut bench = Bench::connected();
    bench.send(1, with(2));
    bench.send(2, with(2));
    assert_eq!(bench.seen().sends(), [id(1)], "one of a conversation at a time keeps the order");
    bench.reconnect();
    assert_eq!(bench.seen().sends(), [id(1)]);
    bench.frame(accepted(1, with(2), 1));
    bench.frame(accepted(1, with(2), 1));
    let seen = bench.seen();
    assert_eq!(seen.events.len(), 1);
    assert_eq!(seen.sends(), [id(2)]);
}

#[test]
fn given_an_outbox_on_disk_when_the_client_starts_then_it_is_sent_in_its_order() {
    let row = |order, number| OutboxRow {
        order,
        client_message_id: id(number),
        conversation: with(number),
        body: Bytes::from_static(b"x"),
    };
    let mut bench = Bench::restored(Restored { outbox: vec![row(7, 3), row(2, 2)], ..Restored::default() });
    bench.connect();
    assert_eq!(bench.seen().sends(), [id(2), id(3)]);
}

#[test]
fn given_the_own_message_comes_back_instead_of_an_answer_then_that_is_the_answer() {
    let mut bench = Bench::connected();
    bench.send(1, with(2));
    bench.lose();
    bench.seen();
    bench.come_back();
    bench.deliver(Deliver { origin: Some((device(1), id(1))), ..deliver(with(2), 1, 1) });
    bench.frame(accepted(1, with(2), 1));
    let seen = bench.seen();
    let accepted = |event: &&Event| matches!(event, Event::MessageAccepted(_));
    assert_eq!(seen.events.iter().filter(accepted).count(), 1);
    assert!(seen.received().is_empty(), "what this device sent is not something it received");
}

#[test]
fn given_a_refusal_for_now_when_the_wait_is_over_then_the_message_is_sent_again() {
    let mut bench = Bench::connected();
    bench.send(1, with(2));
    bench.send(2, with(2));
    bench.seen();
    bench.frame(refusal(ErrorCode::StorageUnavailable, Regarding::Send(id(1)), Some(4_000)));
    bench.pass(3_999);
    assert!(bench.seen().sends().is_empty(), "the next does not overtake");
    bench.pass(2_000);
    assert_eq!(bench.seen().sends(), [id(1)]);
}

#[test]
fn given_a_refusal_for_good_when_it_comes_then_the_application_knows_and_the_next_leaves() {
    let mut bench = Bench::connected();
    bench.send(1, with(2));
    bench.send(2, with(2));
    bench.seen();
    bench.frame(refusal(ErrorCode::NotAMember, Regarding::Send(id(1)), None));
    let seen = bench.seen();
    let code = ErrorCode::NotAMember;
    let reason = code.reason().to_owned();
    let failed = FailedSend { client_message_id: id(1), conversation: with(2), code: code.into(), reason };
    assert_eq!(seen.events, [Event::SendFailed(failed)]);
    assert!(seen.stores.contains(&StoreOp::DropOutbox(id(1))));
    assert_eq!(seen.sends(), [id(2)]);
}

#[test]
fn given_a_refusal_with_a_code_of_a_newer_server_when_it_comes_then_it_is_taken_for_what_it_says() {
    let newer = |retry, regarding| NewerError {
        code: 1999,
        reason: "later".to_owned(),
        fatal: false,
        retry,
        retry_after_ms: Some(5_000),
        regarding,
    };
    let mut bench = Bench::connected();
    bench.send(1, with(2));
    bench.seen();
    bench.newer_error(&newer(true, Regarding::Send(id(1))));
    bench.pass(4_999);
    assert!(bench.seen().sends().is_empty(), "it waits as long as it was told");
    bench.pass(2_000);
    assert_eq!(bench.seen().sends(), [id(1)]);
    bench.newer_error(&newer(false, Regarding::Send(id(1))));
    let failed = |event: &Event| matches!(event, Event::SendFailed(failed) if failed.code == RefusalCode::Newer(1999));
    assert!(bench.seen().events.iter().any(failed));
    bench.pass(100_000);
    assert!(bench.seen().sends().is_empty(), "it is not sent again");
}

#[test]
fn given_a_server_that_lost_its_data_when_a_number_comes_again_then_the_application_knows_and_gets_the_message() {
    let mut bench = Bench::connected();
    for number in 1..=3 {
        bench.deliver(deliver(with(2), number, 2));
    }
    bench.seen();
    bench.deliver(Deliver { message: MessageId::new(1_000_000).unwrap(), ..deliver(with(2), 2, 2) });
    let events = bench.seen().events;
    assert!(
        matches!(&events[..], [Event::HistoryLost { sequence: Sequence(2), .. }, Event::MessageReceived(received)]
            if received.sequence == Sequence(2)),
        "{events:?}"
    );
}

#[test]
fn given_a_server_with_narrow_limits_when_sending_then_they_hold() {
    let mut bench = Bench::new();
    bench.start();
    bench.token("token");
    bench.opened();
    bench.frame(ServerFrame::Welcome(Welcome { max_pending_sends: 2, max_frame_bytes: 2_000, ..welcome() }));
    for number in 2..6 {
        bench.send(number, with(number));
    }
    assert_eq!(bench.seen().sends(), [id(2), id(3)]);
    let mut out = Vec::new();
    bench.client.send(bench.now, id(9), with(9), Bytes::from(vec![0; 1_800]), &mut out).unwrap();
    bench.frame(accepted(2, with(2), 1));
    bench.frame(accepted(3, with(3), 1));
    bench.frame(accepted(4, with(4), 1));
    let failed = |event: &Event| matches!(event, Event::SendFailed(failed) if failed.code == ErrorCode::TooLarge);
    assert!(bench.seen().events.iter().any(failed));
    let refused = bench.client.send(bench.now, id(10), with(9), Bytes::from(vec![0; 61 * 1024]), &mut out);
    assert_eq!(refused, Err(SendRefused::BodyTooLarge));
}

#[test]
fn given_a_message_when_it_arrives_then_it_is_stored_given_and_acknowledged_in_this_order() {
    let mut bench = Bench::connected();
    bench.deliver(deliver(with(2), 1, 2));
    bench.pass(50);
    let effects = bench.effects();
    let stored = position(&effects, |effect| matches!(effect, Effect::Store(StoreOp::PutInbox(_))));
    let given = position(&effects, |effect| matches!(effect, Effect::Event(Event::MessageReceived(_))));
    let acked = position(&effects, |effect| matches!(effect, Effect::Transmit(ClientFrame::Ack(_))));
    assert!(stored < given && given < acked);
}

#[test]
fn given_a_message_again_when_it_arrives_then_it_is_acknowledged_but_not_given() {
    let mut bench = Bench::connected();
    bench.deliver(deliver(with(2), 1, 2));
    bench.pass(50);
    bench.frame(receipt(with(2), 1, 1, 0));
    bench.seen();
    bench.deliver(deliver(with(2), 1, 2));
    bench.pass(50);
    let seen = bench.seen();
    assert!(seen.received().is_empty());
    assert_eq!(seen.acks().len(), 1);
}

#[test]
fn given_many_messages_when_they_arrive_then_one_ack_covers_them() {
    let mut bench = Bench::connected();
    for sequence in 1..=16 {
        bench.deliver(deliver(with(2), sequence, 2));
    }
    let acks: Vec<_> = bench.seen().acks().iter().map(|ack| ack.delivered.unwrap().0).collect();
    assert_eq!(acks, [8, 16]);
}

#[test]
fn given_an_ack_when_its_watermark_is_not_seen_then_it_is_repeated_until_it_is() {
    let mut bench = Bench::connected();
    bench.deliver(deliver(with(2), 1, 2));
    bench.pass(50 + 2_000);
    assert_eq!(bench.seen().acks().len(), 2);
    bench.frame(receipt(with(2), 1, 1, 0));
    bench.pass(20_000);
    assert!(bench.seen().acks().is_empty());
}

#[test]
fn given_an_unconfirmed_ack_when_the_client_comes_back_then_it_is_sent_again() {
    let mut bench = Bench::connected();
    bench.deliver(deliver(with(2), 1, 2));
    bench.pass(50);
    bench.seen();
    bench.reconnect();
    let ack = Ack { conversation: with(2), delivered: Some(Sequence(1)), read: None };
    assert_eq!(bench.seen().acks(), [ack]);
}

#[test]
fn given_a_message_read_when_it_is_marked_then_the_ack_says_so_at_once() {
    let mut bench = Bench::connected();
    bench.deliver(deliver(with(2), 1, 2));
    bench.read(with(2), 7);
    let ack = Ack { conversation: with(2), delivered: Some(Sequence(1)), read: Some(Sequence(1)) };
    assert_eq!(bench.seen().acks(), [ack]);
}

#[test]
fn given_a_gap_when_it_is_seen_then_a_fetch_repairs_it_in_order() {
    let mut bench = Bench::connected();
    bench.deliver(deliver(with(2), 1, 2));
    bench.deliver(deliver(with(2), 5, 2));
    let seen = bench.seen();
    assert_eq!(seen.received(), [(with(2), 1)]);
    let fetch = seen.fetches()[0];
    assert_eq!(fetch.range, FetchRange::After(Sequence(1)));
    let first = vec![deliver(with(2), 2, 2), deliver(with(2), 3, 2)];
    bench.frame(ServerFrame::Page(page(&fetch, first, true)));
    let seen = bench.seen();
    assert_eq!(seen.received(), [(with(2), 2), (with(2), 3)]);
    let next = seen.fetches()[0];
    assert_eq!(next.range, FetchRange::After(Sequence(3)));
    let void = vec![VoidRange { from: Sequence(4), to: Sequence(4) }];
    let last = Page { void, ..page(&next, vec![deliver(with(2), 5, 2)], false) };
    bench.frame(ServerFrame::Page(last));
    let seen = bench.seen();
    assert_eq!(seen.received(), [(with(2), 5)]);
    assert!(seen.events.iter().any(|event| matches!(event, Event::MessagesMissing { range, .. } if range.from.0 == 4)));
    assert!(seen.fetches().is_empty());
}

#[test]
fn given_a_repair_that_is_refused_for_now_when_the_wait_is_over_then_it_is_tried_again() {
    let mut bench = Bench::connected();
    bench.deliver(deliver(with(2), 1, 2));
    bench.deliver(deliver(with(2), 3, 2));
    let fetch = bench.seen().fetches()[0];
    bench.frame(refusal(ErrorCode::Overloaded, Regarding::Request(fetch.request), Some(3_000)));
    bench.pass(2_999);
    assert!(bench.seen().fetches().is_empty());
    bench.pass(2_000);
    assert_eq!(bench.seen().fetches().len(), 1);
}

#[test]
fn given_an_own_message_ahead_of_others_when_they_do_not_come_then_they_are_fetched() {
    let mut bench = Bench::connected();
    bench.deliver(deliver(with(2), 1, 2));
    bench.send(1, with(2));
    bench.frame(accepted(1, with(2), 3));
    assert!(bench.seen().fetches().is_empty(), "they are probably on their way");
    bench.pass(2_000);
    assert_eq!(bench.seen().fetches()[0].range, FetchRange::After(Sequence(1)));
}

#[test]
fn given_own_messages_not_known_to_be_read_when_the_client_comes_back_then_it_asks_for_the_watermarks() {
    let row = |peer, own_head| ConversationRow {
        conversation: with(peer),
        delivered: Some(Sequence(4)),
        read: Sequence::ZERO,
        own_head: Sequence(own_head),
        newest: None,
    };
    let mut bench = Bench::restored(Restored {
        user: Some(user(1)),
        conversations: vec![row(2, 4), row(3, 4), row(4, 0)],
        watermarks: vec![(with(3), watermark(3, 4, 4)), (with(2), watermark(2, 4, 2))],
        ..Restored::default()
    });
    bench.connect();
    let fetches = bench.seen().fetches();
    assert_eq!(fetches.len(), 1);
    assert_eq!((fetches[0].conversation, fetches[0].limit), (with(2), 0));
    let answer = Page { watermarks: vec![watermark(2, 4, 4)], ..page(&fetches[0], Vec::new(), true) };
    bench.frame(ServerFrame::Page(answer));
    let changed = Event::ReceiptChanged { conversation: with(2), watermark: watermark(2, 4, 4) };
    assert_eq!(bench.seen().events, [changed]);
}

#[test]
fn given_sends_whose_acceptance_is_not_known_when_the_client_comes_back_then_it_asks_for_their_watermarks() {
    let mut bench = Bench::connected();
    bench.send(1, with(2));
    bench.lose();
    bench.send(2, with(3));
    bench.seen();
    bench.come_back();
    let seen = bench.seen();
    assert_eq!(seen.sends(), [id(1), id(2)]);
    let fetches = seen.fetches();
    assert_eq!(fetches.len(), 1, "what never left has no receipts");
    assert_eq!((fetches[0].conversation, fetches[0].limit), (with(2), 0));
    let answer = Page { watermarks: vec![watermark(2, 1, 1)], ..page(&fetches[0], Vec::new(), true) };
    bench.frame(ServerFrame::Page(answer));
    bench.frame(accepted(1, with(2), 1));
    let changed = Event::ReceiptChanged { conversation: with(2), watermark: watermark(2, 1, 1) };
    assert!(bench.seen().events.contains(&changed));
}

#[test]
fn given_an_application_that_lags_when_its_inbox_is_full_then_nothing_is_acknowledged_until_it_takes() {
    let mut bench = Bench::connected();
    let full = INBOX_MESSAGES_MAX as u64;
    for sequence in 1..=full {
        bench.deliver(deliver(with(2), sequence, 2));
    }
    let seen = bench.seen();
    assert_eq!(seen.received().len(), INBOX_MESSAGES_MAX);
    assert_eq!(seen.events.last(), Some(&Event::DeliveryStalled));
    assert!(seen.acks().iter().all(|ack| ack.delivered.unwrap().0 < full));
    bench.pass(10_000);
    assert!(bench.seen().acks().is_empty());
    bench.take(with(2), 1);
    let seen = bench.seen();
    assert_eq!(seen.stores, [StoreOp::DropInbox(with(2), Sequence(1))]);
    assert_eq!(seen.acks().last().unwrap().delivered, Some(Sequence(full)));
}

#[test]
fn given_a_server_that_ignores_the_window_when_the_inbox_overflows_then_the_rest_is_fetched_later() {
    let mut bench = Bench::connected();
    let most = (INBOX_MESSAGES_MAX + INBOX_OVERSHOOT_MAX) as u64;
    for sequence in 1..=most + 1 {
        bench.deliver(deliver(with(2), sequence, 2));
    }
    assert_eq!(bench.seen().received().len() as u64, most);
    for sequence in 1..=most {
        bench.take(with(2), sequence);
    }
    assert_eq!(bench.seen().fetches()[0].range, FetchRange::After(Sequence(most)));
}

#[test]
fn given_untaken_messages_on_disk_when_the_client_starts_then_the_application_gets_them_first() {
    let mut before = Bench::connected();
    before.deliver(deliver(with(2), 1, 2));
    before.deliver(deliver(with(2), 2, 2));
    let put = |operation: StoreOp| if let StoreOp::PutInbox(message) = operation { Some(message) } else { None };
    let mut inbox: Vec<_> = before.seen().stores.into_iter().filter_map(put).collect();
    inbox.reverse();
    let mut bench = Bench::restored(Restored { inbox, ..Restored::default() });
    bench.start();
    assert_eq!(bench.seen().received(), [(with(2), 1), (with(2), 2)]);
}

#[test]
fn given_a_fetch_of_the_application_when_it_is_answered_then_the_page_is_its_own() {
    let mut bench = Bench::connected();
    let mut out = Vec::new();
    let range = FetchRange::Before(Sequence(9));
    let request = bench.client.fetch(bench.now, with(2), range, 10, &mut out).unwrap();
    let Effect::Transmit(ClientFrame::Fetch(fetch)) = &out[0] else { panic!("a fetch leaves") };
    bench.frame(ServerFrame::Page(page(fetch, vec![deliver(with(2), 8, 2)], false)));
    let seen = bench.seen();
    assert!(matches!(&seen.events[..], [Event::Page(page)] if page.request == request && page.messages.len() == 1));
    assert!(seen.stores.is_empty(), "history is not part of the stream");
}
