"""Fixtures of the foreign-client tests: a server, unused users, and clients that are closed at the end.

Most tests share one server and keep apart by using users of their own. A test that stops its server takes
`own_server`.
"""

import contextlib
import itertools
import pathlib
import shutil
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))

from bystanders import Bystanders  # noqa: E402
from client import Client  # noqa: E402
from server import REPOSITORY, Server  # noqa: E402

_users = itertools.count(1_000_000)


def data_folder():
    """An empty folder on a real disk: /tmp may be tmpfs, which has no O_DIRECT."""
    parent = REPOSITORY / "target/foreign"
    parent.mkdir(parents=True, exist_ok=True)
    return pathlib.Path(tempfile.mkdtemp(dir=parent))


@contextlib.contextmanager
def serving(arguments=(), environment=None):
    """A server on a data folder of its own, for several tests; at the end it must stop in order."""
    folder = data_folder()
    server = Server(folder / "data", arguments, environment).start()
    yield server
    code = server.stop()
    shutil.rmtree(folder)
    assert code == 0, server.log_text()


@contextlib.contextmanager
def closing_all(connect):
    """Connects clients as `connect` does, and closes them at the end."""
    with contextlib.ExitStack() as clients:
        yield lambda *which, **options: clients.enter_context(contextlib.closing(connect(*which, **options)))


@pytest.fixture(scope="session")
def shared_server():
    with serving(["--listen-wss", "127.0.0.1:0"]) as server:
        yield server


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
    with closing_all(Client.connect) as connect:
        yield connect


@pytest.fixture(scope="module")
def talkers(shared_server):
    with contextlib.closing(Bystanders(shared_server)) as talkers:
        yield talkers


@pytest.fixture
def bystanders(server, talkers):
    """Two users whose sessions were open before the test; fails the test after which they cannot talk as before it."""
    yield
    talkers.talk()


@pytest.fixture
def alice(server, connect, new_user):
    return connect(server, new_user())


@pytest.fixture
def bob(server, connect, new_user):
    return connect(server, new_user())
