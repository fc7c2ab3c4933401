"""A small JSON client on PyPI `websockets`, written from docs/protocol.md alone.

It keeps every frame it receives until a test asks for it: `expect` takes the first one that matches and leaves the
others in order. Waiting always has a deadline, never a fixed pause.
"""

import base64
import json
import time
import uuid

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as websocket_connect

JSON = "switchyard.v1.json"
BINARY = "switchyard.v1.fb"
DEADLINE_SECONDS = 15


def direct(user):
    return {"direct": str(user)}


def open_socket(server, subprotocol=JSON, url=None, **options):
    """A WebSocket to the server's sessions; nothing is sent yet."""
    return websocket_connect(
        url or server.url, subprotocols=[subprotocol] if subprotocol else None, compression=None, max_size=2**20, max_queue=None,
        legacy=True, **options
    )


class Client:
    """One device of one user."""

    def __init__(self, socket, user=None, device=None):
        self.socket, self.user, self.device = socket, user, device
        self.inbox = []
        self.welcome = None

    @classmethod
    def connect(cls, server, user, device=1, token=None, **options):
        client = cls(open_socket(server, **options), user, device)
        client.hello(token or server.token(user))
        return client

    def hello(self, token):
        self.put(type="hello", token=token, device=str(self.device))
        self.welcome = self.expect("welcome")

    # Sending

    def put(self, **frame):
        """Sends a frame as it is."""
        self.socket.send(json.dumps(frame))

    def send(self, to, text, client_message_id=None):
        """Sends a message to a user and returns its client message id."""
        name = client_message_id or str(uuid.uuid4())
        self.put(type="send", client_message_id=name, conversation=direct(to), body={"text": text})
        return name

    def say(self, to, text):
        """Sends a message and waits for its Accepted."""
        return self.expect("accepted", client_message_id=self.send(to, text))

    def ack(self, peer, **marks):
        self.put(type="ack", conversation=direct(peer), **{mark: str(value) for mark, value in marks.items()})

    def fetch(self, peer, limit=100, **range_):
        """Fetches a part of the conversation with `peer` and waits for the page."""
        request = str(time.monotonic_ns())
        bounds = {name: str(value) for name, value in range_.items()}
        self.put(type="fetch", request=request, conversation=direct(peer), limit=limit, **bounds)
        return self.expect("page", request=request)

    # Receiving

    def receive(self, deadline):
        """The next frame from the server; fails at the deadline."""
        left = deadline - time.monotonic()
        try:
            text = self.socket.recv(timeout=max(0.0, left))
        except TimeoutError:
            raise AssertionError(f"nothing more came in time; waiting frames: {self.inbox}") from None
        assert isinstance(text, str), "a JSON session got a binary message"
        return json.loads(text)

    def expect(self, *types, **fields):
        """Takes the first frame of one of these types whose fields have these values."""

        def matches(frame):
            return frame["type"] in types and all(frame.get(name) == value for name, value in fields.items())

        for index, frame in enumerate(self.inbox):
            if matches(frame):
                return self.inbox.pop(index)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                frame = self.receive(deadline)
            except ConnectionClosed as closed:
                raise AssertionError(
                    f"closed ({closed}) before {types} {fields}; waiting frames: {self.inbox}"
                ) from None
            if matches(frame):
                return frame
            self.inbox.append(frame)

    def expect_receipt(self, peer, member=None, **marks):
        """Takes receipts of a member (the peer unless named) until one is at least at these marks."""
        while True:
            receipt = self.expect("receipt", conversation=direct(peer), member=str(member or peer))
            if all(int(receipt[mark]) >= value for mark, value in marks.items()):
                return receipt

    def watermark_of(self, member, peer=None):
        """The pair (delivered, read) of a member, by Fetch."""
        page = self.fetch(peer or member, limit=0, after=0)
        found = [mark for mark in page["watermarks"] if mark["member"] == str(member)]
        return (int(found[0]["delivered"]), int(found[0]["read"])) if found else (0, 0)

    def held(self, type):
        """Frames of a type that came before the answer to a Ping and that nobody asked for."""
        nonce = str(time.monotonic_ns())
        self.put(type="ping", nonce=nonce)
        self.expect("pong", nonce=nonce)
        return [frame for frame in self.inbox if frame["type"] == type]

    def expect_error(self, name, **fields):
        """Takes an Error of this name."""
        return self.expect("error", name=name, **fields)

    def expect_close(self):
        """Waits for the server to close; returns (close code, error frames that came before)."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                self.inbox.append(self.receive(deadline))
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else None
                return code, [frame for frame in self.inbox if frame["type"] == "error"]

    def close(self):
        self.socket.close()


def text_of(frame):
    return frame["body"]["text"]


def claims_of(token):
    """The claims of a token, unverified."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
