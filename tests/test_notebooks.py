"""The committed notebooks: what stands in them, and that a notebook with a fault can't pass under nbval."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from copies import copy
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import guide
from tools import notebooks as tools
from tools.address import with_address
from tools.notebooks import code_cells, tagged
from tools.refresh import COLAB_GPU

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = tools.notebooks()
LONGEST_CELL = 25  # lines
MACHINE_PATH = re.compile(r"/(?:root|home|work|tmp|Users|content)/[\w.-]+|[A-Z]:\\Users\\")
FIGURES = {
    "01": "accuracy_word_counts accuracy_frozen accuracy_finetuned accuracy_from_scratch labels seconds_finetuned",
    "02": "words_compared words_equal tokens_wasted_fixed tokens_wasted_batch tokens_wasted_grouped",
    "03": "first_loss train_loss validation_accuracy reviews_per_second fraction_of_ceiling",
    "04": "best_epoch last_epoch validation_loss_best validation_loss_last train_loss_last epochs_saved",
    "05": (
        "test_reviews test_accuracy test_accuracy_low test_accuracy_high precision recall f1 "
        "calibration_error_before calibration_error_after other_domain_accuracy other_domain_accuracy_word_counts"
    ),
    "06": (
        "classes test_texts macro_f1 macro_f1_low macro_f1_high baseline_macro_f1 onnx_megabytes int8_megabytes "
        "milliseconds_torch milliseconds_int8 answers_changed_by_int8"
    ),
    "07": (
        "decoder_accuracy_untuned decoder_accuracy_lora lora_parameters vision_accuracy_pixels "
        "vision_accuracy_random vision_accuracy_frozen vision_accuracy_finetuned"
    ),
    "08": "processes largest_weight_difference speedup",
}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return tools.read(request.param)


def outputs(notebook):
    """Yield (the number of the cell, output), for every output."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            yield number, output


def texts(output):
    """Return all that an output shows as text or HTML, without the pictures' bytes."""
    shown = [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k.startswith("text/"))]
    return re.sub(r"data:image/\w+;base64,[\w+/=]+", "", "\n".join(shown))


# ------------------------------------------------------------------------------------------------- what is committed


def test_the_outputs_were_made_by_the_code_that_stands_there(notebook):
    made_by = notebook.metadata.get("course", {}).get("outputs_of")
    assert made_by == tools.code_hash(notebook), "run `python3 start.py refresh` for this notebook, and commit it"
    assert all(cell.execution_count for cell in code_cells(notebook)), (
        "nbval compares nothing where no cell was counted"
    )


def test_exercises_are_committed_blank_and_say_so(notebook):
    """With the outputs current (above) and nbval, this proves that a notebook runs to its end with nothing answered."""
    cells = [cell for cell in code_cells(notebook) if tagged(cell, "exercise")]
    assert len(cells) >= 3 + 4  # code exercises and quiz questions
    for cell in cells:
        said = "\n".join(texts(output) for output in cell.outputs)
        assert "Not attempted yet" in said, cell.source.splitlines()[0]


def test_every_picture_has_a_text_that_states_its_finding(notebook):
    for number, output in outputs(notebook):
        bare = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
        assert not bare, f"cell {number}: {bare} without alt text: show it with helpers.plots.show"
        for picture in re.findall(r"<img\b[^>]*", output.get("data", {}).get("text/html", "")):
            alt = re.search(r'alt="([^"]*)"', picture)
            assert alt and len(alt[1]) >= 20, f"cell {number}: {picture[:80]}"


def test_outputs_hold_no_errors_warnings_widgets_or_machine_paths(notebook):
    assert "widgets" not in notebook.metadata
    for number, output in outputs(notebook):
        assert output.output_type != "error", f"cell {number}: {output.get('evalue')}"
        assert output.get("name") != "stderr", f"cell {number}: {output.text[:200]}"
        assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {}), f"cell {number}"
        assert not MACHINE_PATH.search(texts(output)), f"cell {number}: {MACHINE_PATH.search(texts(output))[0]}"


