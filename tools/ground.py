"""The ground that all of tools/ stands on: where things lie, what a fault looks like, how programs are started.

Standard library alone, for it is used before there is a virtual environment. It imports nothing else of the course.
"""

import contextlib
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent
VENV = Path(os.path.abspath(os.environ.get("COURSE_VENV") or ROOT / ".venv"))
VENV = VENV.resolve() if VENV.is_symlink() else VENV  # moved to a larger disk, say
REQUIREMENTS = ROOT / "requirements.txt"  # for people; what is installed is in the lock, every file with its SHA-256
LOCK, OWN_LOCK, GPU_LOCK = (ROOT / "tools" / f"requirements{kind}.lock" for kind in ("", "-own", "-gpu"))
FOLDER = "bert-finetuning-course"  # the course where somebody else put it: from a stick, a zip, or a repository
ROOM = ROOT / "room.json"  # what a pack's course remembers: {"track": …, "pack": the folder it was set up from}
OLDEST, NEWEST = (3, 11), (3, 14)  # as in start.py, which imports nothing before it has looked at the Python
PYTHONS = f"3.{OLDEST[1]} to 3.{NEWEST[1]}"
# Of a set-up. On Linux, where the usual torch brings its GPU libraries, 6.4 GB were measured, and up to 3.1 GB more in
# pip's cache.
GIGABYTES = 7 if sys.platform == "linux" else 3
TRACKS = ["laptop", "gpu", "quick"]
COMMAND = "python start.py" if os.name == "nt" else "python3 start.py"  # in what we tell people to type
DISK_FULL = (
    f"The disk is full: free some space (the set-up needs {GIGABYTES} GB, also in the folder for temporary files, "
    "which the environment variable TMPDIR names) and run the same command again; it goes on where it stopped."
)


# What stays of somebody's settings for pip. Others would put packages elsewhere (PIP_TARGET), or nowhere (PIP_DRY_RUN).
WHERE_PIP_FETCHES = {
    f"PIP_{name}"
    for name in "INDEX_URL EXTRA_INDEX_URL NO_INDEX FIND_LINKS TRUSTED_HOST CERT CLIENT_CERT PROXY KEYRING_PROVIDER "
    "RETRIES TIMEOUT DEFAULT_TIMEOUT CACHE_DIR NO_CACHE_DIR CONFIG_FILE".split()
}


class Problem(Exception):
    """Something that the person at the keyboard can mend: what is wrong, and the cure."""


# ------------------------------------------------------------------------------------------------------------ .venv


def venv_python():
    return VENV / "Scripts" / "python.exe" if os.name == "nt" else VENV / "bin" / "python"


def site_packages():
    """Return the folder of .venv's packages, or None."""
    places = [VENV / "Lib" / "site-packages", *VENV.glob("lib/python3.*/site-packages")]
    return next((folder for folder in places if folder.is_dir()), None)


def classroom():
    """Return what was remembered for a classroom, {} where there is nothing."""
    try:
        found = json.loads(ROOM.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def own_folder():
    """Return the folder for a learner's own files: the course's, or one at home where the course may not be written."""
    return ROOT if os.access(ROOT, os.W_OK) else Path.home() / "bert-finetuning-course-files"


@contextlib.contextmanager
def unless_read_only():
    """Pass over a file that can't be written because many share it: whoever set the course up has written it."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def environment():
    """Return the environment for everything that runs in .venv."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONHOME", "PYTHONPATH") and (name in WHERE_PIP_FETCHES or not name.startswith("PIP_"))
    }
    if not env.get("COURSE_TRACK") and "track" in classroom():
        env["COURSE_TRACK"] = classroom()["track"]
    if own_folder() != ROOT and not env.get("COURSE_OUTPUT"):
        env["COURSE_OUTPUT"] = str(own_folder() / "outputs")
    return env | {
        "VIRTUAL_ENV": str(VENV),
        "PATH": str(venv_python().parent) + os.pathsep + env.get("PATH", ""),
        **{"PIP_USER": "0", "PIP_DRY_RUN": "0", "PIP_NO_DEPS": "0"},  # whatever pip.conf says
        "JUPYTER_PREFER_ENV_PATH": "1",  # kernels of .venv come before those in the home folder
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUTF8": "1",  # files are UTF-8 where nobody says otherwise, on Windows too
        "TOKENIZERS_PARALLELISM": "false",  # else a warning for every process started later
    }


IN_VENV = """
import runpy, sys
sys.stdout.reconfigure(errors="backslashreplace")
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
for name in ("helpers", "tools"):
    spec = PathFinder.find_spec(name, [{folder}])
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def module(name, *arguments, python=None):
    """Return the command that runs a module in .venv: of this very course, however many courses use that .venv.

    As in start.py, `helpers` and `tools` are taken from the course's folder, and no other file there is.
    """
    code = IN_VENV.format(folder=ascii(str(ROOT)), module=name)
    return [str(python or venv_python()), "-P", "-c", code, *map(str, arguments)]


# ----------------------------------------------------------------------------------------------------------- programs


def hand_over(command, env=None):
    """Go on as another program; its exit code is ours."""
    command = [str(part) for part in command]
    if os.name == "nt":
        return call(command, env)
    sys.stdout.flush()
    os.execve(command[0], command, env or environment())


def call(command, env=None):
    """Run another program and return its exit code. Ctrl-C is its own business."""
    signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, which the program would inherit
    return subprocess.call(command, env=env or environment())


def last_line(said):
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason."


def as_program(main, *arguments):
    """Run `main` and end with its exit code; what people can mend ends in one sentence."""
    for name in ("SIGTERM", "SIGHUP"):  # stopped by `kill`, or the window was closed: stop pip as well
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP, and so do we then
            signal.signal(number, signal.default_int_handler)
    sys.stdout.reconfigure(errors="backslashreplace")  # a folder's name may hold what a log file's encoding lacks
    try:
        sys.exit(main(*arguments))
    except Problem as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Run the same command again to go on.\n")
        sys.exit(130)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            sys.exit(DISK_FULL)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            sys.exit(
                f"{error.filename} can't be written: copy the course to a folder of your own, or name one for the "
                "packages in the environment variable COURSE_VENV."
            )
        raise


# ------------------------------------------------------------------------------------------------------------- files


def notebooks():
    """Return {"01": path, ...}."""
    found = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise Problem(f"There are no notebooks in {ROOT / 'notebooks'}: fetch the course again.")
    return found


def write(path, text):
    """Write a text file by way of a temporary one, so that it is never half there."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    os.replace(unfinished, path)


def write_json(path, content):
    write(path, json.dumps(content))


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(content):
    """Return the SHA-256 of a text file's bytes, the same for Windows' line ends and the others'."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
