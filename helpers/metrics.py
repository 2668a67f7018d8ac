"""Scores with their uncertainty. Word counts are built by hand in notebook 01, all else in notebook 05.

Throughout, `labels` holds n whole numbers from 0, `logits` the model's raw scores, [n reviews, classes], and `right`
whether each review was called rightly, [n].
"""

import warnings

import numpy
import scipy.optimize
import scipy.special
import scipy.stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from helpers.careful.checks import check_confidence, labels_and_logits


def fit_word_counts(texts, labels):
    """Return the baseline of notebook 01, fitted: TF-IDF of words and pairs of words, with logistic regression."""
    counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    return make_pipeline(counts, LogisticRegression(C=3, max_iter=1000)).fit(texts, labels)


def evaluate(labels, logits, *, macro=False):
    """Return accuracy, precision, recall and f1, each with a 95% interval, and the calibration error.

    The keys are `accuracy`, `accuracy_low`, `accuracy_high` and so on, `calibration_error` and `reviews`.
    With two classes precision, recall and f1 are those of class 1 (positive); with more, or if `macro`, the mean over
    the classes. A share of reviews has a Wilson interval; f1 and the means have a bootstrap interval. (Below about six
    reviews a class that one is too narrow.) Warns of a class that no review has.
    """
    labels, logits = labels_and_logits(labels, logits)
    counts = confusion_matrix(labels, logits.argmax(axis=1), classes=logits.shape[1])
    if absent := ", ".join(str(place) for place in numpy.flatnonzero(counts.sum(axis=1) == 0)):
        unknown = f"None of these reviews is of class {absent}, so nothing is known about it"
        warnings.warn(f"{unknown}: its precision, recall and F1 count as 0, in a mean too.", stacklevel=2)
    scores = {"reviews": len(labels), **_with_interval("accuracy", numpy.trace(counts), counts.sum())}
    if len(counts) == 2 and not macro:
        scores |= _with_interval("precision", counts[1, 1], counts[:, 1].sum())
        scores |= _with_interval("recall", counts[1, 1], counts[1].sum())
        scores |= _with_bootstrap(counts, {"f1": 2}, macro=False)
    else:
        scores |= _with_bootstrap(counts, {"precision": 0, "recall": 1, "f1": 2}, macro=True)
    scores["calibration_error"] = calibration_error(*confidence_and_correct(labels, logits))
    return scores


def confusion_matrix(labels, predictions, *, classes):
    """Return counts [classes, classes]: a row for each true class, a column for each predicted class."""
    counts = numpy.zeros((classes, classes), dtype=int)
    numpy.add.at(counts, (labels, predictions), 1)
    return counts


def class_scores(counts):
    """Return precision, recall, F1 of each class, [..., classes], from confusion matrices; a share of nothing is 0."""
    correct = numpy.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    predicted, true = counts.sum(axis=-2), counts.sum(axis=-1)
    return _divide(correct, predicted), _divide(correct, true), _divide(2 * correct, predicted + true)