def test_code_cells_fit_on_a_screen_and_use_no_magics(notebook):
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            lines = len(cell.source.strip().splitlines())
            assert lines <= LONGEST_CELL, f"cell {number} has {lines} lines"
            assert not re.search(r"^\s*[!%]", cell.source, re.MULTILINE), f"cell {number}: nbval passes a failing magic"


def test_no_cell_counts_on_cuda_alone(notebook):
    """An Apple GPU has no numbers of 64 bits, and works in the background too: torch.accelerator knows each of them."""
    for number, cell in enumerate(code_cells(notebook)):
        assert not re.search(r"cuda\.synchronize|(?<!cpu\(\))\.double\(\)", cell.source), f"code cell {number}"


def test_the_first_cell_has_a_title_and_a_question(notebook):
    title, question = tools.title_and_question(notebook)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    assert title and question.endswith("?")


def test_the_rhythm_is_kept(notebook):
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for wanted in ("able to", "minutes", "redict", "<details", "## Exercise", "## Quiz", "## Recap"):
        assert wanted in prose, f"{wanted!r} stands in no text cell"
    code = "\n".join(cell.source for cell in code_cells(notebook))
    checks = set(re.findall(r"\bex\.(\w+)\.check\(", code))
    quiz = {name for name in checks if name.startswith("quiz")}
    assert len(quiz) >= 4 and len(checks - quiz) >= 3
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), (
        "a heading skips a level"
    )


def test_the_figures_have_the_names_that_other_tools_ask_for(notebook, request):
    number = request.node.callspec.id[:2]
    assert set(tools.figures_of(notebook)) == set(FIGURES[number].split())


def test_the_setup_cell_and_badge_are_current(notebook, request):
    path = request.node.callspec.params["notebook"]
    setups = [cell for cell in notebook.cells if tagged(cell, "setup")]
    assert setups == code_cells(notebook)[:1], "the first code cell, and no other, must have the tag setup"
    assert with_address(notebook, path) == notebook, "run `python3 start.py refresh --tables`"


def test_colab_is_asked_for_a_gpu(notebook):
    assert COLAB_GPU.items() <= notebook.metadata.items(), "run `python3 start.py refresh` for this notebook"


# "section 7", "sections 8 and 9", "03, section 4", "section 9 of notebook 03"
REFERENCE = re.compile(r"(?:(\d\d), )?\b[Ss]ections? (\d+(?:, \d+)*(?:,? (?:and|or|to) \d+)?)(?: of notebook (\d\d))?")


def broken_references(text, number):
    """Return the sections that are referred to and don't exist, as [(notebook, section)]."""
    broken = []
    text = re.sub(r'"\s*\n\s*[rf]?"', "", text)  # a text in several lines of Python
    for before, sections, after in REFERENCE.findall(" ".join(text.replace("\n#", "").split())):
        meant = before or after or number
        broken += [(meant, s) for s in re.findall(r"\d+", sections) if int(s) not in guide.sections_of(meant)]
    return broken


def test_a_section_that_is_referred_to_exists(notebook, request):
    number = request.node.callspec.id[:2]
    exercises = ROOT / "helpers" / "exercises" / f"nb{number}.py"
    for text in (*(cell.source for cell in notebook.cells), exercises.read_text(encoding="utf-8")):
        assert not broken_references(text, number), text[:300]


def test_a_reference_to_a_section_that_does_not_exist_is_noticed():
    text = "As in sections 2, 98 and 99 (03, section 97), in section 1 and in Section 96 of\nnotebook 05."
    assert broken_references(text, "02") == [("02", "98"), ("02", "99"), ("03", "97"), ("05", "96")]


# ----------------------------------------------------------------------------- a fault can't pass: throw-away notebooks


