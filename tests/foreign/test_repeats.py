"""A Send repeated with the same client message id is one message."""

import uuid

from client import text_of


def test_a_repeat_gets_the_first_result(alice, bob):
    name = str(uuid.uuid4())
    first = alice.expect("accepted", client_message_id=alice.send(bob.user, "once", name))
    second = alice.expect("accepted", client_message_id=alice.send(bob.user, "once", name))
    assert first == second

    alice.say(bob.user, "the end")
    assert [text_of(bob.expect("deliver")) for _ in range(2)] == ["once", "the end"]


def test_repeats_that_are_pending_get_the_same_result(alice, bob):
    name = str(uuid.uuid4())
    for _ in range(20):
        alice.send(bob.user, "once", name)
    answers = [alice.expect("accepted", client_message_id=name) for _ in range(20)]
    assert all(answer == answers[0] for answer in answers)
    assert alice.say(bob.user, "the end")["sequence"] == "2"


def test_a_repeat_in_a_new_session_gets_the_first_result(server, connect, bob, new_user):
    user, name = new_user(), str(uuid.uuid4())
    alice = connect(server, user)
    first = alice.expect("accepted", client_message_id=alice.send(bob.user, "once", name))
    alice.close()

    alice = connect(server, user)
    assert alice.expect("accepted", client_message_id=alice.send(bob.user, "once", name)) == first


def test_the_name_belongs_to_the_device_and_the_conversation(server, connect, new_user, alice, bob):
    name, carol, laptop = str(uuid.uuid4()), new_user(), connect(server, alice.user, device=2)
    first = alice.expect("accepted", client_message_id=alice.send(bob.user, "phone", name))
    other_device = laptop.expect("accepted", client_message_id=laptop.send(bob.user, "laptop", name))
    other_conversation = alice.expect("accepted", client_message_id=alice.send(carol, "to Carol", name))
    assert len({frame["message"] for frame in (first, other_device, other_conversation)}) == 3


def test_the_last_256_names_are_known(alice, bob):
    names = [str(uuid.uuid4()) for _ in range(256)]
    firsts = {}
    for name in names:
        alice.send(bob.user, "x", name)
    for name in names:
        firsts[name] = alice.expect("accepted", client_message_id=name)
    for name in names:
        alice.send(bob.user, "x", name)
    assert all(alice.expect("accepted", client_message_id=name) == firsts[name] for name in names)
