"""Making .venv: a virtual environment with the locked packages, from the network or from a pack.

Standard library alone.
"""

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import distributions

from tools import ground
from tools.ground import REQUIREMENTS, ROOT, VENV, Problem, environment, last_line, site_packages, venv_python
from tools.lock import HASHED, normal, pinned
from tools.pack import check_pack, no_match, pack_environment, packages_digest, remember, remembered

STAMP = VENV / "course-setup.json"  # marks the folder as ours, and says how far the set-up has come
UNFINISHED = {"venv": "unfinished"}


def set_up(pack=None):
    """Make .venv complete, from the network or from a pack. It may be stopped at any moment, and started again."""
    if is_set_up():
        add_course()
        no_questions_about_news()
        return
    check_venv_module()
    check_lock()
    pack = pack or remembered()
    needed = check_pack(pack) if pack else ground.GIGABYTES
    with one_at_a_time() as lock:
        if is_set_up():  # by the one that we waited for
            return
        check_disk(needed)
        started = time.monotonic()
        if pack:
            remember(pack)
        print(f"Setting up the course in {VENV}. This is done once and takes some minutes.", flush=True)
        make_venv(lock)
        remove_half_installed()
        install_requirements(lock, pack)
        add_course()
        ground.write_json(STAMP, wanted_stamp())
        no_questions_about_news()
        print(f"Set up in {time.monotonic() - started:.0f} seconds.", flush=True)
        if pack:
            start = f"`cd {ROOT}` and `{ground.COMMAND}`"
            print(f"Next time start it there: {start}. The pack is not needed then.", flush=True)


def is_set_up():
    """Is the set-up complete, with these very requirements and a Python that still runs?"""
    return read_stamp() == wanted_stamp()


def wanted_stamp():
    return {"requirements": packages_digest(), "python": venv_version()}


def read_stamp():
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def venv_version(module="sys"):
    """Return the version of .venv's Python, or None when it does not run or can't import `module`."""
    command = [venv_python(), "-P", "-c", f"import sys, {module}; print(sys.version.split()[0])"]
    try:
        found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), text=True)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


# ------------------------------------------------------------------------------------------------- before it starts


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
    """Return what is free where `folder` is, or will be, in GB."""
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e9


def check_disk(gigabytes):
    """Raise Problem unless what is still missing of a set-up of this size fits on the disk."""
    made = sum(path.lstat().st_size for path in VENV.rglob("*"))
    free, needed = free_gigabytes(VENV), max(1.0, gigabytes - made / 1e9)
    if free < needed:
        raise Problem(
            f"Only {free:.1f} GB are free where {VENV} is to be, and the set-up needs {needed:.1f} GB: free some "
            "space, or name a folder on a larger disk in the environment variable COURSE_VENV."
        )


def check_lock():
    """Raise Problem unless the lock holds what requirements.txt asks for."""
    locked = pinned(ground.LOCK.read_text(encoding="utf-8"))
    for name, versions in pinned(REQUIREMENTS.read_text(encoding="utf-8")).items():
        if not set(versions) <= set(locked.get(name, ())):
            raise Problem(
                f"{name} {versions[0]} stands in requirements.txt and not in its lock: undo that change, or run "
                f"`{ground.COMMAND} refresh --lock`, which needs the network."
            )


@contextlib.contextmanager
def one_at_a_time():
    """Let one set-up work at a time. The lock ends with the processes that hold it, however they end."""
    VENV.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{VENV}.lock", "ab") as lock:  # "a": should there be a file of this name, it keeps its content
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


# ------------------------------------------------------------------------------------------------------------- steps


