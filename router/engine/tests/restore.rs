//! What a start makes of journal and state store together.

mod common;

use std::collections::BTreeMap;
use std::convert::Infallible;

use common::{Core, SEGMENT_BYTES, origin, send, shards, user};
use switchyard_engine::recovery::{JournalBehind, RestoreError, StateRows, restore};
use switchyard_engine::{Engine, EngineConfig};
use switchyard_log::manifest::Manifest;
use switchyard_log::recovery::Recovered;
use switchyard_log::segment::ShardSet;
use switchyard_log::storage::{SegmentFile, Storage};
use switchyard_router_core::effects::Row;
use switchyard_schema::ids::{ConversationId, Millis, ShardId};
use switchyard_schema::link::ToRouter;

struct Files<'a>(&'a BTreeMap<u32, Vec<u8>>);

impl Storage for Files<'_> {
    type Error = Infallible;

    fn segments(&self) -> Result<Vec<SegmentFile>, Infallible> {
        let file = |(number, bytes): (&u32, &Vec<u8>)| SegmentFile {
            number: *number,
            bytes: u32::try_from(bytes.len()).expect("a segment is below 4 GiB"),
        };
        Ok(self.0.iter().map(file).collect())
    }

    fn read_at(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> Result<(), Infallible> {
        let from = offset as usize;
        buffer.copy_from_slice(&self.0[&segment][from..from + buffer.len()]);
        Ok(())
    }
}

struct Rows<'a>(&'a BTreeMap<Vec<u8>, Vec<u8>>);

impl StateRows for Rows<'_> {
    type Error = Infallible;

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, Infallible> {
        let found = self.0.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(found.map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) }).collect())
    }
}

fn conversation_shard() -> ShardId {
    shards().of_conversation(ConversationId::direct(user(1), user(2)))
}

/// Sends messages with these names, each in a batch of its own, until the store covers all of them.
fn talk(core: &mut Core, names: std::ops::RangeInclusive<u8>) {
    for name in names {
        core.conversation(send(1, 2, u128::from(name), &[name; 64]));
        assert!(core.seal().is_some());
        core.written();
    }
    core.rest(5_000);
    assert!(core.engine.covered().any(|(shard, lsn)| shard == conversation_shard() && lsn > 0), "snapshots were due");
}

/// Starts after a crash: the list says of the core's one segment only that it was begun.
fn start(core: &mut Core) -> Result<Recovered, JournalBehind> {
    let mut manifest = Manifest::new(shards());
    manifest.begin_run();
    let header = manifest.allocate(0, &ShardSet::all(shards()), SEGMENT_BYTES, 7, core.now).expect("there is room");
    manifest.list(&header);
    let front = header.encode();
    core.files.get_mut(&1).expect("the segment")[..front.as_slice().len()].copy_from_slice(front.as_slice());
    let mut engines = [Engine::new(EngineConfig::new(0, 1, 1, shards()), 2)];
    let now = Millis(core.now.0 + 1);
    match restore(&mut engines, &Files(&core.files), Some(manifest), &Rows(&core.rows), now) {
        Ok(recovered) => Ok(recovered),
        Err(RestoreError::Behind(behind)) => Err(behind),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn given_damage_in_an_open_segment_when_the_store_covers_beyond_it_then_the_server_starts() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    talk(&mut core, 1..=5);
    core.damage(&[2; 64]);
    let recovered = start(&mut core).expect("nothing is lost");
    assert_eq!(recovered.damages.len(), 1, "it is told");
    let tail = recovered.shards[usize::from(conversation_shard().0)];
    assert_eq!(tail.refuses, None, "the store has what was there");
}

#[test]
fn given_an_older_journal_with_damage_when_the_store_covers_more_than_it_has_then_the_start_is_refused() {
    let mut core = Core::new(1 << 20);
    core.conversation(ToRouter::Attach(origin(1)));
    talk(&mut core, 1..=5);
    let older = core.files.clone();
    talk(&mut core, 6..=8);
    core.files = older;
    core.damage(&[2; 64]);
    let behind = start(&mut core).expect_err("three messages are gone");
    assert!(behind.journal_lsn > 0 && behind.journal_lsn < behind.store_lsn, "{behind:?}");
}
