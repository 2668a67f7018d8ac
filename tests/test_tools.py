"""Running notebooks without a browser, writing outputs back, and what is generated, on tiny notebooks."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from copies import copy
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks as tools
from tools import refresh, speed

ROOT = Path(__file__).resolve().parent.parent

GOOD = [
    "import sys; sys.path.insert(0, '..')\nimport os; print(os.getcwd(), sys.prefix); print('one\\rtwo')",
    "from helpers.plots import measured\nmeasured(labels=200, accuracy=0.75)",
]
BAD = ["print('before')", "raise ValueError('a sentence\\nand another')", "print('after')"]
README = "before\n<!-- table: minutes -->\nold\n<!-- end of table -->\nafter\n"


@pytest.fixture
def course(tmp_path):
    """A copy of the course with tiny notebooks: 01 runs to its end, 02 fails in its second cell."""
    folder = tmp_path / "course"
    for name in ("tools", "helpers"):
        copy(ROOT / name, folder / name, "results")
    copy(ROOT / "pyproject.toml", folder)
    (folder / "notebooks").mkdir()
    for name, cells in (("01_good", GOOD), ("02_bad", BAD)):
        title = new_markdown_cell(f"# {name}\n\n**The question:** is it\n{name}?\n\nMore? Later.")
        cells = [new_code_cell(cell, metadata={"scrolled": True, "tags": ["keep"]}) for cell in cells]
        write_notebook(folder, name, title, *cells)
    (folder / "README.md").write_text(README, encoding="utf-8")
    return folder


def write_notebook(course, name, *cells):
    path = course / "notebooks" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def tool(course, name, *arguments, notebooks=(), start=subprocess.run, **env):
    """Run one of the tools of this copy of the course."""
    paths = [str(course / "notebooks" / f"{notebook}.ipynb") for notebook in notebooks]
    command = [sys.executable, "-P", "-m", f"tools.{name}", *map(str, arguments), *paths]
    settings = {"capture_output": True} if start is subprocess.run else {"stdout": subprocess.PIPE}
    env = {**os.environ, "PYTHONPATH": str(course), "PYTHONDONTWRITEBYTECODE": "1", **env}
    return start(command, cwd=course.parent, text=True, encoding="utf-8", env=env, **settings)


def outputs_of(path):
    return [cell.outputs for cell in tools.code_cells(tools.read(path))]


# ---------------------------------------------------------------------------------------------------------------- run


def test_run_saves_notebooks_and_figures_and_goes_on_after_a_failure(course):
    out = course / "out"
    write_notebook(course, "03_dies", new_code_cell("import os; os._exit(1)"))
    done = tool(course, "run", out, notebooks=["02_bad", "03_dies", "01_good"])
    assert done.returncode == 1 and "Traceback" not in done.stderr

    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["01"]["status"] == "ok" and summary["01"]["error"] is None
    assert summary["01"]["figures"] == {"labels": 200, "accuracy": 0.75}
    assert summary["01"]["track"] == "quick" and summary["01"]["minutes"] > 0
    assert summary["02"]["status"] == summary["03"]["status"] == "failed"
    assert summary["02"]["error"] == "cell 2 of 3: ValueError: a sentence and another"
    assert summary["03"]["error"].startswith("cell 1 of 1: the kernel died; most often the computer ran out of memory")
    assert summary["02"]["error"] in done.stdout and "01_good  cell 2/2" in done.stdout
    assert re.search(r"01_good\.ipynb +ok +0\.\d", done.stdout) and re.search(r"accuracy +0\.750", done.stdout)

    before, failed, after = outputs_of(out / "02_bad.ipynb")
    assert before[0].text == "before\n" and failed[0].output_type == "error" and after == []
    assert outputs_of(course / "notebooks" / "01_good.ipynb") == [[], []]  # the course's own stays as it was


@pytest.mark.skipif(os.name == "nt", reason="Windows can't send Ctrl-C to one program alone")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_keeps_what_it_has(course, number):
    write_notebook(course, "03_long", new_code_cell("print('first')"), new_code_cell("import time; time.sleep(100)"))
    process = tool(course, "run", course / "out", notebooks=["03_long", "01_good"], start=subprocess.Popen)
    for line in process.stdout:
        if "cell 2/2" in line:
            break
    time.sleep(0.5)
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "stopped" in said
    summary = json.loads((course / "out" / "summary.json").read_text(encoding="utf-8"))
    assert list(summary) == ["03"] and summary["03"]["status"] == "stopped"
    assert outputs_of(course / "out" / "03_long.ipynb")[0][0].text == "first\n"


def test_a_track_that_does_not_exist_is_a_sentence(course):
    done = tool(course, "run", course / "out", notebooks=["01_good"], COURSE_TRACK="fast")
    assert done.returncode == 1 and not (course / "out").exists()
    assert done.stderr.startswith("COURSE_TRACK is 'fast'") and len(done.stderr.splitlines()) == 1


def test_the_kernel_is_the_one_of_this_python_and_its_errors_are_told(course):
    kernel = json.loads(tool(ROOT, "kernel").stdout)
    assert os.path.realpath(kernel["prefix"]) == os.path.realpath(sys.prefix)
    assert kernel["track"].startswith("Track: quick") and kernel["error"] == ""
    (course / "helpers" / "track.py").write_text("raise OSError('no disk')", encoding="utf-8")
    assert json.loads(tool(course, "kernel").stdout) == {"prefix": "", "track": "", "error": "OSError: no disk"}


# ------------------------------------------------------------------------------------------------------------ refresh

SLOW = "import json, pathlib\nplace = pathlib.Path('{name}.ipynb')\nnotebook = json.loads(place.read_text('utf-8'))\n"
SAVE = "\nplace.write_text(json.dumps(notebook), 'utf-8')"


def test_refresh_writes_back_only_what_ran_to_its_end_with_the_code_that_stands_there(course):
    bad = (course / "notebooks" / "02_bad.ipynb").read_bytes()
    for name, edit in (("03_prose", "[0]['source'] = '# b'"), ("04_code", "[1]['source'] += '#'")):
        cell = new_code_cell(SLOW.format(name=name) + f"notebook['cells']{edit}" + SAVE)
        write_notebook(course, name, new_markdown_cell("# a"), cell)
    done = tool(course, "refresh", notebooks=["01_good", "02_bad", "03_prose", "04_code"])
    assert done.returncode == 1 and "04_code: its code was changed while it ran" in done.stdout
    assert (course / "notebooks" / "02_bad.ipynb").read_bytes() == bad
    for name, title, written in (("03_prose", "# b", 1), ("04_code", "# a", 0)):
        path = course / "notebooks" / f"{name}.ipynb"
        assert tools.read(path).cells[0].source == title and bool(tools.read(path).metadata.get("course")) == written

    good = tools.read(course / "notebooks" / "01_good.ipynb")
    assert good.metadata.course.outputs_of == tools.code_hash(good)
    assert good.metadata.accelerator == "GPU" and good.metadata.colab == {"gpuType": "T4"}
    assert [cell.execution_count for cell in good.cells[1:]] == [1, 2]
    assert [cell.metadata for cell in good.cells[1:]] == [{"tags": ["keep"]}] * 2
    assert good.cells[1].outputs[0].text == "notebooks .venv\ntwo\n"
    assert str(course) not in (course / "notebooks" / "01_good.ipynb").read_text(encoding="utf-8")

    results = json.loads((course / "tools" / "results" / "notebook_minutes.json").read_text(encoding="utf-8"))
    assert list(results["laptop"]["minutes"]) == list(results["laptop"]["machines"]) == ["01", "03"]
    readme = (course / "README.md").read_text(encoding="utf-8")
    assert "| [01_good](notebooks/01_good.ipynb) | Is it 01_good? | 0." in readme
    assert "| [02_bad](notebooks/02_bad.ipynb) | Is it 02_bad? |  |" in readme
    assert readme.startswith("before\n") and readme.endswith("after\n") and "old" not in readme


@pytest.fixture
def here(course, monkeypatch):
    """The same copy, for the functions of this process."""
    monkeypatch.setattr(refresh, "ROOT", course)
    monkeypatch.setattr(tools, "ROOT", course)
    monkeypatch.setattr(refresh.guide, "WORKSHOP", course / "workshop")
    monkeypatch.setattr(speed, "RESULTS", course / "tools" / "results")
    return course


def test_the_readmes_picture_comes_from_the_cell_that_is_marked(here):
    (here / "tools" / "results").mkdir()
    pixels = base64.b64encode(b"pixels").decode()
    cells = []
    for alt, tags in (("other", []), ("A &lt; B &quot;by far&quot;", ["readme-picture"])):
        picture = {"text/html": f'<img alt="{alt}" src="data:image/png;base64,{pixels}">'}
        cells.append(new_code_cell(outputs=[new_output("display_data", data=picture)], metadata={"tags": tags}))
    write_notebook(here, "03_picture", *cells)
    marked = "<!-- table: picture -->\n{}<!-- end of table -->\n"
    (here / "README.md").write_text(marked.format(""), encoding="utf-8")
    assert set(refresh.stale()) == {here / "README.md", here / refresh.PICTURE}
    refresh.fill()
    text = marked.format(f'![A < B "by far"]({refresh.PICTURE})\n')
    assert (here / "README.md").read_text(encoding="utf-8") == text
    assert (here / refresh.PICTURE).read_bytes() == b"pixels" and refresh.stale() == {}


def test_what_can_not_be_generated_is_a_sentence_and_nothing_is_written(here):
    (here / "workshop").mkdir()
    for name, text in (("timetables.toml", "[live]\n[timetables]\n"), ("page.md", "[01, section 99]()")):
        (here / "workshop" / name).write_text(text, encoding="utf-8")
    done = tool(here, "refresh")
    assert done.returncode == 1 and done.stdout == "" and (here / "README.md").read_text(encoding="utf-8") == README
    assert re.fullmatch(r"No table, setup cell or badge was written\. .*about N minutes.*\n", done.stderr)


def test_the_hash_changes_with_the_code_and_not_with_the_prose_or_the_setup_cell():
    setup = new_code_cell("fetch", metadata={"tags": ["setup"]})
    notebook = new_notebook(cells=[new_markdown_cell("a"), new_code_cell("x = 1"), new_code_cell("y = 2"), setup])
    before = tools.code_hash(notebook)
    notebook.cells[0].source = "b"
    setup.source = "fetch elsewhere"
    notebook.cells[1].outputs = [new_output("stream", text="1")]
    assert tools.code_hash(notebook) == before
    notebook.cells[1].source, notebook.cells[2].source = "x = 1\ny", "= 2"
    assert tools.code_hash(notebook) != before


def test_minutes_name_their_machine(tmp_path, monkeypatch):
    """Wrong code: one machine is named for all notebooks, or the first stays when a notebook is measured elsewhere."""
    monkeypatch.setattr(refresh.speed, "RESULTS", tmp_path)
    monkeypatch.setattr(refresh, "machine", lambda: "2 cores")
    found = []
    for notebook, has_them in [("01_a.ipynb", False), ("02_b.ipynb", True), ("01_a.ipynb", True)]:
        monkeypatch.setattr(refresh, "processor_has_bf16", lambda has_them=has_them: has_them)
        refresh.keep_minutes(Path(notebook), 1.5)
        found.append(refresh.minutes_table().rpartition("Measured on: ")[2])
    without = "01: 2 cores, without 16-bit products"
    assert found == [f"{without}.", f"{without}; 02: 2 cores.", "01, 02: 2 cores."]
