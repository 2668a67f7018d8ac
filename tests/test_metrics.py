"""helpers.metrics against other people's code: scikit-learn, scipy, torchmetrics, and formulas written down again."""

import math
import warnings

import numpy
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import metrics

SCORES = ("accuracy", "precision", "recall", "f1")


def random_reviews(seed, *, classes=2, reviews=None, skill=1.0):
    """Labels and logits of a classifier that is right more often the larger its skill."""
    random = numpy.random.default_rng(seed)
    labels = random.integers(classes, size=reviews or random.integers(1, 120))
    logits = random.normal(size=(len(labels), classes)) + skill * numpy.eye(classes)[labels]
    return labels, logits


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([2, 3, 5]))
def test_the_scores_are_those_of_scikit_learn(seed, classes):
    # Would catch: rows and columns of the confusion matrix swapped (precision and recall exchanged), micro instead of
    # macro averages, the negative class taken for the positive one, a share of nothing that gives NaN.
    labels, logits = random_reviews(seed, classes=classes)
    kept = labels.copy(), logits.copy()
    predictions = logits.argmax(axis=1)
    settings = {"average": "binary"} if classes == 2 else {"average": "macro", "labels": range(classes)}
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predictions, zero_division=0, **settings)[:3]

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        scores = metrics.evaluate(labels, logits)

    assert bool(said) == (len(set(labels)) < classes)
    assert [scores[name] for name in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert scores["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions))
    for name in SCORES:
        assert 0 <= scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"] <= 1
    fitted = metrics.fit_temperature(labels, logits)
    losses = metrics.losses(labels, logits / fitted)
    wrong = (logits[range(len(labels)), labels] < logits.max(axis=1)).any()  # without a mistake none is fitted
    for factor in (0.5, 0.999, 1.001, 2) if wrong and 0.06 < fitted < 19 else ():
        other = sklearn.metrics.log_loss(
            labels, scipy.special.softmax(logits / fitted / factor, axis=1), labels=range(classes)
        )
        assert losses.mean() <= other + 1e-12  # no other temperature has a lower loss
    assert (labels == kept[0]).all() and (logits == kept[1]).all()  # nothing that is passed in is changed


def test_a_class_without_reviews_is_warned_of_and_one_that_is_never_predicted_is_not(recwarn):
    scores = metrics.evaluate([1, 0, 1], [[2.0, 0.0]] * 3)  # always "negative"
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0, 0, 0)
    assert (scores["precision_low"], scores["precision_high"]) == (0, 1)  # nothing predicted: nothing known
    assert not recwarn.list
    labels = numpy.arange(20) % 2
    with pytest.warns(UserWarning, match="None of these reviews is of class 2, 3, so nothing is known about it"):
        scores = metrics.evaluate(labels, numpy.eye(4)[labels])
    assert scores["f1"] == 0.5 and scores["f1_high"] > 0.7  # the other half may be as good: nobody has seen it


@pytest.mark.parametrize("kind", [list, numpy.array, torch.tensor])
def test_labels_and_logits_may_be_lists_arrays_or_tensors(kind):
    labels, logits = [0, 1, 1], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    assert metrics.evaluate(kind(labels), kind(logits)) == metrics.evaluate(labels, logits)


# ---- intervals and comparisons


def test_the_wilson_interval_is_wilsons_formula():
    z = scipy.stats.norm.ppf(0.975)
    for successes, total in [(1, 1), (0, 1), (0, 10), (7, 10), (860, 1000), (1000, 1000)]:
        share = successes / total
        middle = (share + z * z / (2 * total)) / (1 + z * z / total)
        half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
        assert metrics.wilson_interval(successes, total) == pytest.approx((middle - half, middle + half), abs=1e-12)
    assert metrics.wilson_interval(0, 0) == (0, 1)


def test_the_intervals_of_accuracy_precision_and_recall_belong_to_the_right_counts():
    # 40 + 30 right of 100; 30 of 45 predicted positive are; 30 of 40 positive found.
    counts = {(0, 0): 45, (0, 1): 15, (1, 0): 10, (1, 1): 30}
    labels = numpy.repeat([true for true, _ in counts], list(counts.values()))
    predictions = numpy.repeat([predicted for _, predicted in counts], list(counts.values()))
    scores = metrics.evaluate(labels, numpy.eye(2)[predictions])
    for name, successes, total in [("accuracy", 75, 100), ("precision", 30, 45), ("recall", 30, 40)]:
        assert (scores[f"{name}_low"], scores[f"{name}_high"]) == metrics.wilson_interval(successes, total)
    # F1 is 2 s / (1 + s) of the share s = 30 / 55 of true positives among all that are positive or called so, so the
    # ends of that share's interval are ends for F1 (Lam et al. 2023, https://arxiv.org/abs/2309.14621).
    ends = [2 * end / (1 + end) for end in metrics.wilson_interval(30, 55)]
    assert (scores["f1_low"], scores["f1_high"]) == pytest.approx(ends, abs=0.015)


@pytest.mark.parametrize("classes", [2, 3])
def test_twenty_right_of_twenty_do_not_prove_that_all_are_right(classes):
    labels = numpy.arange(20) % classes
    scores = metrics.evaluate(labels, numpy.eye(classes)[labels])
    assert (scores["f1"], scores["f1_high"]) == (1, 1)
    assert 0.75 < scores["f1_low"] < 0.9  # with an exact interval the accuracy is at least 0.83


@pytest.mark.parametrize(("classes", "reviews", "share"), [(2, 20, 0.95), (3, 60, 0.8)])
def test_intervals_hold_the_truth_about_95_times_in_100(classes, reviews, share):
    # Right with probability `share` whatever the class, errors spread evenly: each true score is `share`. A plain
    # bootstrap holds the F1 of 20 reviews in 62 of 100 cases. Here on seeds 3, 4 and 5: 94 at least.
    random = numpy.random.default_rng(3)
    held, names = dict.fromkeys(SCORES, 0), SCORES if classes > 2 else ("f1",)
    for _ in range(150):
        labels = random.integers(classes, size=reviews)
        errors = (labels + random.integers(1, classes, size=reviews)) % classes
        predictions = numpy.where(random.random(reviews) < share, labels, errors)
        scores = metrics.evaluate(labels, numpy.eye(classes)[predictions])
        for name in names:
            held[name] += scores[f"{name}_low"] <= share <= scores[f"{name}_high"]
    assert min(held[name] for name in names) / 150 >= 0.9, held


def test_a_paired_comparison_is_mcnemars_and_two_models_that_agree_can_not_be_told_apart():
    right = numpy.array([True, False, True])
    figures = metrics.paired_comparison(right, right)
    assert (figures["p_value"], figures["difference_low"], figures["difference_high"]) == (1, 0, 0)
    figures = metrics.paired_comparison(
        numpy.repeat([True, False, True], [9, 4, 50]), numpy.repeat([False, True], [9, 54])
    )
    assert (figures["only_model"], figures["only_baseline"], figures["difference"]) == (9, 4, pytest.approx(5 / 63))
    assert figures["p_value"] == pytest.approx(2 * sum(math.comb(13, n) for n in range(5)) / 2**13)
    error = math.sqrt(13 - 25 / 63) / 63
    expected = (5 / 63 - 1.96 * error, 5 / 63 + 1.96 * error)
    assert (figures["difference_low"], figures["difference_high"]) == pytest.approx(expected, abs=0.02)


def test_the_test_for_trend_is_cochrans_and_armitages_and_a_permutation_agrees():
    random = numpy.random.default_rng(0)
    groups = [random.random(size) < share for size, share in [(60, 0.9), (90, 0.85), (50, 0.75)]]
    sizes, hits = numpy.array([60, 90, 50]), numpy.array([group.sum() for group in groups])
    share, place = hits.sum() / 200, numpy.arange(3)
    spread = share * (1 - share) * ((sizes * place**2).sum() - (sizes * place).sum() ** 2 / 200)
    z = (place * (hits - sizes * share)).sum() / math.sqrt(spread)
    p_value = metrics.trend_p_value(groups)
    assert p_value == pytest.approx(2 * scipy.stats.norm.sf(abs(z)))
    where, right = numpy.repeat(place, sizes), numpy.concatenate(groups)
    middle = where.mean() * right.sum()
    moved = numpy.array([(where * random.permutation(right)).sum() for _ in range(4000)]) - middle
    assert p_value == pytest.approx((abs(moved) >= abs((where * right).sum() - middle)).mean(), abs=0.02)
    assert 0.001 < p_value < 0.2  # or the bound would say nothing
    # What rises and falls again is no trend; nor is there one where all are right, or in one group.
    assert metrics.trend_p_value([groups[0], groups[2], groups[0]]) > 0.9
    assert metrics.trend_p_value([right | True, right | True]) == metrics.trend_p_value([right]) == 1
    two = numpy.array([[part.sum(), (~part).sum()] for part in groups[:2]])
    without_correction = scipy.stats.chi2_contingency(two, correction=False).pvalue
    assert metrics.trend_p_value(groups[:2]) == pytest.approx(without_correction)


# ---- calibration


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([2, 3]), bins=st.sampled_from([1, 5, 15]))
def test_the_calibration_error_is_that_of_torchmetrics(seed, classes, bins):
    labels, logits = random_reviews(seed, classes=classes, reviews=80)
    confidence, correct = metrics.confidence_and_correct(labels, logits)
    theirs = torchmetrics.classification.MulticlassCalibrationError(num_classes=classes, n_bins=bins, norm="l1")
    probabilities = torch.from_numpy(scipy.special.softmax(logits, axis=1))
    expected = theirs(probabilities, torch.from_numpy(labels)).item()
    assert metrics.calibration_error(confidence, correct, bins=bins) == pytest.approx(expected, abs=1e-6)
    found = metrics.reliability(confidence, correct, bins=bins)
    assert sum(n for *_, n in found) == 80 and sum(share * n for _, share, n in found) == pytest.approx(correct.sum())


