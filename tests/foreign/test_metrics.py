"""What an operator watches the server with: its metrics, the alert rules and the dashboard, as promtool and people read them."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from exposition import Exposition
from server import REPOSITORY
from waiting import until

RULES = REPOSITORY / "packaging/prometheus"
DASHBOARD = REPOSITORY / "packaging/grafana/switchyard.json"
DOCUMENT = REPOSITORY / "docs/metrics.md"
# What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$job": "switchyard", "$instance": ".+"}


def promtool(*arguments, given=None):
    """Runs promtool, which `cargo xtask setup` fetches; what it says is the failure."""
    program = os.environ.get("SWITCHYARD_PROMTOOL") or shutil.which("promtool")
    if not program:
        pytest.skip("promtool is missing: run `cargo xtask metrics`, which fetches it")
    done = subprocess.run([program, *map(str, arguments)], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def scrape(server):
    status, text = server.admin("/metrics")
    assert status == 200
    return Exposition(text)


def alerts():
    return re.findall(r"- alert: (\w+)", (RULES / "alerts.yml").read_text())


def queries_of_alerts():
    """The text between `expr:` and the next key of each rule."""
    return re.findall(r"expr:(.*?)\n +(?:for|labels):", (RULES / "alerts.yml").read_text(), re.DOTALL)


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def queries_of_dashboard():
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_promtool_finds_nothing_to_say_of_the_metrics(server):
    assert promtool("check", "metrics", given=server.admin("/metrics")[1]) == ""


def test_what_happens_is_counted(own_server, connect):
    own_server.arguments = ["--gateway-cores", "2", "--router-cores", "2"]
    server = own_server.start()
    alice, bob = connect(server, 1), connect(server, 2)
    alice.say(2, "counted")
    bob.expect("deliver")
    alice.fetch(2, after=0)
    bob.put(type="fetch", request="1", conversation={"group": "7"}, after="0", limit=1)
    bob.expect("error", name="not_a_member")
    host, port = server.addresses["ws"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=15) as stranger:
        stranger.sendall(b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n")
        assert stranger.recv(4096).startswith(b"HTTP/1.1 404 ")

    until("two sessions alone", lambda: scrape(server).sum("switchyard_gateway_connections") == 2)
    seen = scrape(server)
    for name, labels, value in [
        ("switchyard_gateway_connections", {"state": "open", "transport": "websocket"}, 2),
        ("switchyard_gateway_accepts_total", {}, 3),
        ("switchyard_gateway_handshake_failures_total", {"reason": "not_found"}, 1),
        ("switchyard_gateway_handshake_failures_total", {}, 1),
        ("switchyard_gateway_sends_accepted_total", {}, 1),
        ("switchyard_gateway_deliveries_total", {}, 1),
        ("switchyard_gateway_refusals_total", {"code": "not_a_member"}, 1),
        ("switchyard_gateway_refusals_total", {}, 1),
        ("switchyard_router_journal_state", {"state": "ready"}, 2),
        ("switchyard_router_journal_state", {}, 2),
        ("switchyard_ready", {}, 1),
        ("switchyard_faults", {}, 0),
        ("switchyard_build_info", {}, 1),
    ]:
        assert seen.sum(name, **labels) == value, (name, labels)
    for name in ["duration_seconds", "records", "size_bytes"]:
        name = f"switchyard_router_commit_{name}"
        assert 0 < seen.sum(f"{name}_count") == seen.sum(f"{name}_bucket", le="+Inf") <= seen.sum("switchyard_router_commit_records_sum")
        assert seen.sum(f"{name}_sum") > 0
    # What is measured lies where it can: within the life of the test.
    assert 0 < seen.sum("switchyard_router_commit_duration_seconds_sum") < seen.sum("switchyard_uptime_seconds") < 600
    assert abs(time.time() - seen.sum("process_start_time_seconds") - seen.sum("switchyard_uptime_seconds")) < 60
    assert 1 << 20 < seen.sum("process_resident_memory_bytes") < 1 << 33
    threads = {labels["thread"] for labels, _ in seen.series["switchyard_thread_cpu_seconds_total"]}
    assert threads >= {"gateway-0", "gateway-1", "router-0", "router-1"}, threads
    assert 0 < seen.sum("switchyard_data_free_bytes") <= seen.sum("switchyard_data_size_bytes")
    until("what is in memory to be counted", lambda: scrape(server).sum("switchyard_router_users") == 2)


def test_the_pages_show_the_same(server, connect, new_user):
    connect(server, new_user())
    stats, seen = json.loads(server.admin("/stats")[1]), scrape(server)
    for figure, name, labels in [
        ("gateway_accepted", "switchyard_gateway_accepts_total", {}),
        ("gateway_sessions", "switchyard_gateway_connections", {"state": "open"}),
        ("gateway_connections_max", "switchyard_gateway_connections_limit", {}),
    ]:
        assert sum(sample["value"] for sample in stats[figure]) == seen.sum(name, **labels), figure


def test_a_drain_is_seen_to_its_end(own_server):
    server = own_server.start()
    host, port = server.addresses["ws"].rsplit(":", 1)
    # It is told to go and does not: the server waits a moment for it.
    with socket.create_connection((host, int(port)), timeout=15):
        until("the connection", lambda: scrape(server).sum("switchyard_gateway_connections", state="handshake") == 1)
        server.signal(signal.SIGTERM)
        leaving = until("the drain", lambda: [seen for seen in [scrape(server)] if seen.sum("switchyard_ready") == 0])[0]
        assert leaving.sum("switchyard_gateway_connections") == 1
        assert leaving.sum("switchyard_faults") == 0
    assert server.wait() == 0, server.log_text()


def test_the_alert_rules_are_valid_and_every_one_is_tested():
    promtool("check", "config", RULES / "prometheus.yml")
    promtool("test", "rules", RULES / "alerts_test.yml")
    tests = (RULES / "alerts_test.yml").read_text()
    assert len(alerts()) == len(set(alerts())) == len(queries_of_alerts()) > 10
    for alert in alerts():
        assert re.search(f'alertname="{alert}",alertstate="firing"|alertname: {alert}\n', tests), f"nothing tests {alert}"


@pytest.mark.parametrize("queries", [queries_of_alerts, queries_of_dashboard])
def test_whatever_is_asked_for_exists(server, queries):
    seen = scrape(server)
    wrong = {query: unknown for query in queries() if (unknown := seen.unknown_in(query))}
    assert not wrong, wrong


def test_the_dashboards_queries_can_be_parsed(tmp_path):
    lines = ["groups:", "- name: dashboard", "  rules:"]
    for number, query in enumerate(queries_of_dashboard()):
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        assert "$" not in query, query
        lines += [f"  - record: query:{number}", f"    expr: {json.dumps(query)}"]
    rules = tmp_path / "dashboard.yml"
    rules.write_text("\n".join(lines) + "\n")
    assert f"{len(queries_of_dashboard())} rules found" in promtool("check", "rules", rules)


def test_the_dashboard_says_what_each_panel_shows_and_no_two_overlap():
    taken = {}
    for panel in panels():
        title, place = panel["title"], panel["gridPos"]
        assert len(panel["description"]) > 10, f"{title} does not say what it shows"
        assert panel["fieldConfig"]["defaults"] and panel["datasource"]["uid"] == "${datasource}", title
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24 and taken.setdefault((x, y), title) == title, f"{title} lies over {taken[x, y]}"
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids)) > 20


def test_the_document_lists_every_metric(server):
    rows = ["| metric | type | labels | what it says |", "|---|---|---|---|"]
    for name, (kind, says, labels) in scrape(server).families.items():
        rows.append(f"| `{name}` | {kind} | {' '.join(f'`{label}`' for label in sorted(labels))} | {says} |")
    table = "\n".join(rows)
    assert table in DOCUMENT.read_text(), f"docs/metrics.md needs this table:\n{table}"
