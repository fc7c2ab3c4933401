"""The binary form from Python, and both forms in one conversation. What is wrong with a frame disturbs nobody else."""

import time
import uuid

import pytest

import flat
from client import BINARY, DEADLINE_SECONDS, Client, open_socket, text_of

pytestmark = pytest.mark.usefixtures("bystanders")


@pytest.fixture
def binary(server, new_user):
    """A binary session after its Welcome: (socket, user)."""
    user = new_user()
    socket = open_socket(server, BINARY)
    socket.send(flat.hello(server.token(user)))
    kind, welcome = flat.decode(socket.recv(timeout=DEADLINE_SECONDS))
    assert (kind, welcome.number(0), welcome.number(1)) == (flat.WELCOME, user, 1)
    yield socket, user
    socket.close()


def expect(socket, wanted):
    """The next frame of this kind."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        kind, fields = flat.decode(socket.recv(timeout=max(0.0, deadline - time.monotonic())))
        if kind == wanted:
            return fields


def test_binary_to_json_and_back(binary, alice):
    socket, user = binary
    conversation, name = flat.direct(user, alice.user), str(uuid.uuid4())

    socket.send(flat.send(conversation, "from FlatBuffers ✓", name))
    accepted = expect(socket, flat.ACCEPTED)
    assert accepted.words(0) == flat.uuid_words(name)
    assert accepted.words(1) == tuple(conversation)
    assert text_of(alice.expect("deliver")) == "from FlatBuffers ✓"

    alice.say(user, "from JSON ✓")
    deliver = expect(socket, flat.DELIVER)
    assert deliver.words(0) == tuple(conversation)
    assert deliver.words(1, 3)[1] == 2, "the sequence number"
    assert deliver.number(2) == alice.user
    assert flat.text_of_body(deliver.blob(3)) == "from JSON ✓"

    socket.send(flat.encode(flat.ACK, [(0, conversation), (2, 2)]))
    alice.expect_receipt(user, read=2)


@pytest.mark.parametrize("case", ["stranger's", "group"])
def test_a_strangers_conversation(binary, new_user, case):
    socket, _ = binary
    conversation = flat.direct(new_user(), new_user()) if case == "stranger's" else flat.Words((0, 7))
    name = str(uuid.uuid4())
    socket.send(flat.send(conversation, "let me in", name))
    error = expect(socket, flat.ERROR)
    assert (flat.error_code(error), error.words(5)) == (1004, flat.uuid_words(name))

    socket.send(flat.fetch(99, conversation))
    error = expect(socket, flat.ERROR)
    assert (flat.error_code(error), error.number(6)) == (1004, 99)


def test_an_unknown_frame_is_refused_and_the_session_goes_on(binary):
    socket, _ = binary
    socket.send(flat.encode(50, [(0, 1)]))
    assert flat.error_code(expect(socket, flat.ERROR)) == 1001
    socket.send(flat.encode(flat.PING, [(0, 5)]))
    assert expect(socket, flat.PONG).number(0) == 5


def good_frame():
    return flat.send(flat.Words((1, 2)), "hello")


MALFORMED = {
    "empty": b"",
    "noise": bytes(range(256)),
    "zeros": bytes(64),
    "all ones": b"\xff" * 64,
    "cut in the middle": good_frame()[: len(good_frame()) // 2],
    "root far outside": b"\xff\xff\xff\x7f" + good_frame()[4:],
    "a body that is missing": flat.encode(0, []),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_bad_flatbuffer_ends_the_session(binary, data):
    socket, user = binary
    socket.send(data)
    client = BinaryEnd(socket)
    code, errors = client.expect_close()
    assert (code, errors) == (4000, [1000])


class BinaryEnd(Client):
    """Collects what a binary session gets until it is closed."""

    def receive(self, deadline):
        kind, fields = flat.decode(self.socket.recv(timeout=max(0.0, deadline - time.monotonic())))
        return {"type": "error" if kind == flat.ERROR else kind, "code": fields and flat.error_code(fields)}

    def expect_close(self):
        code, errors = super().expect_close()
        return code, [error["code"] for error in errors]


def test_text_on_a_binary_session(binary):
    socket, _ = binary
    socket.send('{"type":"ping","nonce":"1"}')
    assert BinaryEnd(socket).expect_close()[0] == 1003


def test_an_id_of_zero(binary):
    socket, user = binary
    socket.send(flat.send(flat.Words((user, 0)), "to nobody"))
    assert flat.error_code(expect(socket, flat.ERROR)) == 1003
    socket.send(flat.send(flat.Words((user + 1, user)), "in the wrong order"))
    assert flat.error_code(expect(socket, flat.ERROR)) == 1003


def test_a_body_that_is_no_flatbuffer(binary, alice):
    socket, user = binary
    name = str(uuid.uuid4())
    fields = [(0, flat.uuid_words(name)), (1, flat.direct(user, alice.user)), (2, b"\xff" * 40)]
    socket.send(flat.encode(flat.SEND, fields))
    error = expect(socket, flat.ERROR)
    assert (flat.error_code(error), error.words(5)) == (1003, flat.uuid_words(name))
    assert alice.held("deliver") == []
