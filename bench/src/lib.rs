//! What the benches share. Beside the criterion benches of single parts there are comparisons over real sockets: a
//! [`scenario`] says what is done, a [`server`] is started for each who takes part, one [`load`] drives them all with
//! the [`client`] that each understands, and a [`table`] shows what came of it. [`compare`] runs them in turns.
#![forbid(unsafe_code)]

pub mod client;
pub mod compare;
pub mod limits;
pub mod load;
pub mod placement;
pub mod plain_file;
pub mod program;
pub mod quic;
pub mod scenario;
pub mod server;
pub mod settings;
pub mod table;

/// The times that a comparison is asked for on a command line or in the environment.
pub use switchyard_swarm::time;
