"""The house: what leans on what, and how much of it learners read. CONTRIBUTING.md has the map.

An arrow is an import, at the top of a file or inside a function, and whatever is run as another program: a string that
is, as a whole, a module of tools/ or a path that ends in the name of a Python file; `-m MODULE` in a command line.
"""

import ast
import json
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the ground up. A layer may lean on itself and on those before it.
ORDER = ["careful", "track", "models batches data", "training metrics plots", "report", "exercises", "notebooks"]
# Lines: helpers/*.py, which learners read (the design says about 1,300; `classify`, several processes and the shorter
# way to the logits came in since), and start.py.
LESSON, DOOR = 1500, 130
ANOTHER_COURSE = {("tools.pack", "start")}  # it starts the start.py of a copy in the home folder, not the one here


def sources(root):
    """Return {module: its source}; a notebook's is that of its code cells."""
    found = {"start": (root / "start.py").read_text(encoding="utf-8")}
    for path in [*root.glob("tools/**/*.py"), *root.glob("helpers/**/*.py")]:
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path.read_text(encoding="utf-8")
    for path in root.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        found[f"notebooks.{path.stem}"] = "\n".join(code)
    return found


def arrows(root):
    """Return {module: the modules that it imports or runs}."""
    files, graph = sources(root), {}
    for name, text in files.items():
        package = name if any(other.startswith(f"{name}.") for other in files) else name.rpartition(".")[0]
        graph[name] = {other for wanted in leans_on(package, text) for other in known(wanted, files)} - {name}
    return graph


