"""What a QUIC client may not do, and how the server answers: the cases of h3spec and of the QUIC interop runner that
apply where no HTTP/3 is spoken. Each closes its connection with the transport error that the RFC names; others talk on.

Where the library below the server takes what may be refused, or what must be, the case says so and why: LENIENT. Section
numbers are of RFC 9000 unless another is named.
"""

import contextlib
import dataclasses

import pytest
from aioquic.quic.packet import QuicErrorCode

from bystanders import Bystanders
from conftest import serving
from quic_frames import TOKEN, crypto, frame, new_id, stream, varint
from quic_raw import DATAGRAM_BYTES_MIN, HANDSHAKE, INITIAL, ONE_RTT, RawClient, sized

# §20.1.
PROTOCOL_VIOLATION, FRAME_ENCODING = QuicErrorCode.PROTOCOL_VIOLATION, QuicErrorCode.FRAME_ENCODING_ERROR
STREAM_STATE, STREAM_LIMIT = QuicErrorCode.STREAM_STATE_ERROR, QuicErrorCode.STREAM_LIMIT_ERROR
FLOW_CONTROL, FINAL_SIZE = QuicErrorCode.FLOW_CONTROL_ERROR, QuicErrorCode.FINAL_SIZE_ERROR
TRANSPORT_PARAMETER = QuicErrorCode.TRANSPORT_PARAMETER_ERROR
CONNECTION_ID_LIMIT = QuicErrorCode.CONNECTION_ID_LIMIT_ERROR
CRYPTO_BUFFER_EXCEEDED = QuicErrorCode.CRYPTO_BUFFER_EXCEEDED
# TLS alerts as transport errors: RFC 9001 §4.8, RFC 8446 §6.
UNEXPECTED_MESSAGE, DECODE_ERROR, DECRYPT_ERROR = 0x10A, 0x132, 0x133
MISSING_EXTENSION, NO_APPLICATION_PROTOCOL = 0x16D, 0x178
# The connection goes on as if nothing had been sent.
IGNORED = None
RESERVED_BITS_LONG, RESERVED_BITS_SHORT = 0x0C, 0x18
# Streams (RFC 9000 §2.1): 0 is the session's, and the only one that a client may have.
SESSION, SECOND, CLIENTS_UNI, SERVERS, SERVERS_UNI = 0, 4, 2, 1, 3
TOO_MANY_STREAMS = 2**60 + 1
LARGEST = 2**62 - 1


@dataclasses.dataclass
class Case:
    """What a client does, where it is forbidden, and the errors of which one must come, or IGNORED."""

    what: str
    section: str
    sent: object
    errors: object
    reserved: int = 0
    # Why the server may be milder than the section, where it is.
    lenient: str = ""

    def __str__(self):
        return f"{self.section}: {self.what}" + (" (LENIENT)" if self.lenient else "")

    def judge(self, raw):
        if self.errors is IGNORED:
            return raw.goes_on()
        expected = self.errors if isinstance(self.errors, tuple) else (self.errors,)
        found = raw.expect_close()
        assert found in expected, f"{raw.quic._close_event}"


def cases(table):
    return pytest.mark.parametrize("case", [Case(*row) if isinstance(row, tuple) else row for row in table], ids=str)


@pytest.fixture(scope="module")
def quic_server():
    with serving(["--listen-quic", "127.0.0.1:0", "--gateway-cores", "2"]) as server:
        yield server


@pytest.fixture(scope="module")
def others(quic_server):
    with contextlib.closing(Bystanders(quic_server)) as others:
        yield others


@pytest.fixture(autouse=True)
def bystanders(quic_server, others):
    """Two users whose sessions were open before; they talk after each case."""
    yield
    assert quic_server.process.poll() is None, quic_server.log_text()
    others.talk()


@pytest.fixture
def connect(quic_server):
    with contextlib.ExitStack() as clients:
        yield lambda **options: clients.enter_context(contextlib.closing(RawClient(quic_server, **options)))


# Transport parameters


def without(*ids):
    return lambda pairs: [(id_, value) for id_, value in pairs if id_ not in ids]


def having(id_, value):
    """The parameter with this value, whatever it was."""
    return lambda pairs: [*without(id_)(pairs), (id_, value if isinstance(value, bytes) else varint(value))]


def and_also(*bytes_):
    """What follows the others as it is."""
    return lambda pairs: [*pairs, *((one, None) for one in bytes_)]


ID = b"c" * 8
PREFERRED = b"\x7f\0\0\1\x20\0" + b"\0" * 15 + b"\1\x20\0" + bytes([len(ID)]) + ID + TOKEN


