"""Makes the notebooks with their exercises answered, for instructors.

python -m tools.solutions OUT NOTEBOOK…
"""

import sys
from pathlib import Path

from helpers.exercises.solve import solved
from tools.notebooks import read, save, tagged, without_outputs


def with_solutions(path):
    """Return a notebook with every exercise answered; those cells have no outputs until they are run."""
    notebook = solved(read(path))
    for cell in notebook.cells:
        if tagged(cell, "exercise"):
            without_outputs(cell)
    del notebook.metadata["course"]  # the hash of the code that the outputs were made by
    return notebook


def make(out, paths):
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        save(with_solutions(path), out / path.name)
    print(f"Notebooks with solutions: {out}. They run where the folder `helpers` is beside theirs, as in the course.")


if __name__ == "__main__":
    make(Path(sys.argv[1]), list(map(Path, sys.argv[2:])))