def marked(source, text):
    """Return a cell whose output nbval compares with `text`."""
    output = new_output("stream", name="stdout", text=text)
    return new_code_cell(source, outputs=[output], execution_count=1, metadata={"tags": ["nbval-check-output"]})


FAULTY = {
    "03_saves": [new_code_cell("import os; os.mkdir(os.environ['COURSE_OUTPUT'])")],
    "05_finds": [new_code_cell("import os; assert os.path.isdir(os.environ['COURSE_OUTPUT'])")],  # what 03 saved
    "good": [
        marked("print(1 + 1)", "2\n"),
        new_code_cell("import os; assert os.environ['COURSE_TRACK'] == 'quick'"),
        new_code_cell(
            "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
        ),
    ],
    "broken": [new_code_cell("1 / 0"), new_code_cell("2"), new_code_cell("3")],
    "changed": [marked("print(1 + 1)", "3\n"), new_code_cell("2")],
    "connects": [new_code_cell("import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)")],
    "looks_up": [new_code_cell("import socket; socket.getaddrinfo('example.invalid', 80)")],
    "hides": [
        new_code_cell(
            "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 80), timeout=5)\nexcept OSError:\n    pass"
        )
    ],
}
EXPECTED = {
    "03_saves": ["passed"],
    "05_finds": ["passed"],
    "good": ["passed", "passed", "passed"],
    "broken": ["failed", "skipped", "skipped"],
    "changed": ["failed", "skipped"],
    "connects": ["failed"],
    "looks_up": ["failed"],
    "hides": ["failed"],
}


@pytest.mark.parametrize("workers", [[], ["-n2", "--dist=loadfile", "--no-loadscope-reorder"]], ids=len)
def test_a_faulty_notebook_fails_under_nbval(tmp_path, workers):
    for name in ("conftest.py", "pyproject.toml", "tests/no_network.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    for name, cells in FAULTY.items():
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")

    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--junitxml=report.xml", *workers]
    environment = {key: value for key, value in os.environ.items() if key != "COURSE_TRACK"}
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    found = {name: [] for name in FAULTY}
    for case in ElementTree.parse(tmp_path / "report.xml").iter("testcase"):
        bad = [outcome for outcome in ("failure", "skipped") if case.find(outcome) is not None]
        outcome = {"failure": "failed", "skipped": "skipped"}[bad[0]] if bad else "passed"
        found[re.search(r"(\w+)(?:\.ipynb)?$", case.get("classname"))[1]].append(outcome)
    assert found == EXPECTED, said.stdout
    assert "Cell 0 of this notebook failed" in (tmp_path / "report.xml").read_text(encoding="utf-8")
    assert "tried to reach 192.0.2.1" in said.stdout


def test_a_faulty_committed_notebook_is_noticed():
    """The guards above can fail: give each what it must refuse."""
    picture = new_output("display_data", data={"text/html": '<img alt="a plot" src="x">'})
    wrong = new_notebook(
        cells=[
            new_markdown_cell("Title\n\nno question"),
            new_code_cell(
                "%matplotlib inline\nx.double()",
                outputs=[new_output("error", ename="E", evalue="v")],
                execution_count=1,
            ),
            new_code_cell("x = 1", outputs=[picture, new_output("stream", name="stdout", text="/home/ann/course")]),
        ],
        metadata={"course": {"outputs_of": "another"}},
    )
    wrong = nbformat.from_dict(json.loads(json.dumps(wrong)))
    for guard in (
        test_the_outputs_were_made_by_the_code_that_stands_there,
        test_every_picture_has_a_text_that_states_its_finding,
        test_outputs_hold_no_errors_warnings_widgets_or_machine_paths,
        test_code_cells_fit_on_a_screen_and_use_no_magics,
        test_no_cell_counts_on_cuda_alone,
        test_colab_is_asked_for_a_gpu,
        test_the_first_cell_has_a_title_and_a_question,
        test_the_rhythm_is_kept,
    ):
        with pytest.raises(AssertionError):
            guard(wrong)
