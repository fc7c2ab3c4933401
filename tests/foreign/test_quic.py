"""Sessions over QUIC from Python."""

import functools
import json
import random
import socket
import struct
import uuid

import pytest

import flat
from client import BINARY, DEADLINE_SECONDS, JSON, Client, text_of
from conftest import closing_all, serving
from quic import QuicClient


@pytest.fixture(scope="module")
def quic_server():
    with serving(["--listen-quic", "127.0.0.1:0", "--gateway-cores", "2"]) as server:
        yield server


@pytest.fixture
def phone(quic_server):
    """Connects QUIC clients and closes them after the test."""
    with closing_all(functools.partial(QuicClient, quic_server)) as phone:
        yield phone


@pytest.fixture
def bob(quic_server, connect, new_user):
    """Somebody on a WebSocket."""
    return connect(quic_server, new_user())


def test_a_phone_and_a_browser(quic_server, phone, bob, new_user):
    user, client = new_user(), phone()
    welcome = client.hello(quic_server.token(user))
    assert (welcome.number(0), welcome.number(1)) == (user, 1)
    conversation, name = flat.direct(user, bob.user), str(uuid.uuid4())

    client.send(flat.send(conversation, "over QUIC ✓", name))
    accepted = client.expect(flat.ACCEPTED)
    assert accepted.words(0) == flat.uuid_words(name)
    assert text_of(bob.expect("deliver")) == "over QUIC ✓"

    bob.say(user, "over a WebSocket ✓")
    deliver = client.expect(flat.DELIVER)
    assert flat.text_of_body(deliver.blob(3)) == "over a WebSocket ✓"
    client.send(flat.encode(flat.ACK, [(0, conversation), (2, 2)]))
    bob.expect_receipt(user, read=2)

    client.send(flat.encode(flat.BYE, []))
    assert client.expect_close() == (1000, "")


def test_the_json_form(quic_server, phone, bob, new_user):
    user, client = new_user(), phone(JSON)
    assert client.hello(quic_server.token(user))["user"] == str(user)
    bob.say(user, "hi")
    assert text_of(client.expect("deliver")) == "hi"
    client.say(type="ping", nonce="5")
    assert client.expect("pong")["nonce"] == "5"


def test_a_phone_that_moves(quic_server, phone, bob, new_user):
    user, client = new_user(), phone(JSON)
    client.hello(quic_server.token(user))
    for number in range(5):
        client.rebind()
        client.say(type="ping", nonce=str(number + 1))
        assert client.expect("pong")["nonce"] == str(number + 1)
        bob.say(user, f"still there {number}?")
        assert text_of(client.expect("deliver")) == f"still there {number}?"
        client.call(client.protocol._quic.change_connection_id)
        client.call(client.protocol._quic.request_key_update)
    assert quic_server.figure("gateway_quic_passed_on") == 0


def test_a_stranger_is_told_why(quic_server, phone):
    client = phone(JSON)
    client.say(type="hello", token="nobody's", device="1")
    assert client.expect("error")["name"] == "invalid_token"
    assert client.expect_close() == (4001, "invalid_token")


def test_what_is_no_frame(quic_server, phone):
    client = phone()
    client.put(b"\xff\xff\xff\xff")
    assert client.expect_close()[0] == 1009


@pytest.mark.parametrize("protocol", ["h3", None])
def test_another_protocol(quic_server, phone, protocol):
    with pytest.raises(ConnectionError):
        phone(protocol)


def test_the_same_device_on_both_transports(quic_server, phone, new_user):
    user, client = new_user(), phone(JSON)
    client.hello(quic_server.token(user))
    other = Client.connect(quic_server, user)
    assert client.expect("error")["name"] == "session_replaced"
    assert client.expect_close() == (4003, "session_replaced")
    other.close()


