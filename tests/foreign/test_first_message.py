"""The thinnest message: from one Python client to another."""

import uuid

from client import direct, text_of


def test_welcome_tells_the_limits(alice):
    welcome = alice.welcome
    assert welcome["user"] == str(alice.user)
    assert welcome["device"] == "1"
    assert welcome["heartbeat_ms"] == 30000
    assert welcome["max_frame_bytes"] == 65536
    assert welcome["delivery_window"] == 256
    assert welcome["max_pending_sends"] == 256
    assert int(welcome["time_ms"]) > 1_704_067_200_000


def test_a_message_reaches_the_other_user(alice, bob):
    name = alice.send(bob.user, "hello, Bob ✓")

    accepted = alice.expect("accepted", client_message_id=name)
    delivered = bob.expect("deliver")

    assert accepted["conversation"] == direct(bob.user)
    assert accepted["sequence"] == "1"
    assert delivered["conversation"] == direct(alice.user)
    assert delivered["sender"] == str(alice.user)
    assert text_of(delivered) == "hello, Bob ✓"
    for field in ("message", "sequence", "time_ms"):
        assert delivered[field] == accepted[field]
    assert "client_message_id" not in delivered, "only the sender's own devices learn it"


def test_an_answer_takes_the_next_sequence_number(alice, bob):
    alice.say(bob.user, "ping?")
    answer = bob.say(alice.user, "pong!")
    assert answer["sequence"] == "2"
    assert text_of(alice.expect("deliver")) == "pong!"


def test_many_messages_arrive_in_order(alice, bob):
    names = [alice.send(bob.user, f"number {count}") for count in range(200)]
    accepted = [alice.expect("accepted", client_message_id=name) for name in names]
    delivered = [bob.expect("deliver") for _ in names]
    assert [int(frame["sequence"]) for frame in accepted] == list(range(1, 201))
    assert [int(frame["sequence"]) for frame in delivered] == list(range(1, 201))
    assert [text_of(frame) for frame in delivered] == [f"number {count}" for count in range(200)]
    ids = [int(frame["message"]) for frame in delivered]
    assert ids == sorted(set(ids))


def test_conversations_are_independent(server, connect, new_user, alice, bob):
    carol = connect(server, new_user())
    assert alice.say(bob.user, "for Bob")["sequence"] == "1"
    assert alice.say(carol.user, "for Carol")["sequence"] == "1"
    assert text_of(bob.expect("deliver")) == "for Bob"
    assert text_of(carol.expect("deliver")) == "for Carol"
    assert bob.held("deliver") == []


def test_a_chat_with_oneself(server, connect, alice):
    other_device = connect(server, alice.user, device=2)
    accepted = alice.say(alice.user, "note to self")
    note = other_device.expect("deliver")
    assert (note["message"], text_of(note)) == (accepted["message"], "note to self")
    assert note["conversation"] == direct(alice.user)


def test_the_largest_text(alice, bob):
    text = "✓" * 4096
    alice.say(bob.user, text)
    assert text_of(bob.expect("deliver")) == text


def test_ping(alice):
    nonce = str(2**64 - 1)
    alice.put(type="ping", nonce=nonce)
    alice.expect("pong", nonce=nonce)


def test_the_token_may_come_as_a_header(server, new_user):
    from client import Client, open_socket

    user = new_user()
    token = server.token(user)
    client = Client(open_socket(server, additional_headers={"Authorization": f"Bearer {token}"}), user, 1)
    client.put(type="hello", device="1")
    assert client.expect("welcome")["user"] == str(user)
    client.close()


def test_unknown_fields_are_ignored_and_null_is_absent(alice, bob):
    name = str(uuid.uuid4())
    body = {"text": "from the future", "sparkle": [1, 2]}
    alice.put(type="send", client_message_id=name, conversation=direct(bob.user), body=body, mood="good", reply_to=None)
    alice.expect("accepted", client_message_id=name)
    assert text_of(bob.expect("deliver")) == "from the future"
