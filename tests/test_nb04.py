"""Cells of notebook 04 that no other test runs, and what its comparison of short and long trainings rests on."""

import contextlib
import io
import math
from pathlib import Path

import numpy
import pytest
import scipy.stats

from helpers import plots
from helpers.track import GPU, LAPTOP, QUICK
from tools import notebooks as tools

CELLS = {
    cell.id: cell.source
    for cell in tools.read(Path(__file__).parent.parent / "notebooks" / "04_overfitting.ipynb").cells
}


def run(cell, **names):
    """Run one cell of notebook 04 with these names defined. Returns all names after it."""
    with contextlib.redirect_stdout(io.StringIO()):
        exec(CELLS[cell], names)
    return names


@pytest.mark.parametrize("track", [LAPTOP, GPU, QUICK], ids=lambda track: track.name)
def test_more_labels_take_as_many_steps_as_the_long_training(track):
    # Would catch sizes with which the notebook's own assertion fails on a track that nobody has run.
    sizes = track.overfitting
    assert sizes.short_epochs < sizes.epochs and sizes.train < sizes.more
    assert math.ceil(sizes.more / 16) * sizes.short_epochs == math.ceil(sizes.train / 16) * sizes.epochs


def test_the_interval_is_students():
    # Would catch a normal's 1.96 in the place of t, and a standard deviation over n instead of n - 1.
    interval_of = run("af9e0422", numpy=numpy, math=math)["interval_of"]
    for differences in ([-0.5, -0.1], [0.2, -0.1, 0.4], [0.01, 0.02, 0.0, 0.05, 0.03]):
        theirs = scipy.stats.ttest_1samp(differences, 0).confidence_interval()
        assert interval_of(differences) == pytest.approx(tuple(theirs))


def test_a_comparison_is_paired_and_knows_which_way_is_better(monkeypatch):
    # Would catch differences that are not taken seed by seed, and accuracies that are better when lower.
    shown = []
    monkeypatch.setattr(plots, "table", lambda rows, columns: shown.append(rows))
    cells = run("af9e0422", numpy=numpy, math=math) | run("59ec8aca")
    cells |= {"numpy": numpy, "plots": plots, "names": ["nothing", "lower", "alike", "noisy"], "readings": {}}
    compare = run("b032def6", **cells)["compare"]
    spread = numpy.array([0.5, 1.0, 1.5])  # far larger than the differences
    values = {"nothing": spread, "lower": spread - 0.1, "alike": spread + 0.001, "noisy": spread[::-1]}
    assert list(compare(values, "loss").values()) == ["better", "the same within 0.01", "can't tell"]
    verdicts = compare(values, "accuracy", lower_is_better=False)
    assert verdicts["lower"] == "worse" and [len(rows) for rows in shown] == [4, 4]
