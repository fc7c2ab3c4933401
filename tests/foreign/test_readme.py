"""What README.md shows of a client works as it is written there."""

import re
import subprocess
import sys

from server import REPOSITORY

LISTEN = "127.0.0.1:7400"


def test_five_lines_of_python_say_something_to_somebody(server, connect):
    example = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL).group(1)
    assert example.count("\n") == 5 and LISTEN in example, example
    friend = connect(server, 42)
    command = [sys.executable, "-u", "-c", example.replace(LISTEN, server.addresses["ws"]), server.token(44)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        try:
            assert friend.expect("deliver")["body"]["text"] == "hi"
            assert '"type":"welcome"' in client.stdout.readline()
            assert '"type":"accepted"' in client.stdout.readline()
        finally:
            client.kill()
