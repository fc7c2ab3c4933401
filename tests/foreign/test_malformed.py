"""Every kind of bad input gets the documented error or close code, and disturbs nobody else."""

import json
import uuid

import pytest

from client import Client, direct, open_socket


pytestmark = pytest.mark.usefixtures("bystanders")


# RFC 6455: sent as raw bytes, for no honest library would.

MASK = b"\x00\x00\x00\x00"
WEBSOCKET = {
    "not masked": (b"\x81\x02hi", 1002),
    "a reserved bit": (b"\xc1\x82" + MASK + b"hi", 1002),
    "a reserved opcode": (b"\x83\x80" + MASK, 1002),
    "a reserved control opcode": (b"\x8b\x80" + MASK, 1002),
    "a fragmented ping": (b"\x09\x80" + MASK, 1002),
    "a ping of 126 bytes": (b"\x89\xfe\x00\x7e" + MASK + bytes(126), 1002),
    "a continuation of nothing": (b"\x80\x82" + MASK + b"hi", 1002),
    "a message inside a message": (b"\x01\x82" + MASK + b"hi" + b"\x81\x82" + MASK + b"hi", 1002),
    "a close of one byte": (b"\x88\x81" + MASK + b"x", 1002),
    "a close code that must not be sent": (b"\x88\x82" + MASK + b"\x03\xed", 1002),
    "a length that is not the shortest": (b"\x81\xfe\x00\x02" + MASK + b"hi", 1002),
    "a length with its highest bit": (b"\x81\xff\xff" + bytes(7) + MASK, 1002),
    "text that is not UTF-8": (b"\x81\x82" + MASK + b"\xc3\x28", 1007),
    "fragmented text that is not UTF-8": (b"\x01\x81" + MASK + b"\xf0" + b"\x80\x81" + MASK + b"\x28", 1007),
    "a close reason that is not UTF-8": (b"\x88\x84" + MASK + b"\x03\xe8\xc3\x28", 1007),
    "a message of a gigabyte": (b"\x82\xff\x00\x00\x00\x00\x40\x00\x00\x00" + MASK, 1009),
    "a message one byte too long": (b"\x81\xff" + (65537).to_bytes(8, "big") + MASK, 1009),
}


@pytest.mark.parametrize("data, code", WEBSOCKET.values(), ids=WEBSOCKET.keys())
def test_a_broken_websocket_frame(alice, data, code):
    alice.socket.socket.sendall(data)
    assert alice.expect_close()[0] == code


def test_fragments_that_grow_beyond_the_limit(alice):
    for part in range(9):
        alice.socket.socket.sendall((b"\x01" if part == 0 else b"\x00") + b"\xfe\x20\x00" + MASK + b" " * 8192)
    assert alice.expect_close()[0] == 1009


def test_binary_on_a_json_session(alice):
    alice.socket.send(b"\x00\x01\x02")
    assert alice.expect_close()[0] == 1003


# Frames that are not JSON frames: fatal.

NOT_FRAMES = {
    "not JSON": "hello?",
    "cut off": '{"type":"ping","nonce":"1"',
    "trailing": '{"type":"ping"} {}',
    "an array": '["ping"]',
    "a number": "7",
    "empty": "",
    "no type": "{}",
    "a type that is no string": '{"type":7}',
    "a field twice": '{"type":"ping","nonce":"1","nonce":"2"}',
    "nested too deeply": '{"type":"ping","x":' + "[" * 20000 + "]" * 20000 + "}",
}


@pytest.mark.parametrize("text", NOT_FRAMES.values(), ids=NOT_FRAMES.keys())
def test_a_text_that_is_no_frame(alice, text):
    alice.socket.send(text)
    code, errors = alice.expect_close()
    assert (code, [(error["code"], error["name"], error["fatal"]) for error in errors]) == (
        4000, [(1000, "malformed_frame", True)],
    )


def test_a_second_hello(server, alice):
    alice.put(type="hello", token=server.token(alice.user), device="1")
    code, errors = alice.expect_close()
    assert (code, [error["code"] for error in errors]) == (4000, [1002])


FIRST_FRAMES = {
    "send": {"type": "send", "client_message_id": str(uuid.uuid4()), "conversation": {"direct": "5"}, "body": {"text": "x"}},
    "ack": {"type": "ack", "conversation": {"direct": "5"}, "delivered": "1"},
    "fetch": {"type": "fetch", "request": "1", "conversation": {"direct": "5"}, "after": "0", "limit": 1},
    "renew": {"type": "renew", "token": "x.y.z"},
}


@pytest.mark.parametrize("frame", FIRST_FRAMES.values(), ids=FIRST_FRAMES.keys())
def test_a_frame_before_hello(server, frame):
    client = Client(open_socket(server))
    client.put(**frame)
    code, errors = client.expect_close()
    assert (code, [(error["code"], error["name"]) for error in errors]) == (4000, [(1002, "unexpected_frame")])


