"""Packs for rooms without network, on tiny courses: made, stopped, damaged, and used with the network cut off."""

import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_start import ROOT, assert_one_sentence, environment, free_disk, run_start, tiny_course, write_wheel

from tools import commands, doctor, ground, make_pack
from tools import pack as packs

PREFLIGHT = (ROOT / "workshop" / "preflight.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
HERE = packs.this_computer()
OTHER = "windows" if HERE["platform"] != "windows" else "linux"
NOWHERE = next(
    name for name in ("macos", "linux") if name not in (HERE["platform"], OTHER)
)  # what the tiny index lacks
SYSTEM = {"linux": "Linux", "macos": "Darwin", "windows": "Windows"}
TAG = {"linux": "manylinux2014_x86_64", "windows": "win_amd64"}
NEEDED_THERE = f"needed_there-0.0.1-py3-none-{TAG[OTHER]}.whl"
ELSEWHERE = f"import platform; platform.system = lambda: {SYSTEM[NOWHERE]!r}; platform.machine = lambda: 'arm64'"


def course_with_index(folder):
    """Make a tiny course whose one package needs a second one on one system, and one that isn't there on another."""
    course = tiny_course(folder)
    (course / "helpers" / "a.py").write_text("a = 1\n")
    (course / ".gitignore").write_text("# not part of the course\n/.venv/\n/.venv.lock\n/outputs/\n__pycache__/\n")
    (course / "outputs").mkdir()
    (course / "outputs" / "model.bin").write_text("a learner's own")
    (course / "wheels").rename(folder.parent / "index")
    (course / "requirements.txt").write_text("pytest==0.0.1\n")
    requires = [
        f'needed-there; platform_system == "{SYSTEM[OTHER]}"',
        f'not-there; platform_system == "{SYSTEM[NOWHERE]}"',
    ]
    requires.append('only-on-new-pythons; python_version >= "3.14"')
    write_wheel(folder.parent / "index", "pytest", requires=requires)
    write_wheel(folder.parent / "index", "needed_there", f"py3-none-{TAG[OTHER]}")
    write_wheel(folder.parent / "index", "only_on_new_pythons")
    return course


def index_of(course):
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(course.parent / "index")}


def pack(course, stick, *arguments):
    return run_start(course, "pack", str(stick), *arguments, **index_of(course))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny course, and a pack of it for this computer, another one, and one that can't be served."""
    course = course_with_index(tmp_path_factory.mktemp("packing") / "course")
    stick = course.parent / "a stick"
    platforms = [f"--platform={name}" for name in (HERE["platform"], OTHER, NOWHERE)]
    done = pack(course, stick, *platforms)
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
    assert (missing["platform"], missing["problem"]) == (NOWHERE, "no wheel of not-there")
    page = (made.stick / "START-HERE.txt").read_text()
    for text in (page, made.said):
        assert f"{NOWHERE} with Python {HERE['python']}" in text and "no wheel of not-there" in text
    assert "is whole" in made.said


def test_a_pack_for_another_python_holds_what_that_python_needs(made, tmp_path):
    target = make_pack.target_of(f"{OTHER}-3.14")
    (tmp_path / "wheels").mkdir()
    for name in os.listdir(made.course.parent / "index"):
        shutil.copy(made.course.parent / "index" / name, tmp_path / "wheels")
    code = f"import sys; sys.path.insert(0, {str(made.course)!r}); from tools import make_pack\n"
    code += f"from pathlib import Path; print(make_pack.rehearse({target!r}, Path({str(tmp_path / 'wheels')!r})))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    wanted = [NEEDED_THERE, "only_on_new_pythons-0.0.1-py3-none-any.whl", "pytest-0.0.1-py3-none-any.whl"]
    assert done.stdout.strip() == str(wanted), done.stderr


def test_a_pack_holds_the_course_alone_and_its_checksums_are_those_of_standard_tools(made):
    sums = packs.read_sums(made.stick / "SHA256SUMS")
    files = {path.relative_to(made.stick).as_posix(): path for path in made.stick.rglob("*") if path.is_file()}
    assert sums == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name != "SHA256SUMS"
    }
    assert (made.stick / "course" / "notebooks" / "01_first.ipynb").is_file()
    top = {path.name for path in (made.stick / "course").iterdir()}
    assert top == {".gitignore", "tools", "helpers", "notebooks", "requirements.txt", "start.py"}
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


