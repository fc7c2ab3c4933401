"""Fixtures of the foreign-client tests: a server, unused users, and clients that are closed at the end.

Most tests share one server and keep apart by using users of their own. A test that stops its server takes
`own_server`.
"""

import itertools
import pathlib
import shutil
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))

from client import Client  # noqa: E402
from server import REPOSITORY, Server  # noqa: E402

_users = itertools.count(1_000_000)


def data_folder():
    """An empty folder on a real disk: /tmp may be tmpfs, which has no O_DIRECT."""
    parent = REPOSITORY / "target/foreign"
    parent.mkdir(parents=True, exist_ok=True)
    return pathlib.Path(tempfile.mkdtemp(dir=parent))


@pytest.fixture(scope="session")
def shared_server():
    folder = data_folder()
    server = Server(folder / "data", ["--listen-wss", "127.0.0.1:0"]).start()
    yield server
    code = server.stop()
    shutil.rmtree(folder)
    assert code == 0, server.log_text()


@pytest.fixture
def server(shared_server):
    """The shared server; fails the test that brought it down, not the one after it."""
    yield shared_server
    assert shared_server.process.poll() is None, f"the server ended:\n{shared_server.log_text()}"


@pytest.fixture
def own_server():
    """A server, not yet started, that the test may start, stop and kill as it likes."""
    folder = data_folder()
    server = Server(folder / "data")
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture
def new_user():
    """A function that gives users whom no other test knows."""
    return lambda: next(_users)


@pytest.fixture
def connect():
    """Connects clients and closes them after the test: `connect(server, user, device=1, …)` as `Client.connect`."""
    clients = []

    def connect(server, user, device=1, **options):
        clients.append(Client.connect(server, user, device, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def alice(server, connect, new_user):
    return connect(server, new_user())


@pytest.fixture
def bob(server, connect, new_user):
    return connect(server, new_user())
