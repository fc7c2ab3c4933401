"""Floods and the silent: the server's memory stays bounded, it says that it is well, and a pair of bystanders talks on as
if nothing was, during each abuse and after it.

The server has the rate limits of a deployment. Connections come from several addresses of this host, because the limit
of one address would stop most of them at the door.
"""

import asyncio
import contextlib
import json
import resource
import socket
import threading
import time
import uuid

import jwt
import pytest
import websockets.asyncio.client
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bystanders import Bystanders
from client import JSON, Client, direct
from conftest import serving
from waiting import DEADLINE_SECONDS, until

LIMITS = {
    "SENDS_PER_SECOND": 50, "FETCHES_PER_SECOND": 20, "PINGS_PER_SECOND": 5, "FRAMES_PER_SECOND": 1000,
    "USER_SENDS_PER_SECOND": 100, "USER_FETCHES_PER_SECOND": 40, "USER_PINGS_PER_SECOND": 10,
    "HANDSHAKES_PER_SECOND": 200, "NEW_CONVERSATIONS_PER_HOUR": 100,
}
SILENT = 10_000
# Requests that a flood must have been refused: more than ten connections may ask for at once.
FLOOD = 40_000
GROWTH_BYTES_MAX = 128 << 20
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "
    + JSON.encode() + b"\r\n\r\n"
)


