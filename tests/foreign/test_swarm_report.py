"""What a run of `swarm` leaves behind, and the exit code it ends with: the real binary against the real server."""

import csv
import json
import os
import pathlib
import signal
import subprocess

import pytest

from server import binary

SCRIPT = pathlib.Path(__file__).resolve().parent / "node/open_page.cjs"
MODULES = os.environ.get("SWITCHYARD_NODE_MODULES")
TIMEOUT = 60


def command(server, *arguments):
    swarm = binary().parent / "swarm"
    return [str(swarm), "chat", "--url", server.addresses["ws"], "--data", str(server.data), *arguments]


def swarm_chat(server, *arguments):
    return subprocess.run(command(server, *arguments), capture_output=True, text=True, timeout=TIMEOUT)


def open_page(path):
    """What a reader of the page sees."""
    line = ["node", str(SCRIPT), str(path)]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=TIMEOUT, env={**os.environ, "NODE_PATH": MODULES}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SHORT = ["--pairs", "2", "--count", "20"]


@pytest.mark.parametrize(
    ("expectations", "code", "says"),
    [
        ([], 0, "nothing went wrong"),
        (["lost==0", "p99<60s", "messages>=40"], 0, "held    p99<60s: p99_us is "),
        (["lost==0", "messages>40"], 1, "MISSED  messages>40: messages is 40"),
        # Measured only with --server-pid; what is unknown does not hold.
        (["server_rss_bytes>0"], 1, "MISSED  server_rss_bytes>0: server_rss_bytes was not measured"),
        (["lots==0"], 2, "`lots==0` names no figure of this command; its figures are pairs, seconds, messages"),
        (["p99<60"], 2, "say 60us, 60ms or 60s"),
        (["lost"], 2, "it should look like p99<50ms, lost==0"),
    ],
)
def test_expectations_set_the_exit_code(server, expectations, code, says):
    arguments = [word for expectation in expectations for word in ("--expect", expectation)]
    done = swarm_chat(server, *SHORT, *arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr


def test_json_is_all_there_is_on_standard_output(server):
    done = swarm_chat(server, *SHORT, "--json", "--expect", "lost==0")
    report = json.loads(done.stdout)
    assert (done.returncode, report["messages"], report["faults"]["lost"]) == (0, 40, 0)
    assert report["expectations"] == [{"expect": "lost==0", "figure": "lost", "measured": 0.0, "held": True}]
    assert "expectations" not in json.loads(swarm_chat(server, *SHORT, "--json").stdout)


@pytest.mark.skipif(not MODULES, reason="`cargo xtask foreign` installs npm `jsdom` and says where")
def test_a_run_is_in_the_csv_and_on_the_page(server, tmp_path):
    table, page = tmp_path / "course.csv", tmp_path / "report.html"
    page.write_text("x" * 1_000_000)  # what was there before, and longer
    done = swarm_chat(
        server, "--pairs", "3", "--rate", "200", "--warm-up", "0.2", "--duration", "2", "--server-pid", str(server.pid),
        "--csv", str(table), "--html", str(page), "--expect", "lost==0", "--expect", "messages>1000000",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 3
    assert {row["open"] for row in rows[1:]} == {"6"}
    sent = [int(row["sent"]) for row in rows]
    assert sent == sorted(sent) and sent[-1] == int(rows[-1]["delivered"]) > 300
    assert int(rows[1]["server_rss_bytes"]) > 1_000_000 and int(rows[1]["p50_us"]) <= int(rows[1]["max_us"])

    seen = open_page(page)
    assert seen["verdict"] == "1 of 2 expectations missed"
    assert seen["judged"] == [["held", "lost==0"], ["missed", "messages>1000000"]]
    assert seen["tiles"]["lost"] == "0"
    lines = {name: plot["lines"] for name, plot in seen["plots"].items()}
    assert list(lines) == [f"plot-{name}" for name in ("connections", "connecting", "messages", "latency", "memory", "cpu")]
    assert [len(drawn) for drawn in lines.values()] == [1, 1, 3, 5, 1, 2], seen["plots"]
    assert lines["plot-memory"] == [len(rows)]
    assert seen["plots"]["plot-connections"]["legend"] == {
        "open": "6", "opening": "0", "dropped so far": "0", "refused so far": "0",
    }  # fmt: skip
    assert seen["pointed"] == {"at": "at 0:01", "cursors": 6}
    assert seen["rows"] == len(rows)


@pytest.mark.skipif(not MODULES, reason="`cargo xtask foreign` installs npm `jsdom` and says where")
def test_an_interrupted_run_leaves_what_it_had(server, tmp_path):
    table, page = tmp_path / "course.csv", tmp_path / "report.html"
    line = command(server, "--pairs", "1", "--rate", "50", "--duration", "600", "--csv", str(table), "--html", str(page))
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stderr.readline()  # the line of the first sample
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (128 + signal.SIGINT, "")
    assert "cut short by SIGINT after 1 s" in err
    assert len(table.read_text().splitlines()) >= 2
    seen = open_page(page)
    assert (seen["verdict"], seen["tiles"]["dropped"]) == ("cut short", "0")
    assert "expectations were not judged" in seen["cut_short"]
    assert seen["plots"]["plot-memory"]["empty"] == "Not measured: it needs the server's process id."
