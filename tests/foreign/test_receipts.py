"""Receipts: told to everyone concerned, never going back, and caught up after an absence."""

from client import direct


def test_the_sender_learns_of_delivery_and_reading(alice, bob):
    alice.say(bob.user, "hi")
    bob.expect("deliver")

    bob.ack(alice.user, delivered=1)
    first = alice.expect("receipt")
    assert first == {
        "type": "receipt", "conversation": direct(bob.user), "member": str(bob.user), "delivered": "1", "read": "0",
    }

    bob.ack(alice.user, read=1)
    second = alice.expect("receipt")
    assert (second["delivered"], second["read"]) == ("1", "1")


def test_reading_implies_delivery(alice, bob):
    alice.say(bob.user, "hi")
    bob.expect("deliver")
    bob.ack(alice.user, read=1)
    receipt = alice.expect("receipt")
    assert (receipt["delivered"], receipt["read"]) == ("1", "1")


def test_the_acknowledging_user_sees_the_watermark_too(alice, bob):
    alice.say(bob.user, "hi")
    bob.expect("deliver")
    bob.ack(alice.user, delivered=1)
    bob.expect_receipt(alice.user, member=bob.user, delivered=1)


def test_a_watermark_never_goes_back(alice, bob):
    for count in range(5):
        alice.say(bob.user, str(count))
        bob.expect("deliver")
    bob.ack(alice.user, delivered=5)
    alice.expect_receipt(bob.user, delivered=5)

    bob.ack(alice.user, delivered=2)
    bob.ack(alice.user, read=3)
    receipt = alice.expect("receipt")
    assert (receipt["delivered"], receipt["read"]) == ("5", "3")


def test_receipts_missed_while_away_are_caught_up(server, connect, new_user, bob):
    sender = new_user()
    alice = connect(server, sender)
    alice.say(bob.user, "read this while I am gone")
    alice.close()

    bob.expect("deliver")
    bob.ack(sender, read=1)
    bob.expect_receipt(sender, member=bob.user, read=1)

    alice = connect(server, sender)
    assert alice.watermark_of(bob.user) == (1, 1)


def test_the_watermark_is_the_highest_of_the_devices(server, connect, alice, bob):
    tablet = connect(server, bob.user, device=2)
    for count in range(3):
        alice.say(bob.user, str(count))
        bob.expect("deliver")
        tablet.expect("deliver")
    tablet.ack(alice.user, delivered=3)
    alice.expect_receipt(bob.user, delivered=3)
    bob.ack(alice.user, delivered=1)
    bob.ack(alice.user, read=1)
    receipt = alice.expect("receipt")
    assert (receipt["delivered"], receipt["read"]) == ("3", "1")
