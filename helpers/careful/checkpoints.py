"""Checkpoint files: everything that a training needs in order to go on after a stop (for resuming.py).

A checkpoint is one safetensors file: the tensors, and everything else as JSON in its header. Nothing is unpickled. It
is written under another name, forced onto the disk and then renamed, so that it is there as a whole or not at all; its
name ends with its checksum. The last two are kept, and the one with the lowest validation loss.
"""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FORMAT = "helpers.careful.checkpoints 1"
TENSOR = "tensor of this file"  # stands in the JSON where a tensor was, with its name


def save_checkpoint(folder, state, *, best=False):
    """Write the next checkpoint into `folder` and return its path; then delete all but the last two and the best.

    state  dicts and lists, nested as you like, of tensors and of what JSON can hold
    best   whether its validation loss is the lowest so far
    Raises OSError where there is no room or no right to write; the checkpoints that are there stay as they are.
    """
    workplace = Path(folder) / "unfinished"  # safetensors leaves a hidden file where it is killed while it writes
    unfinished = workplace / "checkpoint.safetensors"
    number = max((int(path.name.split("-")[1]) for path in list_checkpoints(folder)), default=0) + 1
    tensors = {}
    header = {"format": FORMAT, "state": json.dumps(_take_tensors_out(state, tensors, "state"))}
    try:
        shutil.rmtree(workplace, ignore_errors=True)
        workplace.mkdir(exist_ok=True)
        save_file(tensors, unfinished, metadata=header)
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        name = f"saved-{number:05}-{'best-' if best else ''}{_checksum(unfinished)}.safetensors"
        path = unfinished.rename(Path(folder) / name)
    except (OSError, SafetensorError) as problem:
        raise OSError(str(problem)) from None
    finally:
        shutil.rmtree(workplace, ignore_errors=True)  # gives its room back
    paths = list_checkpoints(folder)
    for old in set(paths[:-2]) - set([path for path in paths if "-best-" in path.name][-1:]):
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def load_checkpoint(path):
    """Return the state that was given to `save_checkpoint`; numbers that were keys are text now.

    Raises ValueError, with the reason, when a single byte has changed or the file is none of ours.
    """
    try:
        if not path.stem.endswith(_checksum(path)):
            raise ValueError("it was cut short or altered")
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError("another program or another version of the course made it")
            return _put_tensors_back(json.loads(header["state"]), file)
    except (OSError, SafetensorError) as problem:
        raise ValueError(f"it can't be read ({problem})") from None


def list_checkpoints(folder):
    """Return the paths of the checkpoints in `folder`, the newest last."""
    return sorted(Path(folder).glob("saved-[0-9][0-9][0-9][0-9][0-9]-*.safetensors"))


def _take_tensors_out(value, tensors, place):
    """Put the tensors of nested dicts and lists into `tensors`; return the rest, with names where they were."""
    if isinstance(value, torch.Tensor):
        tensors[place] = value.detach().to("cpu", copy=True).contiguous()
        return {TENSOR: place}
    if isinstance(value, dict):
        return {name: _take_tensors_out(inner, tensors, f"{place}/{name}") for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_tensors_out(inner, tensors, f"{place}/{number}") for number, inner in enumerate(value)]
    return value


def _put_tensors_back(value, file):
    if isinstance(value, list):
        return [_put_tensors_back(inner, file) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {TENSOR}:
        return file.get_tensor(value[TENSOR]).clone()
    return {name: _put_tensors_back(inner, file) for name, inner in value.items()}


def _checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
