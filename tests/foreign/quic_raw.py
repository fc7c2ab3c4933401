"""A QUIC client whose every datagram is in the test's hands: aioquic's state machine over a plain socket, with no loop.

    with contextlib.closing(RawClient(server)) as raw:
        raw.handshake()
        raw.inject(ONE_RTT, varint(0x1E))  # HANDSHAKE_DONE, which only a server may send
        assert raw.expect_close() == QuicErrorCode.PROTOCOL_VIOLATION

What aioquic would never send is made here from its keys; what it would send can be kept back (`muted`).
"""

import select
import socket
import ssl
import struct
import time

from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.events import HandshakeCompleted, PingAcknowledged, StreamDataReceived
from aioquic.tls import Epoch

import flat
from client import BINARY
from quic_frames import varint
from waiting import until

INITIAL, HANDSHAKE, ONE_RTT = Epoch.INITIAL, Epoch.HANDSHAKE, Epoch.ONE_RTT
# RFC 9000 §14.1.
DATAGRAM_BYTES_MIN = 1200
PAUSE_SECONDS = 0.01
# Of the AEAD of each cipher suite that there is; RFC 9001 §5.3.
TAG_BYTES = 16


def sized(data):
    """Bytes behind their number, as connection ids are."""
    return bytes([len(data)]) + data


class RawQuic(QuicConnection):
    """aioquic's connection, which can be made to say something else in its handshake."""

    def __init__(self, edit, edit_hello, **options):
        super().__init__(**options)
        self.edit, self.edit_hello, self.largest_acked = edit, edit_hello, -1

    def _serialize_transport_parameters(self):
        """The parameters as pairs of id and value go through `edit`."""
        buffer, pairs = Buffer(data=super()._serialize_transport_parameters()), []
        while not buffer.eof():
            pairs.append((buffer.pull_uint_var(), buffer.pull_bytes(buffer.pull_uint_var())))
        return b"".join(
            varint(id_) + varint(len(value)) + value if value is not None else id_ for id_, value in self.edit(pairs)
        )

    def _initialize(self, peer_cid):
        super()._initialize(peer_cid)
        self.edit_hello(self.tls)

    def _handle_ack_frame(self, context, frame_type, buffer):
        at = buffer.tell()
        self.largest_acked = max(self.largest_acked, buffer.pull_uint_var())
        buffer.seek(at)
        super()._handle_ack_frame(context, frame_type, buffer)


