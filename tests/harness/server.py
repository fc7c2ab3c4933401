"""Starts and stops the real `switchyard` binary for tests written in Python. Standard library only.

`Server(data)` runs `switchyard serve --dev` on ports that the kernel chooses, waits for its `ready` line and offers the
addresses it printed. The same data folder can be served again after `stop`, `kill` or with other core counts.
"""

import json
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 20
LOG_LINES_KEPT = 400


def binary() -> pathlib.Path:
    """The server to test: $SWITCHYARD_BIN, else the newest build."""
    named = os.environ.get("SWITCHYARD_BIN")
    if named:
        return pathlib.Path(named).resolve()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    candidates = [target / profile / "switchyard" for profile in ("ci", "release", "debug")]
    built = [path for path in candidates if path.exists()]
    if not built:
        raise SystemExit("no switchyard binary: run `cargo build --profile ci -p switchyard` or set SWITCHYARD_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)


class ServerFailed(Exception):
    """The server ended, or said nothing useful, where a test needed it."""


class Server:
    """One run of the server on a data folder."""

    def __init__(self, data, arguments=(), environment=None):
        self.data = pathlib.Path(data)
        self.arguments = list(arguments)
        self.environment = {**os.environ, **(environment or {})}
        self.process = self.reader = None
        self.addresses = {}
        self.log = []

    def start(self):
        """Starts the server and returns once it printed `ready`."""
        command = [str(binary()), "serve", "--dev", "--data", str(self.data)]
        command += ["--listen-ws", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", *self.arguments]
        self.addresses, lines = {}, queue.Queue()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env=self.environment,
        )
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout, lines), daemon=True)
        self.reader.start()
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise ServerFailed(f"not ready after {START_SECONDS_MAX} s:\n{self.log_text()}") from None
            if line is None:
                raise ServerFailed(f"exit code {self.process.wait()} before ready:\n{self.log_text()}")
            words = line.split()
            if len(words) >= 3 and words[0] == "listening":
                self.addresses[words[1]] = words[2]
            elif words[:1] == ["ready"]:
                return self

    def _read(self, stream, lines):
        for line in stream:
            self.log.append(line.rstrip("\n"))
            del self.log[:-LOG_LINES_KEPT]
            lines.put(line)
        lines.put(None)

    def log_text(self):
        """What the server printed last."""
        return "\n".join(self.log)

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        """Where clients connect."""
        return f"ws://{self.addresses['ws']}/v1/ws"

    @property
    def wss_url(self):
        """Where clients connect over TLS, when the server was told to listen for them."""
        return f"wss://localhost:{self.addresses['wss'].rsplit(':', 1)[1]}/v1/ws"

    @property
    def ca_path(self):
        """The authority that has signed the development certificate."""
        return self.data / "tls/ca.pem"

    @property
    def echo_url(self):
        return f"ws://{self.addresses['ws']}/echo"

    def admin(self, path):
        """Status and text of an admin page."""
        try:
            with urllib.request.urlopen(f"http://{self.addresses['admin']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def figures(self, name):
        """A figure of /stats, by thread."""
        return {sample["labels"]["core"]: sample["value"] for sample in json.loads(self.admin("/stats")[1])[name]}

    def figure(self, name):
        """A figure of /stats, over all threads."""
        return sum(self.figures(name).values())

    def is_well(self):
        """Whether both health pages say so."""
        return self.admin("/healthz")[0] == self.admin("/readyz")[0] == 200

    def memory_bytes(self):
        """Resident memory of the process."""
        return self._memory("VmRSS:")

    def memory_bytes_max(self):
        """The most resident memory since `forget_memory_max`."""
        return self._memory("VmHWM:")

    def forget_memory_max(self):
        # proc(5): 5 sets the high-water mark to what is resident now.
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def _memory(self, name):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS_MAX):
        """The exit code, once the server has ended by itself and all that it printed is in the log."""
        try:
            code = self.process.wait(seconds)
            self.reader.join(seconds)
            return code
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"still running after {seconds} s:\n{self.log_text()}") from None

    def stop(self):
        """Stops it as an operator would (SIGTERM) and returns the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """Ends it as a power cut would end the process (SIGKILL)."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def token(self, user, *arguments):
        """A development token, by the command that the README names."""
        command = [str(binary()), "token", "--user", str(user), "--data", str(self.data), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        if done.returncode != 0:
            raise ServerFailed(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout.strip()
