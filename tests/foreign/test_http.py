"""Requests that do not become WebSockets get an HTTP answer that says what to do, and disturb nobody else."""

import contextlib
import socket

import pytest

pytestmark = pytest.mark.usefixtures("bystanders")

UPGRADE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def answer(server, data):
    """The whole answer to raw bytes, once the server has closed the connection or upgraded it."""
    host, port = server.addresses["ws"].rsplit(":", 1)
    received = b""
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
            while not received.startswith(b"HTTP/1.1 101") or b"\r\n\r\n" not in received:
                part = connection.recv(65536)
                if not part:
                    break
                received += part
    return received.decode()


def request(path="/v1/ws", method="GET", **changes):
    headers = {**UPGRADE, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


CASES = {
    "another path": (request("/"), 404, "/v1/ws"),
    "another method": (request(method="POST"), 405, "GET"),
    "no upgrade": (request(Upgrade=None, Connection=None), 426, "Upgrade"),
    "an old version": (request(Sec_WebSocket_Version="8"), 426, "13"),
    "a bad key": (request(Sec_WebSocket_Key="short"), 400, "Sec-WebSocket-Key"),
    "no key": (request(Sec_WebSocket_Key=None), 400, "Sec-WebSocket-Key"),
    "no host": (request(Host=None), 400, "Host"),
    "unknown subprotocols": (request(Sec_WebSocket_Protocol="mqtt, stomp"), 400, "switchyard.v1.json"),
    "another authorization": (request(Authorization="Basic eDp5"), 400, "Bearer"),
    "too many bytes": (request(Cookie="x" * 9000), 431, "8 KiB"),
    "too many headers": (request(**{f"X_{n}": "y" for n in range(80)}), 431, "64 headers"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400, "ws://"),
    "noise": (b"\x00\xff\x00\xff\r\n\r\n", 400, "HTTP"),
}


@pytest.mark.parametrize("data, status, hint", CASES.values(), ids=CASES.keys())
def test_refused(server, data, status, hint):
    text = answer(server, data)
    assert text.startswith(f"HTTP/1.1 {status} "), text
    assert hint in text, text


def test_upgrade_names_the_form_that_was_offered_first(server):
    text = answer(server, request(Sec_WebSocket_Protocol="unknown, switchyard.v1.fb, switchyard.v1.json"))
    assert text.startswith("HTTP/1.1 101 ")
    assert "sec-websocket-protocol: switchyard.v1.fb\r\n" in text.lower()
    assert "s3pplmbitxaq9kygzzhzrbk+xoo=" in text.lower()


def test_no_subprotocol_means_json(server):
    text = answer(server, request())
    assert text.startswith("HTTP/1.1 101 ")
    assert "sec-websocket-protocol" not in text.lower()


def test_a_request_that_arrives_byte_by_byte(server):
    host, port = server.addresses["ws"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request():
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 101 ")