class RawClient:
    """One connection."""

    def __init__(self, server, alpn=(BINARY,), edit=lambda pairs: pairs, edit_hello=lambda tls: None, **options):
        host, port = server.addresses["quic"].rsplit(":", 1)
        self.address = (host, int(port))
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=alpn, server_name="localhost", idle_timeout=120.0, **options
        )
        configuration.load_verify_locations(str(server.ca_path))
        configuration.verify_mode = ssl.CERT_REQUIRED
        self.quic = RawQuic(edit, edit_hello, configuration=configuration)
        self.socket = self.new_socket()
        self.muted, self.events = False, []
        self.received_datagrams = []
        self.quic.connect(self.address, time.monotonic())

    def new_socket(self):
        """A socket of a port of its own that speaks to the server."""
        new = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        new.setblocking(False)
        new.connect(self.address)
        return new

    def turn(self):
        """Sends what is to be sent, unless that is kept back; waits a moment and takes what has come."""
        now = time.monotonic()
        timer = self.quic.get_timer()
        if not self.muted:
            if timer is not None and timer <= now:
                self.quic.handle_timer(now)
            for data, _ in self.quic.datagrams_to_send(now):
                self.socket.send(data)
        self.take(PAUSE_SECONDS)

    def take(self, wait_seconds=0.0):
        """Takes what has come."""
        if select.select([self.socket], [], [], wait_seconds)[0]:
            while (data := self.receive()) is not None:
                self.received_datagrams.append(data)
                self.quic.receive_datagram(data, self.address, time.monotonic())
        while (event := self.quic.next_event()) is not None:
            self.events.append(event)

    def receive(self):
        try:
            return self.socket.recv(65536)
        except BlockingIOError:
            return None

    def wait(self, what, look):
        return until(what, look, self.turn)

    def has(self, kind):
        return any(isinstance(event, kind) for event in self.events)

    def begin(self):
        """Sends the client's first flight and nothing more; answers how many bytes that were."""
        self.muted = True
        first = [data for data, _ in self.quic.datagrams_to_send(time.monotonic())]
        return sum(map(self.socket.send, first))

    def handshake(self):
        self.wait("the handshake", lambda: self.has(HandshakeCompleted) or self.closed_with())
        assert self.closed_with() is None, self.quic._close_event
        self.wait("its confirmation", lambda: self.quic._handshake_confirmed)

    def hello(self, token):
        """Opens a session, on the stream that a client has."""
        frame = flat.hello(token)
        self.quic.send_stream_data(0, struct.pack("<I", len(frame)) + frame)
        self.wait("a welcome", lambda: self.has(StreamDataReceived) or self.closed_with())
        assert self.closed_with() is None, self.quic._close_event

    def goes_on(self):
        """Fails when the connection does not live."""
        self.events.clear()
        self.quic.send_ping(7)
        self.wait("an answer", lambda: self.has(PingAcknowledged) or self.closed_with())
        assert self.closed_with() is None, self.quic._close_event

    def closed_with(self):
        """The code of the server's CONNECTION_CLOSE, if it has come."""
        is_over = self.quic._state in (QuicConnectionState.DRAINING, QuicConnectionState.TERMINATED)
        return (self.quic._close_event,) if is_over else None

    def expect_close(self):
        """Waits for the server's CONNECTION_CLOSE, and answers its code: of the transport, not of the application."""
        (event,) = self.wait("the end", self.closed_with)
        assert event.frame_type is not None, f"closed by the application: {event}"
        return event.error_code

    def was_reset(self):
        """Whether a datagram ends with a token that the server has given for one of its ids (RFC 9000 §10.3.1)."""
        ids = [self.quic._peer_cid, *self.quic._peer_cid_available]
        tokens = [one.stateless_reset_token for one in ids if one.stateless_reset_token]
        return any(data[-16:] in tokens for data in self.received_datagrams)

    # Packets

    def packet(self, epoch, payload, reserved=0):
        """A packet with these frames, protected with the connection's keys."""
        quic = self.quic
        number, quic._packet_number = quic._packet_number, quic._packet_number + 1
        # Four bytes of number: header protection finds its sample even where there are no frames (RFC 9001 §5.4.2).
        number_bytes, crypto = (number & 0xFFFFFFFF).to_bytes(4, "big"), quic._cryptos[epoch]
        if epoch == ONE_RTT:
            header = bytes([0x43 | reserved | crypto.key_phase << 2]) + quic._peer_cid.cid
        else:
            kind = {INITIAL: 0x00, HANDSHAKE: 0x20}[epoch]
            header = bytes([0xC3 | kind | reserved]) + quic._version.to_bytes(4, "big")
            header += sized(quic._peer_cid.cid) + sized(quic.host_cid)
            if epoch == INITIAL:
                header += varint(len(quic._peer_token)) + quic._peer_token
            header += varint(len(number_bytes) + len(payload) + TAG_BYTES)
        return crypto.encrypt_packet(header + number_bytes, payload, number)

    def inject(self, epoch, payload, reserved=0):
        """Sends a packet with these frames in a datagram of its own; answers how large that is."""
        if epoch == INITIAL:
            payload = payload.ljust(DATAGRAM_BYTES_MIN, b"\0")
        return self.socket.send(self.packet(epoch, payload, reserved))

    def close(self):
        if self.quic._state is QuicConnectionState.CONNECTED and not self.muted:
            self.quic.close()
            for data, _ in self.quic.datagrams_to_send(time.monotonic()):
                self.socket.send(data)
        self.socket.close()
