"""Several devices of one user."""

from client import Client, direct, open_socket, text_of


def test_every_device_gets_the_message(server, connect, alice, bob):
    tablet = connect(server, bob.user, device=2)
    alice.say(bob.user, "everywhere")
    assert text_of(bob.expect("deliver")) == "everywhere"
    assert text_of(tablet.expect("deliver")) == "everywhere"


def test_the_senders_other_devices_get_the_message_with_its_origin(server, connect, alice, bob):
    laptop = connect(server, alice.user, device=2)
    name = alice.send(bob.user, "from my phone")
    accepted = alice.expect("accepted", client_message_id=name)

    copy = laptop.expect("deliver")

    assert copy["conversation"] == direct(bob.user)
    assert (copy["message"], copy["sender"]) == (accepted["message"], str(alice.user))
    assert (copy["device"], copy["client_message_id"]) == ("1", name)
    assert alice.held("deliver") == [], "the sending device gets Accepted, not a copy"


def test_a_later_device_starts_at_the_users_watermark(server, connect, alice, bob):
    alice.say(bob.user, "old")
    bob.expect("deliver")
    bob.ack(alice.user, delivered=1)
    alice.expect_receipt(bob.user, delivered=1)
    alice.say(bob.user, "new")

    tablet = connect(server, bob.user, device=2)
    assert text_of(tablet.expect("deliver")) == "new"
    assert tablet.held("deliver") == []


def test_the_same_device_connecting_again_replaces_the_session(server, connect, alice, bob):
    newer = connect(server, bob.user)
    code, errors = bob.expect_close()
    assert code == 4003
    assert [(error["code"], error["name"], error["fatal"]) for error in errors] == [(1013, "session_replaced", True)]

    alice.say(bob.user, "to the newer one")
    assert text_of(newer.expect("deliver")) == "to the newer one"


def test_a_ninth_device_is_refused(server, connect, new_user):
    user = new_user()
    devices = [connect(server, user, device=number) for number in range(1, 9)]
    ninth = Client(open_socket(server), user, 9)
    ninth.put(type="hello", token=server.token(user), device="9")
    code, errors = ninth.expect_close()
    assert code == 4000
    assert [(error["code"], error["name"]) for error in errors] == [(1008, "too_many_devices")]
    assert devices[0].held("error") == []
