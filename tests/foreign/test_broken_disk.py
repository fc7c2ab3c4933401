"""A disk that fails under the running server, or damages what it has: whoever sends or reads is told, and so is the
operator; what was accepted and is whole stays."""

import fcntl
import os
import struct
import subprocess

import pytest

from client import direct, text_of
from waiting import until

# EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, linux/fs/ext4/ext4.h.
EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2
MEGABYTES = 640


def quietly(*command):
    return subprocess.run(command, capture_output=True, text=True).returncode == 0


@pytest.fixture
def disk(own_server):
    """A file system of its own under the data folder of `own_server`."""
    image, mount = own_server.data.with_name("image"), own_server.data.with_name("disk")
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(MEGABYTES << 20)
    if not (quietly("mkfs.ext4", "-q", "-F", "-m", "0", image) and quietly("mount", "-o", "loop", image, mount)):
        pytest.skip("this machine does not allow a file system to be mounted")
    own_server.data = mount / "data"
    yield mount
    own_server.kill()
    quietly("umount", "-l", mount)


def shut_down(mount):
    folder = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
    finally:
        os.close(folder)


def test_a_device_that_fails_shows_and_loses_nothing(disk, own_server, connect):
    server = own_server.start()
    alice = connect(server, 1)
    alice.say(2, "kept")
    assert server.admin("/healthz")[0] == 200

    shut_down(disk)

    name = alice.send(2, "refused")
    error = alice.expect("error", regarding=name)
    assert (error["name"], error["fatal"], error["retry"]) == ("storage_unavailable", False, True)
    assert error["retry_after_ms"] > 0
    status, text = server.admin("/healthz")
    assert status == 503, text
    assert "journal is Failed" in text, text
    assert "this core takes no more" in server.log_text()
    assert [text_of(message) for message in alice.fetch(2, after=0)["messages"]] == ["kept"]
    server.kill()

    # The rings of the dead process may hold files for a moment longer.
    while not quietly("umount", disk):
        assert os.path.ismount(disk)
    assert quietly("mount", "-o", "loop", disk.with_name("image"), disk)
    server.start()
    bob = connect(server, 2)
    assert text_of(bob.expect("deliver")) == "kept"
    alice = connect(server, 1)
    alice.expect("accepted", client_message_id=alice.send(2, "refused", name))
    assert text_of(bob.expect("deliver")) == "refused"
    assert server.stop() == 0, server.log_text()


def test_damage_that_only_a_reader_meets_shows(own_server, connect):
    server = own_server.start()
    connect(server, 1).say(2, "worn out")
    assert server.stop() == 0, server.log_text()
    segment, at = next(
        (path, path.read_bytes().index(b"worn out"))
        for path in (server.data / "journal").glob("*.seg")
        if b"worn out" in path.read_bytes()
    )
    with open(segment, "r+b") as file:
        file.seek(at)
        file.write(b"x")

    server.start()
    assert server.admin("/healthz")[0] == 200, "the state store has what a start needs"
    connect(server, 2)  # what it lacks cannot be delivered, and it did not ask for it
    until("health to tell", lambda: server.admin("/healthz")[0] != 200)
    assert "met damaged data" in server.admin("/healthz")[1]
    assert f"message 1 of direct:1-2 in {segment.name}, byte" in server.log_text()
    alice = connect(server, 1)
    alice.put(type="fetch", request="7", conversation=direct(2), after="0", limit=10)
    alice.expect_error("shard_damaged", regarding="7")
    assert server.stop() == 0, server.log_text()