def test_a_stick_without_room(made, tmp_path):
    (tmp_path / "wheels").mkdir()
    code = f"import sys; sys.path.insert(0, {str(made.course)!r}); from tools import make_pack\n"
    code += "from pathlib import Path; two = [make_pack.target_of('windows-3.13')] * 2\n"
    code += f"make_pack.check_disk(Path({str(tmp_path)!r}), two, 0)"
    done = subprocess.run([sys.executable, "-c", f"{free_disk(0.9)}; {code}"], capture_output=True, text=True)
    assert "Only 0.9 GB are free" in done.stderr and "larger stick" in done.stderr
    done = subprocess.run([sys.executable, "-c", f"{free_disk(1.1)}; {code}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "names", [["a/what?.txt"], ["a/nul.txt"], ["end./x"], ["Readme.md", "README.md"], ["a\\b"], ["x: y"]], ids=repr
)
def test_names_that_a_stick_cannot_hold(names):
    with pytest.raises(ground.Problem, match="stick"):
        make_pack.check_names(names)


def test_names_that_a_stick_can_hold():
    make_pack.check_names(
        ["torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", ".ci/run", "a/b", "b/b", "console.py"]
    )


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_pack_holds_what_is_committed(made, tmp_path):
    course = Path(shutil.copytree(made.stick / "course", tmp_path / "course-in-git"))

    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.autocrlf=false"]
        subprocess.run(["git", *identity, *arguments], cwd=course, check=True, capture_output=True)

    def files():
        code = "import json; from tools import make_pack; print(json.dumps([n for n in make_pack.course_files(())]))"
        code += "; print(make_pack.course_files(())['notebooks/01_first.ipynb'].decode())"
        return subprocess.run([sys.executable, "-c", code], cwd=course, capture_output=True, text=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    (course / "notebooks" / "01_first.ipynb").write_text("my own answers")
    (course / "notes.txt").write_text("not committed")
    said = files().stdout.splitlines()
    assert said[0].startswith("Note: the pack holds the last commit")
    assert "notes.txt" not in json.loads(said[1]) and "start.py" in json.loads(said[1]) and said[-1] == "{}"

    requirements = course / "requirements.txt"
    requirements.write_text("pytest==0.0.2\n")
    env = environment(COURSE_VENV=str(made.course / ".venv"))
    command = [sys.executable, "-m", "tools.make_pack", "make", tmp_path / "stick", f"{OTHER}-3.11"]
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
    monkeypatch.setattr(make_pack.runpy, "run_module", lambda *_, **__: pytest.fail("pip was run"))
    monkeypatch.setattr("pip._vendor.packaging.markers.default_environment", None)
    with pytest.raises(SystemExit, match="can't pretend"):
        make_pack.pip_elsewhere(make_pack.target_of("windows-3.12"), ["download"])


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

    (copy / "notebooks" / "01_first.ipynb").write_text("my answers")
    done = run_start(made.stick / "course", "test", **who)
    assert "Going on with your course" in done.stdout and "another version" not in done.stdout
    assert "Setting up" not in done.stdout and "tiny pytest got" in done.stdout
    (copy / "helpers" / "a.py").write_text("a = 2\n")
    assert "the pack holds another version" in run_start(made.stick / "course", "test", **who).stdout
    assert (copy / "notebooks" / "01_first.ipynb").read_text() == "my answers"


def test_a_home_folder_with_something_else_of_that_name(made, tmp_path):
    (tmp_path / "bert-finetuning-course").mkdir()
    done = run_start(made.stick / "course", HOME=str(tmp_path), USERPROFILE=str(tmp_path))
    assert_one_sentence(done, "is not this course")


WHEEL = "wheels/pytest-0.0.1-py3-none-any.whl"


def damage(stick, name):
    path = stick / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "parts"),
    [
        (lambda stick: damage(stick, WHEEL), ["pytest-0.0.1", "is damaged", "copy the pack again"]),
        (lambda stick: (stick / WHEEL).unlink(), ["pytest-0.0.1", "is missing", "copy the pack again"]),
        (lambda stick: damage(stick, "pack.json"), ["pack.json is damaged"]),
        (lambda stick: damage(stick, "course/helpers/a.py"), ["a.py is damaged"]),
        (lambda stick: (stick / "SHA256SUMS").unlink(), ["holds no finished pack"]),
        (lambda stick: damage(stick, "SHA256SUMS"), ["is damaged"]),
        (lambda stick: (stick / "SHA256SUMS").write_text(""), ["pack.json is damaged"]),
        (lambda stick: shutil.rmtree(stick), ["There is no folder", "plug the stick in"]),
    ],
    ids=["bit", "wheel", "facts", "course", "no-sums", "sums", "empty-sums", "no-stick"],
)
def test_a_damaged_stick_is_refused_before_anything_is_made(learner, stick, harm, parts):
    harm(stick)
    said = assert_one_sentence(run_start(learner, "test", f"--from={stick}"), *parts)
    assert len(said) == 1 and not (learner / ".venv").exists()


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
    assert "tiny pytest got" in run_start(learner, "test", f"--from={made.stick}").stdout
    (learner / "requirements.txt").write_text("pytest==0.0.2\n")
    done = run_start(learner, "test", f"--from={made.stick}")
    assert_one_sentence(done, "another version of the course", str(made.stick / "course" / "start.py"))


