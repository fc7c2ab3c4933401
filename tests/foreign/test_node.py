"""A client in JavaScript on npm `ws` talks to the server as the Python ones do."""

import json
import os
import pathlib
import subprocess

import pytest

from client import direct

SCRIPT = pathlib.Path(__file__).resolve().parent / "node/talk.cjs"
MODULES = os.environ.get("SWITCHYARD_NODE_MODULES")


@pytest.mark.skipif(not MODULES, reason="`cargo xtask foreign` installs npm `ws` and says where")
def test_two_devices_on_npm_ws_talk(server, new_user):
    alice, bob = new_user(), new_user()
    command = ["node", str(SCRIPT), server.url, str(alice), server.token(alice), str(bob), server.token(bob)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "NODE_PATH": MODULES}
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    accepted, deliver, receipt = seen["accepted"], seen["deliver"], seen["receipt"]
    assert (accepted["client_message_id"], accepted["sequence"]) == (seen["id"], "1")
    assert (deliver["message"], deliver["sender"]) == (accepted["message"], str(alice))
    assert (deliver["conversation"], deliver["body"]) == (direct(alice), {"text": "grüße 👋"})
    assert (receipt["member"], receipt["delivered"], receipt["read"]) == (str(bob), "1", "1")
    assert seen["codes"] == [1000, 1000]
