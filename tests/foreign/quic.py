"""A small QUIC client on PyPI `aioquic`, written from docs/protocol.md alone: either form, on one stream, behind lengths; large pages
on streams of their own; what may be said early when it comes back.

aioquic lives in an event loop of a thread of its own; the tests call it like any other client.
"""

import asyncio
import json
import socket
import ssl
import struct
import threading
import time

from aioquic.asyncio import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived

import flat
from client import BINARY, DEADLINE_SECONDS, JSON


class Protocol(QuicConnectionProtocol):
    """Keeps what comes."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.received, self.ended, self.terminated = bytearray(), False, None
        self.asides, self.pages, self.handshake = {}, [], None
        self.changed = asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived) and event.stream_id & 2:
            # A stream in one direction: RFC 9000 §2.1.
            said = self.asides.setdefault(event.stream_id, bytearray())
            said += event.data
            if event.end_stream:
                self.pages.append(bytes(self.asides.pop(event.stream_id)))
        elif isinstance(event, StreamDataReceived):
            self.received += event.data
            self.ended |= event.end_stream
        elif isinstance(event, HandshakeCompleted):
            self.handshake = event
        elif isinstance(event, ConnectionTerminated):
            self.terminated = event
        self.changed.set()


class QuicClient:
    """One connection; with `resumes`, the ticket of another one, it says the frames in `early` with its first datagrams."""

    def __init__(self, server, form=BINARY, resumes=None, early=(), **options):
        self.form = form
        host, port = server.addresses["quic"].rsplit(":", 1)
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=[form] if form else [], server_name="localhost", idle_timeout=120.0, **options
        )
        configuration.session_ticket = resumes
        self.tickets = []
        configuration.load_verify_locations(str(server.data / "tls/ca.pem"))
        configuration.verify_mode = ssl.CERT_REQUIRED
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.context = connect(
            host,
            int(port),
            configuration=configuration,
            create_protocol=Protocol,
            session_ticket_handler=self.keep_ticket,
            wait_connected=resumes is None,
        )
        self.protocol = None
        try:
            self.protocol = self.run(self.context.__aenter__())
        except BaseException:
            self.loop.call_soon_threadsafe(self.loop.stop)
            raise
        self.stream = self.protocol._quic.get_next_available_stream_id()
        if early:
            self.put(b"".join(struct.pack("<I", len(frame)) + frame for frame in early))

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE_SECONDS)

    def call(self, function, *arguments, **options):
        """Calls something of aioquic in its loop, and sends what that brings forth."""

        async def called():
            result = function(*arguments, **options)
            self.protocol and self.protocol.transmit()
            return result

        return self.run(called())

    def put(self, data, end=False):
        """Writes bytes to the session's stream as they are."""
        self.call(self.protocol._quic.send_stream_data, self.stream, data, end)

    def send(self, frame):
        self.put(struct.pack("<I", len(frame)) + frame)

    def say(self, **frame):
        self.send(json.dumps(frame).encode())

    def wait(self, look):
        """Waits until `look` finds something."""

        async def waited():
            while (found := look()) is None:
                self.protocol.changed.clear()
                await self.protocol.changed.wait()
            return found

        return self.run(waited())

    def next_frame(self):
        received = self.protocol.received
        if len(received) < 4 or len(received) < 4 + (length := struct.unpack_from("<I", received)[0]):
            return None
        frame = bytes(received[4 : 4 + length])
        del received[: 4 + length]
        return frame

    def receive(self):
        """The next frame: kind and fields of a binary one, the object of a JSON one."""
        frame = self.wait(self.next_frame)
        return flat.decode(frame) if self.form == BINARY else json.loads(frame)

    def receive_page(self):
        """The next page that comes on a stream of its own: its length, the page, and the end."""
        page = self.wait(lambda: self.protocol.pages.pop(0) if self.protocol.pages else None)
        assert struct.unpack_from("<I", page)[0] == len(page) - 4
        return flat.decode(page[4:]) if self.form == BINARY else json.loads(page[4:])

    def early_data_accepted(self):
        """Whether what was said early was heard, which is known when the handshake is done."""
        return self.wait(lambda: self.protocol.handshake).early_data_accepted

    def keep_ticket(self, ticket):
        self.tickets.append(ticket)
        self.protocol and self.protocol.changed.set()

    def ticket(self):
        """What another connection can resume."""
        return self.wait(lambda: self.tickets.pop() if self.tickets else None)

    def expect(self, wanted):
        """The next frame of this kind or type."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            if self.form == BINARY:
                kind, fields = self.receive()
                if kind == wanted:
                    return fields
            elif (frame := self.receive())["type"] == wanted:
                return frame
        raise AssertionError(f"no {wanted} came in time")

    def hello(self, token, device=1):
        if self.form == JSON:
            self.say(type="hello", token=token, device=str(device))
            return self.expect("welcome")
        self.send(flat.hello(token, device))
        return self.expect(flat.WELCOME)

    def expect_close(self):
        """Waits until the server closes; answers code and reason."""
        event = self.wait(lambda: self.protocol.terminated)
        return event.error_code, event.reason_phrase

    def rebind(self):
        """Goes on from another port."""

        async def rebound():
            old = self.protocol._transport
            # As aioquic makes its own: an address of IPv6 that speaks IPv4 too.
            new = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            new.bind(("::", 0))
            await self.loop.create_datagram_endpoint(lambda: self.protocol, sock=new)
            old.abort()

        self.run(rebound())

    def close(self):
        try:
            self.run(self.context.__aexit__(None, None, None))
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