def test_a_server_that_goes_away(own_server, new_user):
    own_server.arguments = ["--listen-quic", "127.0.0.1:0"]
    server = own_server.start()
    client = QuicClient(server, JSON)
    client.hello(server.token(new_user()))
    assert server.stop() == 0
    assert client.expect("drain")["reconnect_after_ms"] >= 500
    assert client.expect_close() == (1001, "the server is going away")
    client.close()


def udp(server):
    """A socket that speaks to the server's QUIC port."""
    host, port = server.addresses["quic"].rsplit(":", 1)
    bare = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bare.settimeout(DEADLINE_SECONDS)
    bare.connect((host, int(port)))
    return bare


def test_another_version_is_told_which_are_spoken(quic_server):
    with udp(quic_server) as bare:
        # RFC 8999: a long header of a version that nobody speaks, 8 bytes of each id, at least 1200 bytes in all.
        bare.send(b"\xc0\x1a\x2a\x3a\x4a" + b"\x08" + b"D" * 8 + b"\x08" + b"S" * 8 + bytes(1200))
        answer = bare.recv(2048)
    assert answer[1:5] == bytes(4), "version negotiation"
    assert answer[5:23] == b"\x08" + b"S" * 8 + b"\x08" + b"D" * 8, "the ids the other way round"
    assert struct.pack(">I", 1) in [answer[at : at + 4] for at in range(23, len(answer), 4)]


def test_noise_costs_nobody_the_session(quic_server, phone, new_user):
    client = phone(JSON)
    client.hello(quic_server.token(new_user()))
    noise = random.Random(7)
    with udp(quic_server) as bare:
        for _ in range(2000):
            bare.send(noise.randbytes(noise.randrange(1, 1400)))
    client.say(type="ping", nonce="5")
    assert client.expect("pong")["nonce"] == "5"
    assert quic_server.process.poll() is None


@pytest.mark.parametrize("form", [BINARY, JSON])
def test_a_phone_that_comes_back_says_hello_early(quic_server, phone, bob, new_user, form):
    user = new_user()
    token = quic_server.token(user)
    first = phone(form)
    first.hello(token)
    ticket = first.ticket()
    first.send(flat.encode(flat.BYE, []) if form == BINARY else b'{"type":"bye"}')
    first.expect_close()
    bob.say(user, "while you were away")

    hello = flat.hello(token) if form == BINARY else json.dumps({"type": "hello", "token": token, "device": "1"}).encode()
    client = phone(form, resumes=ticket, early=[hello])
    client.expect(flat.WELCOME if form == BINARY else "welcome")
    client.expect(flat.DELIVER if form == BINARY else "deliver")
    assert client.early_data_accepted()

    # What it resumed is good for once, and nothing that is said early with it again is heard.
    again = phone(form, resumes=ticket, early=[hello])
    assert not again.early_data_accepted()


def test_a_large_page_has_a_stream_of_its_own(quic_server, phone, bob, new_user):
    user = new_user()
    for number in range(8):
        bob.say(user, f"{number}" * 4_000)
    for form in [BINARY, JSON]:
        client = phone(form)
        client.hello(quic_server.token(user))
        conversation = flat.direct(user, bob.user)
        fetch = {"type": "fetch", "request": "7", "conversation": {"direct": str(bob.user)}, "after": "0", "limit": 10}
        client.send(flat.fetch(7, conversation) if form == BINARY else json.dumps(fetch).encode())
        page = client.receive_page()
        if form == BINARY:
            kind, fields = page
            assert (kind, fields.number(0)) == (flat.PAGE, 7)
        else:
            assert [page["type"], page["request"], len(page["messages"])] == ["page", "7", 8]


def test_datagrams_and_other_streams_are_not_taken(quic_server, phone, new_user):
    client = phone(JSON)
    client.hello(quic_server.token(new_user()))
    quic = client.protocol._quic
    assert quic._remote_max_datagram_frame_size is None
    assert (quic._remote_max_streams_bidi, quic._remote_max_streams_uni) == (1, 0)
