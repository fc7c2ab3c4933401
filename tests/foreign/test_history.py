"""Fetch: parts of a conversation, always in ascending order, with everybody's watermarks."""

import pytest

from client import direct, text_of


@pytest.fixture
def history(alice, bob):
    """A conversation of ten messages, by turns; Bob has read four."""
    for count in range(10):
        sender, other = (alice, bob) if count % 2 == 0 else (bob, alice)
        sender.say(other.user, str(count + 1))
    for _ in range(5):
        bob.expect("deliver")
    bob.ack(alice.user, read=4)
    alice.expect_receipt(bob.user, read=4)
    return alice


def sequences(page):
    return [int(message["sequence"]) for message in page["messages"]]


@pytest.mark.parametrize(
    "range_, limit, expected, more",
    [
        ({"after": 0}, 100, list(range(1, 11)), False),
        ({"after": 0}, 3, [1, 2, 3], True),
        ({"after": 7}, 3, [8, 9, 10], False),
        ({"after": 10}, 5, [], False),
        ({"after": 2**64 - 1}, 5, [], False),
        ({"before": 11}, 3, [8, 9, 10], True),
        ({"before": 4}, 100, [1, 2, 3], False),
        ({"before": 2**64 - 1}, 2, [9, 10], True),
        ({"before": 1}, 5, [], False),
    ],
)
def test_ranges(history, bob, range_, limit, expected, more):
    page = history.fetch(bob.user, limit=limit, **range_)
    assert sequences(page) == expected
    assert page["more"] is more
    assert page["conversation"] == direct(bob.user)
    assert [text_of(message) for message in page["messages"]] == [str(sequence) for sequence in expected]


def test_both_sides_see_the_same_history(history, bob):
    mine, theirs = history.fetch(bob.user, after=0), bob.fetch(history.user, after=0)
    assert [frame["message"] for frame in mine["messages"]] == [frame["message"] for frame in theirs["messages"]]
    assert [frame["sender"] for frame in mine["messages"]] == [str(history.user), str(bob.user)] * 5


def test_limit_zero_gives_watermarks_only(history, bob):
    page = history.fetch(bob.user, limit=0, after=0)
    assert page["messages"] == []
    assert history.watermark_of(bob.user) == (4, 4)


def test_a_page_is_bounded_in_bytes(alice, bob):
    text = "𝄞" * 4096  # 16 KiB: a page of 256 KiB holds at most 16
    for _ in range(30):
        alice.say(bob.user, text)
    got, after, pages = [], 0, 0
    while True:
        page = alice.fetch(bob.user, after=after)
        got += sequences(page)
        pages += 1
        if not page["more"]:
            break
        assert 1 <= len(page["messages"]) <= 16
        after = got[-1]
    assert got == list(range(1, 31))
    assert pages >= 2


def test_fetch_does_not_acknowledge(server, connect, alice, new_user):
    user = new_user()
    bob = connect(server, user)
    alice.say(user, "fetched, not acknowledged")
    assert sequences(bob.fetch(alice.user, after=0)) == [1]
    assert alice.watermark_of(user) == (0, 0)
    bob.close()
    assert connect(server, user).expect("deliver")["sequence"] == "1"
