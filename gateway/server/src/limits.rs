//! Limits of a gateway thread, each with its reason. Limits of one connection stand in `switchyard_gateway_core::limits`.

use std::time::Duration;

use switchyard_gateway_core::framing::LENGTH_BYTES;
use switchyard_schema::limits::{CLIENT_FRAME_BYTES_MAX, TOKEN_BYTES_MAX};

/// Entries of monoio's ring: a poll of the listener, a read of the doorbell, and what monoio adds of its own.
pub const RUNTIME_ENTRIES: u32 = 32;
/// Entries of the poll ring's submission queue. A turn prepares one for each connection that it accepted and up to two for
/// each that ended; when more come together the queue is submitted in between.
pub const POLL_ENTRIES: u32 = 256;
/// Entries of the poll ring's completion queue, 16 bytes each: what becomes ready while a turn runs. Every connection may
/// become readable at once; what does not fit the kernel keeps in memory of its own until it does.
pub const POLL_COMPLETIONS: u32 = 4_096;
/// Bytes of memory that a thread's two rings count against `RLIMIT_MEMLOCK` where the kernel counts rings (6.14 and newer,
/// without `CAP_IPC_LOCK`).
pub const RINGS_LOCKED_BYTES: u64 =
    ring_locked_bytes(RUNTIME_ENTRIES, 2 * RUNTIME_ENTRIES) + ring_locked_bytes(POLL_ENTRIES, POLL_COMPLETIONS);

/// 64 bytes for each submission and 4 for its index, 16 for each completion, whole pages, one of them for heads and tails.
const fn ring_locked_bytes(submissions: u32, completions: u32) -> u64 {
    const PAGE: u64 = 4_096;
    let (submissions, completions) = (submissions as u64, completions as u64);
    (submissions * 64).next_multiple_of(PAGE) + (submissions * 4 + completions * 16).next_multiple_of(PAGE) + PAGE
}
/// Connections the kernel completes before they are accepted; a fleet that reconnects comes all at once.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Connections accepted in one turn, so that a storm of them leaves time for the ones that are open.
pub const ACCEPTS_PER_TURN: usize = 64;
/// How long accepting pauses when the process has no descriptor or memory left: until some connection has closed.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// Places of the table of connections for which memory is asked for at once: what one descriptor table holds on most
/// systems three times over. A larger table grows as it fills.
pub const RESERVED_PLACES_MAX: usize = 1 << 16;

/// Sockets read in one turn, so that answers leave and router cores are woken within a millisecond or two. Those that were
/// not read to the end before may be as many again.
pub const READS_PER_TURN: usize = 256;
/// Of connections that are not let in yet, or are being ended, as many as are accepted: thousands of them that came together, or
/// time out together, leave time for the ones that are open.
pub const NEWCOMER_READS_PER_TURN: usize = 64;
/// Sockets of which a turn hears that they are ready: what the completion queue holds. Most of them may be newcomers', which only
/// take their place in a list.
pub const READY_PER_TURN: usize = POLL_COMPLETIONS as usize;
/// Bytes read from one connection in one turn: the thread's shared receive buffer.
pub const RECEIVE_BYTES: usize = 64 * 1024;
/// Bytes of small frames written with one call: the thread's shared write buffer.
pub const WRITE_BYTES: usize = 64 * 1024;
/// Frames of this size are written from where they are instead of being copied into the write buffer first.
pub const WRITE_DIRECT_BYTES: usize = 16 * 1024;
/// Bytes written to one connection in one turn; the rest waits for its next one.
pub const FLUSH_BYTES_PER_TURN: usize = 256 * 1024;

/// Messages taken from each router core in one turn.
pub const ROUTER_MESSAGES_PER_TURN: usize = 1_024;
/// Timers fired in one turn: one that ends a connection costs as much as several reads, and connections that came together time
/// out together.
pub const TIMERS_PER_TURN: usize = 128;
/// Waiting requests that one turn tries again.
pub const RETRIES_PER_TURN: usize = 1_024;

/// Requests that one router core may owe one of a few gateway threads answers to: what a core answers in a few
/// milliseconds, so that a gateway keeps it busy, and few enough that the reserved slots are small. They are shared out
/// evenly over the cores that requests go to first: those that lie at a core which stands still must not use up what is
/// meant for the others.
pub const CREDITS_PER_ROUTER_CORE: usize = 1_024;
/// The smallest such share, however many cores and gateway threads there are: it still keeps a pair of cores busy.
pub const CREDITS_PER_PAIR_MIN: usize = 64;
/// Open slots of the link from one of a few gateway threads to a router core: acks and goodbyes, one batch of a busy thread.
pub const OPEN_SLOTS_TO_ROUTER: usize = 4_096;
/// Open slots of the link from a router core to one of a few gateway threads: deliveries and receipts of a few turns.
pub const OPEN_SLOTS_TO_GATEWAY: usize = 4_096;
/// So many gateway threads have links of full size. Where there are more, because one descriptor table does not hold all
/// connections, each has its share of the traffic and of the slots: a link of full size is more than a megabyte.
pub const FULL_LINKS: usize = 8;
/// Open slots that a link has at least, however many gateway threads there are.
pub const OPEN_SLOTS_MIN: usize = 128;

