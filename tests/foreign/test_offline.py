"""Both orders of online and offline."""

from client import direct, text_of


def test_messages_wait_for_a_user_who_never_connected(server, connect, alice, new_user):
    bob = new_user()
    for count in range(5):
        alice.say(bob, f"waiting {count}")
    bob = connect(server, bob)
    assert [text_of(bob.expect("deliver")) for _ in range(5)] == [f"waiting {count}" for count in range(5)]


def test_messages_wait_while_a_device_is_away(server, connect, alice, new_user):
    user = new_user()
    bob = connect(server, user)
    alice.say(user, "seen")
    bob.ack(alice.user, delivered=bob.expect("deliver")["sequence"])
    alice.expect_receipt(user, delivered=1)
    bob.close()

    for count in range(20):
        alice.say(user, f"missed {count}")

    bob = connect(server, user)
    texts = [text_of(bob.expect("deliver")) for _ in range(20)]
    assert texts == [f"missed {count}" for count in range(20)], "what was acknowledged does not come again"


def test_what_was_not_acknowledged_comes_again(server, connect, alice, new_user):
    user = new_user()
    bob = connect(server, user)
    first = alice.say(user, "delivered, never acknowledged")
    assert bob.expect("deliver")["message"] == first["message"]
    bob.close()

    bob = connect(server, user)
    assert bob.expect("deliver")["message"] == first["message"]


def test_the_sender_may_be_gone_before_the_recipient_comes(server, connect, new_user):
    sender, recipient = new_user(), new_user()
    alice = connect(server, sender)
    alice.say(recipient, "I left this for you")
    alice.close()

    bob = connect(server, recipient)
    message = bob.expect("deliver")
    assert text_of(message) == "I left this for you"
    bob.say(sender, "thank you")
    bob.close()

    alice = connect(server, sender)
    assert text_of(alice.expect("deliver")) == "thank you"


def test_many_conversations_are_caught_up_each_in_order(server, connect, new_user):
    user = new_user()
    senders = [connect(server, new_user()) for _ in range(4)]
    for count in range(30):
        for sender in senders:
            sender.send(user, f"{sender.user}:{count}")
    for sender in senders:
        for _ in range(30):
            sender.expect("accepted")

    bob = connect(server, user)
    for sender in senders:
        texts = [text_of(bob.expect("deliver", conversation=direct(sender.user))) for _ in range(30)]
        assert texts == [f"{sender.user}:{count}" for count in range(30)]


def test_a_live_message_does_not_overtake_the_catch_up(server, connect, alice, new_user):
    user = new_user()
    for count in range(200):
        alice.send(user, str(count))
    for _ in range(200):
        alice.expect("accepted")
    bob = connect(server, user)
    for count in range(200, 240):
        alice.send(user, str(count))
    assert [text_of(bob.expect("deliver")) for _ in range(240)] == [str(count) for count in range(240)]
