"""The duty to acknowledge: the delivery window, and what an Ack may say."""

import pytest

from client import text_of

WINDOW = 256


@pytest.fixture
def flood(server, connect, new_user):
    """A client that keeps going where one device's window of unanswered sends would stop it."""

    def flood(to, texts):
        sender = connect(server, new_user())
        names = []
        for index, text in enumerate(texts):
            names.append(sender.send(to, text))
            if index >= 100:
                sender.expect("accepted", client_message_id=names[index - 100])
        for name in names[-100:]:
            sender.expect("accepted", client_message_id=name)
        return sender

    return flood


def test_nothing_comes_beyond_the_window_until_an_ack(flood, bob):
    sender = flood(bob.user, [str(count) for count in range(WINDOW + 50)])
    received = [text_of(bob.expect("deliver")) for _ in range(WINDOW)]
    stalled = bob.expect_error("delivery_stalled")
    assert (stalled["code"], stalled["fatal"], stalled["retry"]) == (1015, False, False)
    assert bob.held("deliver") == []

    bob.ack(sender.user, delivered=30)
    received += [text_of(bob.expect("deliver")) for _ in range(30)]
    bob.ack(sender.user, delivered=WINDOW)
    received += [text_of(bob.expect("deliver")) for _ in range(20)]
    assert received == [str(count) for count in range(WINDOW + 50)]


def test_the_window_counts_bytes_too(flood, bob):
    text = "𝄞" * 4096  # 16 KiB
    sender = flood(bob.user, [text] * 40)
    bob.expect_error("delivery_stalled")
    first = len(bob.held("deliver"))
    assert 8 <= first <= 16, "256 KiB of 16 KiB each"
    for sequence in range(1, 41):
        assert bob.expect("deliver", sequence=str(sequence))["body"] == {"text": text}
        bob.ack(sender.user, delivered=sequence)


def test_the_window_is_shared_by_conversations(flood, bob):
    flood(bob.user, [str(count) for count in range(200)])
    flood(bob.user, [str(count) for count in range(200)])
    bob.expect_error("delivery_stalled")
    assert len(bob.held("deliver")) == WINDOW


@pytest.mark.usefixtures("bystanders")
def test_an_ack_beyond_what_was_sent_is_clamped(alice, bob):
    alice.say(bob.user, "only one")
    bob.expect("deliver")
    bob.ack(alice.user, delivered=2**64 - 1, read=1000)
    receipt = alice.expect("receipt")
    assert (receipt["delivered"], receipt["read"]) == ("1", "1")
    alice.say(bob.user, "still comes")
    assert bob.expect("deliver")["sequence"] == "2"


def test_an_ack_of_zero_changes_nothing(alice, bob):
    alice.say(bob.user, "hi")
    bob.expect("deliver")
    bob.ack(alice.user, delivered=0, read=0)
    bob.ack(alice.user, delivered=1)
    receipt = alice.expect("receipt")
    assert (receipt["delivered"], receipt["read"]) == ("1", "0")


@pytest.mark.usefixtures("bystanders")
def test_an_ack_of_an_unknown_conversation_creates_nothing(bob, new_user, server, connect):
    stranger = new_user()
    bob.ack(stranger, delivered=5, read=5)
    assert connect(server, stranger).say(bob.user, "first")["sequence"] == "1"
