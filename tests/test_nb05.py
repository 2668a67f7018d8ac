"""What the exercises of notebook 05 rest on."""

import numpy
import pytest

from helpers.exercises import nb05


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