@cases(
    [
        ("no initial_source_connection_id", "§7.3", without(0x0F), TRANSPORT_PARAMETER),
        ("another initial_source_connection_id", "§7.3", having(0x0F, ID), TRANSPORT_PARAMETER),
        ("original_destination_connection_id of a client", "§18.2", having(0x00, ID), TRANSPORT_PARAMETER),
        ("stateless_reset_token of a client", "§18.2", having(0x02, TOKEN), TRANSPORT_PARAMETER),
        ("preferred_address of a client", "§18.2", having(0x0D, PREFERRED), TRANSPORT_PARAMETER),
        ("retry_source_connection_id of a client", "§18.2", having(0x10, ID), TRANSPORT_PARAMETER),
        ("max_udp_payload_size below 1200", "§18.2", having(0x03, 1199), TRANSPORT_PARAMETER),
        ("ack_delay_exponent above 20", "§18.2", having(0x0A, 21), TRANSPORT_PARAMETER),
        ("max_ack_delay of 2^14", "§18.2", having(0x0B, 2**14), TRANSPORT_PARAMETER),
        ("active_connection_id_limit below 2", "§18.2", having(0x0E, 1), TRANSPORT_PARAMETER),
        ("initial_max_streams_bidi above 2^60", "§4.6", having(0x08, TOO_MANY_STREAMS), TRANSPORT_PARAMETER),
        ("initial_max_streams_uni above 2^60", "§4.6", having(0x09, TOO_MANY_STREAMS), TRANSPORT_PARAMETER),
        ("disable_active_migration with a value", "§18.2", having(0x0C, b"\1"), TRANSPORT_PARAMETER),
        ("a number of more bytes than it has", "§18", having(0x0A, b"\3\3"), TRANSPORT_PARAMETER),
        ("a parameter twice", "§7.4", and_also(b"\x01\x01\x05"), TRANSPORT_PARAMETER),
        ("a parameter that is cut short", "§18", and_also(b"\x01\x08\x05"), TRANSPORT_PARAMETER),
        ("a parameter that nobody knows", "§7.4.2", having(31 * 5 + 27, b"whatever"), IGNORED),
    ]
)
def test_transport_parameters(connect, case):
    raw = connect(edit=case.sent)
    if case.errors is IGNORED:
        raw.handshake()
    case.judge(raw)


# TLS


def without_parameters(tls):
    tls.handshake_extensions = []


def with_session_id(tls):
    tls.legacy_session_id = b"s" * 32


@cases(
    [
        ("no transport parameters", "RFC 9001 §8.2", {"edit_hello": without_parameters}, MISSING_EXTENSION),
        ("no protocol", "RFC 9001 §8.1", {"alpn": None}, NO_APPLICATION_PROTOCOL),
        ("an empty list of protocols", "RFC 7301 §3.1", {"alpn": []}, DECODE_ERROR),
        ("a protocol that the server does not speak", "RFC 9001 §8.1", {"alpn": ["h3"]}, NO_APPLICATION_PROTOCOL),
        Case(
            "middlebox compatibility mode", "RFC 9001 §8.4", {"edit_hello": with_session_id}, IGNORED,
            lenient="rustls takes a session id, which a server SHOULD refuse; it means nothing in TLS 1.3",
        ),
    ]
)
def test_hellos(connect, case):
    raw = connect(**case.sent)
    if case.errors is IGNORED:
        raw.handshake()
    case.judge(raw)


# Frames


def second_id(raw):
    """Another id by a number that the server has one for, and does not use."""
    raw.goes_on()
    return new_id(3, fill=b"o")


def id_that_comes_next(raw):
    """Gives an id back that the server would give next, when it has given both that a client has at a time."""
    raw.wait("its ids", lambda: len(raw.quic._peer_cid_available) == 1)
    return frame(0x19, 2)


PING, STOP = frame(0x01), 9
# RFC 8446 §4: a message of this type, with this content behind three bytes of length.
KEY_UPDATE, END_OF_EARLY_DATA = b"\x18\0\0\1\0", b"\x05\0\0\0"
FINISHED = b"\x14\0\0\x20" + bytes(32)


@cases(
    [
        ("STREAM", "§17.2.2", stream(SESSION), PROTOCOL_VIOLATION),
        ("HANDSHAKE_DONE", "§17.2.2", frame(0x1E), PROTOCOL_VIOLATION),
        ("a frame of unknown type", "§12.4", frame(0x3F), FRAME_ENCODING),
        ("what is no ClientHello", "RFC 8446 §4", crypto(FINISHED), UNEXPECTED_MESSAGE),
        ("CRYPTO far beyond what has come", "§7.5", crypto(b"x", 100_000), CRYPTO_BUFFER_EXCEEDED),
    ]
)
def test_first_packets(connect, case):
    raw = connect()
    raw.muted, sent = True, set()

    def closed():
        # When the server has asked for a proof of the address, the packet goes out again, with it.
        if raw.quic._peer_token not in sent:
            sent.add(raw.quic._peer_token)
            raw.inject(INITIAL, case.sent, case.reserved)
        return raw.closed_with()

    raw.wait("the end", closed)
    case.judge(raw)


