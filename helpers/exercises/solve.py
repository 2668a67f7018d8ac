"""Put the solutions into a notebook's exercise cells: for the tests, and for the edition with solutions."""

import copy
import importlib
import re

from helpers.exercises.engine import Quiz


def solved(notebook):
    """A copy of an nbformat notebook in which every cell with the tag `exercise` holds its solution and its check.

    Such a cell starts with the line `# exercise: NAME` and ends with the line `ex.NAME.check(...)`; the notebook
    says `from helpers.exercises import nbNN as ex` somewhere. ValueError tells which cell breaks these rules.
    """
    notebook = copy.deepcopy(notebook)
    sources = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    imported = re.search(r"^from helpers\.exercises import .*?\b(nb\d\d) as ex\b", sources, re.MULTILINE)
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            if not imported:
                raise ValueError("The notebook has exercises but no `from helpers.exercises import nbNN as ex`.")
            cell.source = _solved_cell(cell.source, importlib.import_module(f"helpers.exercises.{imported[1]}"))
    return notebook


def exercise_name(source):
    """The NAME in the first line `# exercise: NAME` of a cell."""
    found = re.match(r"# exercise: (\w+)", source)
    if not found:
        raise ValueError(
            f"An exercise cell must start with `# exercise: NAME`, but this one starts with: {source[:60]!r}"
        )
    return found[1]


def _solved_cell(source, module):
    name = exercise_name(source)
    first, *lines = source.strip().splitlines()
    check = f"ex.{name}.check("
    if not lines or not lines[-1].startswith(check):
        raise ValueError(f"The last line of the cell of exercise {name} must be `{check}...)`, not: {lines[-1:]}")
    task = getattr(module, name)
    if isinstance(task, Quiz):
        return f'{first}\n{check}"{task.right}")'
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    value = [f"{name} = {name}()"] if task.is_value else []
    return "\n".join([first, *imports, "", task.source, *value, "", f"{check}{name})"])
