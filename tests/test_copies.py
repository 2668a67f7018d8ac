"""A learner's copies in my_course/: what is in them, and that a newer course takes nothing from them."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from tools import copies
from tools.notebooks import notebooks, read, save, tagged

ANSWER = "# exercise: {name}\nmine = 'an answer to {name}'\nex.{name}.check(mine)"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Three of the course's notebooks in a folder of their own: returns (update, the folder of the copies)."""
    theirs = {path.name[:2]: tmp_path / path.name for path in notebooks()[:3]}
    for path in notebooks()[:3]:
        save(read(path), theirs[path.name[:2]])
    monkeypatch.setattr(copies, "notebooks", lambda: theirs)

    def update(change):
        for path in theirs.values():
            notebook = read(path)
            change(notebook.cells)
            save(notebook, path)
        return copies.my_copies(tmp_path / "my_course")

    return update, tmp_path / "my_course"


def exercises(cells):
    return [cell for cell in cells if tagged(cell, "exercise")]


def answered(path):
    """Answer every second exercise of a copy, as a learner does. Returns {name: the answer}."""
    notebook = read(path)
    for cell in exercises(notebook.cells)[::2]:
        cell.source = ANSWER.format(name=copies.name_of(cell))
    nbformat.write(notebook, path)
    return {copies.name_of(cell): cell.source for cell in exercises(notebook.cells)[::2]}


def sources(path):
    return {copies.name_of(cell) or cell.id: cell.source for cell in read(path).cells}


def test_links_of_copies_lead_somewhere_where_the_course_cant_be_written(course):
    """Wrong code: a learner's files lie at home, and the glossary does not; a notebook links to the course's code."""
    update, folder = course
    mine = list(update(lambda cells: None).values())
    texts = ["".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown") for path in notebooks()]
    for link in set(re.findall(r"\]\((\.\./[^)#]+)", "".join(texts))):
        assert (folder / link).is_file(), link
    back = set(re.findall(r"\]\((\.\./[^)#]+)", (folder.parent / "workshop" / "glossary.md").read_text("utf-8")))
    assert back >= {f"../{folder.name}/{path.name}" for path in mine}


def test_copies_show_no_answers_and_are_made_once(course, capsys):
    update, folder = course
    mine = update(lambda cells: None)
    for number, path in mine.items():
        notebook, committed = read(path), read(copies.notebooks()[number])
        nbformat.validate(notebook)
        assert [cell.source for cell in notebook.cells] == [cell.source for cell in committed.cells]
        assert any(cell.get("outputs") for cell in committed.cells)
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
        nbformat.write(nbformat.v4.new_notebook(), path)
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    update(lambda cells: None)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == written
    assert capsys.readouterr().out == ""


def test_a_newer_course_loses_no_answer(course, capsys):
    """Answers in three notebooks, one exercise changed upstream, another under a new id, a new cell, a changed text."""
    update, folder = course
    mine = update(lambda cells: None)
    given = {number: answered(path) for number, path in mine.items()}
    kept = {path: path.read_bytes() for path in mine.values()}

    def change(cells):
        first, second, third, *_ = exercises(cells)
        first.source += "\n# changed by the course"
        second.source += "\n# changed by the course"
        third.id = "another-id"
        cells[1].source = "A better text."
        cells.insert(3, nbformat.v4.new_markdown_cell("A new cell.", id="new-cell"))

    update(change)
    for number, path in mine.items():
        now, course_now = sources(path), sources(copies.notebooks()[number])
        assert {name: now[name] for name in given[number]} == given[number]
        assert {name: now[name] for name in now if name not in given[number]} == {
            name: course_now[name] for name in course_now if name not in given[number]
        }
        assert list(now) == list(course_now) and "A better text." in now.values() and "new-cell" in now
        assert path.with_name(f"{path.name}.bak").read_bytes() == kept[path]
        nbformat.validate(read(path))
    said = capsys.readouterr().out
    assert said.count("Your answers are kept") == 3
    assert "Changed by the course, and by you: training_step." in said  # the first exercise of 03

    update(lambda cells: cells.pop())  # the next version: the same again, and no .bak is written over
    for number, path in mine.items():
        assert given[number].items() <= sources(path).items()
        assert path.with_name(f"{path.name}.bak").read_bytes() == kept[path]


def test_what_a_learner_wrote_elsewhere_stays_too(course):
    """Cells of their own, an answer to an exercise that is gone, the outputs of cells that are still the same."""
    update, folder = course
    path = update(lambda cells: None)["01"]
    answered(path)
    notebook = read(path)
    gone, text, ran = exercises(notebook.cells)[2], notebook.cells[1], notebook.cells[2]
    text.source = "My prediction: 70%."
    ran.outputs, ran.execution_count = [nbformat.v4.new_output("stream", text="seen")], 7
    notebook.cells.insert(5, nbformat.v4.new_code_cell("my_own = 1"))
    nbformat.write(notebook, path)

    def change(cells):
        cells.remove(exercises(cells)[2])
        cells[1].source = "A better text."

    cells = read(update(change)["01"]).cells
    written = [cell.source for cell in cells]
    assert written[1] == "A better text." and "My prediction: 70%." in written[2]
    assert written[6] == "my_own = 1" and gone.source in written
    assert cells[3].outputs[0].text == "seen" and cells[3].execution_count == 7


def test_a_copy_that_cant_be_read_is_left_alone_until_it_can(course, capsys):
    update, folder = course
    path = update(lambda cells: None)["01"]
    answer = answered(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    update(lambda cells: cells.insert(1, nbformat.v4.new_markdown_cell("Added.")))
    assert path.read_bytes() == whole[:-100] and "was left alone" in capsys.readouterr().out
    path.write_bytes(whole)
    update(lambda cells: None)
    assert answer.items() <= sources(path).items() and "Added." in sources(path).values()


def test_links_of_a_copy_lead_where_those_of_the_notebook_do():
    assert copies.MINE.parent == Path(notebooks()[0]).parent.parent
    ignored = Path(copies.MINE.parent, ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f"/{copies.MINE.name}/" in ignored


def test_a_damaged_notebook_of_the_course_ends_in_a_sentence(course):
    update, folder = course
    next(iter(copies.notebooks().values())).write_text(json.dumps("no notebook")[:5])
    with pytest.raises(copies.Problem, match="is damaged: fetch the course again"):
        copies.my_copies(folder)
