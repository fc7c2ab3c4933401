"""A thread of the server that makes no progress for six seconds: the operator sees which, whoever needs it waits, nobody
else notices, and nothing is lost. It is stopped as a debugger stops a thread, wherever it is just then.
"""

import contextlib
import socket
import time

import pytest

from bystanders import talk
from client import text_of
from stand_still import stand_still
from waiting import until

# Longer than a handshake may take.
STALL_SECONDS = 6
MEBIBYTE = 1 << 20
SHARDS, CORES = 64, 2
# Sends that one device may have unanswered, and how many devices use up what a gateway thread may have unanswered at a core.
PENDING, SENDERS = 256, 5
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: switchyard.v1.json\r\n\r\n"
)
# More acks than a link to a router core has slots.
ACKS = 10_000


def mix(word):
    """The finaliser of SplitMix64, as in schema/src/ids.rs: it decides where data lives, so it never changes."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def core_of_user(user):
    return mix(0x5357554348590001 ^ user) % SHARDS % CORES


def core_of_conversation(*users):
    return mix(mix(min(users) ^ 0x5357554348590002) ^ max(users)) % SHARDS % CORES


@pytest.fixture
def server(own_server):
    """One gateway thread, so that every request meets the same links."""
    own_server.arguments = ["--gateway-cores", "1", "--router-cores", str(CORES)]
    own_server.start()
    yield own_server
    assert own_server.stop() == 0, own_server.log_text()


@pytest.fixture
def pair(server, connect, new_user):
    """A function that connects two users of certain cores whose conversation lies on a certain core."""

    def pair(one, other, conversation):
        found = []
        while not (found and core_of_conversation(*found) == conversation):
            found = [next(user for user in iter(new_user, None) if core_of_user(user) == core) for core in (one, other)]
        return [connect(server, user) for user in found]

    return pair


@contextlib.contextmanager
def stalled(server, thread):
    """While the thread stands still. `go_on` answers whether that has lasted for long enough."""
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(stand_still(server.pid, thread))
        except PermissionError as error:
            pytest.skip(f"this machine does not allow a thread to be stopped (ptrace: {error})")
        yield lambda: time.monotonic() - begun >= STALL_SECONDS


def blames(server, thread):
    """Whether both health pages say that this thread, and no other, makes no progress."""
    for page in ("/healthz", "/readyz"):
        status, text = server.admin(page)
        lines = [line for line in text.splitlines() if "no progress" in line]
        if status != 503 or len(lines) != 1 or not lines[0].startswith(f"{thread}: "):
            return False
    return True


def test_a_router_core(server, pair):
    here, there = pair(0, 0, 0), pair(1, 1, 1)
    talk(*here)
    talk(*there)
    assert server.is_well() and server.figure("router_stalls") == 0
    with stalled(server, "router-1") as is_over:
        name = there[0].send(there[1].user, "waits")
        until("health to tell", lambda: blames(server, "router core 1"), meanwhile=lambda: talk(*here))
        silence = server.figures("router_silence_ms")
        assert silence["1"] >= 2_000 > silence["0"]
        assert 'switchyard_router_silence_seconds{core="1"}' in server.admin("/metrics")[1]
        until("the stall to last", is_over, meanwhile=lambda: talk(*here))
        assert blames(server, "router core 1")
        assert not there[0].held("accepted")
    accepted = there[0].expect("accepted", client_message_id=name)
    assert text_of(there[1].expect("deliver", message=accepted["message"])) == "waits"
    until("health to return", lambda: server.is_well())
    assert server.figures("router_stalls") == {"0": 0, "1": 1}
    assert "router core 1: no progress" in server.log_text() and "this router core stood still" in server.log_text()


def test_senders_and_acks_that_fill_every_link_to_a_router_core(server, pair):
    """Users of the other core among them: what waits at the stalled core must not use up what the other has for others."""
    here = pair(0, 0, 0)
    kinds = [(1, 1, 1), (0, 1, 1), (1, 0, 0)]
    senders = [pair(*where) for where in kinds for _ in range(SENDERS)]
    acknowledging, peer = pair(1, 1, 1)
    talk(acknowledging, peer)
    sent, before = [], server.memory_bytes()
    assert server.figure("gateway_credit_stalls") == server.figure("gateway_room_stalls") == 0
    with stalled(server, "router-1") as is_over:
        for sender, recipient in senders:
            sent.append([sender.send(recipient.user, str(number)) for number in range(PENDING + 10)])
            talk(*here)
        until("each kind of senders to want credits", lambda: server.figure("gateway_credit_stalls") >= len(kinds))
        assert server.figure("gateway_room_stalls") == 0, "what holds a credit has its room"
        for _ in range(ACKS):
            peer.ack(acknowledging.user, delivered=1)
        until("the acks to want room", lambda: server.figure("gateway_room_stalls") > 0)
        until("health to tell", lambda: blames(server, "router core 1"), meanwhile=lambda: talk(*here))
        until("the stall to last", is_over, meanwhile=lambda: talk(*here))
        assert server.memory_bytes() - before < 64 * MEBIBYTE
        newcomers = pair(0, 0, 0)
        talk(*newcomers)
    for (sender, recipient), names in zip(senders, sent):
        accepted = [sender.expect("accepted", client_message_id=name) for name in names]
        assert [int(answer["sequence"]) for answer in accepted] == list(range(1, len(names) + 1))
        delivered = []
        while len(delivered) < len(names):
            delivered.append(text_of(recipient.expect("deliver", sequence=str(len(delivered) + 1))))
            recipient.ack(sender.user, delivered=len(delivered))
        assert delivered == [str(number) for number in range(len(names))]
    talk(acknowledging, peer)
    until("health to return", lambda: server.is_well())


def test_a_gateway_thread(own_server, connect, new_user):
    own_server.arguments = ["--gateway-cores", "2", "--router-cores", "1"]
    server = own_server.start()

    def connect_to(thread):
        """A client that the kernel gave to a certain gateway thread."""
        while True:
            before = server.figures("gateway_sessions")[thread]
            client = connect(server, new_user())
            if server.figures("gateway_sessions")[thread] > before:
                return client

    here, there = [connect_to("0") for _ in range(2)], [connect_to("1") for _ in range(2)]
    talk(*there)
    # Some of them come to the thread that stands still.
    host, port = server.addresses["ws"].rsplit(":", 1)
    newcomers = [socket.create_connection((host, int(port)), timeout=20) for _ in range(8)]
    until("all to be accepted", lambda: server.figure("gateway_upgrading") == len(newcomers))
    with stalled(server, "gateway-1") as is_over:
        for newcomer in newcomers:
            newcomer.sendall(UPGRADE)
        name = there[0].send(here[0].user, "waits")
        accepted = here[1].say(there[1].user, "kept")
        until("health to tell", lambda: blames(server, "gateway thread 1"), meanwhile=lambda: talk(*here))
        until("the stall to last", is_over, meanwhile=lambda: talk(*here))
        assert blames(server, "gateway thread 1")
        assert server.figures("gateway_silence_ms")["1"] >= 2_000
    there[0].expect("accepted", client_message_id=name)
    assert text_of(here[0].expect("deliver", sender=str(there[0].user))) == "waits"
    assert text_of(there[1].expect("deliver", message=accepted["message"])) == "kept"
    # What they said came in time, though it is read late.
    for newcomer in newcomers:
        with newcomer:
            assert newcomer.recv(100).startswith(b"HTTP/1.1 101 ")
    until("health to return", lambda: server.is_well())
    assert server.figures("gateway_stalls") == {"0": 0, "1": 1}
    assert server.stop() == 0, server.log_text()
