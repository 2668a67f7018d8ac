"""The learner's own copies of the notebooks, in my_course/.

They have no outputs, so that no prediction stands above its answer. They are made once and never overwritten. When the
course has changed since, its changes are brought in cell by cell, and what the learner wrote stays. Standard library
alone, for the copies are made before JupyterLab is there.
"""

import copy
import json
import re
import shutil
from uuid import uuid4

from tools.ground import ROOT, Problem, notebooks, own_folder, write, write_json

MINE = own_folder() / "my_course"


def my_copies(folder=MINE):
    """Make the copies that are missing, bring the course's changes into the others. Returns {"01": path, ...}."""
    made_from = folder / ".made_from"  # of each copy, what the course's notebook was then
    made_from.mkdir(parents=True, exist_ok=True)
    mine = {}
    for number, path in notebooks().items():
        mine[number], base = folder / path.name, made_from / path.name
        try:
            new = without_outputs(path)
        except ValueError:
            raise Problem(f"{path} is damaged: fetch the course again.") from None
        if not mine[number].exists():
            write_json(mine[number], new)
        elif base.exists() and read(base) != new and not bring_changes(mine[number], read(base), new):
            continue
        write_json(base, new)
    glossary = folder.parent / "workshop" / "glossary.md"  # to which their links lead
    if folder.parent != ROOT:  # the course can't be written, and lies elsewhere
        glossary.parent.mkdir(exist_ok=True)
        text = (ROOT / "workshop" / glossary.name).read_text(encoding="utf-8")
        write(glossary, text.replace("](../notebooks/", f"](../{folder.name}/"))
    return mine


def without_outputs(path):
    """Return a notebook as nobody has run it. Raises ValueError when the file holds none."""
    notebook = read(path)
    for cell in notebook.get("cells", []):
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return notebook


def read(path):
    """Return a notebook, with the source of each cell as one text."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook.get("cells", []):
        cell["source"] = "".join(cell["source"])
    return notebook


def bring_changes(path, base, new):
    """Bring a learner's copy, made from `base`, to the version `new`, and keep it as it was. False if unreadable."""
    try:
        merged, to_compare = brought_up(read(path), base, new)
    except (ValueError, KeyError, TypeError):
        print(f"{path} can't be read as a notebook, and was left alone: rename it, and a fresh copy is made.")
        return False
    backup = path.with_name(f"{path.name}.bak")
    while backup.exists():
        backup = backup.with_name(f"{backup.name}.bak")
    shutil.copyfile(path, backup)
    write_json(path, merged)
    print(f"{path.name}: the course's changes were brought into your copy. Your answers are kept; as it was: {backup}.")
    if to_compare:
        print(f"  Changed by the course, and by you: {', '.join(to_compare)}. Look whether yours still fits.")
    return True


def brought_up(mine, base, new):
    """Return the notebook `new` with all that a learner wrote into `mine`, which was made from `base`.

    Cells are told apart by their ids, exercises by their names as well. Also returns what both have changed.
    """
    before = {cell["id"]: cell["source"] for cell in base["cells"]}
    theirs = {cell["id"] for cell in new["cells"]}
    unseen = theirs - {cell["id"] for cell in mine["cells"]}
    renamed = {name_of(cell): cell["id"] for cell in new["cells"] if cell["id"] in unseen and name_of(cell)}
    written, own, above = {}, {}, None
    for cell in mine["cells"]:
        place = cell["id"] if cell["id"] in theirs else renamed.get(name_of(cell))
        if place and place not in written:
            above, written[place] = place, cell
        elif cell["source"].strip() and cell["source"] != before.get(cell["id"]):  # the learner's own, or answered
            own.setdefault(above, []).append(cell)
    cells, to_compare = list(own.get(None, [])), []
    for cell in copy.deepcopy(new["cells"]):
        cells.append(cell)
        old = written.get(cell["id"], cell)
        blank = before.get(old["id"], cell["source"])
        if old["source"] not in (blank, cell["source"]):
            if cell["source"] != blank:
                to_compare.append(name_of(cell) or f"the cell that starts with {cell['source'][:30]!r}")
            if cell["source"] == blank or name_of(cell):
                cell["source"] = old["source"]
            else:  # of a cell that is no exercise the course's version counts, and the learner's stands below it
                fence = "```" if old["cell_type"] == "code" else ""
                text = f"*Your version, before the course changed this cell:*\n\n{fence}\n{old['source']}\n{fence}"
                cells.append({"cell_type": "markdown", "id": uuid4().hex[:8], "metadata": {}, "source": text})
        if cell["cell_type"] == old["cell_type"] == "code" and cell["source"] == old["source"]:
            cell |= {key: old[key] for key in ("outputs", "execution_count")}
        cells += own.get(cell["id"], [])
    return {**new, "cells": cells}, to_compare


def name_of(cell):
    """Return the name of the exercise or quiz question that a cell holds, or None."""
    found = re.match(r"# exercise: (\w+)", cell["source"]) if cell["cell_type"] == "code" else None
    return found and found[1]
