"""helpers.metrics against other people's code: scikit-learn, scipy, torchmetrics, and formulas written down again."""

import math

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


# ---- scores


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([2, 3, 5]))
def test_the_scores_are_those_of_scikit_learn(seed, classes):
    # Would catch: rows and columns of the confusion matrix swapped (precision and recall exchanged), micro instead of
    # macro averages, the negative class taken for the positive one, a share of nothing that gives NaN.
    labels, logits = random_reviews(seed, classes=classes)
    predictions = logits.argmax(axis=1)
    settings = {"average": "binary"} if classes == 2 else {"average": "macro", "labels": range(classes)}
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predictions, zero_division=0, **settings)[:3]

    scores = metrics.evaluate(labels, logits)

    assert [scores[name] for name in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert scores["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions))
    assert scores["reviews"] == len(labels)
    for name in SCORES:
        assert 0 <= scores[f"{name}_low"] <= scores[f"{name}_high"] <= 1


def test_the_confusion_matrix_is_that_of_scikit_learn():
    labels, logits = random_reviews(1, classes=3, reviews=200)
    predictions = logits.argmax(axis=1)
    ours = metrics.confusion_matrix(labels, predictions, classes=3)
    assert (ours == sklearn.metrics.confusion_matrix(labels, predictions)).all()
    assert (ours != ours.T).any()  # or swapped axes would pass


def test_a_class_that_is_never_predicted_scores_zero_without_a_warning(recwarn):
    scores = metrics.evaluate([1, 0, 1], [[2.0, 0.0]] * 3)  # always "negative"
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0, 0, 0)
    assert (scores["precision_low"], scores["precision_high"]) == (0, 1)  # nothing predicted: nothing known
    assert not recwarn.list


@pytest.mark.parametrize("kind", [list, numpy.array, torch.tensor])
def test_labels_and_logits_may_be_lists_arrays_or_tensors(kind):
    labels, logits = [0, 1, 1], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    assert metrics.evaluate(kind(labels), kind(logits)) == metrics.evaluate(labels, logits)


# ---- intervals


def test_the_wilson_interval_is_wilsons_formula():
    z = scipy.stats.norm.ppf(0.975)
    for successes, total in [(1, 1), (0, 1), (2, 2), (0, 10), (7, 10), (86, 100), (860, 1000), (1000, 1000)]:
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
        assert scores[f"{name}_low"] < scores[name] < scores[f"{name}_high"]


@pytest.mark.parametrize("classes", [2, 3])
def test_the_f1_interval_is_the_bootstrap_of_scipy(classes):
    labels, logits = random_reviews(2, classes=classes, reviews=300)
    predictions = logits.argmax(axis=1)

    def f1(true, predicted, axis=-1):  # written down again, from shares per class
        per_class = []
        for label in [1] if classes == 2 else range(classes):
            hits = ((true == label) & (predicted == label)).sum(axis=axis)
            per_class.append(2 * hits / ((true == label).sum(axis=axis) + (predicted == label).sum(axis=axis)))
        return numpy.mean(per_class, axis=0)

    scipys = scipy.stats.bootstrap(
        (labels, predictions), f1, paired=True, vectorized=True, n_resamples=4000, method="percentile", rng=0
    ).confidence_interval
    scores = metrics.evaluate(labels, logits)
    assert (scores["f1_low"], scores["f1_high"]) == pytest.approx((scipys.low, scipys.high), abs=0.006)
    assert scores["f1_high"] - scores["f1_low"] > 0.05  # or a bound of 0.006 would say nothing


def test_intervals_hold_the_truth_about_95_times_in_100():
    # The classifier is right with probability 0.8 whatever the class, so true accuracy and true F1 are both 0.8.
    random = numpy.random.default_rng(3)
    held = {"accuracy": 0, "f1": 0}
    for _ in range(400):
        labels = random.integers(2, size=200)
        predictions = numpy.where(random.random(200) < 0.8, labels, 1 - labels)
        scores = metrics.evaluate(labels, numpy.eye(2)[predictions])
        for name in held:
            held[name] += scores[f"{name}_low"] <= 0.8 <= scores[f"{name}_high"]
    for name in held:
        assert 0.92 <= held[name] / 400 <= 0.98, name


# ---- calibration


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sampled_from([2, 3]), bins=st.sampled_from([1, 5, 15]))
def test_the_calibration_error_is_that_of_torchmetrics(seed, classes, bins):
    labels, logits = random_reviews(seed, classes=classes, reviews=80)
    confidence, correct = metrics.confidence_and_correct(labels, logits)
    ours = metrics.calibration_error(confidence, correct, bins=bins)

    binary = torchmetrics.classification.BinaryCalibrationError(n_bins=bins, norm="l1")
    top_label = torchmetrics.classification.MulticlassCalibrationError(num_classes=classes, n_bins=bins, norm="l1")
    probabilities = torch.from_numpy(scipy.special.softmax(logits, axis=1))
    assert ours == pytest.approx(
        binary(torch.from_numpy(confidence), torch.from_numpy(correct).long()).item(), abs=1e-6
    )
    assert ours == pytest.approx(top_label(probabilities, torch.from_numpy(labels)).item(), abs=1e-6)
    if bins == 15:
        assert metrics.evaluate(labels, logits)["calibration_error"] == ours