def test_the_calibration_error_of_counts_done_on_paper():
    # Ten reviews at 0.95, of which 8 are right; ten at 0.55, of which 6 are right: (0.15 + 0.05) / 2.
    confidence = [0.95] * 10 + [0.55] * 10
    correct = [1] * 8 + [0] * 2 + [1] * 6 + [0] * 4
    assert metrics.calibration_error(confidence, correct) == pytest.approx(0.10)
    assert metrics.calibration_error(confidence, correct, bins=1) == pytest.approx(0.05)  # 0.75 against 0.70
    # A confidence of one falls into the last bin.
    assert metrics.calibration_error([1.0, 1.0, 0.99], [True, False, True], bins=10) == pytest.approx(abs(2.99 - 2) / 3)


def test_a_perfectly_calibrated_model_errs_by_as_much_as_chance_makes_and_a_surer_one_by_less():
    random = numpy.random.default_rng(1)
    unsure = random.uniform(0.5, 1, size=400)
    low, high = metrics.calibration_by_chance(unsure)
    errors = [metrics.calibration_error(unsure, random.random(400) < unsure) for _ in range(400)]
    assert 0.91 < numpy.mean([low <= error <= high for error in errors]) < 0.99
    assert metrics.calibration_by_chance(0.9 + unsure / 10)[1] < low