def small_datagram(raw):
    raw.socket.send(raw.packet(INITIAL, crypto(FINISHED)))


@cases(
    [
        ("a datagram that is smaller than 1200 bytes", "§14.1", small_datagram, IGNORED),
        Case(
            "reserved bits", "§17.2", lambda raw: raw.inject(INITIAL, PING, RESERVED_BITS_LONG), IGNORED,
            lenient="quinn-proto drops a first packet with them, for which it keeps nothing; it MUST be an error",
        ),
    ]
)
def test_first_packets_that_count_for_nothing(connect, case):
    raw = connect()
    case.sent(raw)
    raw.handshake()
    case.judge(raw)


def test_a_first_packet_to_an_id_that_is_too_short(connect):
    """§7.2."""
    raw = connect()
    raw.quic._peer_cid.cid = b"short"
    raw.quic._cryptos[INITIAL].setup_initial(cid=b"short", is_client=True, version=1)
    raw.muted = True
    raw.inject(INITIAL, crypto(FINISHED))
    assert raw.expect_close() == PROTOCOL_VIOLATION


@cases(
    [
        ("a frame of unknown type", "§12.4", frame(0x3F), FRAME_ENCODING),
        ("no frames", "§12.4", b"", PROTOCOL_VIOLATION),
        ("STREAM", "§17.2.4", stream(SESSION), PROTOCOL_VIOLATION),
        ("PATH_CHALLENGE", "§17.2.4", frame(0x1A, b"p" * 8), PROTOCOL_VIOLATION),
        ("NEW_CONNECTION_ID", "§17.2.4", new_id(1), PROTOCOL_VIOLATION),
        Case("reserved bits", "§17.2", PING, PROTOCOL_VIOLATION, RESERVED_BITS_LONG),
        ("CRYPTO far beyond what has come", "§7.5", crypto(b"x", 100_000), CRYPTO_BUFFER_EXCEEDED),
        ("KeyUpdate", "RFC 9001 §6", crypto(KEY_UPDATE), UNEXPECTED_MESSAGE),
        ("EndOfEarlyData", "RFC 9001 §8.3", crypto(END_OF_EARLY_DATA), UNEXPECTED_MESSAGE),
        ("a Finished that is not right", "RFC 8446 §4.4.4", crypto(FINISHED), DECRYPT_ERROR),
    ]
)
def test_handshake_packets(connect, case):
    raw = connect()
    raw.wait("handshake keys", lambda: raw.quic._cryptos[HANDSHAKE].send.is_valid())
    raw.muted = True
    raw.inject(HANDSHAKE, case.sent, case.reserved)
    case.judge(raw)


