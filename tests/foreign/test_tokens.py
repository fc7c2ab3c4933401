"""Tokens: wrong, foreign, swapped and expired ones, which disturb nobody else, and Renew."""

import contextlib
import signal
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client import Client, claims_of, open_socket
from waiting import until

pytestmark = pytest.mark.usefixtures("bystanders")

INVALID = (4001, [(1006, "invalid_token", True)])


def refused(server, token, device="1"):
    """Says hello with a token that must not work; gives close code and errors."""
    client = Client(open_socket(server))
    client.put(type="hello", token=token, device=device)
    return outcome(client)


def outcome(client):
    code, errors = client.expect_close()
    return code, [(error["code"], error["name"], error["fatal"]) for error in errors]


@pytest.fixture
def good(server, new_user):
    """A good token's (text, header, claims)."""
    token = server.token(new_user())
    return token, jwt.get_unverified_header(token), claims_of(token)


def test_a_token_signed_by_somebody_else(server, good):
    _, header, claims = good
    forged = jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": header["kid"]})
    assert refused(server, forged) == INVALID


def test_a_token_of_an_unknown_key(server, good):
    forged = jwt.encode(good[2], Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "unknown"})
    assert refused(server, forged) == INVALID


@pytest.mark.parametrize("algorithm, key", [("none", None), ("HS256", "a secret that is long enough for HMAC-SHA-256")])
def test_a_token_of_another_algorithm(server, good, algorithm, key):
    _, header, claims = good
    forged = jwt.encode(claims, key, algorithm=algorithm, headers={"kid": header["kid"]})
    assert refused(server, forged) == INVALID


def test_a_token_that_was_changed(server, good):
    header, payload, signature = good[0].split(".")
    assert refused(server, f"{header}.{payload[:-2]}AA.{signature}") == INVALID
    assert refused(server, f"{header}.{payload}.{signature[::-1]}") == INVALID


@pytest.mark.parametrize("token", ["x", "a.b.c", "....", "é.é.é"])
def test_a_text_that_is_no_token(server, token):
    assert refused(server, token) == INVALID


def test_no_token_at_all(server):
    client = Client(open_socket(server))
    client.put(type="hello", device="1")
    assert outcome(client) == INVALID


def test_a_token_for_another_device(server, new_user):
    assert refused(server, server.token(new_user(), "--device", 2), device="1") == INVALID


def test_a_token_of_a_device_works_for_that_device(server, connect, new_user):
    user = new_user()
    assert connect(server, user, device=2, token=server.token(user, "--device", 2)).welcome["device"] == "2"


def test_an_expired_token_ends_the_session_and_opens_no_new_one(server, new_user):
    user = new_user()
    token = server.token(user, "--ttl", "2s")
    client = Client(open_socket(server), user, 1)
    client.hello(token)
    expired = (4001, [(1007, "token_expired", True)])
    assert outcome(client) == expired
    assert time.time() >= claims_of(token)["exp"]
    assert refused(server, token) == expired


def test_renew_keeps_a_session_beyond_its_first_token(server, connect, new_user):
    user = new_user()
    first = server.token(user, "--ttl", "2s")
    client = connect(server, user, token=first)
    client.put(type="renew", token=server.token(user))
    # Past the first token's end a session without the renewal would be closed; wait for that moment on another one.
    other = Client(open_socket(server), user, 2)
    other.hello(server.token(user, "--ttl", "2s"))
    assert outcome(other)[0] == 4001
    assert time.time() >= claims_of(first)["exp"]
    assert client.held("error") == []


def test_keys_are_read_again_at_sighup_and_open_sessions_stay(own_server, connect, new_user):
    server = own_server.start()
    before = connect(server, new_user())
    key, user = Ed25519PrivateKey.generate(), new_user()
    token = jwt.encode(claims_of(server.token(user)), key, algorithm="EdDSA", headers={"kid": "second"})
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (server.data / "keys/second.pem").write_bytes(public)
    assert refused(server, token) == INVALID, "nobody has said that there is a new key"

    def welcomed():
        client = Client(open_socket(server), user, 1)
        with contextlib.closing(client):
            client.put(type="hello", token=token, device="1")
            return client.expect("welcome", "error")["type"] == "welcome"

    server.signal(signal.SIGHUP)
    until("the new key to be taken", welcomed)
    before.say(user, "still here")
    connect(server, user, token=token).expect("deliver", sender=str(before.user))

    (server.data / "keys/second.pem").write_text("nonsense")
    server.signal(signal.SIGHUP)
    until("the refusal", lambda: "keys not reloaded" in server.log_text())
    assert welcomed(), "the keys from before stay in force"
    before.say(user, "still here")


def test_renew_with_another_users_token_ends_the_session(server, alice, new_user):
    alice.put(type="renew", token=server.token(new_user()))
    assert outcome(alice) == INVALID
