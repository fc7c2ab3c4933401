"""Floods and the silent: the server's memory stays bounded, and a pair of bystanders talks on as if nothing was.

The server has the rate limits of a deployment. Connections come from several addresses of this host, because the limit
of one address would stop most of them at the door.
"""

import asyncio
import json
import resource
import shutil
import socket
import threading
import time
import uuid

import jwt
import pytest
import websockets.asyncio.client
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from client import JSON, Client, direct, text_of
from conftest import data_folder
from server import Server

LIMITS = {
    "SENDS_PER_SECOND": 50, "FETCHES_PER_SECOND": 20, "PINGS_PER_SECOND": 5, "FRAMES_PER_SECOND": 1000,
    "USER_SENDS_PER_SECOND": 100, "USER_FETCHES_PER_SECOND": 40, "USER_PINGS_PER_SECOND": 10,
    "HANDSHAKES_PER_SECOND": 200, "NEW_CONVERSATIONS_PER_HOUR": 100,
}
SILENT = 10_000
MEBIBYTE = 1 << 20
DEADLINE_SECONDS = 60
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
    folder = data_folder()
    server = Server(folder / "data", environment={f"SWITCHYARD_LIMITS__{k}": str(v) for k, v in LIMITS.items()})
    server.start()
    yield server
    code = server.stop()
    shutil.rmtree(folder)
    assert code == 0, server.log_text()


@pytest.fixture(scope="module")
def pair(abused):
    talkers = [Client.connect(abused, user) for user in (900_001, 900_002)]
    yield talkers
    for talker in talkers:
        talker.close()


@pytest.fixture(autouse=True)
def undisturbed(abused, pair):
    """The pair talks after each abuse, and the server says that it is well."""
    talk(*pair)
    yield
    talk(*pair)
    assert abused.admin("/healthz")[0] == abused.admin("/readyz")[0] == 200


def talk(one, other):
    text = f"undisturbed {uuid.uuid4()}"
    accepted = one.say(other.user, text)
    assert text_of(other.expect("deliver", message=accepted["message"])) == text
    other.ack(one.user, delivered=accepted["sequence"])
    one.expect_receipt(other.user, delivered=int(accepted["sequence"]))


def until(what, look):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not look():
        assert time.monotonic() < deadline, f"waited in vain for {what}"


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


def pour(stream, frames):
    """Sends a flood until the server takes no more of it."""
    stream.setblocking(False)
    try:
        for _ in range(1_000):
            stream.send(frames)
    except BlockingIOError:
        pass


def test_ten_thousand_connections_that_never_say_hello(abused, pair):
    before, quiet = abused.memory_bytes(), abused.figure("gateway_open")
    silent = [raw(abused, number) for number in range(SILENT)]
    for stream in silent[::2]:
        stream.sendall(UPGRADE)
    talk(*pair)
    assert abused.figure("gateway_accepted") >= SILENT
    assert abused.memory_bytes() - before < 128 * MEBIBYTE
    until("all of them to be sent away", lambda: abused.figure("gateway_open") <= quiet)
    for stream in silent:
        stream.close()


def test_readers_that_stop_reading(abused, pair, new_user):
    before = abused.memory_bytes()
    user, peer = new_user(), new_user()
    writer = Client.connect(abused, user)
    for _ in range(60):
        writer.expect("accepted", client_message_id=writer.send(peer, "x" * 4_000))
    writer.close()
    fetch = {"type": "fetch", "request": "1", "conversation": direct(peer), "after": "0", "limit": 100}
    frames = masked(1, json.dumps(fetch).encode()) * 200
    deaf = [session(abused, user if number < 5 else new_user(), number) for number in range(20)]
    for stream in deaf:
        pour(stream, frames)
    talk(*pair)
    assert abused.memory_bytes() - before < 128 * MEBIBYTE
    for stream in deaf:
        stream.close()


def test_floods_of_pings(abused, pair, new_user):
    floods = [session(abused, new_user(), number) for number in range(10)]
    ping = masked(9, b"") * 5_000 + masked(1, b'{"type":"ping","nonce":"1"}') * 500
    for stream in floods:
        pour(stream, ping)
    for _ in range(20):
        talk(*pair)
    until("a flood to be stopped", lambda: abused.figure("gateway_flood_pauses") > 0)
    for stream in floods:
        stream.close()


def test_frames_that_look_compressed_or_are_too_large(abused, pair, new_user):
    for frame in (b"\xc1\x82" + bytes(4) + b"hi", b"\x81\xff" + (1 << 62).to_bytes(8, "big") + bytes(4)):
        streams = [session(abused, new_user(), number) for number in range(5)]
        for stream in streams:
            stream.sendall(frame)
            assert b"\x88" in stream.makefile("rb").read(), "a close comes, and then the end"
            stream.close()


def test_all_clients_reconnect_at_once(abused, pair):
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
        talk(*pair)
    assert not failed, failed
