"""The Rust SDK (FlatBuffers, through `chat`) and a Python client (JSON) in one conversation."""

import os
import pathlib
import subprocess

import server as harness
from client import text_of

CHAT_SECONDS_MAX = 60


def chat_binary():
    """$CHAT_BIN, else the one that was built beside the server."""
    named = os.environ.get("CHAT_BIN")
    return pathlib.Path(named) if named else harness.binary().with_name("chat")


def chat(server, user, to, lines, *arguments):
    """Runs `chat` on these lines to its end; what it printed."""
    done = try_chat(server, user, to, lines, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def try_chat(server, user, to, lines, *arguments):
    """The same, however it ends."""
    command = [str(chat_binary()), "--data", str(server.data), "--user", str(user), "--to", str(to)]
    if "--url" not in arguments:
        command += ["--url", server.url]
    return subprocess.run(
        [*command, *map(str, arguments)], input="".join(f"{line}\n" for line in lines), capture_output=True, text=True,
        timeout=CHAT_SECONDS_MAX,
    )


def test_the_sdk_sends_and_python_reads_while_both_are_online(server, connect, new_user):
    sdk, python = new_user(), new_user()
    reader = connect(server, python)

    lines = [f"line {count} ✓" for count in range(20)]
    chat(server, sdk, python, lines)

    assert [text_of(reader.expect("deliver")) for _ in lines] == lines


def test_the_sdk_sends_before_python_ever_connected(server, connect, new_user):
    sdk, python = new_user(), new_user()
    chat(server, sdk, python, ["early", "bird"])

    late = connect(server, python)

    assert [text_of(late.expect("deliver")) for _ in range(2)] == ["early", "bird"]


def test_python_sends_before_the_sdk_ever_connected(server, connect, new_user):
    sdk, python = new_user(), new_user()
    writer = connect(server, python)
    writer.say(sdk, "waiting for you")
    writer.say(sdk, "still here")

    printed = chat(server, sdk, python, [], "--expect", "2")

    assert printed.index("waiting for you") < printed.index("still here")
    receipt = writer.expect("receipt")
    while receipt["member"] != str(sdk) or int(receipt["delivered"]) < 2:
        receipt = writer.expect("receipt")


def test_the_sdk_speaks_tls_to_a_server_that_it_trusts_and_to_no_other(server, connect, new_user):
    sdk, python = new_user(), new_user()
    reader = connect(server, python)
    lines = [f"line {count} " + "x" * 2000 for count in range(50)]
    secured = ["--url", server.wss_url]
    chat(server, sdk, python, lines, *secured, "--ca", server.ca_path)
    assert [text_of(reader.expect("deliver")) for _ in lines] == lines
    refused = try_chat(server, sdk, python, ["lost"], *secured, "--timeout", "3")
    assert refused.returncode != 0 and "time is up" in refused.stderr, refused.stderr
    assert reader.held("deliver") == []
