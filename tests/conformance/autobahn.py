#!/usr/bin/env python3
"""RFC 6455 conformance: the fuzzing client of Autobahn Testsuite against `/echo`.

    autobahn.py                          starts the switchyard binary and tests its /echo
    autobahn.py ws://127.0.0.1:9000/     tests a server that is running
    autobahn.py --install                installs the suite and tests nothing

Groups 1-7, 9 and 10 (12 and 13 are compression, which is not offered). Any case that is not OK, NON-STRICT or
INFORMATIONAL fails the run. The suite needs Python 2.7, and a Python 3.8-3.11 to install it with; without them this fails
and says so. Everything else it installs by itself, once, into target/autobahn.
"""

import argparse
import collections
import glob
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
import server as switchyard  # noqa: E402

CACHE = switchyard.REPOSITORY / "target/autobahn"
REQUIREMENTS = HERE / "requirements-autobahn.txt"
VIRTUALENV = "virtualenv==20.15.1"  # the last one that makes Python 2.7 environments on Pythons up to 3.11
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
CASES_MIN = 290  # 301 in release 0.8.2; far fewer means that the run broke off
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
SUITE_SECONDS_MAX = 600


def pythons(pattern):
    """Interpreters by that name that start, from PATH and from pyenv."""
    found = [shutil.which(pattern)]
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    version = pattern.removeprefix("python")
    found += sorted(glob.glob(f"{pyenv}/versions/{version}*/bin/{pattern}"))
    for path in filter(None, found):
        if subprocess.run([path, "-c", "import sys"], capture_output=True).returncode == 0:
            yield path


def interpreter(names, purpose):
    """The first of these interpreters that starts; without one there is nothing to go on with."""
    found = next((path for name in names for path in pythons(name)), None)
    if found is None:
        version = names[0].removeprefix("python")
        raise SystemExit(
            f"autobahn: there is no {' or '.join(names)} {purpose}; install one that is found on PATH or in ~/.pyenv, "
            f"for example with `pyenv install {version}`"
        )
    return found


def install():
    """The `wstest` of a complete environment in the cache, made when the cache has none for these requirements."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + VIRTUALENV.encode()).hexdigest()[:16]
    home = CACHE / digest
    wstest, done = home / "suite/bin/wstest", home / "complete"
    if done.exists():
        return wstest
    python27 = interpreter(["python2.7"], "for the suite to run with")
    host = interpreter(["python3.11", "python3.10", "python3.9", "python3.8"], "to install the suite with")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    print("autobahn: installing the suite (about a minute, once)", flush=True)
    steps = [
        [host, "-m", "venv", home / "host"],
        [home / "host/bin/pip", "-q", "install", VIRTUALENV],
        [home / "host/bin/virtualenv", "-q", "-p", python27, home / "suite"],
        [home / "suite/bin/pip", "-q", "install", "-r", REQUIREMENTS],
    ]
    for step in steps:
        result = subprocess.run([str(word) for word in step], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode != 0:
            raise SystemExit(f"autobahn: {' '.join(map(str, step))} failed:\n{result.stdout}")
    done.touch()
    return wstest


def run_suite(wstest, url, folder):
    """Runs every case against `url`; returns {case: result} as the suite reports it."""
    spec = {"outdir": str(folder / "reports"), "servers": [{"agent": "server", "url": url}], "cases": CASES}
    spec |= {"exclude-cases": [], "exclude-agent-cases": {}}
    (folder / "spec.json").write_text(json.dumps(spec))
    with open(folder / "wstest.log", "w") as log:
        subprocess.run(
            [str(wstest), "-m", "fuzzingclient", "-s", "spec.json"],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT, timeout=SUITE_SECONDS_MAX, check=False,
        )
    index = folder / "reports/index.json"
    if not index.exists():
        raise SystemExit(f"autobahn: no report from {url}:\n{(folder / 'wstest.log').read_text()[-2000:]}")
    return json.loads(index.read_text())["server"]


def summarise(results, reports):
    """Prints a line per group and per bad case; returns the number of bad cases."""
    groups, bad = collections.defaultdict(collections.Counter), []
    for case, result in results.items():
        groups[int(case.split(".")[0])][result["behavior"]] += 1
        if not {result["behavior"], result["behaviorClose"]} <= GOOD:
            bad.append((case, result))
    for group in sorted(groups):
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(groups[group].items()))
        print(f"autobahn: group {group:>2}: {counts}")
    for case, result in bad:
        detail = json.loads((reports / result["reportfile"]).read_text())
        print(f"autobahn: case {case} {result['behavior']}, close {result['behaviorClose']}: {detail['result']}"
              f" (close: {detail['resultClose']})")
    if len(results) < CASES_MIN:
        print(f"autobahn: only {len(results)} cases ran, expected at least {CASES_MIN}")
        return len(bad) + 1
    return len(bad)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="the echo endpoint; without it the switchyard binary is started")
    parser.add_argument("--install", action="store_true", help="install the suite and test nothing")
    arguments = parser.parse_args()
    url, wstest = arguments.url, install()
    if arguments.install:
        return 0
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        folder, own = pathlib.Path(folder), None
        if url is None:
            own = switchyard.Server(folder / "data").start()
            url = own.echo_url
        started = time.monotonic()
        try:
            results = run_suite(wstest, url, folder)
        finally:
            if own:
                own.kill()
        bad = summarise(results, folder / "reports")
        print(f"autobahn: {len(results)} cases, {bad} bad, {time.monotonic() - started:.0f} s")
        return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