/// How large the links between gateway threads and router cores are.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct LinkSizes {
    router_cores: usize,
    /// Requests that a gateway thread may have unanswered that go to one router core and are answered by one, the same or
    /// another.
    pub credits_per_pair: usize,
    /// Open slots to a router core.
    pub open_to_router: usize,
    /// Open slots to a gateway thread.
    pub open_to_gateway: usize,
}

impl LinkSizes {
    /// The sizes where there are so many threads of each kind.
    ///
    /// # Panics
    /// When there is no router core.
    #[must_use]
    pub fn of(gateway_threads: usize, router_cores: usize) -> Self {
        assert!(router_cores > 0, "a gateway needs a router core");
        let share = |full: usize| full * FULL_LINKS / gateway_threads.max(FULL_LINKS);
        Self {
            router_cores,
            credits_per_pair: (share(CREDITS_PER_ROUTER_CORE) / router_cores).max(CREDITS_PER_PAIR_MIN),
            open_to_router: share(OPEN_SLOTS_TO_ROUTER).max(OPEN_SLOTS_MIN),
            open_to_gateway: share(OPEN_SLOTS_TO_GATEWAY).max(OPEN_SLOTS_MIN),
        }
    }

    /// Slots that the links between one gateway thread and one router core reserve, each way: what goes to one core may be
    /// answered by any, and what one core answers may have gone to any.
    #[must_use]
    pub const fn reserved(self) -> usize {
        self.router_cores * self.credits_per_pair
    }
}

/// Received bytes that a thread keeps for connections whose request has to wait. Beyond it a connection that becomes
/// readable is not read.
pub const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Held bytes from which on connections are read in small bites, so that many which wait, for a router core that stands
/// still perhaps, do not keep the others from being read at all.
pub const HELD_TIGHT_BYTES: usize = HELD_BYTES_MAX / 2;
/// Such a bite: twenty thousand connections, which is what one descriptor table holds, fit the other half with one each.
pub const HELD_BITE_BYTES: usize = 1024;

/// Of [`HELD_BYTES_MAX`], bytes of connections that are not read because they sent too many frames. Beyond it such a connection is
/// closed, so that a flood does not use up what others need.
pub const FLOOD_HELD_BYTES_MAX: usize = HELD_BYTES_MAX / 4;

/// Connections that are told why they are turned away at a time; more are closed without a word.
pub const TURNED_AWAY_MAX: usize = 1_024;
/// Connections that one turn tells of a drain.
pub const DRAINED_PER_TURN: usize = 1_024;
/// How long after the drain's deadline the thread waits for the last connections to end.
pub const DRAIN_LAST_MS: u64 = 1_000;

/// Tickets that a TLS client gets with each full or resumed handshake (RFC 8446 §4.6.1). It uses each once, and gets the next with
/// the connection that it used it for.
pub const TICKETS_PER_HANDSHAKE: usize = 1;

/// Bytes that are kept of a record, or of a handshake message, that has not arrived whole: one record of the largest size
/// (RFC 5246 §6.2.3; TLS 1.3 has smaller ones). Handshake messages of clients are far smaller.
pub const TLS_INCOMPLETE_BYTES_MAX: usize = 5 + (1 << 14) + 2_048;
/// Reads of connections whose TLS handshake is under way that one turn makes, for a full handshake takes a tenth of a
/// millisecond and more with an ECDSA key, and more than a millisecond with RSA-2048, for the signature alone: open connections
/// wait for no more than a few milliseconds of them, or a few tens.
pub const TLS_STEPS_PER_TURN: usize = 32;

