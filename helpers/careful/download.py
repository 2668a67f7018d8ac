"""Download files from the Hub with huggingface_hub. hub.py runs this file in a process of its own.

The request is a line of JSON on standard input. The answer is exit status 0, or 1 and the reason on standard output.
"""

import errno
import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path

ATTEMPTS = 3  # for each file
LONGEST_PAUSE = 30  # seconds; a server that asks for a longer pause is not waited for


class Altered(Exception):
    """A file whose checksum is another."""


def download(repository, kind, revision, checksums, folder, unfinished, silence, pause):
    """Download into `unfinished`, and move each file to `folder` once its checksum is right."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    place = {"repo_type": kind, "revision": revision}
    for name, digest in checksums.items():
        for attempt in range(1, ATTEMPTS + 1):
            try:
                # Ask once, for a few seconds: where nobody answers, hf_hub_download alone goes on for minutes.
                get_hf_file_metadata(hf_hub_url(repository, name, **place), token=False, timeout=silence)
                path = hf_hub_download(
                    repository, name, **place, local_dir=unfinished, token=False, force_download=attempt > 1
                )
                if sha256(path) != digest:
                    raise Altered(name)
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, Path(folder) / name)
                break
            except Exception as problem:
                reason, seconds = explain(problem, pause)
                if seconds is None or seconds > LONGEST_PAUSE or attempt == ATTEMPTS:
                    return reason
                time.sleep(seconds)


def explain(problem, pause):
    """Return (the reason in words that fit into a sentence, seconds to the next attempt or None for no other)."""
    if type(problem).__name__ == "LocalEntryNotFoundError":  # what went wrong on the way is its cause
        problem = problem.__cause__ or problem
    names = {kind.__name__ for kind in type(problem).__mro__}  # huggingface_hub is built on httpx or httpx2, by version
    response = getattr(problem, "response", None)
    if response is not None:
        status, wait = response.status_code, response.headers.get("Retry-After", "")
        if status != 429 and status < 500:
            return f"it refuses the file (HTTP status {status})", None
        reason = "it has too many requests at the moment" if status == 429 else "it is out of order"
        return f"{reason} (HTTP status {status})", int(wait) if wait.isdigit() else pause
    if "OfflineModeIsEnabled" in names:
        return "the environment variable HF_HUB_OFFLINE forbids it", None
    if "FileMetadataError" in names:
        return "something else answers in its place, a login page perhaps", None
    if "Altered" in names:
        return f"{problem} arrived altered (its checksum differs)", pause
    if "TimeoutException" in names:
        return "it doesn't answer, or too slowly", pause
    if "TransportError" in names:
        return f"the connection fails ({type(problem).__name__})", None if "ConnectError" in names else pause
    if isinstance(problem, OSError) and problem.errno is None:  # the size differs from the announced one
        return "the download was cut short", pause
    if isinstance(problem, OSError):
        reason = "the disk is full" if problem.errno == errno.ENOSPC else problem.strerror
        return f"its files can't be written: {reason}", None
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}", None


def sha256(path):
    """Return a file's checksum, or None where it can't be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def end_with_the_parent():
    """End this process when standard input closes: the notebook's kernel was killed."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    reason = download(**request)
    print(reason or "", flush=True)
    os._exit(1 if reason else 0)  # without waiting for the thread