@cases(
    [
        ("a frame of unknown type", "§12.4", frame(0x3F), FRAME_ENCODING),
        ("a frame that is cut short", "§12.4", frame(0x11), FRAME_ENCODING),
        ("no frames", "§12.4", b"", PROTOCOL_VIOLATION),
        Case("reserved bits", "§17.3.1", PING, PROTOCOL_VIOLATION, RESERVED_BITS_SHORT),
        Case(
            "a type of more bytes than it needs", "§12.4", b"\x40\x01", IGNORED,
            lenient="quinn-proto does not look how a type is written; it MAY be an error",
        ),
        ("ACK of what was never sent", "§13.1", frame(0x02, 1_000_000, 0, 0, 0), PROTOCOL_VIOLATION),
        ("ACK of numbers below 0", "§19.3.1", frame(0x02, 0, 0, 0, 5), FRAME_ENCODING),
        (
            "RESET_STREAM of a stream that only the server sends on", "§19.4",
            frame(0x04, SERVERS_UNI, STOP, 0), STREAM_STATE,
        ),
        ("RESET_STREAM beyond the limit of streams", "§4.6", frame(0x04, SECOND, STOP, 0), STREAM_LIMIT),
        ("STOP_SENDING of a stream that the server has not opened", "§19.5", frame(0x05, SERVERS, STOP), STREAM_STATE),
        (
            "STOP_SENDING of a stream that only the client sends on", "§19.5",
            frame(0x05, CLIENTS_UNI, STOP), STREAM_STATE,
        ),
        ("CRYPTO far beyond what has come", "§7.5", crypto(b"x", 100_000), CRYPTO_BUFFER_EXCEEDED),
        ("KeyUpdate", "RFC 9001 §6", crypto(KEY_UPDATE), UNEXPECTED_MESSAGE),
        ("NEW_TOKEN of a client", "§19.7", frame(0x07, 5, b"token"), PROTOCOL_VIOLATION),
        ("STREAM on one that only the server sends on", "§19.8", stream(SERVERS_UNI), STREAM_STATE),
        ("STREAM on one that the server has not opened", "§19.8", stream(SERVERS), STREAM_STATE),
        ("a second stream", "§4.6", stream(SECOND), STREAM_LIMIT),
        ("a stream in one direction", "§4.6", stream(CLIENTS_UNI), STREAM_LIMIT),
        ("STREAM beyond the window", "§4.1", stream(SESSION, offset=1_000_000), FLOW_CONTROL),
        ("STREAM beyond 2^62", "§19.8", stream(SESSION, offset=LARGEST), (FLOW_CONTROL, FRAME_ENCODING)),
        ("STREAM beyond its end", "§4.5", stream(SESSION, fin=True) + stream(SESSION, offset=5), FINAL_SIZE),
        (
            "STREAM with another end", "§4.5",
            stream(SESSION, b"xxxx", fin=True) + stream(SESSION, b"xx", fin=True), FINAL_SIZE,
        ),
        (
            "RESET_STREAM with less than came", "§4.5",
            stream(SESSION, b"xxxx") + frame(0x04, SESSION, STOP, 2), FINAL_SIZE,
        ),
        ("RESET_STREAM beyond the window", "§4.1", frame(0x04, SESSION, STOP, 1_000_000), FLOW_CONTROL),
        ("MAX_STREAM_DATA for one that only the client sends on", "§19.10", frame(0x11, CLIENTS_UNI, 9), STREAM_STATE),
        ("MAX_STREAM_DATA for one that the server has not opened", "§19.10", frame(0x11, SERVERS, 9), STREAM_STATE),
        ("MAX_STREAMS above 2^60", "§19.11", frame(0x12, TOO_MANY_STREAMS), FRAME_ENCODING),
        ("MAX_STREAMS in one direction above 2^60", "§19.11", frame(0x13, TOO_MANY_STREAMS), FRAME_ENCODING),
        (
            "STREAM_DATA_BLOCKED of one that only the server sends on", "§19.13",
            frame(0x15, SERVERS_UNI, 9), STREAM_STATE,
        ),
        ("STREAMS_BLOCKED above 2^60", "§19.14", frame(0x16, TOO_MANY_STREAMS), (FRAME_ENCODING, STREAM_LIMIT)),
        (
            "STREAMS_BLOCKED in one direction above 2^60", "§19.14",
            frame(0x17, TOO_MANY_STREAMS), (FRAME_ENCODING, STREAM_LIMIT),
        ),
        ("NEW_CONNECTION_ID that retires itself", "§19.15", new_id(9, retire_prior_to=10), FRAME_ENCODING),
        ("NEW_CONNECTION_ID of no bytes", "§19.15", new_id(9, bytes_=0), FRAME_ENCODING),
        ("NEW_CONNECTION_ID of 21 bytes", "§19.15", new_id(9, bytes_=21), FRAME_ENCODING),
        ("more ids than the server takes", "§5.1.1", b"".join(map(new_id, range(8, 16))), CONNECTION_ID_LIMIT),
        Case(
            "another id by a number that was given", "§19.15", second_id, IGNORED,
            lenient="quinn-proto takes the newer one, which is the client's own loss; it MAY be an error",
        ),
        ("RETIRE_CONNECTION_ID of one that was never given", "§19.16", frame(0x19, 1000), PROTOCOL_VIOLATION),
        Case(
            "RETIRE_CONNECTION_ID of the one that comes next", "§19.16", id_that_comes_next, IGNORED,
            lenient="quinn-proto counts one too many; it MUST be an error, and costs nothing",
        ),
        Case(
            "PATH_RESPONSE to no challenge", "§19.18", frame(0x1B, b"p" * 8), IGNORED,
            lenient="quinn-proto passes over it; it MAY be an error",
        ),
        ("HANDSHAKE_DONE of a client", "§19.20", frame(0x1E), PROTOCOL_VIOLATION),
        ("DATAGRAM, of which the server takes none", "RFC 9221 §3", frame(0x31, 1, b"x"), PROTOCOL_VIOLATION),
    ]
)
def test_packets_of_an_open_connection(connect, case):
    raw = connect()
    raw.handshake()
    sent = case.sent(raw) if callable(case.sent) else case.sent
    raw.inject(ONE_RTT, sent, case.reserved)
    case.judge(raw)


def test_a_datagram_of_0_rtt_that_nobody_can_read(connect):
    """RFC 9001 §5.7: nobody has the keys of a client that does not resume, so such packets are dropped, whatever is in them."""
    raw = connect()
    ids = sized(raw.quic._peer_cid.cid) + sized(raw.quic.host_cid)
    raw.socket.send(b"\xD3\0\0\0\1" + ids + varint(DATAGRAM_BYTES_MIN) + bytes(DATAGRAM_BYTES_MIN))
    raw.handshake()
    raw.goes_on()