def test_the_calibration_error_of_counts_done_on_paper():
    # Ten reviews at 0.95, of which 8 are right; ten at 0.55, of which 6 are right: (0.15 + 0.05) / 2.
    confidence = [0.95] * 10 + [0.55] * 10
    correct = [1] * 8 + [0] * 2 + [1] * 6 + [0] * 4
    assert metrics.calibration_error(confidence, correct) == pytest.approx(0.10)
    assert metrics.calibration_error(confidence, correct, bins=1) == pytest.approx(0.05)  # 0.75 against 0.70


def test_a_confidence_of_one_falls_into_the_last_bin():
    assert metrics.calibration_error([1.0, 1.0, 0.99], [True, False, True], bins=10) == pytest.approx(abs(2.99 - 2) / 3)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_fitted_temperature_is_the_one_that_was_put_in(classes, temperature):
    random = numpy.random.default_rng(4)
    honest = 2 * random.normal(size=(20_000, classes))
    uniform = random.random((20_000, 1))
    labels = (scipy.special.softmax(honest, axis=1).cumsum(axis=1) < uniform).sum(axis=1)  # drawn as the logits say
    fitted = metrics.fit_temperature(labels, honest * temperature)
    assert fitted == pytest.approx(temperature, rel=0.05)

    before = metrics.calibration_error(*metrics.confidence_and_correct(labels, honest * temperature))
    after = metrics.calibration_error(*metrics.confidence_and_correct(labels, honest * temperature / fitted))
    assert after < 0.015
    assert temperature == 1 or after < before / 3


def test_no_other_temperature_has_a_lower_loss():
    labels, logits = random_reviews(5, classes=3, reviews=150)

    def loss(temperature):
        return sklearn.metrics.log_loss(labels, scipy.special.softmax(logits / temperature, axis=1))

    fitted = metrics.fit_temperature(labels, logits)
    assert all(loss(fitted) <= loss(fitted * factor) for factor in (0.5, 0.9, 0.999, 1.001, 1.1, 2))


def test_a_perfect_model_gets_the_smallest_temperature_and_a_hopeless_one_the_largest():
    labels = numpy.array([0, 1] * 10)
    assert metrics.fit_temperature(labels, numpy.eye(2)[labels]) == pytest.approx(0.05, rel=0.01)
    assert metrics.fit_temperature(labels, numpy.eye(2)[1 - labels]) == pytest.approx(20, rel=0.01)


# ---- errors, in words that say what to do


@pytest.mark.parametrize("function", [metrics.evaluate, metrics.fit_temperature])
@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        ([0, 1], [[1.0, 0.0]], "one label and one row of logits per review"),
        ([0, 1], [0.2, 0.9], "one label and one row of logits per review"),  # probabilities of one class
        ([], numpy.zeros((0, 2)), "one label and one row of logits per review"),
        ([0, 1], [[1.0, 0.0], [numpy.nan, 0.0]], "smaller learning rate"),
        ([0, 2], [[1.0, 0.0]] * 2, "from 0"),
        ([-1, 1], [[1.0, 0.0]] * 2, "from 0"),
        ([0.5, 1.0], [[1.0, 0.0]] * 2, "whole numbers"),
    ],
)
def test_wrong_input_is_refused_in_words(function, labels, logits, message):
    with pytest.raises(ValueError, match=message):
        function(labels, logits)


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([95.0, 80.0], [1, 0], "between 0 and 1"),  # per cent
        ([0.9, numpy.nan], [1, 0], "between 0 and 1"),
        ([0.9, 0.8], [1], "one confidence and one correct"),
        ([], [], "one confidence and one correct"),
    ],
)
def test_wrong_confidences_are_refused_in_words(confidence, correct, message):
    with pytest.raises(ValueError, match=message):
        metrics.calibration_error(confidence, correct)


def test_nothing_that_is_passed_in_is_changed():
    labels, logits = random_reviews(6, reviews=30)
    kept = labels.copy(), logits.copy()
    metrics.evaluate(labels, logits)
    metrics.fit_temperature(labels, logits)
    assert (labels == kept[0]).all() and (logits == kept[1]).all()
