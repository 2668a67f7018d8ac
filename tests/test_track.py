"""helpers.track: which sizes a computer gets, where results go, and seeds."""

import os
import random
import subprocess
import sys
from dataclasses import is_dataclass, replace
from pathlib import Path

import numpy
import pytest
import torch
from copies import copy

from helpers.careful import hub
from helpers.models import load_classifier
from helpers.track import GPU, LAPTOP, QUICK, current_track, output_folder, set_seed

ROOT = Path(__file__).resolve().parent.parent


def test_the_environment_chooses_the_track(monkeypatch):
    monkeypatch.setenv("COURSE_TRACK", "quick")
    assert current_track() == QUICK
    monkeypatch.setenv("COURSE_TRACK", " Laptop ")
    assert current_track() == LAPTOP


def test_the_quick_track_is_quick_in_every_notebook_and_the_gpu_track_is_no_smaller():
    """Nobody forgets a track when a notebook gets sizes of its own."""
    for name, sizes in vars(LAPTOP).items():
        if is_dataclass(sizes):
            laptop, gpu, quick = (vars(getattr(track, name)) for track in (LAPTOP, GPU, QUICK))
            assert quick != laptop and quick.keys() == gpu.keys() == laptop.keys()
            rates = ("rate", "check_rate", "rates", "rate_draws", "rate_too_high")
            for size in quick.keys() - {"seeds", *rates}:  # of a row of sizes, those that both tracks have
                pairs = zip(numpy.ravel(quick[size]), numpy.ravel(laptop[size]), strict=False)
                assert all(a <= b for a, b in pairs), size
            assert all(numpy.max(gpu[size]) >= numpy.max(laptop[size]) for size in gpu if size not in rates)


def test_an_unknown_track_is_refused_with_those_that_exist(monkeypatch):
    monkeypatch.setenv("COURSE_TRACK", "turbo")
    with pytest.raises(ValueError, match="laptop, gpu and quick"):
        current_track()


@pytest.fixture
def found(monkeypatch):
    """Say which GPUs torch finds, and whether the Hub gives its BERT; return a list of the questions put to the Hub."""
    asked = []

    def pretend(cuda=False, mps=False, hub_gives=True):
        monkeypatch.delenv("COURSE_TRACK", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(hub, "bert_from_the_hub", lambda: asked.append("BERT") or (hub_gives and "folder") or None)
        return asked

    return pretend


def test_a_cuda_gpu_is_used_and_an_apple_gpu_where_it_is_asked_for(found, monkeypatch):
    found(cuda=True)
    assert current_track() == replace(GPU, device="cuda")
    asked = found(mps=True)
    asked.clear()
    assert current_track() == LAPTOP and not asked  # minutes on any Mac, on the processor, where it was measured
    monkeypatch.setenv("COURSE_TRACK", "gpu")
    assert current_track() == replace(GPU, device="mps")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_without_the_hub_a_gpu_gets_the_sizes_that_fit_the_packaged_model(found, monkeypatch, device):
    """BERT-base's rates are a fifth of what the small model needs, and its texts twice as long."""
    found(**{device: True}, hub_gives=False)
    monkeypatch.setenv("COURSE_TRACK", "gpu")
    track = current_track()
    assert track == replace(LAPTOP, device=device) and not track.use_hub
    monkeypatch.setattr(torch.nn.Module, "to", lambda model, device: model)
    model = load_classifier(track=track)
    assert model.config.num_hidden_layers == 6


def test_a_look_at_the_track_needs_no_hub(found):
    """`start.py doctor` looks at it; half a gigabyte would come, or five minutes pass, before JupyterLab opens."""
    asked = found(cuda=True, hub_gives=False)
    assert current_track(ask_the_hub=False).name == "gpu" and not asked


def test_asking_for_a_gpu_where_there_is_none_is_refused(found, monkeypatch):
    found()
    monkeypatch.setenv("COURSE_TRACK", "gpu")
    with pytest.raises(ValueError, match="finds none"):
        current_track()


def test_output_folder_is_made_where_the_environment_points(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_OUTPUT", str(tmp_path / "drive" / "course"))
    assert output_folder().is_dir()
    assert output_folder() == tmp_path / "drive" / "course"


def test_an_installed_package_writes_its_models_into_the_working_folder(monkeypatch, tmp_path):
    """The course's wheel, unpacked: models in site-packages would be lost with the next installation."""
    package, work = copy(ROOT / "helpers", tmp_path / "site-packages" / "helpers"), tmp_path / "work"
    work.mkdir()
    code = "from helpers.track import output_folder; print(output_folder())"
    env = {**os.environ, "PYTHONPATH": str(package.parent)}
    del env["COURSE_OUTPUT"]
    done = subprocess.run([sys.executable, "-c", code], cwd=work, env=env, capture_output=True, text=True)
    assert Path(done.stdout.strip()) == (work / "outputs").resolve(), done.stderr
    assert not (package.parent / "outputs").exists()
    monkeypatch.delenv("COURSE_OUTPUT")
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.chdir(work)
    assert output_folder() == ROOT / "outputs"  # of a whole course, wherever a notebook is started


def test_importing_the_light_helpers_loads_neither_torch_nor_transformers():
    code = """
import sys, helpers, helpers.track, helpers.data, helpers.plots
from helpers.exercises import nb03
heavy = {"torch", "transformers", "datasets", "pandas", "sklearn"} & set(sys.modules)
sys.exit(f"loaded at import: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_set_seed_restarts_every_generator_whatever_ran_before():
    def draw():
        return random.random(), numpy.random.rand(), torch.rand(3).tolist(), torch.nn.Dropout()(torch.ones(64)).tolist()

    set_seed(3)
    first = draw()
    numpy.random.randn()  # leaves half a pair behind, which must not come out after the seed
    draw()
    set_seed(3)
    assert draw() == first
    set_seed(4)
    assert not any(a == b for a, b in zip(draw(), first, strict=True))