/// Bytes of the connection ids that a gateway thread gives out: one names the thread, seven nobody guesses.
pub const QUIC_ID_BYTES: usize = 8;
/// Gateway threads that one byte of a connection id can tell apart.
pub const QUIC_THREADS_MAX: u16 = 256;
/// Buffers of one receive call. Each takes what the kernel has joined (GRO), which is up to [`QUIC_BUFFER_BYTES`].
pub const QUIC_BUFFERS: usize = 8;
/// Bytes of the largest UDP packet, and of what the kernel joins into one.
pub const QUIC_BUFFER_BYTES: usize = 64 * 1024;
/// Datagrams taken in one turn: a few milliseconds of work when each brings a frame.
pub const QUIC_DATAGRAMS_PER_TURN: usize = 1_024;
/// Handshakes of one turn after which no datagram is taken any more: each costs a third of a millisecond with an ECDSA key, for the
/// server signs, and more than a millisecond with RSA-2048, even if it comes to nothing at once. When a fleet reconnects, open
/// sessions are served in between.
pub const QUIC_HANDSHAKES_PER_TURN: usize = 16;
/// Bytes of datagrams that the kernel keeps for a thread's QUIC socket, as far as `net.core.rmem_max` lets it: what comes within
/// the tens of milliseconds that a turn may take at worst. The tuning profile `quic-mobile` allows as much.
pub const QUIC_SOCKET_RECEIVE_BYTES: usize = 8 * 1024 * 1024;
/// The same of datagrams on their way out, as far as `net.core.wmem_max` lets it: what a turn sends to all phones.
pub const QUIC_SOCKET_SEND_BYTES: usize = 4 * 1024 * 1024;
/// Datagrams handed to the kernel with one call (GSO): what a connection sends in one go fits, and others need not wait long.
pub const QUIC_DATAGRAMS_PER_SEND: usize = 10;
/// Send calls for one connection in one turn; what is left goes out with the next one.
pub const QUIC_SENDS_PER_CONNECTION: usize = 8;
/// QUIC connections that one turn sends for.
pub const QUIC_CONNECTIONS_PER_TURN: usize = 1_024;
/// Timers of QUIC connections fired in one turn.
pub const QUIC_DEADLINES_PER_TURN: usize = 1_024;
/// Datagrams that came to another thread than that of their connection and wait for it: half a megabyte, and more than come
/// between two of its turns where the kernel steers. Those beyond are lost, as datagrams may be.
pub const QUIC_MISROUTED_MAX: usize = 256;
/// Bytes of the pieces of memory that connections lie in, twenty to one: a size of which the allocator has pieces without a rest,
/// and small enough that a few connections which are left of many keep little.
pub const QUIC_CHUNK_BYTES: usize = 128 * 1024;
/// Streams that a client may have open: the session's. The state machine keeps an entry for each that is allowed.
pub const QUIC_STREAMS_MAX: u8 = 1;
/// Bytes that a client may send before its session is open, while nobody knows who it is, ahead of what was read: a Hello with the
/// longest token, and as much again around it. What comes out of order keeps the datagrams that it came in, of which quinn keeps
/// 32 KiB at most beyond that before it copies: so a thread with 15,000 clients that mean ill keeps 600 MB for them, for as long as
/// a Hello may take.
pub const QUIC_HELLO_WINDOW_BYTES: u32 = 8 * 1024;
const _: () = assert!(QUIC_HELLO_WINDOW_BYTES as usize >= 2 * TOKEN_BYTES_MAX);
/// The same of a client whose session is open: two of the largest frames.
#[expect(clippy::cast_possible_truncation, reason = "two frames are far smaller than 4 GiB")]
pub const QUIC_RECEIVE_WINDOW_BYTES: u32 = 2 * (CLIENT_FRAME_BYTES_MAX + LENGTH_BYTES) as u32;
/// Bytes on their way to a client, not acknowledged by its transport: those of a busy phone on a slow line. What is beyond waits
/// in the connection's queue.
pub const QUIC_SEND_WINDOW_BYTES: u64 = 256 * 1024;
/// Clients over QUIC that can resume, unless the operator says otherwise, some 250 bytes each: all that come to a small server within
/// the day for which it lasts, and to one that takes a hundred in a second those of three quarters of an hour.
pub const QUIC_RESUMPTIONS_DEFAULT: usize = 1 << 18;
/// The same, whatever the operator says: four gigabytes.
pub const QUIC_RESUMPTIONS_MAX: usize = 1 << 24;
/// Bytes of a handshake that are kept while some before them are missing: a client's part of it is far smaller.
pub const QUIC_CRYPTO_BYTES_MAX: usize = 16 * 1024;
/// After so many heartbeats of silence the transport gives up by itself. The session does after two.
pub const QUIC_IDLE_HEARTBEATS: u32 = 3;
/// Connections that have given up their places and whose last datagrams are waited for. While there are more, nobody is let in.
pub const QUIC_LINGERING_MAX: usize = 1_024;
/// Handshakes under way with addresses that may be forged, before others have to prove theirs first (Retry, RFC 9000 §8.1.2):
/// one for so many connections that a thread may hold …
pub const QUIC_UNVERIFIED_SHARE: usize = 64;
/// … but so many in any case, so that a small server spares its clients the round trip as well.
pub const QUIC_UNVERIFIED_MIN: usize = 32;
/// Handshakes per second with addresses that may be forged that may fail before others have to prove theirs first: more than
/// misconfigured clients of a healthy fleet, and a thousandth of a thread's time.
pub const QUIC_UNVERIFIED_FAILURES_PER_SECOND: u32 = 4;
/// Connection ids that wait to be sent to a client, each made because it gave one back. It has two, and a phone that moves gives
/// one back each time, so more than a few wait only for one that gives them back before it has got them, for which the library would
/// keep ever more.
pub const QUIC_IDS_UNSENT_MAX: u64 = 64;
/// Between two stateless resets of a thread: after a restart twenty thousand phones that speak at once are all told within as many
/// milliseconds, and strangers who send what belongs to no connection get less than a hundredth of the thread's time. A reset is
/// smaller than what it answers, so it amplifies nothing and two servers do not keep one another busy.
pub const QUIC_RESET_INTERVAL: Duration = Duration::from_millis(1);
/// Bytes kept of what a client sends behind its first datagram before it is known whether it is let in. That is decided at
/// once, so nothing ever waits.
pub const QUIC_INCOMING_BYTES_MAX: u64 = 16 * 1024;