def test_without_an_error_there_is_no_temperature_and_a_hopeless_model_gets_the_largest():
    labels = numpy.array([0, 1] * 10)
    right = 3 * numpy.eye(2)[labels]
    assert metrics.fit_temperature(labels, right) == 1  # the smaller, the lower the loss, down to any bound
    assert metrics.fit_temperature(labels, numpy.vstack([-right[:1], right[1:]])) != pytest.approx(1, abs=0.01)
    assert metrics.fit_temperature(labels, numpy.eye(2)[1 - labels]) == pytest.approx(20, rel=0.01)


# ---- errors, in words that say what to do


ONE = "one label and one row of logits per review"


@pytest.mark.parametrize("function", [metrics.evaluate, metrics.fit_temperature])
@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        ([0, 1], [[1.0, 0.0]], ONE),
        ([0, 1], [0.2, 0.9], ONE),  # probabilities of one class
        ([], numpy.zeros((0, 2)), ONE),
        ([0, 1], [[1.0, 0.0], [numpy.nan, 0.0]], "smaller learning rate"),
        ([0, 2], [[1.0, 0.0]] * 2, "from 0"),
        ([-1, 1], [[1.0, 0.0]] * 2, "from 0"),
        ([0.5, 1.0], [[1.0, 0.0]] * 2, "whole numbers"),
    ],
)
def test_wrong_input_is_refused_in_words(function, labels, logits, message):
    with pytest.raises(ValueError, match=message):
        function(labels, logits)


def test_wrong_confidences_are_refused_in_words():
    for confidence in ([95.0, 80.0], [0.9, numpy.nan]):  # per cent; not a number
        with pytest.raises(ValueError, match="between 0 and 1"):
            metrics.calibration_error(confidence, [1, 0])
    for confidence, correct in [([0.9, 0.8], [1]), ([], [])]:
        with pytest.raises(ValueError, match="one confidence and one correct"):
            metrics.calibration_error(confidence, correct)
