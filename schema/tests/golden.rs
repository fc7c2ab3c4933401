//! The bytes of every kind of frame, in both forms, as files: a change of any of them breaks clients that exist.
//!
//! A new kind of frame gets its files from `SWITCHYARD_WRITE_GOLDEN=1 cargo test -p switchyard-schema --test golden`; a
//! file that differs is a bug in the change that made it differ.

mod common;

use std::path::PathBuf;
use std::{env, fs};

use common::{client_samples, me, server_samples};
use switchyard_schema::frame::ServerFrame;
use switchyard_schema::record::MessageRecord;
use switchyard_schema::{encode, json, wire};

fn check(file: &str, made: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if !path.exists() && env::var_os("SWITCHYARD_WRITE_GOLDEN").is_some() {
        fs::write(&path, made).unwrap();
    }
    let golden = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {file}: {error}"));
    assert!(golden == made, "{file} has drifted: it was\n{golden:?}\nand is now\n{made:?}");
}

#[test]
fn given_each_client_frame_when_encoded_then_its_bytes_are_the_golden_ones() {
    for (name, frame) in client_samples() {
        let (mut bytes, mut text) = (Vec::new(), Vec::new());
        wire::encode_client(&frame, &mut bytes);
        json::encode_client(&frame, me(), &mut text);
        check(&format!("{name}.bin"), &bytes);
        check(&format!("{name}.json"), &text);
    }
}

#[test]
fn given_each_server_frame_when_encoded_then_its_bytes_are_the_golden_ones() {
    for (name, frame) in server_samples() {
        let (mut bytes, mut text) = (Vec::new(), Vec::new());
        wire::encode_server(&frame, &mut bytes);
        json::encode_server(&frame, me(), &mut text);
        check(&format!("{name}.bin"), &bytes);
        check(&format!("{name}.json"), &text);
    }
}

#[test]
fn given_a_message_when_laid_out_for_recipients_then_its_bytes_are_the_golden_ones() {
    let samples = server_samples();
    let Some((_, ServerFrame::Deliver(deliver))) = samples.iter().find(|(name, _)| *name == "deliver_own") else {
        panic!("the sample is a Deliver");
    };
    let (device, client_message_id) = deliver.origin.unwrap();
    let record = MessageRecord {
        conversation: deliver.conversation,
        sequence: deliver.sequence,
        message: deliver.message,
        sender: deliver.sender,
        device,
        client_message_id,
        body: deliver.body.to_vec().into(),
    };
    check("shared_deliver.websocket.bin", encode::deliver(&record, false).websocket());
    check("shared_deliver_own.websocket.bin", encode::deliver(&record, true).websocket());
}

#[test]
fn given_an_accepted_when_laid_out_then_it_is_read_as_what_was_written_and_its_bytes_are_the_golden_ones() {
    let samples = server_samples();
    let Some((_, frame @ ServerFrame::Accepted(accepted))) = samples.iter().find(|(name, _)| *name == "accepted")
    else {
        panic!("the sample is an Accepted");
    };
    let bytes = encode::accepted(accepted);
    const HEADER_BYTES: usize = 2;
    assert_eq!(wire::parse_server(&bytes[HEADER_BYTES..]).as_ref(), Ok(frame));
    check("accepted.websocket.bin", &bytes);
}

#[test]
fn given_the_golden_files_when_read_then_each_one_belongs_to_a_sample() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let names: Vec<_> =
        client_samples().iter().map(|(name, _)| *name).chain(server_samples().iter().map(|(name, _)| *name)).collect();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let stem = file.split('.').next().unwrap();
        assert!(names.contains(&stem) || stem.starts_with("shared_deliver"), "{file} belongs to no sample");
    }
}