@contextlib.contextmanager
def helper_process(command, lock, env=None, **pipes):
    """Start a program that does a part of the set-up, and stop it when we are stopped.

    It holds the lock too: should start.py alone be killed, the next set-up waits until this program has ended.
    """
    if os.name != "nt":
        pipes.update(pass_fds=[lock.fileno()], start_new_session=True)
    process = subprocess.Popen(command, env=env or environment(), cwd=VENV, **pipes)
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
    """Make the virtual environment, unless a working one is there. Only one that start.py made is deleted."""
    if not STAMP.exists() and VENV.exists() and (not VENV.is_dir() or any(VENV.iterdir())):
        raise Problem(
            f"{VENV} was not made by start.py, which won't touch it: move it away, or name another folder in the "
            "environment variable COURSE_VENV."
        )
    if read_stamp() != UNFINISHED and venv_version(module="pip"):
        return
    if STAMP.exists():
        print("The virtual environment is unfinished or broken: making it again.", flush=True)
        shutil.rmtree(VENV)
    VENV.mkdir(parents=True, exist_ok=True)
    ground.write_json(STAMP, UNFINISHED)
    # The Python below a virtual environment, when start.py was started with one.
    python = getattr(sys, "_base_executable", None) or sys.executable
    # pip in a step of its own, because venv keeps to itself what went wrong with it
    for command in ([python, "-m", "venv", "--without-pip", VENV], [venv_python(), "-m", "ensurepip", "--default-pip"]):
        command.insert(1, "-P")
        with helper_process(command, lock, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            said = process.communicate()[0].decode(errors="replace")
        if process.returncode:
            raise Problem(install_problem(said) or "Python could not make a virtual environment: " + last_line(said))
    ground.write_json(STAMP, {"venv": "made"})


def remove_half_installed():
    """Remove what a cut-off installation left, so that pip installs it again. pip writes a package's RECORD last."""
    for folder in site_packages().glob("*.dist-info"):
        if not (folder / "RECORD").exists():
            shutil.rmtree(folder)
    for folder in site_packages().glob("~*"):  # pip's name for what it was about to replace
        shutil.rmtree(folder, ignore_errors=True)


def install_requirements(lock, pack=None):
    """Let pip install what the lock names: files with the right SHA-256 alone, and nothing that it doesn't name."""
    run_pip(ground.OWN_LOCK, lock, pack, must=False)
    run_pip(ground.LOCK, lock, pack)
    torch = site_packages().glob("torch-*.dist-info/METADATA")
    if sys.platform == "linux" and any("Requires-Dist: nvidia-" in path.read_text(encoding="utf-8") for path in torch):
        run_pip(ground.GPU_LOCK, lock, pack)
    if wrong_packages():
        raise Problem(
            f"pip put the packages elsewhere, for {wrong_packages()[0]} in {VENV}: look for a setting of yours in what "
            f"`{venv_python()} -m pip config list` prints, and run the same command again."
        )


def run_pip(locked, lock, pack=None, must=True):
    """Let pip install one lock file, with its own progress on the screen. must: is it a fault if that can't be had?"""
    command = [venv_python(), "-P", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += [*HASHED, "-r", locked, *(["--no-index", "--find-links", pack / "wheels"] if pack else [])]
    said = ""
    with helper_process(command, lock, pack_environment() if pack else None, stderr=subprocess.PIPE) as pip:
        for line in pip.stderr:
            line = line.decode(errors="replace")
            said += line
            print(line if must else "", end="", file=sys.stderr, flush=True)
        pip.wait()
    if pip.returncode and must:
        if pack and "No matching distribution" in said:
            raise Problem(no_match(pack, last_line(said)))
        raise Problem(install_problem(said) or "pip could not install the packages: " + last_line(said))


def wrong_packages():
    """Return what .venv lacks of requirements.txt, or has in another version, in words."""
    found = {normal(item.metadata["Name"]): item.version for item in distributions(path=[str(site_packages())])}
    wrong = []
    for name, versions in pinned(REQUIREMENTS.read_text(encoding="utf-8")).items():
        installed = found.get(name)
        if installed is None:
            wrong.append(f"{name} is missing")
        elif installed.split("+")[0] not in versions:
            wrong.append(f"{name} is {installed} instead of {versions[0]}")
    return wrong


def add_course():
    """Let .venv import the course, after all packages: an editable installation that needs no network and no build."""
    path = site_packages() / "course.pth"
    # Two ways of writing that need no letters beyond ASCII: Python reads this file in the encoding of the moment.
    inside, outside = os.path.relpath(ROOT, path.parent), f"import sys; sys.path.append({ascii(str(ROOT))})"
    with ground.unless_read_only():
        if not path.exists():
            path.write_text(inside if VENV.is_relative_to(ROOT) else outside, encoding="ascii")


def no_questions_about_news():
    """Set, in .venv alone, that JupyterLab does not ask on first use whether it may fetch news."""
    path = VENV / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    with ground.unless_read_only():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            news = {"fetchNews": "false", "checkForUpdates": False}
            ground.write_json(path, {"@jupyterlab/apputils-extension:notification": news})


def install_problem(said):
    """Return the cure for what pip (or venv) said, where it is one that beginners meet; otherwise None."""
    if "No space left on device" in said or "[Errno 28]" in said or "not enough space" in said:
        return ground.DISK_FULL
    if re.search(
        r"connection broken|Failed to establish|Max retries|name resolution|timed out|ProxyError|SSLError", said
    ):
        return (
            "pip can't reach the package index: check the network (and the proxy, if you need one) and run the same "
            "command again; it goes on where it stopped."
        )
    wrong = re.search(r"DO NOT MATCH THE HASHES.*?\n *(\S+) from ([^\s#]+)", said, re.DOTALL)
    if wrong:
        return (
            f"{wrong[2].rstrip(':')} is not the file of {wrong[1]} that this course was tested with, so it was not "
            "installed: run the same command again; if that doesn't help, ask who runs the network or made the pack."
        )
    missing = re.search(r"No matching distribution found for (\S+)", said)
    if missing:
        return (
            f"pip finds no {missing[1]} for Python {platform.python_version()}: check the network first; if it "
            f"works, install another Python ({ground.PYTHONS}) and run start.py with it."
        )
    return None