def leans_on(package, text):
    """Yield the dotted names that a module imports, and the names and paths in its strings that may be run."""
    tree = ast.parse(text)
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    compared = {side for node in compared for side in (node.left, *node.comparators) if isinstance(side, ast.Constant)}
    for node in ast.walk(tree):
        if node in compared:  # where something comes from is asked, and nothing is run
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: 1 - node.level or None]) if node.level else ""
            yield from (".".join(filter(None, [above, node.module, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n\n" not in node.value:
            yield from re.findall(r"-m ((?:tools|helpers)\.[\w.]+)", node.value)  # docstrings have empty lines
            yield from re.findall(r"^(?:tools|helpers)(?:\.\w+)+$", node.value)
            yield from re.findall(r"^[^\s`]*\b\w+\.py$|(?<=run_path\(.)[^\"']+\.py", node.value)


def known(wanted, files):
    """Return the modules that are meant by a dotted name (a module's, or of something in it) or by a path."""
    if wanted.endswith(".py"):
        end = "." + re.search(r"[\w/]*$", wanted[:-3])[0].strip("/").replace("/", ".")
        return [name for name in files if f".{name}".endswith(end) or end.endswith(f".{name}")]
    return [name for name in (wanted, wanted.rpartition(".")[0]) if name in files][:1]


def layer(name):
    """Return the number of a module's layer, 0 for the package helpers itself; None where it has no place."""
    top, _, rest = name.partition(".")
    wanted = top if top == "notebooks" else rest.split(".")[0] or "careful"
    return next((number for number, names in enumerate(ORDER) if wanted in names.split()), None)


def faults(root):
    """Return a sentence for each fault of the house."""
    found, graph = [], arrows(root)
    for name in graph:
        graph[name] -= {other for other in graph[name] if (name, other) in ANOTHER_COURSE}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append("a circle: " + " ← ".join(error.args[1]))
    for name in filter(re.compile("helpers|notebooks").match, graph):
        if layer(name) is None:
            found.append(f"{name} has no place in the order: name it in ORDER")
            continue
        for other in graph[name]:
            to_tools = not other.startswith("helpers") and name.startswith("helpers")
            if to_tools or other.startswith("helpers") and (layer(other) or 0) > layer(name):
                found.append(f"an arrow back: {name} → {other}")
    lesson = [path for path in root.glob("helpers/*.py") if path.stem != "__init__"]
    for what, paths, most in (("helpers/*.py", lesson, LESSON), ("start.py", [root / "start.py"], DOOR)):
        count = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
        if count > most:
            found.append(f"{what} has {count} lines, and {most} are the most")
    return found


def test_the_house_stands():
    assert faults(ROOT) == []
    assert all(other in arrows(ROOT)[name] for name, other in ANOTHER_COURSE), "an exception that nothing needs"


# ------------------------------------------------------------------------------------------------ the guard can fail

SOUND = {
    "start.py": "def main():\n    from tools import commands",
    "tools/ground.py": "COMMAND = 'python3 start.py'",
    "tools/commands.py": "from tools.ground import module\nmodule('tools.run')\nraise OSError('run `start.py`.')",
    "tools/run.py": '"""A\n\n-m tools.commands"""\nfrom helpers import track\nfrom helpers.exercises.nb01 import x',
    "tools/colab.py": "",
    "helpers/__init__.py": "",
    "helpers/careful/hub.py": "",
    "helpers/track.py": "from helpers.careful import hub",
    "helpers/data.py": "from helpers.track import current_track",
    "helpers/models.py": "from .data import load",
    "helpers/report.py": "import helpers.models, helpers.data\nx.__module__ == 'helpers.exercises.nb01'",
    "helpers/exercises/__init__.py": "",
    "helpers/exercises/nb01.py": "from helpers.report import report",
}
FAULTY = {
    "circle: .*data ← helpers.models": {"helpers/data.py": "def f():\n    from helpers.models import y"},
    "circle: .*careful.b": {
        "helpers/careful/a.py": "from . import b",
        "helpers/careful/b.py": "import helpers.careful.a",
    },
    "circle: .*commands ← tools.run": {"tools/run.py": "go([python, '-m', 'tools.commands'])"},
    "circle: .*run ← tools.commands": {"tools/run.py": "go(f'{python} -m tools.commands {path}', shell=True)"},
    "circle: .*commands ← tools.run.*": {"tools/run.py": "assert 0 == go([python, '-m', 'tools.commands'])"},
    "circle: .*start": {"tools/run.py": "go([python, str(ROOT / 'start.py')])"},
    "circle: .*start.*": {"tools/run.py": "go([python, f'{ROOT}/start.py'])"},
    "circle: .*commands": {"tools/run.py": "runpy.run_path(os.path.join(ROOT, 'tools', 'commands.py'))"},
    "circle: .*commands.*": {"tools/run.py": "code = 'import runpy; runpy.run_path(\"x/tools/commands.py\")'"},
    "back: helpers.track → helpers.data": {"helpers/track.py": "def f():\n    from helpers import data"},
    "back: helpers.careful.hub → helpers.track": {"helpers/careful/hub.py": "from helpers.track import current_track"},
    "back: helpers.careful.hub → helpers.plots": {
        "helpers/careful/hub.py": "from .. import plots",
        "helpers/plots.py": "",
    },
    "back: helpers.report → tools.colab": {"helpers/report.py": "go([python, 'tools/colab.py'])"},
    "back: helpers.data → helpers.report": {"helpers/data.py": "importlib.import_module('helpers.report')"},
    "helpers.new has no place": {"helpers/new.py": ""},
    "helpers/\\*.py has 1501 lines": {"helpers/track.py": "\n" * 900, "helpers/data.py": "\n" * 598},
    "start.py has 131 lines": {"start.py": "\n" * 131},
}


def build(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    cell = {"cell_type": "code", "source": ["from helpers.exercises import nb01 as ex\n", "import helpers.track"]}
    setup = {"cell_type": "code", "source": ["runpy.run_path('bert/tools/colab.py')"]}
    (root / "notebooks").mkdir()
    (root / "notebooks" / "01_a.ipynb").write_text(json.dumps({"cells": [cell, setup]}), encoding="utf-8")
    return root


def test_a_sound_house_has_no_faults_and_all_its_arrows(tmp_path):
    graph = arrows(build(tmp_path, SOUND))
    assert faults(tmp_path) == []
    assert graph["start"] == {"tools.commands"} and graph["tools.commands"] == {"tools.ground", "tools.run"}
    assert graph["tools.run"] == {"helpers.track", "helpers.exercises.nb01"}
    assert graph["notebooks.01_a"] == {"helpers.exercises.nb01", "helpers.track", "tools.colab"}
    assert graph["helpers.models"] == {"helpers.data"}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_fault_of_the_house_is_found(fault, tmp_path):
    found = faults(build(tmp_path, SOUND | FAULTY[fault]))
    assert any(re.search(fault, sentence) for sentence in found), found
