//! `docs/protocol.md` is the contract, so it is held to the code: its examples are parsed, its tables compared.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use common::user;
use serde_json::Value;
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::{json, limits};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> String {
    fs::read_to_string(repository().join("docs/protocol.md")).unwrap()
}

/// The lines of each fenced block whose info string begins with `json`, with the rest of that string.
fn examples(document: &str) -> Vec<(String, String)> {
    let (mut found, mut fence) = (Vec::new(), None::<String>);
    for line in document.lines() {
        match (line.strip_prefix("```"), &fence) {
            (Some(info), None) => fence = Some(info.to_owned()),
            (Some(_), Some(_)) => fence = None,
            (None, Some(info)) => {
                let info =
                    info.strip_prefix("json").unwrap_or_else(|| panic!("a block of {info:?} is checked by nobody"));
                found.push((info.trim().to_owned(), line.to_owned()));
            }
            (None, None) => {}
        }
    }
    assert_eq!(fence, None, "the last block is not closed");
    found
}

/// The cells of each row of the table below a heading, without the heading rows of the table.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let below =
        document.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading || !line.starts_with('#'));
    let rows = below.skip(1).skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells =
        |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    rows.skip(2).map(cells).collect()
}

#[test]
fn given_each_example_when_parsed_then_it_is_what_the_document_says() {
    let mut kinds = BTreeSet::new();
    for (info, text) in examples(&document()) {
        let words: Vec<_> = info.split(' ').collect();
        let me = user(words[1].parse().unwrap());
        let mut again = Vec::new();
        match words[..] {
            ["client", _] => json::encode_client(&json::parse_client(&text, Some(me)).expect(&text), me, &mut again),
            ["server", _] => json::encode_server(&json::parse_server(&text, me).expect(&text), me, &mut again),
            ["client", _, "refused", name] => {
                assert_eq!(json::parse_client(&text, Some(me)).expect_err(&text).code().name(), name, "{text}");
                continue;
            }
            _ => panic!("an example must say whose frame it is, not {info:?}"),
        }
        assert_eq!(String::from_utf8(again).unwrap(), text, "the example is not how the server writes it");
        let frame: Value = serde_json::from_str(&text).unwrap();
        kinds.insert(frame["type"].as_str().unwrap().to_owned());
    }
    let every_kind = [
        "accepted", "ack", "bye", "deliver", "drain", "error", "fetch", "hello", "page", "ping", "pong", "receipt",
        "renew", "send", "welcome",
    ];
    assert_eq!(kinds, every_kind.map(str::to_owned).into(), "each kind of frame has an example");
}

#[test]
fn given_the_table_of_error_codes_then_it_is_that_of_the_code() {
    let yes_no = |flag| if flag { "yes" } else { "no" };
    let expect: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| {
            [(*code as u16).to_string().as_str(), code.name(), yes_no(code.fatal()), yes_no(code.retry())]
                .map(str::to_owned)
                .to_vec()
        })
        .collect();
    let found: Vec<_> = table(&document(), "Error codes").into_iter().map(|row| row[..4].to_vec()).collect();
    assert_eq!(found, expect);
}

#[test]
fn given_the_table_of_close_codes_then_it_is_that_of_the_code() {
    let expect: Vec<_> =
        CloseCode::ALL.iter().map(|code| vec![(*code as u16).to_string(), format!("{code:?}")]).collect();
    let found: Vec<_> = table(&document(), "Close codes").into_iter().map(|row| row[..2].to_vec()).collect();
    assert_eq!(found, expect);
    // An error that ends a session is followed by the close code whose row names it.
    for row in table(&document(), "Close codes") {
        for code in ErrorCode::ALL.iter().filter(|code| row[2].contains(&format!("`{}`", code.name()))) {
            assert_eq!((CloseCode::after(*code) as u16).to_string(), row[0], "{}", code.name());
        }
    }
}

#[test]
fn given_the_table_of_bounds_then_it_is_that_of_the_code() {
    let expect: BTreeMap<_, _> = [
        ("frame from a client", limits::CLIENT_FRAME_BYTES_MAX as u64, "bytes"),
        ("binary frame from the server", limits::SERVER_FRAME_BYTES_MAX as u64, "bytes"),
        ("JSON frame from the server", limits::SERVER_JSON_BYTES_MAX as u64, "bytes"),
        ("text of a body", limits::TEXT_CHARS_MAX as u64, "characters"),
        ("encoded body", limits::BODY_BYTES_MAX as u64, "bytes"),
        ("token", limits::TOKEN_BYTES_MAX as u64, "bytes"),
        ("reason of an error", limits::REASON_CHARS_MAX as u64, "characters"),
        ("tables in a binary frame from a client", limits::FRAME_TABLES_MAX as u64, "tables"),
        ("nesting of a binary frame", limits::FRAME_DEPTH_MAX as u64, "tables"),
        ("nesting of a JSON frame", limits::JSON_DEPTH_MAX as u64, "arrays or objects"),
        ("messages on a page", u64::from(limits::PAGE_MESSAGES_MAX), "messages"),
        ("bodies on a page", limits::PAGE_BYTES_MAX as u64, "bytes"),
        ("unanswered sends of a device", u64::from(limits::PENDING_SENDS_MAX), "sends"),
        ("unacknowledged messages of a device", u64::from(limits::DELIVERY_WINDOW_MESSAGES), "messages"),
        ("unacknowledged bytes of a device", limits::DELIVERY_WINDOW_BYTES as u64, "bytes"),
        ("devices of a user", limits::DEVICES_PER_USER_MAX as u64, "devices"),
        ("client message ids known per device and conversation", limits::DEDUPE_ENTRIES_PER_DEVICE as u64, "ids"),
        ("how long they are known", limits::DEDUPE_MS, "ms"),
    ]
    .map(|(what, bound, unit)| (what.to_owned(), format!("{bound} {unit}")))
    .into();
    let found: BTreeMap<_, _> =
        table(&document(), "Bounds").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(found, expect);
}

#[test]
fn given_the_table_of_union_members_then_it_is_that_of_the_schema() {
    let schema = fs::read_to_string(repository().join("schema/fbs/switchyard.fbs")).unwrap();
    let union = schema.split_once("union FrameBody {").unwrap().1.split_once('}').unwrap().0;
    let expect: BTreeSet<_> = union
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "))
        .map(|(name, number)| (name.to_owned(), number.to_owned()))
        .collect();
    let rows = table(&document(), "FlatBuffers");
    let members = rows.iter().flat_map(|row| [(row[0].clone(), row[1].clone()), (row[3].clone(), row[4].clone())]);
    let found: BTreeSet<_> = members.filter(|(name, _)| !name.is_empty()).collect();
    assert_eq!(found, expect);
    assert_eq!(found.len(), 15);
}
