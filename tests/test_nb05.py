"""What the exercises of notebook 05 rest on, and cells of it that no other test runs."""

import contextlib
import io
import types
from pathlib import Path

import numpy
import pytest

from helpers import metrics, plots
from helpers.careful.words import effects_of_words
from helpers.exercises import nb05
from tools import notebooks as tools

CELLS = {
    cell.id.removeprefix("nb05-"): cell.source
    for cell in tools.read(Path(__file__).parent.parent / "notebooks" / "05_evaluation.ipynb").cells
}


def run(cell, **names):
    """Run one cell of notebook 05 with these names defined. Returns all names after it, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(CELLS[cell], names)
    return names, printed.getvalue()


def test_the_five_reviews_are_the_ones_that_the_messages_speak_of():
    # Would catch row numbers that point elsewhere, after a change of the packaged file or of how it is read.
    reviews = nb05.five_reviews()
    for (text, label), (phrase, expected) in zip(
        reviews,
        [
            ("simply the funniest movie", "positive"),
            ("unremarkable film", "negative"),
            ("WERE THEY SMOKING", "negative"),
            ("NO stars out of", "positive"),
            ("definitive movie version of Hamlet", "positive"),
        ],
        strict=True,
    ):
        assert phrase in text
        assert label == expected
    wrong = nb05.mislabelled.answer()
    assert "NO stars" in reviews[wrong - 1][0]
    assert not any("<br" in text for text, _ in reviews)


def test_the_formula_for_a_paired_difference_agrees_with_the_bootstrap():
    # Would catch a wrong formula in the exercise: its solution is checked against nothing else.
    differences = numpy.repeat([1, -1, 0], [70, 50, 880])
    random = numpy.random.default_rng(0)
    means = random.choice(differences, size=(4000, len(differences))).mean(axis=1)
    formula = nb05.paired_interval.answer(70, 50, 1000)
    assert formula == pytest.approx(numpy.quantile(means, [0.025, 0.975]), abs=0.002)


def test_the_words_that_moved_the_answer_by_hand_are_those_of_helpers():
    # Would catch a sign turned round on one side, and words that are joined in another way.
    worth = {"fine": 2.5, "dull": -4.0}

    def logits_of(model, texts):
        scores = numpy.array([sum(worth.get(word, 0.1) for word in text.split()) for text in texts])
        return numpy.stack([-scores / 2, scores / 2], axis=1)

    cells, printed = run(
        "069c",
        numpy=numpy,
        texts=["not read", "A  dull start,\nbut a fine end."],
        chosen=1,
        model=None,
        tokenizer=None,
        track=None,
        loader_for=lambda texts, *others: texts,
        predict_logits=logits_of,
    )
    words = "A dull start, but a fine end.".split()
    assert cells["words"] == words and printed.splitlines()[1] == "-4.00  dull"
    assert cells["effects"] == pytest.approx(effects_of_words(words, cells["score_for_positive"]))


def test_the_scoreboard_says_who_is_better_and_when_it_cannot_tell(monkeypatch):
    # Would catch a verdict by the higher figure alone, and two models that have changed places.
    def right(share, size=400):
        return numpy.arange(size) < share * size

    shown = []
    monkeypatch.setattr(plots, "table", lambda rows, columns: shown.extend(rows))
    passed = {"negation": [right(0.1), right(0.9)], "typo": [right(0.5), right(0.5)]}
    passed |= {"changed name": [right(0.9, 30), right(0.9, 30)], "irrelevant detail": [right(1), right(1)]}
    run(
        "091c",
        numpy=numpy,
        plots=plots,
        paired_comparison=metrics.paired_comparison,
        few=range(200),
        everything={"label": range(9)},
        reviews={"train": range(9)},
        unseen=numpy.array([right(0), right(0.8)]),  # the last epoch counts
        unseen_words=right(0.6),
        other_right=right(0.7),
        other_right_words=right(0.69),
        passed=passed,
        right=right(0.8),
        right_words=right(0.9),
    )
    assert [row[-1] for row in shown] == ["BERT", "can't tell", "word counts", "can't tell", "word counts"]
    assert [row[1] for row in shown] == [400, 400, 400, 830, 400]


@pytest.mark.parametrize("helped", [True, False])
def test_the_card_leaves_out_a_temperature_that_did_not_help(helped):
    config = types.SimpleNamespace(num_hidden_layers=6)
    cells, printed = run(
        "078",
        model=types.SimpleNamespace(config=config),
        track=types.SimpleNamespace(use_hub=False, epochs=3, learning_rate=1e-4),
        reviews={"train": range(1000)},
        validation_labels=range(500),
        temperature=1.5,
        temperature_helped=helped,
        threshold=0.83,
        limit=128,
        COST_FP=5,
        COST_FN=1,
    )
    assert "probability of 0.83 on" in printed and "Trained on 1,000 IMDb" in printed
    assert ("Divide the logits by 1.50" in printed) == helped