@pytest.fixture(scope="module")
def abused():
    """Ten thousand sockets at both ends need as many descriptors as this host gives."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < SILENT + 1_000:
        pytest.skip(f"this host gives {hard} descriptors; raise `ulimit -n`")
    with serving(environment={f"SWITCHYARD_LIMITS__{k}": str(v) for k, v in LIMITS.items()}) as server:
        yield server


@pytest.fixture(scope="module")
def talkers(abused):
    with contextlib.closing(Bystanders(abused)) as talkers:
        yield talkers


@pytest.fixture(autouse=True)
def undisturbed(abused, talkers):
    """Looks whether the abuse costs anybody else something. Every test calls it at the height of its abuse; it looks once
    more when the abuse is over, and at the most memory that there was in all that time."""
    looks = 0

    def look():
        nonlocal looks
        looks += 1
        talkers.talk()
        assert abused.is_well(), (abused.admin("/healthz"), abused.admin("/readyz"))
        grown = abused.memory_bytes_max() - before
        assert grown < GROWTH_BYTES_MAX, f"{grown} bytes more than before the abuse"

    talkers.talk()
    abused.forget_memory_max()
    before = abused.memory_bytes()
    yield look
    assert looks > 0, "nobody looked during the abuse"
    look()


def raw(server, number=0):
    """A TCP connection from one of many addresses of this host."""
    host, port = server.addresses["ws"].rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=20, source_address=(f"127.0.1.{1 + number % 50}", 0))


def masked(opcode, payload):
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def session(server, user, number=0):
    """A socket with an open session that nobody reads from any more."""
    stream = raw(server, number)
    hello = {"type": "hello", "token": server.token(user), "device": str(1 + number % 5)}
    stream.sendall(UPGRADE + masked(1, json.dumps(hello).encode()))
    seen = b""
    while b'"welcome"' not in seen:
        some = stream.recv(4096)
        assert some, seen
        seen += some
    return stream


def frame(**fields):
    return masked(1, json.dumps(fields).encode())


def pour(stream, frames, at=0):
    """Sends a flood until the server takes no more of it; returns how far into the frames that was, to go on from there."""
    stream.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(1_000):
            at = (at + stream.send(frames[at:])) % len(frames)
    return at


def drain(stream):
    """Reads, and forgets, what the server has said so far."""
    stream.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(1_000):
            assert stream.recv(1 << 16), "the flood's connection was closed"


def refused(server):
    """How many requests went beyond a rate."""
    samples = json.loads(server.admin("/stats")[1])["gateway_refused"]
    return sum(sample["value"] for sample in samples if sample["labels"]["code"] == "rate_limited")


def flood(server, streams, frames, undisturbed):
    """Asks for more than is allowed, and reads what comes, until the server has refused a flood of it."""
    before, reached = refused(server), dict.fromkeys(streams, 0)

    def ask():
        for stream in streams:
            reached[stream] = pour(stream, frames, reached[stream])
            drain(stream)
        undisturbed()

    until("the flood to be refused", lambda: refused(server) - before >= FLOOD, meanwhile=ask)
    for stream in streams:
        stream.close()


def test_ten_thousand_connections_that_never_say_hello(abused, undisturbed):
    accepted, quiet = abused.figure("gateway_accepted"), abused.figure("gateway_open")
    silent = [raw(abused, number) for number in range(SILENT)]
    for stream in silent[::2]:
        stream.sendall(UPGRADE)
    until("all to be let in", lambda: abused.figure("gateway_accepted") - accepted >= SILENT, meanwhile=undisturbed)
    undisturbed()
    until("all of them to be sent away", lambda: abused.figure("gateway_open") <= quiet)
    for stream in silent:
        stream.close()


def test_readers_that_stop_reading(abused, undisturbed, new_user):
    user, peer = new_user(), new_user()
    writer = Client.connect(abused, user)
    for _ in range(60):
        writer.say(peer, "x" * 4_000)
    writer.close()
    frames = frame(type="fetch", request="1", conversation=direct(peer), after="0", limit=100) * 200
    deaf = [session(abused, user if number < 5 else new_user(), number) for number in range(20)]
    for stream in deaf:
        pour(stream, frames)
    undisturbed()
    for stream in deaf:
        stream.close()


def test_floods_of_pings(abused, undisturbed, new_user):
    floods = [session(abused, new_user(), number) for number in range(10)]
    ping = masked(9, b"") * 5_000 + frame(type="ping", nonce="1") * 500
    for stream in floods:
        pour(stream, ping)
    for _ in range(20):
        undisturbed()
    until("a flood to be stopped", lambda: abused.figure("gateway_flood_pauses") > 0)
    for stream in floods:
        stream.close()


def test_floods_of_sends(abused, undisturbed, new_user):
    """As many different messages as a connection may send at once; the same again is refused, or has its answer already."""
    peer, text = new_user(), {"text": "x" * 1_000}
    sends = [frame(type="send", client_message_id=str(uuid.uuid4()), conversation=direct(peer), body=text) for _ in range(500)]
    flood(abused, [session(abused, new_user(), number) for number in range(10)], b"".join(sends), undisturbed)


def test_floods_of_fetches(abused, undisturbed, new_user):
    user, peer = new_user(), new_user()
    writer = Client.connect(abused, user)
    for _ in range(20):
        writer.say(peer, "x" * 1_000)
    writer.close()
    fetch = frame(type="fetch", request="1", conversation=direct(peer), after="0", limit=100)
    flood(abused, [session(abused, user, number) for number in range(5)], fetch * 500, undisturbed)


def test_frames_that_look_compressed_or_are_too_large(abused, undisturbed, new_user):
    for bad in (b"\xc1\x82" + bytes(4) + b"hi", b"\x81\xff" + (1 << 62).to_bytes(8, "big") + bytes(4)):
        streams = [session(abused, new_user(), number) for number in range(5)]
        for stream in streams:
            stream.sendall(bad)
            assert b"\x88" in stream.makefile("rb").read(), "a close comes, and then the end"
            undisturbed()
            stream.close()


def test_all_clients_reconnect_at_once(abused, undisturbed):
    key = load_pem_private_key((abused.data / "keys/dev.pem").read_bytes(), None)

    def token(user):
        claims = {"sub": str(user), "aud": "switchyard", "exp": int(time.time()) + 3600}
        return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "dev"})

    async def join(user):
        address = (f"127.0.1.{1 + user % 50}", 0)
        socket = await websockets.asyncio.client.connect(
            abused.url, subprotocols=[JSON], compression=None, local_addr=address, open_timeout=DEADLINE_SECONDS
        )
        await socket.send(json.dumps({"type": "hello", "token": token(user), "device": "1"}))
        assert json.loads(await socket.recv())["type"] == "welcome"
        return socket

    async def storm():
        users = range(2_000_000, 2_000_500)
        first = await asyncio.gather(*map(join, users))
        for socket in first:
            socket.transport.abort()
        second = await asyncio.gather(*map(join, users))
        for socket in second:
            await socket.close()

    failed = []

    def run():
        try:
            asyncio.run(storm())
        except BaseException as error:  # noqa: B902 - whatever it is, the test must hear of it
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        undisturbed()
    assert not failed, failed
