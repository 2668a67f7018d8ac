#!/usr/bin/env python3
"""How long is it from an empty folder to JupyterLab, and how large does the folder get?

    python3 tools/benchmarks/startup.py   minutes; it clones the course into a temporary folder and sets it up there

Measured with a fresh HOME, so that nothing is taken from an earlier set-up: `git clone`, then `python3 start.py`, until
the first notebook's page is served; the same command again; and `import helpers` alone. The results go to
results/startup.json. Needs the package index; standard library alone.
"""

import datetime
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def until_served(course, environment):
    """Start the course, wait until its page is served, stop it; return the seconds it took."""
    command = [sys.executable, "start.py", "--no-browser"]
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=course, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = []
    for line in process.stdout:
        said.append(line)
        address = re.search(r"http://(?:localhost|127\.0\.0\.1):\d+/\S*token=\w+", line)
        if address:
            urllib.request.urlopen(address[0], timeout=60).read()
            break
    else:
        sys.exit("start.py ended without serving a page:\n" + "".join(said[-20:]))
    seconds = time.monotonic() - started
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    return seconds


def megabytes(folder):
    return sum(path.lstat().st_size for path in Path(folder).rglob("*")) / 1e6


def main():
    with tempfile.TemporaryDirectory() as folder:
        course, home = Path(folder) / "course", Path(folder) / "home"
        home.mkdir()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("COURSE_", "VIRTUAL_ENV", "PYTHON"))}
        environment["HOME"] = str(home)
        subprocess.run(["git", "clone", "-q", str(ROOT), str(course)], check=True)
        first = until_served(course, environment)
        again = until_served(course, environment)
        python = next(course.glob(".venv/bin/python"), course / ".venv" / "Scripts" / "python.exe")
        imports = []
        for _ in range(5):
            started = time.monotonic()
            subprocess.run([python, "-c", "import helpers"], cwd=course, env=environment, check=True)
            imports.append(time.monotonic() - started)
        version = f"Python {sys.version.split()[0]}"
        results = {
            "machine": f"{os.cpu_count()} cores, {sys.platform}, {version}",
            "date": datetime.date.today().isoformat(),
            "seconds_first": first,
            "seconds_again": again,
            "megabytes": megabytes(course),
            "megabytes_without_packages": megabytes(course) - megabytes(course / ".venv"),
            "seconds_import_helpers": statistics.median(imports),
        }
    unfinished = ROOT / "tools" / "results" / "startup.json.unfinished"
    unfinished.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, ROOT / "tools" / "results" / "startup.json")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
