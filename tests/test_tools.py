"""Running notebooks without a browser, writing outputs back, and the README's tables, on tiny notebooks."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks as tools

ROOT = Path(__file__).resolve().parent.parent

GOOD = [
    "import os, sys; print(os.getcwd(), sys.prefix); print('one\\rtwo')",
    "from helpers.plots import measured\nmeasured(labels=200, accuracy=0.75)",
]
BAD = ["print('before')", "raise ValueError('a sentence\\nand another')", "print('after')"]


@pytest.fixture
def course(tmp_path):
    """A copy of the course with tiny notebooks: 01 runs to its end, 02 fails in its second cell."""
    folder = tmp_path / "course"
    for name in ("tools", "helpers"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "notebooks").mkdir()
    for name, cells in (("01_good", GOOD), ("02_bad", BAD)):
        title = new_markdown_cell(f"# {name}\n\n**The question:** is it\n{name}?\n\nMore? Later.")
        cells = [new_code_cell(cell, metadata={"scrolled": True, "tags": ["keep"]}) for cell in cells]
        cells[0].source = "import sys; sys.path.insert(0, '..')\n" + cells[0].source
        nbformat.write(new_notebook(cells=[title, *cells]), folder / "notebooks" / f"{name}.ipynb")
    (folder / "README.md").write_text("before\n<!-- table: minutes -->\nold\n<!-- end of table -->\nafter\n")
    return folder


def command(course, *arguments, notebooks=()):
    paths = [str(course / "notebooks" / f"{name}.ipynb") for name in notebooks]
    return [sys.executable, str(course / "tools" / "notebooks.py"), *map(str, arguments), *paths]


def outputs_of(path):
    return [cell.outputs for cell in tools.read(path).cells if cell.cell_type == "code"]


def test_run_saves_notebooks_and_figures_and_goes_on_after_a_failure(course):
    out = course / "out"
    done = subprocess.run(command(course, "run", out, notebooks=["02_bad", "01_good"]), capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr

    summary = json.loads((out / "summary.json").read_text())
    assert summary["01"]["status"] == "ok" and summary["01"]["error"] is None
    assert summary["01"]["figures"] == {"labels": 200, "accuracy": 0.75}
    assert summary["01"]["track"] == "quick" and summary["01"]["minutes"] > 0
    assert summary["02"]["status"] == "failed"
    assert summary["02"]["error"] == "cell 2 of 3: ValueError: a sentence and another"
    assert summary["02"]["error"] in done.stdout and "01_good  cell 2/2" in done.stdout
    assert re.search(r"01_good\.ipynb +ok +0\.\d", done.stdout) and re.search(r"accuracy +0\.750", done.stdout)

    before, failed, after = outputs_of(out / "02_bad.ipynb")
    assert before[0].text == "before\n" and failed[0].output_type == "error" and after == []
    assert outputs_of(course / "notebooks" / "01_good.ipynb") == [[], []]  # the course's own stays as it was


@pytest.mark.skipif(os.name == "nt", reason="Windows can't send Ctrl-C to one program alone")
def test_a_stopped_run_keeps_what_it_has(course):
    notebook = new_notebook(cells=[new_code_cell("print('first')"), new_code_cell("import time; time.sleep(100)")])
    nbformat.write(notebook, course / "notebooks" / "03_long.ipynb")
    arguments = command(course, "run", course / "out", notebooks=["03_long", "01_good"])
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "cell 2/2" in line:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "stopped" in said
    summary = json.loads((course / "out" / "summary.json").read_text())
    assert list(summary) == ["03"] and summary["03"]["status"] == "stopped"
    assert outputs_of(course / "out" / "03_long.ipynb")[0][0].text == "first\n"


def test_a_dead_kernel_is_a_sentence(course):
    notebook = new_notebook(cells=[new_code_cell("import os; os._exit(1)")])
    nbformat.write(notebook, course / "notebooks" / "03_dies.ipynb")
    done = subprocess.run(command(course, "run", course / "o", notebooks=["03_dies"]), capture_output=True, text=True)
    assert done.returncode == 1 and "cell 1 of 1: the kernel died" in done.stdout


def test_a_track_that_does_not_exist_is_a_sentence(course):
    wrong = {**os.environ, "COURSE_TRACK": "fast"}
    arguments = command(course, "run", course / "out", notebooks=["01_good"])
    done = subprocess.run(arguments, capture_output=True, text=True, env=wrong)
    assert (
        done.returncode == 1 and done.stderr.startswith("COURSE_TRACK is 'fast'") and len(done.stderr.splitlines()) == 1
    )


def test_refresh_writes_back_only_what_ran_to_its_end(course):
    bad = (course / "notebooks" / "02_bad.ipynb").read_text()
    done = subprocess.run(command(course, "refresh", notebooks=["01_good", "02_bad"]), capture_output=True, text=True)
    assert done.returncode == 1
    assert (course / "notebooks" / "02_bad.ipynb").read_text() == bad

    good = tools.read(course / "notebooks" / "01_good.ipynb")
    assert good.metadata.course.outputs_of == tools.code_hash(good)
    assert good.metadata.accelerator == "GPU" and good.metadata.colab == {"gpuType": "T4"}
    assert [cell.execution_count for cell in good.cells[1:]] == [1, 2]
    assert [cell.metadata for cell in good.cells[1:]] == [{"tags": ["keep"]}] * 2
    assert good.cells[1].outputs[0].text == "notebooks .venv\ntwo\n"
    assert str(course) not in (course / "notebooks" / "01_good.ipynb").read_text()

    minutes = json.loads((course / "results" / "notebook_minutes.json").read_text())["laptop"]
    assert list(minutes["minutes"]) == ["01"] and minutes["machine"]
    readme = (course / "README.md").read_text()
    assert "| [01_good](notebooks/01_good.ipynb) | Is it 01_good? | 0." in readme
    assert "| [02_bad](notebooks/02_bad.ipynb) | Is it 02_bad? |  |" in readme
    assert readme.startswith("before\n") and readme.endswith("after\n") and "old" not in readme


def test_refresh_keeps_prose_that_was_edited_meanwhile_but_no_outputs_of_other_code(course):
    path = course / "notebooks" / "03_slow.ipynb"
    code = "import json, pathlib\nplace = pathlib.Path('03_slow.ipynb')\nnotebook = json.loads(place.read_text())"
    for edit, kept in (
        ("notebook['cells'][0]['source'] = '# new'", True),
        ("notebook['cells'][1]['source'] += '#'", False),
    ):
        cell = new_code_cell(f"{code}\n{edit}\nplace.write_text(json.dumps(notebook))")
        nbformat.write(new_notebook(cells=[new_markdown_cell("# old"), cell]), path)
        done = subprocess.run(command(course, "refresh", notebooks=["03_slow"]), capture_output=True, text=True)
        assert done.returncode == (0 if kept else 1), done.stdout
        assert bool(outputs_of(path)[0]) == kept
        assert tools.read(path).cells[0].source == ("# new" if kept else "# old")


def test_the_readmes_picture_comes_from_the_cell_that_is_marked(course, monkeypatch):
    pixels = base64.b64encode(b"pixels").decode()
    shown = new_output(
        "display_data",
        data={"text/html": f'<img alt="A &lt; B &quot;by far&quot;" src="data:image/png;base64,{pixels}">'},
    )
    other = new_output("display_data", data={"text/html": '<img alt="other" src="data:image/png;base64,AAAA">'})
    cells = [new_code_cell(outputs=[other]), new_code_cell(outputs=[shown], metadata={"tags": ["readme-picture"]})]
    nbformat.write(new_notebook(cells=cells), course / "notebooks" / "03_picture.ipynb")
    for name, value in {
        "ROOT": course,
        "README": course / "README.md",
        "PICTURE": course / "results" / "p.png",
    }.items():
        monkeypatch.setattr(tools, name, value)
    (course / "README.md").write_text("<!-- table: picture -->\n<!-- end of table -->\n")
    for _ in range(2):
        tools.fill_tables()
        markdown = '![A < B "by far"](results/p.png)'
        assert (course / "README.md").read_text() == f"<!-- table: picture -->\n{markdown}\n<!-- end of table -->\n"
    assert (course / "results" / "p.png").read_bytes() == b"pixels"


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


def test_the_kernel_is_the_one_of_this_python():
    said = subprocess.run(command(ROOT, "kernel"), capture_output=True, text=True, check=True).stdout
    kernel = json.loads(said)
    assert os.path.realpath(kernel["prefix"]) == os.path.realpath(sys.prefix)
    assert kernel["track"].startswith("Track: quick") and kernel["error"] == ""
