//! What must hold for a shard, told from outside: inputs in, effects out.

mod attach;
mod delivery;
mod fetch;
mod phone;
mod receipts;
mod sending;
mod world;
