//! What must hold for a shard, told from outside: inputs in, effects out.

mod attach;
mod delivery;
mod fetch;
mod model;
mod phone;
mod receipts;
mod recovery;
mod sending;
mod storage;
mod world;