def test_nothing_at_all_before_hello_times_out(server):
    client = Client(open_socket(server))
    code, errors = client.expect_close()
    assert (code, [(error["code"], error["name"], error["retry"]) for error in errors]) == (
        4002, [(1012, "hello_timeout", True)],
    )


# Fields out of their bounds: refused, and the session goes on.

NAME = "0192f7a0-7c3e-7abc-8def-0123456789ab"


def send_with(**changes):
    frame = {"type": "send", "client_message_id": NAME, "conversation": {"direct": "77"}, "body": {"text": "hi"}}
    return {name: value for name, value in {**frame, **changes}.items() if value is not ...}


def fetch_with(**changes):
    frame = {"type": "fetch", "request": "9", "conversation": {"direct": "77"}, "after": "0", "limit": 10}
    return {name: value for name, value in {**frame, **changes}.items() if value is not ...}


INVALID, TOO_LARGE, NOT_A_MEMBER, UNSUPPORTED = (
    (1003, "invalid_field"), (1005, "too_large"), (1004, "not_a_member"), (1001, "unsupported_frame"),
)
FIELDS = {
    "user 0": (send_with(conversation={"direct": "0"}), INVALID, NAME),
    "group 0": (send_with(conversation={"group": "0"}), INVALID, NAME),
    "a group nobody made": (send_with(conversation={"group": "7"}), NOT_A_MEMBER, NAME),
    "an id that is a number": (send_with(conversation={"direct": 77}), INVALID, NAME),
    "an id with a leading zero": (send_with(conversation={"direct": "077"}), INVALID, NAME),
    "an id with a sign": (send_with(conversation={"direct": "-1"}), INVALID, NAME),
    "an id above 64 bits": (send_with(conversation={"direct": str(2**64)}), INVALID, NAME),
    "direct and group": (send_with(conversation={"direct": "77", "group": "7"}), INVALID, NAME),
    "no conversation": (send_with(conversation=...), INVALID, NAME),
    "a conversation that is text": (send_with(conversation="77"), INVALID, NAME),
    "no client message id": (send_with(client_message_id=...), INVALID, None),
    "a bad client message id": (send_with(client_message_id="not-a-uuid"), INVALID, None),
    "no body": (send_with(body=...), INVALID, NAME),
    "an empty body": (send_with(body={}), INVALID, NAME),
    "an empty text": (send_with(body={"text": ""}), INVALID, NAME),
    "a text of 4097 characters": (send_with(body={"text": "x" * 4097}), TOO_LARGE, NAME),
    "a limit of 101": (fetch_with(limit=101), INVALID, "9"),
    "a negative limit": (fetch_with(limit=-1), INVALID, "9"),
    "a limit as text": (fetch_with(limit="10"), INVALID, "9"),
    "after and before": (fetch_with(before="5"), INVALID, "9"),
    "neither after nor before": (fetch_with(after=...), INVALID, "9"),
    "a fetch of a group nobody made": (fetch_with(conversation={"group": "7"}), NOT_A_MEMBER, "9"),
    "an ack without numbers": ({"type": "ack", "conversation": {"direct": "77"}}, INVALID, None),
    "an ack with a number as number": ({"type": "ack", "conversation": {"direct": "77"}, "read": 1}, INVALID, None),
    "a frame nobody knows": ({"type": "teleport", "to": "mars"}, UNSUPPORTED, None),
    "a frame of the other direction": ({"type": "welcome"}, UNSUPPORTED, None),
}


@pytest.mark.parametrize("frame, expected, regarding", FIELDS.values(), ids=FIELDS.keys())
def test_a_field_out_of_bounds(alice, frame, expected, regarding):
    alice.put(**frame)
    error = alice.expect("error")
    assert (error["code"], error["name"]) == expected
    assert (error["fatal"], error["retry"]) == (False, False)
    assert error.get("regarding") == regarding
    assert error["reason"]
    assert alice.held("error") == [], "one answer for one frame, and the session goes on"


def test_a_frame_of_just_the_limit_is_read(alice):
    frame = json.dumps({"type": "ping", "nonce": "1", "padding": ""})
    alice.socket.send(frame.replace('""', '"' + "x" * (65536 - len(frame)) + '"'))
    alice.expect("pong", nonce="1")


def test_a_stranger_learns_nothing_of_a_conversation(server, connect, new_user, alice, bob):
    alice.say(bob.user, "between us")
    stranger = connect(server, new_user())
    stranger.put(type="fetch", request="1", conversation=direct(bob.user), after="0", limit=100)
    answer = stranger.expect("page", "error")
    assert answer.get("messages", []) == []
    assert stranger.held("deliver") == []


def test_a_client_that_vanishes_in_the_middle_of_a_frame(server, connect, new_user):
    user = new_user()
    for _ in range(5):
        client = connect(server, user)
        client.socket.socket.sendall(b"\x81\xfe\x10\x00" + MASK + b"half a fra")
        client.socket.socket.close()
    assert connect(server, user).welcome["user"] == str(user)
