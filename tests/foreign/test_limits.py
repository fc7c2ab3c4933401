"""Who asks for too much is told when to try again, and is served then; others do not notice."""

import socket

import pytest

from client import Client, direct
from conftest import serving

# One a second, so that ten at once are the most.
LIMITS = {
    "SENDS_PER_SECOND": 1, "FETCHES_PER_SECOND": 1, "PINGS_PER_SECOND": 1, "NEW_CONVERSATIONS_PER_HOUR": 2,
    "USER_SENDS_PER_SECOND": 2,
}


@pytest.fixture(scope="module")
def limited():
    with serving(environment={f"SWITCHYARD_LIMITS__{k}": str(v) for k, v in LIMITS.items()}) as server:
        yield server


def errors_of(client, names):
    """The errors regarding these, by their names, once everything is answered."""
    answers = {}
    for name in names:
        frame = client.expect("accepted", "page", "error", **{})
        key = frame.get("regarding") or frame.get("client_message_id") or frame.get("request")
        answers[key] = frame
    return [answers[name] for name in names if answers[name]["type"] == "error"]


def check(errors, expect):
    assert len(errors) == expect
    for error in errors:
        assert (error["name"], error["code"], error["fatal"], error["retry"]) == ("rate_limited", 1017, False, True)
        assert 0 < error["retry_after_ms"] <= 1000


def until_accepted(client, peer, name):
    """Repeats a send as often as it is told to."""
    while client.expect("accepted", "error", **{})["type"] == "error":
        client.send(peer, "again", name)


def test_sends_of_a_connection(limited, connect, new_user):
    alice, peer = connect(limited, new_user()), new_user()
    names = [alice.send(peer, str(number)) for number in range(13)]
    errors = errors_of(alice, names)
    assert 1 <= len(errors) <= 3, "ten at once, and perhaps one or two that came back meanwhile"
    check(errors, len(errors))
    name = errors[0]["regarding"]
    alice.send(peer, "again", name)
    until_accepted(alice, peer, name)
    history = alice.fetch(peer, after=0)["messages"]
    assert len(history) == 13 - len(errors) + 1, "what was refused had no effect, and what was repeated has"


def test_sends_of_a_user_over_several_connections(limited, connect, new_user):
    user, peer = new_user(), new_user()
    devices = [connect(limited, user, device) for device in (1, 2, 3)]
    names = [[device.send(peer, "hi") for _ in range(9)] for device in devices]
    refused = [errors_of(device, sent) for device, sent in zip(devices, names)]
    assert all(len(errors) < 9 for errors in refused), "each has fewer than its connection may"
    assert sum(map(len, refused)) >= 1, "together they have more than the user may"
    other = connect(limited, new_user())
    assert other.say(peer, "hello")["sequence"] == "1"


def test_fetches_and_pings(limited, connect, new_user):
    alice, peer = connect(limited, new_user()), new_user()
    alice.say(peer, "hi")
    requests = [str(number) for number in range(1, 31)]
    refused = 0
    for request in requests:
        alice.put(type="fetch", request=request, conversation=direct(peer), after="0", limit=10)
        answer = alice.expect("page", "error")
        if answer["type"] == "error":
            refused += 1
            assert (answer["name"], answer["regarding"]) == ("rate_limited", request)
    assert refused >= 10
    for nonce in range(30):
        alice.put(type="ping", nonce=str(nonce))
    answers = [alice.expect("pong", "error") for _ in range(30)]
    errors = [answer for answer in answers if answer["type"] == "error"]
    check(errors, len(errors))
    assert len(errors) >= 10 and all(error["regarding"] is None for error in errors)


def test_new_conversations_in_an_hour(limited, connect, new_user):
    alice, strangers = connect(limited, new_user()), [new_user() for _ in range(3)]
    for stranger in strangers[:2]:
        assert alice.say(stranger, "hello")["sequence"] == "1"
    name = alice.send(strangers[2], "hello")
    error = alice.expect_error("rate_limited", regarding=name)
    assert 1_000 < error["retry_after_ms"] <= 1_800_000 and not error["fatal"]
    assert alice.say(strangers[0], "we know each other")["sequence"] == "2"
    # Who was not written to may write, and is answered.
    third = connect(limited, strangers[2])
    assert third.say(alice.user, "hi")["sequence"] == "1"
    assert alice.expect("accepted", client_message_id=alice.send(strangers[2], "oh"))["sequence"] == "2"


def test_connections_of_an_address(own_server):
    own_server.environment["SWITCHYARD_LIMITS__HANDSHAKES_PER_SECOND"] = "1"
    own_server.arguments = ["--gateway-cores", "1"]
    server = own_server.start()
    host, port = server.addresses["ws"].rsplit(":", 1)

    def status(source="127.0.0.1"):
        with socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0)) as stream:
            stream.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            return stream.makefile("rb").read()

    answers = [status() for _ in range(12)]
    limited = [answer for answer in answers if answer.startswith(b"HTTP/1.1 429 ")]
    assert limited and all(b"\r\nRetry-After: 1\r\n" in answer for answer in limited)
    assert status("127.0.0.9").startswith(b"HTTP/1.1 404 "), "another address does not notice"
    assert server.admin("/readyz")[0] == 200
