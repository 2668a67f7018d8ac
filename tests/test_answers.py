"""Progress that lasts: right answers outlive the kernel, are checked again, and end in a page to print."""

import builtins
import importlib
import json
import os
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.exercises import Exercise, Quiz, answers, nb01, nb05, progress_of
from helpers.exercises.engine import tasks_of
from tools import copies, progress

LETTERS = "?\na) One\n✗ No.\nb) Two\n✓ Yes.\nc) Three\n✗ No."


def double(x):
    return 2 * x


def three():
    return 3


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Start a new session: returns (ex, run), a notebook's exercises and a function that runs a cell."""
    monkeypatch.setenv("COURSE_OUTPUT", str(tmp_path))
    monkeypatch.delenv("COURSE_FRESH", raising=False)
    monkeypatch.setattr(answers, "SECRET", tmp_path / "home" / "secret")
    answers.SECRET.parent.mkdir()

    def start():
        ex = type(sys)("helpers.exercises.nb98")
        ex.double = Exercise(double, title="Double", cases=[(1,), (2,)], hints=[])
        ex.three = Exercise(three, title="Three", hints=[])
        ex.quiz_1, ex.progress = Quiz(LETTERS), progress_of("helpers.exercises.nb98")
        monkeypatch.setitem(sys.modules, "helpers.exercises.nb98", ex)
        shell = type("Shell", (), {"user_ns": {"__name__": "__main__", "In": [""], "ex": ex}})
        monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)

        def run(cell):
            shell.user_ns["In"].append(cell)
            exec(cell, shell.user_ns)

        return ex, run

    return start


def test_right_answers_outlive_a_restart(session, tmp_path):
    ex, run = session()
    run("import math\nfrom statistics import mean\nFACTOR, other = 2, object()")
    run("def helper(x):\n    return mean([x, x])")
    run(
        "# exercise: double\ndef double(x):\n    return math.floor(FACTOR * helper(x))\n\n"
        "print('hello')\nresult = ex.double.check(double)"
    )
    run("three = len('abc')\nex.three.check(three)\nex.quiz_1.check('b')")
    assert repr(ex.progress()).startswith("3 of 3 correct. To read out: 98: 1, 2; quiz 1")
    ex, run = session()
    assert ex.double.state == "not attempted"
    assert repr(ex.progress()).startswith("3 of 3 correct")
    assert [path.name for path in (tmp_path / "answers").iterdir()] == ["nb98.json"]
    assert [path.name for path in answers.SECRET.parent.iterdir()] == ["secret"]
    assert os.name == "nt" or answers.SECRET.stat().st_mode & 0o077 == 0


def test_kept_answers_are_checked_and_not_trusted(session, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "SECONDS", 0.5)
    ex, run = session()
    run("def double(x):\n    return x + x\n\nex.double.check(double)\nex.quiz_1.check('b')\nex.three.check(3)")
    file = tmp_path / "answers" / "nb98.json"
    forged = json.loads(file.read_text())
    forged["double"] = stamped("answer = lambda x: 2")
    forged["quiz_1"]["value"] = "c"
    forged["another"] = {"value": 1}
    endless = {"three": stamped("while True: pass")}
    for content, done in ((forged, 1), (endless, 0), ([1], 0), ({"three": 3}, 0), ({"double": {"code": 1}}, 0)):
        file.write_text(json.dumps(content))
        answers.SECONDS = 0.5
        ex, run = session()
        assert repr(ex.progress()).startswith(f"{done} of 3 correct")
        assert {ex.double.state, ex.quiz_1.state} == {"not attempted"}
    file.write_text("{half a fi")
    ex, run = session()
    assert repr(ex.progress()).startswith("0 of 3")


def stamped(code):
    return {"code": code, "stamp": answers.stamp(code)}


def test_code_that_another_account_kept_is_not_run(session, tmp_path, monkeypatch, capsys):
    """Wrong code: a folder `answers` from somebody else runs what they put there. Letters are harmless."""
    ex, run = session()
    run("def double(x):\n    return x + x\n\nex.double.check(double)\nex.quiz_1.check('b')")
    file = tmp_path / "answers" / "nb98.json"
    kept = json.loads(file.read_text())
    trap = f"open({str(tmp_path / 'trap')!r}, 'w')\ndef answer(x):\n    return 2 * x"
    for entry in ({"code": trap}, {"code": trap, "stamp": kept["double"]["stamp"]}, {"code": trap, "stamp": None}):
        file.write_text(json.dumps(kept | {"double": entry}))
        ex, run = session()
        assert repr(ex.progress()).startswith("1 of 3") and not (tmp_path / "trap").exists()
        assert "Not counted: double." in capsys.readouterr().out
    answers.SECRET.unlink()  # another computer, and nobody has kept an answer there yet
    file.write_text(json.dumps(kept))
    ex, run = session()
    assert repr(ex.progress()).startswith("1 of 3")
    monkeypatch.setenv("COURSE_OWN_ANSWERS", "yes")
    ex, run = session()
    capsys.readouterr()
    assert repr(ex.progress()).startswith("2 of 3") and not capsys.readouterr().out


