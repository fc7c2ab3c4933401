//! The journal of a router core: what its bytes are, where the next batch goes, how a folder of segments is read back.
//!
//! Nothing here does IO. The write path is [`planner::JournalPlan`] (where), [`batch::BatchBuilder`] (what) and
//! [`manifest::Manifest`] (which segments there are); the driver writes the bytes it is handed. The read path is
//! [`recovery::recover`] over a [`storage::Storage`], and [`history`] for single records. `FORMAT.md` beside this crate
//! gives every byte.
//!
//! ```
//! use switchyard_log::batch::{BatchBuilder, BatchKind};
//! use switchyard_log::planner::JournalPlan;
//! use switchyard_log::segment::{SegmentHeader, ShardSet};
//! use switchyard_schema::ids::{Millis, Sequence, ShardCount, ShardId, UserId, ConversationId};
//! use switchyard_schema::record::{Record, WatermarkRecord};
//!
//! let mut plan = JournalPlan::new(1, 0);
//! plan.provide(SegmentHeader {
//!     number: 1,
//!     run: 1,
//!     core: 0,
//!     shard_count: ShardCount::new(64).unwrap(),
//!     salt: 0x5eed, // random in life
//!     created: Millis(0),
//!     bytes: 1 << 20,
//!     shards: ShardSet::of([ShardId(3)]),
//! });
//! let user = UserId::new(42).unwrap();
//! let record = Record::Watermark(WatermarkRecord {
//!     conversation: ConversationId::direct(user, user),
//!     member: user,
//!     delivered: Sequence(5),
//!     read: Sequence(5),
//! });
//! let start = plan.begin(256 * 1024).expect("a segment was provided");
//! let mut batch = BatchBuilder::new(vec![0; 256 * 1024], start);
//! let position = batch.append(&record, ShardId(3), 1, None).expect("an empty batch has room");
//! let sealed = batch.seal(BatchKind::Records);
//! plan.commit(&sealed);
//! assert_eq!(position.segment, sealed.position.segment);
//! assert_eq!(sealed.bytes().len() % 4096, 0); // write these at sealed.position, then fdatasync
//! ```
#![forbid(unsafe_code)]

pub mod batch;
mod codec;
pub mod history;
pub mod kind;
pub mod limits;
pub mod manifest;
pub mod planner;
mod position;
pub mod ranges;
pub mod record;
pub mod recovery;
pub mod segment;
pub mod storage;

pub use position::Position;
