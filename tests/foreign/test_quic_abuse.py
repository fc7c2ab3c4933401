"""QUIC under abuse: what a client has to prove, what it is sent before it has, what it can make the server keep, and how
it learns that a server was killed.
"""

import contextlib

import pytest
from aioquic.quic.packet import QuicErrorCode as Error

from bystanders import Bystanders
from client import JSON
from conftest import serving
from quic import QuicClient
from quic_frames import crypto, frame, new_id, stream
from quic_raw import DATAGRAM_BYTES_MIN, ONE_RTT, RawClient
from waiting import until

# gateway/server/src/limits.rs: QUIC_UNVERIFIED_MIN, which is more than the share of so few connections.
UNVERIFIED_MIN, MAX_CONNECTIONS = 32, 1000
# What a flood may cost a server in memory: what its allocator takes at a time, and less than the floods send that have it
# keep something.
GROWTH_BYTES_MAX = 12 << 20
# Datagrams that the kernel keeps for a socket in any case.
AT_ONCE = 32
TOO_FAST = 4005


@pytest.fixture(scope="module")
def abused():
    """A server with one gateway thread, which all that is sent comes to."""
    limits = {"SWITCHYARD_GATEWAY__MAX_CONNECTIONS": str(MAX_CONNECTIONS)}
    with serving(["--listen-quic", "127.0.0.1:0", "--gateway-cores", "1"], limits) as server:
        yield server


@pytest.fixture(scope="module")
def others(abused):
    with contextlib.closing(Bystanders(abused)) as others:
        yield others


@pytest.fixture(autouse=True)
def undisturbed(abused, others):
    """Two users talk after each test, and the server is well."""
    yield
    others.talk()
    assert abused.is_well(), abused.admin("/healthz")


@pytest.fixture
def connect(abused):
    with contextlib.ExitStack() as clients:
        yield lambda **options: clients.enter_context(contextlib.closing(RawClient(abused, **options)))


# What is sent to whom


def test_who_has_proven_no_address_is_sent_at_most_three_times_what_came_from_it(abused, others, connect):
    """RFC 9000 §8.1, in all that the server says to a client of which it hears nothing more, its last word included."""
    # The first to come: before any other has failed, nobody is asked for a proof.
    timed_out = abused.figure("gateway_quic_handshakes_timed_out")
    silent = [connect(max_datagram_size=DATAGRAM_BYTES_MIN + more) for more in (0, 1, 100, 250)]
    sent_bytes = [raw.begin() for raw in silent]
    given_up = timed_out + len(silent)
    until("the server to give up", lambda: abused.figure("gateway_quic_handshakes_timed_out") >= given_up)
    # The turn that has counted them is over when another one is, and what it has sent has arrived.
    others.talk()
    assert abused.figure("gateway_quic_retries") == 0
    for raw, sent in zip(silent, sent_bytes):
        raw.take()
        received = sum(map(len, raw.received_datagrams))
        assert 3 * sent - DATAGRAM_BYTES_MIN < received <= 3 * sent, "as much as it may, and not a byte more"


def test_answers_to_strangers_are_no_larger_than_what_they_sent(abused, others, connect):
    """A stateless reset answers what belongs to no connection, and is smaller (RFC 9000 §10.3)."""
    raw = connect()
    raw.begin()
    stranger = raw.new_socket()
    with contextlib.closing(stranger):
        for bytes_ in (10, 21, 43, 100, 1200):
            stranger.send(b"\x40" + bytes(bytes_ - 1))
            others.talk()
            with contextlib.suppress(BlockingIOError):
                assert len(stranger.recv(2048)) < bytes_


# Retry


@pytest.fixture
def crowd(abused, connect):
    """As many handshakes under way as are taken from addresses that may be forged. They last for seconds."""
    begun = abused.figure("gateway_quic_accepted")
    # Some of those that a test before has begun may still be under way.
    while abused.figure("gateway_quic_upgrading") < UNVERIFIED_MIN:
        connect().begin()
        begun += 1
        until("it to be begun", lambda: abused.figure("gateway_quic_accepted") >= begun)


def is_retry(datagram):
    """RFC 9000 §17.2.5."""
    return datagram[0] & 0xF0 == 0xF0


def test_when_many_handshakes_are_under_way_who_comes_proves_an_address_first(abused, connect, crowd, new_user):
    retries = abused.figure("gateway_quic_retries")
    raw = connect()
    raw.handshake()
    assert raw.quic._retry_count == 1
    assert abused.figure("gateway_quic_retries") == retries + 1

    client = QuicClient(abused, JSON)
    client.hello(abused.token(new_user()))
    client.say(type="ping", nonce="5")
    assert client.expect("pong")["nonce"] == "5"
    client.close()


