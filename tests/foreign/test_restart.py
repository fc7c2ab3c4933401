"""What was accepted is there after any kind of restart, with any number of cores."""

import signal
import threading
import uuid

import pytest

from client import text_of
from server import Server
from stand_still import stand_still
from waiting import until

# A server that waits for its clients, and for the answers that they wait for, for longer than any test.
NO_HURRY = {"SWITCHYARD_SHUTDOWN__DRAIN_MS": "3600000", "SWITCHYARD_SHUTDOWN__ANSWERS_MS": "3600000"}


def end_by_sigterm(server):
    assert server.stop() == 0, server.log_text()


def end_by_sigkill(server):
    server.kill()


@pytest.mark.parametrize("end", [end_by_sigterm, end_by_sigkill])
def test_messages_receipts_and_names_survive(own_server, connect, end):
    server = own_server.start()
    alice, bob = connect(server, 1), connect(server, 2)
    name = str(uuid.uuid4())
    first = alice.expect("accepted", client_message_id=alice.send(2, "before", name))
    bob.expect("deliver")
    bob.ack(1, read=1)
    alice.expect_receipt(2, read=1)
    for count in range(50):
        alice.say(2, f"unread {count}")
    end(server)

    again = Server(server.data, ["--gateway-cores", "2", "--router-cores", "2"])
    try:
        again.start()
        alice, bob = connect(again, 1), connect(again, 2)
        assert [text_of(bob.expect("deliver")) for _ in range(50)] == [f"unread {count}" for count in range(50)]
        assert alice.watermark_of(2) == (1, 1)
        assert alice.expect("accepted", client_message_id=alice.send(2, "before", name)) == first
        assert alice.say(2, "after")["sequence"] == "52"
        assert len(bob.fetch(1, after=0)["messages"]) == 52
    finally:
        again.kill()


def test_other_core_counts_on_the_same_data(own_server, connect):
    counts = [(1, 1), (2, 1), (1, 3), (3, 2)]
    for generation, (gateways, routers) in enumerate(counts):
        own_server.arguments = ["--gateway-cores", str(gateways), "--router-cores", str(routers)]
        own_server.start()
        for user in range(10, 20):
            client = connect(own_server, user)
            accepted = client.say(user + 1000, f"generation {generation}")
            assert accepted["sequence"] == str(generation + 1)
            client.close()
        assert own_server.stop() == 0, own_server.log_text()


def test_sigterm_drains(own_server, connect):
    server = own_server.start()
    alice, idle = connect(server, 1), connect(server, 2)
    names = [alice.send(2, str(count)) for count in range(100)]
    alice.expect("accepted", client_message_id=names[0])

    server.signal(signal.SIGTERM)

    drain = idle.expect("drain")
    assert drain["reconnect_after_ms"] >= 0
    assert idle.expect_close()[0] == 1001
    assert alice.expect_close()[0] == 1001
    assert server.wait() == 0, server.log_text()

    accepted = [frame for frame in alice.inbox if frame["type"] == "accepted"]
    server.start()
    bob = connect(server, 2)
    history = {frame["message"] for frame in bob.fetch(1, after=0)["messages"]}
    assert {frame["message"] for frame in accepted} <= history, "whatever was accepted is there"


def test_sigterm_does_not_wait_for_clients_that_wait_for_nothing(own_server, connect):
    own_server.environment |= NO_HURRY
    server = own_server.start()
    clients = [connect(server, user) for user in range(1, 6)]
    clients[0].say(2, "answered")
    server.signal(signal.SIGTERM)
    for client in clients:
        client.expect("drain")
        assert client.expect_close()[0] == 1001
    assert server.wait() == 0, server.log_text()


def test_a_start_waits_a_moment_for_the_lock_of_a_predecessor(own_server, connect):
    own_server.start()
    second = Server(own_server.data)
    starting = threading.Thread(target=second.start)
    starting.start()
    try:
        while "locked" not in second.log_text():
            assert starting.is_alive(), second.log_text()
        own_server.kill()
        starting.join()
        assert connect(second, 1).say(2, "hi")["sequence"] == "1"
    finally:
        second.kill()


def test_a_second_sigterm_stops_at_once(own_server, connect):
    own_server.environment |= NO_HURRY
    own_server.arguments = ["--router-cores", "1"]
    server = own_server.start()
    waiting = connect(server, 1)
    with stand_still(server.pid, "router-0"):
        # What is never answered keeps the session, and that the server.
        waiting.send(2, "too late")
        assert not waiting.held("accepted")
        server.signal(signal.SIGTERM)
        waiting.expect("drain")
        assert not waiting.held("accepted")
        server.signal(signal.SIGTERM)
        until("the second signal to be heard", lambda: "stopped at once by a second signal" in server.log_text())
    assert server.wait() == 1, server.log_text()
    assert "everything is flushed" not in server.log_text()


def test_the_data_folder_is_locked(own_server):
    own_server.start()
    second = Server(own_server.data)
    with pytest.raises(Exception) as failed:
        second.start()
    assert "lock" in str(failed.value).lower()


def test_a_full_server_is_healthy_but_not_ready(own_server, connect):
    own_server.environment["SWITCHYARD_GATEWAY__MAX_CONNECTIONS"] = "2"
    own_server.arguments = ["--gateway-cores", "1"]
    server = own_server.start()
    clients = [connect(server, user) for user in (1, 2)]
    status, why = server.admin("/readyz")
    assert (status, server.admin("/healthz")[0]) == (503, 200) and "gateway.max_connections" in why
    clients[0].close()
    while server.admin("/readyz")[0] != 200:
        assert server.process.poll() is None


def test_health_pages(own_server, connect):
    server = own_server.start()
    assert server.admin("/healthz")[0] == 200
    assert server.admin("/readyz")[0] == 200
    connect(server, 1).say(2, "counted")
    assert server.admin("/stats")[1].lstrip().startswith("{")
    assert "# TYPE" in server.admin("/metrics")[1]
