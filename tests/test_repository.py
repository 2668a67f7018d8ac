"""What must agree across files: versions, checksums, generated tables, style."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import helpers
import start
from helpers.careful.checksums import PACKAGED
from tools import commands, doctor, ground, refresh

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
RANGES = {r.name: r.specifier for r in map(Requirement, sum(EXTRAS.values(), PROJECT["dependencies"]))}
LINES = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
PINNED = {r.name: r.specifier for r in map(Requirement, (line for line in LINES if line and not line.startswith("#")))}
# What Colab has preinstalled, as github.com/googlecolab/backend-info (pip-freeze.txt, os-info.txt) said on 2026-08-19;
# its commit a724079 was the newest to be had on 2026-11-30.
COLAB = dict(
    pair.split("==")
    for pair in """python==3.13 torch==2.11.0 transformers==5.15.0 datasets==4.0.0 numpy==2.1.3 pandas==2.2.3
    scikit-learn==1.6.1 scipy==1.16.3 accelerate==1.14.0 safetensors==0.8.0 tqdm==4.67.3 matplotlib==3.10.0
    ipython==7.34.0 ipykernel==6.17.1 ipywidgets==7.7.1 pytest==8.4.2 protobuf==5.29.6
    ml_dtypes==0.6.0""".split()
)
# In pieces, so that this file does not hold what it looks for.
REGISTRIES = (
    "py|pi.org py|pi.python.org python|hosted.org download.py|torch.org ana|conda.org npm|js.org deb.deb|ian.org"
)
REGISTRIES = REGISTRIES.replace("|", "").split()


def tracked_files():
    listed = shutil.which("git") and subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if not listed or listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def test_pinned_versions_are_exact_and_in_the_ranges():
    for name, specifier in PINNED.items():
        (pin,) = specifier
        assert pin.operator == "==" and "*" not in pin.version, name
        assert pin.version in RANGES.get(name, SpecifierSet()), name
    assert set(RANGES) <= set(PINNED)


def test_what_colab_has_is_in_the_ranges():
    minversion = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert Version(minversion["minversion"]) <= Version(COLAB["pytest"])
    assert COLAB["python"] in SpecifierSet(PROJECT["requires-python"])
    for name, version in COLAB.items():
        assert version in RANGES.get(name, SpecifierSet()), name


def test_a_wheel_holds_all_of_helpers_and_no_index_takes_it():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("helpers/**/__init__.py")}
    assert set(settings["tool"]["setuptools"]["packages"]) == there
    assert "Private :: Do Not Upload" in PROJECT["classifiers"]


def test_notebook_07_alone_asks_for_its_packages():
    """Wrong code: whoever misses 152 MB that 07 alone needs can't open 01."""
    own = ("careful.pictures", "careful import pictures", "careful.decoder", "careful import decoder", "import gguf")
    for path in [*ROOT.glob("helpers/**/*.py"), *ROOT.glob("notebooks/*.ipynb")]:
        if path.stem not in ("pictures", "decoder", "nb07", "07_beyond_bert"):
            text = path.read_text(encoding="utf-8")
            assert not [name for name in own if name in text], path


def test_start_py_knows_the_same_pythons():
    pythons = SpecifierSet(PROJECT["requires-python"])
    versions = [(3, minor) for minor in range(6, 30)]
    assert [v for v in versions if f"{v[0]}.{v[1]}" in pythons] == [
        v for v in versions if start.OLDEST <= v <= start.NEWEST
    ]
    assert (ground.OLDEST, ground.NEWEST) == (start.OLDEST, start.NEWEST)
    assert set(PACKAGED) <= set(PINNED)


def test_the_tests_run_on_the_pinned_versions():
    for name, specifier in PINNED.items():
        installed = Version(importlib.metadata.version(name))
        assert installed.public in specifier, f"{name} {installed}: run `python3 start.py doctor`"


def test_workflow_and_dev_container_have_the_pythons_and_the_port_of_start_py():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "course.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == [f"3.{start.OLDEST[1]}", f"3.{start.NEWEST[1]}"]
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert container["image"].rpartition(":")[2] in SpecifierSet(PROJECT["requires-python"])
    assert commands.read_arguments(container["postAttachCommand"].split()[2:])[0] == "lab"
    assert container["forwardPorts"] == [doctor.FIRST_PORT]


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"] == helpers.__version__


def test_no_file_names_a_package_registry():
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        for host in REGISTRIES:
            assert host not in text, f"{path} names {host}: pip's own configuration decides where packages come from"


def test_what_is_generated_is_current():
    """README's tables and picture, setup cells and badges, tables and links in workshop/."""
    names = [str(path.relative_to(ROOT)) for path in refresh.stale()]
    assert not names, "run `python3 start.py refresh --tables`"


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff_has_nothing_to_say(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