def test_a_forged_token_proves_nothing(connect, crowd):
    """RFC 9000 §8.1.3: it is as if there was none, so another is given."""
    raw = connect(token=b"forged" * 10)
    raw.handshake()
    assert raw.quic._retry_count == 1


def test_a_token_that_was_changed_proves_nothing(connect, crowd):
    raw = connect()
    raw.begin()
    raw.wait("a retry", lambda: raw.quic._retry_count == 1)
    raw.quic._peer_token = bytes([raw.quic._peer_token[0] ^ 1]) + raw.quic._peer_token[1:]
    raw.begin()
    raw.wait("another retry", lambda: len(raw.received_datagrams) == 2)
    assert all(map(is_retry, raw.received_datagrams))


def test_a_token_of_another_address_is_refused(connect, crowd):
    """RFC 9000 §8.1.2."""
    raw = connect()
    raw.begin()
    raw.wait("a retry", lambda: raw.quic._retry_count == 1)
    raw.socket = raw.new_socket()
    raw.begin()
    assert raw.expect_close() == Error.INVALID_TOKEN


# Stateless reset


def test_a_client_of_a_server_that_was_killed_is_told_by_the_next_one(own_server, new_user):
    """RFC 9000 §10.3: by a token that it was given, though the next server has other threads and knows nothing of it."""
    own_server.arguments = ["--listen-quic", "127.0.0.1:0", "--gateway-cores", "2"]
    server = own_server.start()
    with contextlib.closing(RawClient(server)) as raw:
        raw.handshake()
        raw.hello(server.token(new_user()))
        assert not raw.was_reset()
        server.kill()
        server.arguments = ["--listen-quic", server.addresses["quic"], "--gateway-cores", "1"]
        server.start()
        raw.quic.send_ping(1)
        raw.wait("the reset", raw.was_reset)


# Floods


def flood(server, raw, payloads):
    """Sends a packet for each of these payloads and acknowledges nothing; answers what the server closes with, if it does."""
    raw.muted = True
    sent_bytes = server.figure("gateway_quic_bytes_in")
    for number, payload in enumerate(payloads, 1):
        sent_bytes += raw.inject(ONE_RTT, payload)
        if number % AT_ONCE == 0 or len(payload) < AT_ONCE:
            until("the server to read", lambda: server.figure("gateway_quic_bytes_in") >= sent_bytes)
            raw.take()
            if raw.closed_with():
                break
    return raw.closed_with()


def padded(payload):
    return payload.ljust(1100, b"\0")


# Of bytes with gaps between them that the library keeps; beyond a thousand gaps it ends the connection.
GAPS = 900
# The payloads, and the error with which the server ends the connection, if it does.
FLOODS = {
    "bytes of a stream with gaps": (
        lambda: (padded(stream(0, offset=100 + 2 * (i % GAPS))) for i in range(16_000)),
        None,
    ),
    "bytes of the handshake with gaps": (
        lambda: (padded(crypto(b"x", 2 + 2 * (i % GAPS))) for i in range(16_000)),
        None,
    ),
    "more gaps than are kept": (
        lambda: (padded(stream(0, offset=100 + 2 * i)) for i in range(4_000)),
        Error.INTERNAL_ERROR,
    ),
    "ids, each in the place of those before": (
        lambda: (padded(new_id(i, retire_prior_to=i)) for i in range(8, 16_000)),
        None,
    ),
    "paths to be proven": (lambda: (frame(0x1A, i.to_bytes(8, "big")) * 100 for i in range(4_000)), None),
    "more streams for the server": (
        lambda: (b"".join(frame(0x12, 100 * i + j) for j in range(200)) for i in range(1, 4_000)),
        None,
    ),
    "requests for an answer": (lambda: (padded(frame(0x01)) for _ in range(4_000)), None),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood(abused, others, connect, new_user, what):
    payloads, end = FLOODS[what]
    raw = connect()
    raw.handshake()
    raw.hello(abused.token(new_user()))
    raw.goes_on()
    others.talk()
    abused.forget_memory_max()
    before_bytes = abused.memory_bytes()
    closed = flood(abused, raw, payloads())
    assert (closed[0].error_code if closed else None) == end
    others.talk()
    assert abused.memory_bytes_max() - before_bytes < GROWTH_BYTES_MAX


def test_ids_that_are_given_back_before_they_have_come(abused, connect, new_user):
    """The server makes one for each that is given back (RFC 9000 §5.1.1), and keeps it until it can send it."""
    raw = connect()
    # What aioquic would say to so many ids.
    raw.quic._local_active_connection_id_limit = 1_000_000
    raw.handshake()
    raw.hello(abused.token(new_user()))
    raw.goes_on()
    # The first one stays, which what is sent is addressed to.
    (event,) = flood(abused, raw, (frame(0x19, number) for number in range(1, 7_000)))
    assert (event.frame_type, event.error_code) == (None, TOO_FAST), event
