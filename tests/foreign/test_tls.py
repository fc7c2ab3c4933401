"""The TLS listener, as OpenSSL sees it: the command, Python's `ssl`, and WebSockets over it."""

import datetime
import ipaddress
import json
import signal
import socket
import ssl
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.sync.client import connect as websocket_connect

from server import ServerFailed
from waiting import until

LISTEN = ["--listen-wss", "127.0.0.1:0"]
HTTP = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"


def trusting(path):
    return ssl.create_default_context(cafile=path)


def address(server):
    host, port = server.addresses["wss"].rsplit(":", 1)
    return host, int(port)


def s_client(server, *arguments):
    """What the `openssl` command says of a handshake and of an answer to HTTP."""
    command = ["openssl", "s_client", "-connect", "localhost:%d" % address(server)[1], "-CAfile", str(server.ca_path)]
    done = subprocess.run([*command, "-verify_return_error", "-ign_eof", *map(str, arguments)], input=HTTP, capture_output=True, timeout=30)
    return (done.stdout + done.stderr).decode(errors="replace")


def test_sessions_over_wss_and_ws_talk_to_each_other(server, connect, new_user):
    alice, bob = new_user(), new_user()
    secured = connect(server, alice, url=server.wss_url, ssl=trusting(server.ca_path))
    plain = connect(server, bob)
    for number in range(20):
        secured.say(bob, f"{number} " + "x" * 4000)
        assert plain.expect("deliver")["body"]["text"].startswith(f"{number} ")
    plain.say(alice, "back")
    assert secured.expect("deliver")["body"]["text"] == "back"


def test_openssl_speaks_tls_1_3_and_resumes_and_the_end_is_clean(server, tmp_path):
    session = tmp_path / "session"
    first = s_client(server, "-sess_out", session, "-alpn", "http/1.1")
    assert "New, TLSv1.3" in first and "Verify return code: 0 (ok)" in first and "ALPN protocol: http/1.1" in first, first
    assert "HTTP/1.1 404" in first and "unexpected eof" not in first, first
    again = s_client(server, "-sess_in", session)
    assert "Reused, TLSv1.3" in again and "HTTP/1.1 404" in again, again


def test_older_versions_other_protocols_and_weak_ciphers_are_refused(server):
    for arguments in [["-tls1_2"], ["-alpn", "h2"], ["-tls1_3", "-groups", "P-521"]]:
        said = s_client(server, *arguments)
        assert "alert" in said and "HTTP/1.1" not in said, said


def test_tls_1_2_is_spoken_when_configured(own_server):
    own_server.arguments = LISTEN
    own_server.environment["SWITCHYARD_GATEWAY__TLS__MIN_VERSION"] = "tls1.2"
    said = s_client(own_server.start(), "-tls1_2")
    assert "New, TLSv1.2" in said and "ECDHE" in said and "Secure Renegotiation IS supported" in said, said
    assert "HTTP/1.1 404" in said, said


def test_plain_text_is_told_what_to_do(server):
    with socket.create_connection(address(server), timeout=15) as connection:
        connection.sendall(HTTP)
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 400") and "wss://" in answer, answer


class Files:
    """A certificate of this test's own, in the files that a server is told of."""

    def __init__(self, folder):
        self.certificate, self.key = folder / "chain.pem", folder / "key.pem"

    def renew(self):
        """Replaces both, one after the other; returns the certificate as clients see it."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=2))
        certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        for path, content in [
            (self.certificate, certificate.public_bytes(pem)),
            (self.key, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())),
        ]:
            new = path.with_suffix(".new")
            new.write_bytes(content)
            new.rename(path)
        return certificate.public_bytes(serialization.Encoding.DER)


def shown(server):
    """The certificate that a new handshake is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address(server), timeout=15) as plain, context.wrap_socket(plain) as secured:
        return secured.getpeercert(binary_form=True)


def echo_until(stop, server, context, failures, counts):
    """Sends and reads on one connection for as long as the test lasts."""
    url = server.wss_url.replace("/v1/ws", "/echo")
    try:
        with websocket_connect(url, ssl=context, compression=None) as client:
            while not stop.is_set():
                payload = bytes([counts[0] % 256]) * 3000
                client.send(payload)
                assert client.recv(timeout=15) == payload
                counts[0] += 1
    except Exception as error:  # noqa: BLE001 — whatever it is, the test that waits for it says so
        failures.append(error)


def test_certificates_are_replaced_under_load_without_losing_a_connection(own_server, tmp_path):
    files = Files(tmp_path)
    first = files.renew()
    own_server.arguments = [*LISTEN, "--gateway-cores", "2"]
    own_server.environment |= {
        "SWITCHYARD_GATEWAY__TLS__CERTIFICATE": str(files.certificate),
        "SWITCHYARD_GATEWAY__TLS__KEY": str(files.key),
    }
    server = own_server.start()
    assert shown(server) == first
    context = trusting(files.certificate)
    stop, failures, counts = threading.Event(), [], [[0] for _ in range(8)]
    busy = [threading.Thread(target=echo_until, args=(stop, server, context, failures, count)) for count in counts]
    for thread in busy:
        thread.start()

    def reads():
        return {sample["labels"]["result"]: sample["value"] for sample in stats(server, "tls_certificate_reads")}

    until("the load", lambda: all(count[0] > 5 for count in counts) or failures)
    for replaced in range(1, 3):
        renewed = files.renew()
        until("the new certificate", lambda: shown(server) == renewed)
        assert reads()["shown"] == replaced
    # A file that is no certificate changes nothing but a figure and the log.
    files.certificate.write_text("nonsense")
    until("the refusal", lambda: stats(server, "tls_certificate_stale")[0]["value"] == 1)
    assert shown(server) == renewed
    assert "chain.pem holds no certificate" in server.log_text()
    # Somebody who does not want to wait says so.
    renewed = files.renew()
    server.signal(signal.SIGHUP)
    until("the certificate after SIGHUP", lambda: shown(server) == renewed)
    until("nothing stale", lambda: stats(server, "tls_certificate_stale")[0]["value"] == 0)

    seen = [count[0] for count in counts]
    until("more after all that", lambda: all(count[0] > before + 5 for count, before in zip(counts, seen)) or failures)
    stop.set()
    for thread in busy:
        thread.join()
    assert not failures, failures
    assert server.figure("gateway_tls_broken") == 0


def stats(server, figure):
    return json.loads(server.admin("/stats")[1])[figure]


@pytest.mark.parametrize(
    "certificate, key, says",
    [("missing", "missing", "cannot be read"), ("chain.pem", "", "gateway.tls.key"), ("key.pem", "key.pem", "holds no certificate")],
)
def test_a_start_without_a_usable_certificate_says_what_to_do(own_server, tmp_path, certificate, key, says):
    Files(tmp_path).renew()
    own_server.arguments = LISTEN
    own_server.environment |= {
        "SWITCHYARD_GATEWAY__TLS__CERTIFICATE": str(tmp_path / certificate),
        "SWITCHYARD_GATEWAY__TLS__KEY": str(tmp_path / key) if key else "",
    }
    with pytest.raises(ServerFailed, match=says):
        own_server.start()
