"""The doctor's one line for a classroom: what a participant reads out, and what the instructor does then."""

import json
import os
import platform
import re
import subprocess
import sys

import pytest
from copies import copy
from test_start import ROOT, run_start, tiny_course

from helpers.careful import checksums, hub
from tools import commands, doctor, ground, pack

PREFLIGHT = (ROOT / "workshop" / "preflight.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_line_of_a_course_that_is_not_set_up(tmp_path):
    course = tiny_course(tmp_path / "course")
    done = run_start(course, "doctor", "--room")
    assert done.returncode == 1 and done.stderr == ""
    assert done.stdout.splitlines() == [f"NOT READY: not set up yet. More: `{ground.COMMAND} doctor`."]
    assert not (course / ".venv").exists()


@pytest.fixture
def ready(monkeypatch):
    """The checks, all well: each test spoils one."""
    monkeypatch.setattr(doctor, "is_set_up", lambda: True)
    for name in ("disk_finding", "packages_finding", "files_finding", "port_finding"):
        monkeypatch.setattr(doctor, name, lambda: iter(["well"]))
    monkeypatch.setattr(doctor, "kernel_finding", lambda how: iter(["Track: laptop. Computing on the processor."]))
    return monkeypatch


def test_the_line_when_all_is_well(ready, capsys):
    assert commands.main(["doctor", "--room"]) == 0
    word = pack.check_word(ROOT)
    assert (
        capsys.readouterr().out == f"READY: {word}. Version 1.0.0, laptop track, Python {platform.python_version()}.\n"
    )


@pytest.mark.parametrize(
    "name", ["disk_finding", "packages_finding", "files_finding", "kernel_finding", "port_finding"]
)
def test_the_line_names_what_is_missing_and_the_instructor_finds_it_in_the_table(ready, capsys, name):
    def spoilt(*_):
        raise ground.Problem("A long sentence.")
        yield

    ready.setattr(doctor, name, spoilt)
    assert commands.main(["doctor", "--room"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    short = re.fullmatch(r"NOT READY: ([^.,]+)\. More: .+", line)[1]
    assert f"\n| {short} |" in PREFLIGHT


def test_the_line_names_a_track_that_there_is_not(ready, capsys):
    def kernel(*_):
        raise ground.Problem("ValueError: COURSE_TRACK is 'lpatop', but the tracks are …: set it to one of them.")
        yield

    ready.setattr(doctor, "kernel_finding", kernel)
    assert commands.main(["doctor", "--room"]) == 1
    assert capsys.readouterr().out.startswith("NOT READY: COURSE_TRACK is 'lpatop', but the tracks are")
    assert "\n| `COURSE_TRACK` … |" in PREFLIGHT


def test_the_commands_of_the_pages_for_instructors_exist():
    hub = (ROOT / "workshop" / "jupyterhub.md").read_text(encoding="utf-8")
    found = re.findall(r"start\.py((?: [\w./-]+)*)", PREFLIGHT + README + hub)
    assert len(found) > 10
    for command in set(found) - {" --help"}:  # which start.py itself answers
        arguments, named = commands.take_pack(command.split())
        commands.read_arguments(arguments)
        assert named or "--from" not in command


def test_a_kernel_with_the_network_blocked_loads_model_and_reviews(tmp_path):
    def ask(folder):
        command = [sys.executable, "-P", "-m", "tools.kernel", "offline"]
        env = {**os.environ, "PYTHONPATH": str(folder), "COURSE_TRACK": "laptop", "IPYTHONDIR": str(tmp_path / "i")}
        return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)

    answer = ask(ROOT)
    assert answer["error"] == "" and answer["track"].startswith("Track: laptop")
    for name in ("tools", "helpers", "tests"):
        copy(ROOT / name, tmp_path / "course" / name)
    stubs = {"models": "load_classifier = load_tokenizer = print\n"}
    stubs["data"] = "def load_reviews(*_, **__):\n    import socket\n    socket.create_connection(('192.0.2.1', 9))\n"
    for name, text in stubs.items():
        (tmp_path / "course" / "helpers" / f"{name}.py").write_text(text, encoding="utf-8")
    assert "192.0.2.1" in ask(tmp_path / "course")["error"]


def test_each_package_of_files_is_found_as_published_or_named(tmp_path, monkeypatch):
    """Wrong code: "*.jpg" taken for a file's name, so that a healthy course has something missing."""
    good, more = tmp_path / "fabric" / "good", {"good/*.jpg": ""}
    good.mkdir(parents=True)
    (good / "1.jpg").write_bytes(b"a picture")
    more["good/*.jpg"] = checksums.sha256_of_list(good / "*.jpg")
    real = {package: files for package, files in doctor.PACKAGED.items() if package == "conformal-clip-data"}
    monkeypatch.setattr(doctor, "is_set_up", lambda: True)
    monkeypatch.setattr(doctor, "site_packages", lambda: hub.packaged_folder("conformal-clip-data").parents[3])
    monkeypatch.setattr(doctor, "PACKAGED", real)
    assert "local/*.jpg" in "".join(doctor.files_finding())

    monkeypatch.setattr(doctor, "site_packages", lambda: tmp_path)
    monkeypatch.setattr(doctor, "PACKAGED", {"fabric": ("fabric", ".", more)})
    assert "as published" in "".join(doctor.files_finding())
    (good / "2.jpg").write_bytes(b"one too many")
    with pytest.raises(ground.Problem, match=r"jpg is damaged: run .*--force-reinstall.* fabric"):
        list(doctor.files_finding())
