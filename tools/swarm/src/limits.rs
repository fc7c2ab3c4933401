//! Limits of the swarm, each with its reason.

use std::time::Duration;

/// Bytes read from a socket at once.
pub const READ_BYTES: usize = 64 * 1024;
/// Reads from one socket in a row, so that a busy one does not starve the rest.
pub const READS_PER_EVENT_MAX: usize = 16;
/// Events taken from the kernel at once.
pub const EVENTS_PER_TURN_MAX: usize = 1024;
/// The longest a thread sleeps when nothing arrives: how late it may notice what the main thread wants.
pub const TURN_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Write buffers that a thread keeps for the next sockets that have something to say: those of one turn.
pub const SPARE_BUFFERS_MAX: usize = EVENTS_PER_TURN_MAX;
/// A kept write buffer is no larger; one that had to hold a burst is given back.
pub const SPARE_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// No part of a run takes longer than a year; clocks cannot add everything that a number can say.
pub const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Samples of a run's course that are kept: an hour and more at one a second, and some 700 KiB of a page. A longer run is
/// told in coarser steps; a screen has fewer columns anyway.
pub const SAMPLES_KEPT_MAX: usize = 4096;

/// Descriptors of a table that are not sockets of the run: standard streams, epoll, files that are read meanwhile, and
/// whatever was open before.
pub const DESCRIPTORS_RESERVED: u32 = 200;
/// Threads of a run: at 20,000 descriptors each more than ten million connections.
pub const THREADS_MAX: u32 = 512;
/// A thread's stack. The loop is flat; the default of 2 MiB would be touched no further.
pub const THREAD_STACK_BYTES: usize = 256 * 1024;
/// How often a thread notes its processor time, which costs a system call.
pub const CPU_READING_PAUSE: Duration = Duration::from_millis(100);

/// Addresses that a run is spread over: ten million connections.
pub const DESTINATIONS_MAX: u32 = 1024;
/// Addresses that a run comes from.
pub const SOURCES_MAX: usize = 1024;
/// How long the server may take to answer before the run begins.
pub const PROBE_MAX: Duration = Duration::from_secs(5);

/// Connections of a run that may be under way at once when nothing else limits them: enough to keep every core of a server
/// busy, few enough that none waits for its answer longer than servers wait for a request.
pub const OPENING_MAX: u32 = 1_024;
/// Connections that a thread begins in one turn, so that pings are answered in between.
pub const OPENS_PER_TURN_MAX: usize = 64;
/// From connecting to Welcome; the SDK waits as long.
pub const OPENING_TIME_MAX: Duration = Duration::from_millis(switchyard_client_core::limits::CONNECT_TIMEOUT_MS);
/// Full-jitter back-off as the protocol asks for it: the first delay is at most this …
pub const BACKOFF_BASE_MS: u64 = 500;
/// … and none longer.
pub const BACKOFF_MAX_MS: u64 = 30_000;
/// Messages that a thread sends in one turn; what is due beyond it goes out in the next.
pub const SENDS_PER_TURN_MAX: usize = 1_024;
/// Users that are looked at for one who may send now.
pub const PICKS_MAX: usize = 16;
/// Connections of a thread that are asked at once at the end whether they are alive.
pub const ASKED_MAX: u32 = 64;

/// Different reasons that a thread tells apart; some name a number, and a server that is quite wrong gives many.
pub const REASONS_MAX: usize = 64;

/// How often the main thread looks at what the others have counted.
pub const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// How often a run is described to its observer.
pub const SAMPLE_PAUSE: Duration = Duration::from_secs(1);
/// How long a run waits for the next connection, delivery or sign of life before it goes on without.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long the server gets to calm down before its memory is read.
pub const CALM: Duration = Duration::from_secs(2);

/// Storms of a run: a day of them, and what is kept of each fits into one frame of a worker.
pub const STORM_ROUNDS_MAX: u32 = 200;

/// Machines that share a run.
pub const WORKERS_MAX: usize = 64;
/// Points of a run at which they wait for each other: two for each storm, and a few before and after.
pub const POINTS_MAX: usize = 2 * STORM_ROUNDS_MAX as usize + 8;
/// Bytes of a frame between them: the largest holds, for each storm, a histogram of some 20 KiB and why connections ended.
pub const FRAME_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Frames of all workers that wait for whoever leads the run. Each worker says something once a second.
pub const FRAMES_WAITING_MAX: usize = 256;
/// How long connecting to a worker may take, and how long it waits for the share of whoever has connected: it hears nobody
/// else meanwhile.
pub const WORKER_START_MAX: Duration = Duration::from_secs(5);
/// How long a worker may say nothing in the middle of a run, where it has something to say each second; and how long either
/// end of the line may be in writing a frame that the other does not read.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long a worker may say nothing while it closes its connections: some ten microseconds of the kernel for each, and more
/// on a busy machine.
pub const CLOSING_MAX: Duration = Duration::from_secs(120);

/// A thread of the swarm that is busier than this, in percent, cannot be trusted to be on time.
pub const BUSY_PERCENT_MAX: f64 = 90.0;
/// Processors busier than this, in percent, make everything wait, the swarm included.
pub const MACHINE_BUSY_PERCENT_MAX: f64 = 95.0;
/// One of a hundred messages may be sent this late before the swarm is blamed.
pub const LATE_US_MAX: u64 = 10_000;

/// Sockets of a thread of pairs, or of sessions that say nothing, that may be connecting at once: fewer than any server's
/// backlog.
pub const CONNECTING_MAX: usize = 200;
/// How long the pairs of a thread may take to connect, how long a counted run waits for the server's next answer, and how
/// long the last ones may take.
pub const CHAT_PATIENCE: Duration = Duration::from_secs(30);
/// How often a thread of pairs publishes its latencies, and looks whether the server goes on answering: adding histograms and
/// all pairs up is not for every turn.
pub const LATENCIES_PAUSE: Duration = Duration::from_millis(50);

/// Sends that a device of a crash run has unanswered: a kill always finds some, and the server takes more.
pub const CRASH_SENDS_PENDING_MAX: usize = 16;
/// How long the devices of a crash run may take for their part of a round, and how long reading all histories may take.
pub const CRASH_PATIENCE: Duration = Duration::from_secs(60);

/// How long the session of an abuser may take to open. A server that is abused takes its time.
pub const ABUSER_OPENING_MAX: Duration = Duration::from_secs(20);

/// How long a server that is started for a run may take until it is ready: it may have a journal to read.
pub const SERVER_START_MAX: Duration = Duration::from_secs(60);
/// How long such a server may take to end after SIGTERM: longer than it gives its clients by itself.
pub const SERVER_STOP_MAX: Duration = Duration::from_secs(30);
/// First lines of its output that are kept for an error: why it did not start is among them.
pub const SERVER_LINES_KEPT_MAX: usize = 60;

/// Echoes that one connection of an open loop may wait for: more than a server that keeps up ever owes it.
pub const ECHOES_PENDING_MAX: usize = 4_096;
/// Bytes of an echoed message at most, as `/echo` of this server takes them.
pub const ECHO_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the last echoes of a run may take.
pub const ECHO_PATIENCE: Duration = Duration::from_secs(10);