def test_wrong_answers_and_answers_that_need_the_notebook_are_not_kept(session, tmp_path):
    ex, run = session()
    run("many = list(range(3000))")
    run("def double(x):\n    return x + 1\n\nex.double.check(double)\nex.quiz_1.check('a')")
    run("double = 3\nex.double.check(double)")
    run("def double(x):\n    return many[2] * x\n\nex.double.check(double)")
    assert ex.double.state == "correct"
    ex, run = session()
    assert repr(ex.progress()).startswith("0 of 3"), "many is not there any more"
    run("def double(x):\n    return x + x")
    run("ex.double.check(double)")  # the check in a cell of its own
    ex, run = session()
    assert repr(ex.progress()).startswith("1 of 3")


def test_a_notebook_that_is_run_for_its_outputs_keeps_and_knows_nothing(session, tmp_path, monkeypatch):
    ex, run = session()
    run("ex.three.check(3)")
    monkeypatch.setenv("COURSE_FRESH", "1")
    ex, run = session()
    assert repr(ex.progress()).startswith("0 of 3")
    run("ex.quiz_1.check('b')")
    assert list(json.loads((tmp_path / "answers" / "nb98.json").read_text())) == ["three"]


def test_a_folder_that_cant_be_written_fails_no_check(session, tmp_path):
    (tmp_path / "answers").write_text("a file")
    ex, run = session()
    run("ex.three.check(3)")
    assert ex.three.state == "correct" and repr(ex.progress()).startswith("1 of 3")


def test_progress_outlives_a_real_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_OUTPUT", str(tmp_path))
    monkeypatch.delenv("COURSE_FRESH", raising=False)
    for name in ("HOME", "USERPROFILE"):  # where the secret goes
        monkeypatch.setenv(name, str(tmp_path))
    begin = "import os, sys\nsys.path.insert(0, os.path.abspath('..'))\nfrom helpers.exercises import nb05 as ex"
    answer = f"{nb05.four_scores.source}\nex.four_scores.check(four_scores)"
    for cells in ([begin, answer, f"ex.quiz_1.check({nb05.quiz_1.right!r})"], [begin, "ex.progress()"]):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        folder = str(progress.ROOT / "notebooks")
        NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    assert "To read out: 05: 1; quiz 1\n" in notebook.cells[-1].outputs[0]["data"]["text/plain"]


def test_an_earlier_question_is_asked_anew(monkeypatch):
    monkeypatch.setattr(nb01.quiz_2, "state", "not attempted")  # whatever other tests of this process answered
    again = nb01.quiz_2.again()
    assert again.check(again.right).state == "correct" and again.question == nb01.quiz_2.question
    assert nb01.quiz_2.state == "not attempted" and nb01.quiz_2.again().state == "not attempted"


# ----------------------------------------------------------------------------------------------- start.py progress


@pytest.fixture
def all_right(tmp_path, monkeypatch):
    """Every exercise and question of the course is answered rightly, in an earlier session."""
    monkeypatch.setenv("COURSE_OUTPUT", str(tmp_path))
    monkeypatch.delenv("COURSE_FRESH", raising=False)
    monkeypatch.setattr(copies, "MINE", tmp_path / "my_course")
    monkeypatch.setattr(answers, "SECRET", tmp_path / "secret")
    (tmp_path / "answers").mkdir()
    for path in progress.notebooks():
        kept = {}
        module = importlib.import_module(f"helpers.exercises.nb{path.name[:2]}")
        for name, task in tasks_of(module).items():
            monkeypatch.setattr(task, "state", "not attempted")
            if isinstance(task, Quiz):
                kept[name] = {"value": task.right}
            elif task.is_value:
                kept[name] = {"value": task.answer()}
            else:
                kept[name] = stamped(f"from {module.__name__} import {name}\nanswer = {name}.answer")
        (tmp_path / "answers" / f"nb{path.name[:2]}.json").write_text(json.dumps(kept))
    return tmp_path


def test_who_has_done_all_gets_a_page_with_figures_of_their_own(all_right, capsys):
    (all_right / "my_course").mkdir()
    first = progress.notebooks()[0]
    mine = progress.read(first)
    figures = progress.figures_of(mine)
    (all_right / "my_course" / first.name).write_bytes(first.read_bytes())
    progress.main(all_right / "runs" / "page.html")
    said = capsys.readouterr().out
    page = (all_right / "runs" / "page.html").read_text(encoding="utf-8")
    assert "01: 1, 2, 3, 4; quiz 4" in said and "All of the course is done" in said
    for name, value in figures.items():
        assert name.replace("_", " ") in page and progress.shown(value) in page
    assert page.count("This copy was not run to its end and saved.") == len(progress.COURSE) - 1
    for part in ("Fine-Tuning BERT", "torch ", progress.date.today().isoformat(), "@media print"):
        assert part in page
    assert "http" not in page.replace("http-equiv", "")


def test_who_has_not_is_told_what_is_left(all_right, capsys):
    kept = json.loads((all_right / "answers" / "nb03.json").read_text())
    kept["quiz_1"]["value"] = "z"
    (all_right / "answers" / "nb03.json").write_text(json.dumps(kept))
    progress.main(all_right / "runs" / "page.html")
    assert "When 03 is done too" in capsys.readouterr().out and not (all_right / "runs").exists()