# -------------------------------------------------------------------------------------------------- the line for a room


def test_the_room_line_of_a_course_that_is_not_set_up(learner):
    done = run_start(learner, "doctor", "--room")
    assert done.returncode == 1 and done.stderr == ""
    assert done.stdout.splitlines() == [f"NOT READY: not set up yet. More: `{ground.COMMAND} doctor`."]
    assert not (learner / ".venv").exists()


@pytest.fixture
def ready(monkeypatch):
    """The room's checks, all well: each test spoils one."""
    monkeypatch.setattr(doctor, "is_set_up", lambda: True)
    for name in ("disk_finding", "packages_finding", "files_finding", "port_finding"):
        monkeypatch.setattr(doctor, name, lambda: iter(["well"]))
    monkeypatch.setattr(doctor, "kernel_finding", lambda how: iter(["Track: laptop. Computing on the processor."]))
    return monkeypatch


def test_the_room_line_when_all_is_well(ready, capsys):
    assert commands.main(["doctor", "--room"]) == 0
    word = packs.check_word(ROOT)
    assert (
        capsys.readouterr().out == f"READY: {word}. Version 1.0.0, laptop track, Python {platform.python_version()}.\n"
    )


@pytest.mark.parametrize(
    "name", ["disk_finding", "packages_finding", "files_finding", "kernel_finding", "port_finding"]
)
def test_the_room_line_names_what_is_missing_and_the_instructor_finds_it_in_the_table(ready, capsys, name):
    def spoilt(*_):
        raise ground.Problem("A long sentence.")
        yield

    ready.setattr(doctor, name, spoilt)
    assert commands.main(["doctor", "--room"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    short = re.fullmatch(r"NOT READY: ([^.,]+)\. More: .+", line)[1]
    assert f"\n| {short} |" in PREFLIGHT


def test_the_commands_of_the_pages_for_instructors_exist():
    found = re.findall(r"start\.py((?: [\w./-]+)*)", PREFLIGHT + README)
    assert len(found) > 10
    for command in found:
        arguments, pack = commands.take_pack(command.split())
        commands.read_arguments(arguments)
        assert pack or "--from" not in command


def test_the_check_word_is_the_same_for_the_same_course_alone(made, tmp_path):
    copy = Path(shutil.copytree(made.stick / "course", tmp_path / "copy"))
    word = packs.check_word(made.course)
    assert word == packs.check_word(copy) and len(word.split()) == 2
    (copy / "notebooks" / "01_first.ipynb").write_text("my answers")
    (copy / "helpers" / "a.py").write_bytes(b"a = 1\r\n")
    assert word == packs.check_word(copy)
    (copy / "helpers" / "a.py").write_text("a = 2\n")
    assert word != packs.check_word(copy)


def test_a_kernel_with_the_network_blocked_loads_model_and_reviews(tmp_path):
    def ask(folder):
        command = [sys.executable, "-P", "-m", "tools.kernel", "offline"]
        env = {**os.environ, "PYTHONPATH": str(folder), "COURSE_TRACK": "laptop", "IPYTHONDIR": str(tmp_path / "i")}
        return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)

    answer = ask(ROOT)
    assert answer["error"] == "" and answer["track"].startswith("Track: laptop")
    for name in ("tools", "helpers", "tests"):
        shutil.copytree(ROOT / name, tmp_path / "course" / name)
    with open(tmp_path / "course" / "helpers" / "data.py", "a", encoding="utf-8") as file:
        file.write(
            "\n\ndef load_reviews(*_, **__):\n    import socket\n    socket.create_connection(('192.0.2.1', 9))\n"
        )
    assert "192.0.2.1" in ask(tmp_path / "course")["error"]


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