def wilson_interval(successes, total):
    """Return the 95% Wilson interval (low, high) of the share successes/total (Wilson 1927). total = 0 gives (0, 1)."""
    if total == 0:
        return 0.0, 1.0
    interval = scipy.stats.binomtest(int(successes), int(total)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(values):
    """Return the 95% bootstrap interval (low, high) of the mean of `values`. The same values give the same interval."""
    random = numpy.random.default_rng(0)
    return _middle_95([random.choice(values, len(values)).mean() for _ in range(2000)])


def paired_comparison(right, right_baseline):
    """Compare two models on the same reviews: McNemar's test, and a bootstrap interval for the difference.

    Returns `baseline_accuracy`, `only_model` and `only_baseline` (reviews on which one alone is right), `difference`,
    `difference_low`, `difference_high` and `p_value`.
    """
    only_model, only_baseline = int((right & ~right_baseline).sum()), int((~right & right_baseline).sum())
    disagree = only_model + only_baseline
    low, high = bootstrap_interval(right.astype(float) - right_baseline)
    return {
        "baseline_accuracy": float(right_baseline.mean()),
        "only_model": only_model,
        "only_baseline": only_baseline,
        "difference": float(right.mean() - right_baseline.mean()),
        "difference_low": low,
        "difference_high": high,
        "p_value": float(scipy.stats.binomtest(only_model, disagree).pvalue) if disagree else 1.0,
    }


def slices_by_length(right, lengths, limit):
    """Return {name: `right` of its reviews} for reviews of up to `limit` tokens, up to twice as many, and more."""
    slices = {
        f"read whole (up to {limit} tokens)": right[lengths <= limit],
        f"at least half read (to {2 * limit})": right[(lengths > limit) & (lengths <= 2 * limit)],
        f"less than half read (over {2 * limit})": right[lengths > 2 * limit],
    }
    return {name: values for name, values in slices.items() if len(values)}


def trend_p_value(groups):
    """Return the p-value of Cochran and Armitage's test that the share right neither rises nor falls along the groups.

    groups   `right` of each group, in their order. With two groups it compares two shares
    """
    place, right = numpy.repeat(numpy.arange(len(groups)), [len(group) for group in groups]), numpy.concatenate(groups)
    if numpy.ptp(place) == 0 or right.all() or not right.any():
        return 1.0
    return float(scipy.stats.chi2.sf(len(right) * numpy.corrcoef(place, right)[0, 1] ** 2, df=1))


def confidence_and_correct(labels, logits):
    """Return each review's confidence (probability of the predicted class) and whether the prediction is right."""
    probabilities = scipy.special.softmax(logits, axis=1)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def reliability(confidence, correct, *, bins=15):
    """Return (mean confidence, share right, reviews) of each of `bins` equally wide bins that holds reviews."""
    bin_of = numpy.minimum((confidence * bins).astype(int), bins - 1)
    members = [bin_of == place for place in numpy.unique(bin_of)]
    return [(float(confidence[here].mean()), float(correct[here].mean()), int(here.sum())) for here in members]


def calibration_error(confidence, correct, *, bins=15):
    """Return the expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599), from 0 to 1.

    Reviews are put into `bins` bins of equal width by confidence; in each, the mean confidence is compared with the
    share that is right; the differences are averaged, weighted by the reviews in the bin.
    """
    confidence, correct = numpy.asarray(confidence, dtype=float), numpy.asarray(correct, dtype=float)
    check_confidence(confidence, correct)
    return sum(abs(sure - share) * n for sure, share, n in reliability(confidence, correct, bins=bins)) / len(correct)


def calibration_by_chance(confidence):
    """Return the 95% interval of the calibration error of a perfectly calibrated model that is as sure as this one."""
    random = numpy.random.default_rng(0)
    return _middle_95([calibration_error(confidence, random.random(len(confidence)) < confidence) for _ in range(500)])


def losses(labels, logits):
    """Return the loss of each review, [n]: minus the logarithm of the probability of its true class."""
    return -scipy.special.log_softmax(logits, axis=1)[numpy.arange(len(labels)), labels]


def fit_temperature(labels, logits):
    """Return the temperature that minimises the loss of logits / temperature (Guo et al. 2017).

    Fit it on validation reviews, never on the test set. Above 1: the model was too confident. It never changes which
    class is predicted. Searched between 0.05 and 20; 1 where no review is called wrongly, since nothing then says how
    sure is too sure, and where all logits of each review are equal.
    """
    labels, logits = labels_and_logits(labels, logits)
    if (logits[numpy.arange(len(labels)), labels] == logits.max(axis=1)).all():
        return 1.0

    def loss(log_temperature):
        return losses(labels, logits / numpy.exp(log_temperature)).mean()

    return float(numpy.exp(scipy.optimize.minimize_scalar(loss, bounds=numpy.log([0.05, 20]), method="bounded").x))


def _with_interval(name, successes, total):
    low, high = wilson_interval(successes, total)
    return {name: float(_divide(successes, total)), f"{name}_low": low, f"{name}_high": high}


def _with_bootstrap(counts, names, *, macro):
    """Return the named scores with 95% bootstrap intervals, which hold the score itself.

    Drawing n reviews with replacement and counting again is the same as drawing the confusion matrix's cells from a
    multinomial distribution. So that 20 right of 20 don't make an interval of no width, one imaginary review that is
    called rightly and one that is not are put to the others, shared out evenly over the classes.
    """
    classes, reviews = len(counts), counts.sum() + 2
    imaginary = numpy.where(numpy.eye(classes), 1, 1 / max(classes - 1, 1)) / classes
    drawn = numpy.random.default_rng(0).multinomial(reviews, (counts + imaginary).ravel() / reviews, size=2000)
    values, drawn_values = _averages(counts, macro), _averages(drawn.reshape(-1, classes, classes), macro)
    scores = {}
    for name, place in names.items():
        value, (low, high) = float(values[place]), _middle_95(drawn_values[place])
        scores |= {name: value, f"{name}_low": min(low, value), f"{name}_high": max(high, value)}
    return scores


def _averages(counts, macro):
    return [scores.mean(axis=-1) if macro else scores[..., 1] for scores in class_scores(counts)]


def _middle_95(values):
    low, high = numpy.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _divide(a, b):
    return numpy.divide(a, b, out=numpy.zeros(numpy.shape(b)), where=numpy.asarray(b) > 0)
