#!/usr/bin/env python3
"""Measures what an idle session over QUIC costs in resident memory of the whole server.

    target/python/bin/python bench/quic_memory.py              # between 200 and 1,200 sessions
    target/python/bin/python bench/quic_memory.py 200 1200

It starts the newest build of `switchyard` with one gateway thread and one router core on an empty folder, opens sessions of
users of their own from one event loop (aioquic), leaves them alone, and prints what the later ones added, each. The tests'
environment has all that it needs: `cargo xtask setup` makes it.
"""

import asyncio
import pathlib
import ssl
import struct
import sys
import tempfile
import time

import jwt
from aioquic.asyncio import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived
from cryptography.hazmat.primitives import serialization

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/harness"))

from server import Server  # noqa: E402

FORM = "switchyard.v1.json"
# Handshakes under way at a time: few enough that the server asks nobody to prove an address or to come later.
AT_ONCE = 8
PATIENCE_SECONDS = 20
# Longer than the state store takes to be told of everything.
SETTLE_SECONDS = 6


class Phone(QuicConnectionProtocol):
    """Waits for its Welcome, and then for nothing."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.heard, self.welcome = b"", asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        if self.welcome.done():
            return
        if isinstance(event, ConnectionTerminated):
            self.welcome.set_exception(ConnectionError(event.reason_phrase))
        elif isinstance(event, StreamDataReceived):
            self.heard += event.data
            if b'"welcome"' in self.heard:
                self.welcome.set_result(None)


async def opened(server, number, token, turns):
    """A session that has been welcomed; its context keeps it open."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=[FORM], server_name="localhost", idle_timeout=600.0)
    configuration.load_verify_locations(str(server.ca_path))
    configuration.verify_mode = ssl.CERT_REQUIRED
    host, port = server.addresses["quic"].rsplit(":", 1)
    async with turns:
        context = connect(host, int(port), configuration=configuration, create_protocol=Phone)
        phone = await context.__aenter__()
        hello = b'{"type":"hello","token":"%s","device":"1"}' % token(number).encode()
        stream = phone._quic.get_next_available_stream_id()
        phone._quic.send_stream_data(stream, struct.pack("<I", len(hello)) + hello)
        phone.transmit()
        await asyncio.wait_for(phone.welcome, PATIENCE_SECONDS)
        return context


async def measured(server, counts, token):
    """Resident memory with each of these numbers of sessions."""
    turns, held, bytes_of = asyncio.Semaphore(AT_ONCE), [], []
    for count in counts:
        held += await asyncio.gather(*(opened(server, number, token, turns) for number in range(len(held), count)))
        await asyncio.sleep(SETTLE_SECONDS)
        # The page is fetched beside the loop, which answers the server's pings meanwhile.
        assert await asyncio.to_thread(server.figure, "gateway_quic_sessions") == count
        bytes_of.append(server.memory_bytes())
    return bytes_of


def signer(server):
    """Signs tokens as `switchyard token` does, without a process for each."""
    pem = (server.data / "keys/dev.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, password=None)
    claims = jwt.decode(server.token(1), options={"verify_signature": False})

    def token(number):
        return jwt.encode(claims | {"sub": str(1_000 + number)}, key, algorithm="EdDSA", headers={"kid": "dev"})

    return token


def main():
    counts = [int(argument) for argument in sys.argv[1:]] or [200, 1_200]
    target = REPOSITORY / "target/bench"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as folder:
        arguments = ["--listen-quic", "127.0.0.1:0", "--gateway-cores", "1", "--router-cores", "1"]
        server = Server(pathlib.Path(folder) / "data", arguments).start()
        try:
            begun = time.monotonic()
            bytes_of = asyncio.run(measured(server, counts, signer(server)))
        finally:
            server.kill()
    for count, resident in zip(counts, bytes_of):
        print(f"{count:>7} sessions: {resident:>12,} bytes resident")
    added = (bytes_of[-1] - bytes_of[0]) / (counts[-1] - counts[0])
    print(f"{added:,.0f} bytes for each session beyond the first {counts[0]} ({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    main()
