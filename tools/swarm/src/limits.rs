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

/// UDP sockets that the QUIC connections of a thread share, at each address of this machine: enough that a server which deals
/// packets out by address gives its threads even parts, and that a connection which moves comes to the same one seldom.
pub const UDP_SOCKETS_PER_ADDRESS_MAX: usize = 64;
/// UDP sockets of a thread, but for two at each of many addresses: with those of [`SOURCES_MAX`] they fit into a descriptor table.
pub const UDP_SOCKETS_MAX: usize = 4096;
/// Bytes of datagrams that the kernel keeps for a UDP socket in either direction, as far as it lets one ask for: what comes for
/// all who share it while a turn lasts.
pub const UDP_SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// Buffers of one receive call. Each takes what the kernel has joined (GRO), which is up to [`UDP_BUFFER_BYTES`].
pub const UDP_BUFFERS: usize = 8;
/// Bytes of the largest UDP packet, and of what the kernel joins into one.
pub const UDP_BUFFER_BYTES: usize = 64 * 1024;
/// Receive calls in a row for one UDP socket, so that the others get their turn.
pub const UDP_READS_PER_EVENT_MAX: usize = 16;
/// Datagrams handed to the kernel with one call (GSO): what a connection sends in one go.
pub const UDP_DATAGRAMS_PER_SEND: usize = 10;
/// Such calls for one connection and turn, so that one with much to send does not keep the rest waiting.
pub const UDP_SENDS_PER_CONNECTION_MAX: usize = 8;
/// Bytes that a server may send ahead of what is read: a page, the largest frame there is.
pub const QUIC_RECEIVE_WINDOW_BYTES: u32 = 512 * 1024;
/// Bytes of a connection on their way to the server: as much as it grants a session.
pub const QUIC_SEND_WINDOW_BYTES: u64 = 128 * 1024;
/// How long a server that has said all on a stream may take to close the connection: longer than it waits for the last
/// acknowledgement.
pub const QUIC_CLOSE_MAX: Duration = Duration::from_secs(5);

/// Clients of a relay: each has a socket of its own. One that comes when there are so many takes the place of the one that has
/// been silent for longest …
pub const RELAY_CLIENTS_MAX: usize = 4096;
/// … and longer than this: any client that lives has answered a heartbeat of the server by then.
pub const RELAY_SILENCE_MAX: Duration = Duration::from_secs(120);
/// Datagrams that a relay has on their way, which are a hundred megabytes of the usual size: what a fast line carries in a
/// second. The rest is lost, as in any router.
pub const RELAY_HELD_MAX: usize = 65_536;
/// Datagrams that a relay takes from one socket in a row, so that a busy one does not starve the rest.
pub const RELAY_READS_PER_EVENT_MAX: usize = 64;
/// How much later a datagram leaves that is to be overtaken: those of a moment after it are then before it, and it is no more
/// than late.
pub const RELAY_OVERTAKEN_FOR: Duration = Duration::from_millis(5);

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
