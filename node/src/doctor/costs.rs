//! What things cost in memory, as measured, with the command that measured it. The only place for these figures.

/// Resident memory of the whole server for each authenticated, idle connection.
///
/// What 15,000 connections add to a started server, each (`docs/measurements.md`, "Idle memory"), as
/// `swarm connect --count 15000 --destinations 1 --message-rate 0 --url … --data … --server-pid …` gives it.
pub(super) const USER_BYTES_PER_CONNECTION: u64 = 699;

/// What TLS adds to that: memory of 3,000 idle connections with it less that of as many without, each (`docs/measurements.md`,
/// "Idle memory": 4,152 less 699).
///
/// `SWITCHYARD_BENCH_TRANSPORT=wss cargo bench --package switchyard-bench --bench density` says where it lies.
pub(super) const TLS_BYTES_PER_CONNECTION: u64 = 4_152 - USER_BYTES_PER_CONNECTION;

/// What a connection over QUIC takes instead of both: resident memory that 9,000 sessions add to a server with 1,000, each. All
/// those of a thread share one socket, so the kernel keeps nothing for each.
///
/// `cargo xtask bench peers --only quic-idle`; `SWITCHYARD_BENCH_TRANSPORT=quic cargo bench --package switchyard-bench --bench
/// density` says where it lies.
pub(super) const QUIC_BYTES_PER_CONNECTION: u64 = 14_500;

/// Kernel memory of a connection's socket, the server's end alone.
///
/// `kernel-tuning/measure.py socket`: 3,846 bytes.
const SOCKET_BYTES: u64 = 3_850;

/// Kernel memory of the poll that io_uring keeps for a connection that is waited for.
///
/// `sudo grep io_kiocb /proc/slabinfo`: objects of 256 bytes, one for each connection.
const POLL_BYTES: u64 = 256;

/// Kernel memory for each connection.
pub(super) const KERNEL_BYTES_PER_CONNECTION: u64 = SOCKET_BYTES + POLL_BYTES;

/// Resident memory of a server with one gateway thread and one router core that has just started.
///
/// `grep VmRSS /proc/<pid>/status` after `switchyard serve --dev`: 35.8 MB.
pub(super) const START_BYTES: u64 = 36 << 20;

/// Gateway threads and router cores whose memory is in [`START_BYTES`].
pub(super) const START_THREADS: u64 = 2;

/// Resident memory of each further thread, as above: 8 to 10 MB with `--router-cores 2` and 4, 5 to 6 MB with
/// `--gateway-cores 2`, 4 and 16; the largest of all.
pub(super) const THREAD_BYTES: u64 = 10 << 20;
