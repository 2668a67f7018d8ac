"""Scores with their uncertainty. Built by hand in notebook 05.

Throughout, `labels` holds n whole numbers from 0 and `logits` the model's raw scores, [n reviews, classes].
"""

import numpy
import scipy.optimize
import scipy.special
import scipy.stats


def evaluate(labels, logits):
    """Return accuracy, precision, recall and f1, each with a 95% interval, and the calibration error.

    The keys are `accuracy`, `accuracy_low`, `accuracy_high` and so on, `calibration_error` and `reviews`.
    With two classes precision, recall and f1 are those of class 1 (positive); with more, the mean over the classes
    (macro). A share of reviews has a Wilson interval; f1 and the means have a bootstrap interval.
    """
    labels, logits = _checked(labels, logits)
    counts = confusion_matrix(labels, logits.argmax(axis=1), classes=logits.shape[1])
    scores = {"reviews": len(labels), **_with_interval("accuracy", numpy.trace(counts), counts.sum())}
    if len(counts) == 2:
        scores |= _with_interval("precision", counts[1, 1], counts[:, 1].sum())
        scores |= _with_interval("recall", counts[1, 1], counts[1].sum())
        scores |= _with_bootstrap(counts, {"f1": 2})
    else:
        scores |= _with_bootstrap(counts, {"precision": 0, "recall": 1, "f1": 2})
    scores["calibration_error"] = calibration_error(*confidence_and_correct(labels, logits))
    return scores


def confusion_matrix(labels, predictions, *, classes):
    """Return counts [classes, classes]: a row for each true class, a column for each predicted class."""
    counts = numpy.zeros((classes, classes), dtype=int)
    numpy.add.at(counts, (labels, predictions), 1)
    return counts


def precision_recall_f1(counts):
    """Return (precision, recall, f1) from confusion matrices [..., classes, classes]; 0 where a share has no base.

    With two classes those of class 1, with more the mean over the classes. Any leading axes are kept.
    """
    correct = numpy.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    predicted, true = counts.sum(axis=-2), counts.sum(axis=-1)
    precision = _divide(correct, predicted)
    recall = _divide(correct, true)
    f1 = _divide(2 * correct, predicted + true)
    if counts.shape[-1] == 2:
        return precision[..., 1], recall[..., 1], f1[..., 1]
    return precision.mean(axis=-1), recall.mean(axis=-1), f1.mean(axis=-1)


def wilson_interval(successes, total):
    """Return the 95% Wilson interval (low, high) of the share successes/total (Wilson 1927). total = 0 gives (0, 1)."""
    if total == 0:
        return 0.0, 1.0
    interval = scipy.stats.binomtest(int(successes), int(total)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def confidence_and_correct(labels, logits):
    """Return each review's confidence (probability of the predicted class) and whether the prediction is right."""
    probabilities = scipy.special.softmax(logits, axis=1)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def calibration_error(confidence, correct, *, bins=15):
    """Return the expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599), from 0 to 1.

    Reviews are put into `bins` bins of equal width by confidence; in each, the mean confidence is compared with the
    share that is right; the differences are averaged, weighted by the reviews in the bin.
    """
    confidence, correct = numpy.asarray(confidence, dtype=float), numpy.asarray(correct, dtype=float)
    if confidence.ndim != 1 or confidence.shape != correct.shape or len(confidence) == 0:
        raise ValueError(
            f"confidence has shape {confidence.shape} and correct {correct.shape}: "
            "one confidence and one correct (True or False) per review are needed."
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("Some confidences are not between 0 and 1: give probabilities, not logits or per cent.")
    bin_of = numpy.minimum((confidence * bins).astype(int), bins - 1)
    reviews = numpy.bincount(bin_of, minlength=bins)
    difference = numpy.bincount(bin_of, weights=confidence - correct, minlength=bins)  # summed, so already weighted
    return float(numpy.abs(difference).sum() / reviews.sum())


def fit_temperature(labels, logits):
    """Return the temperature that minimises the loss of logits / temperature (Guo et al. 2017).

    Fit it on validation reviews, never on the test set. Above 1: the model was too confident. It never changes which
    class is predicted. Searched between 0.05 and 20; 1 where all logits of each review are equal, since any would do.
    """
    labels, logits = _checked(labels, logits)
    if (logits == logits[:, :1]).all():
        return 1.0

    def loss(log_temperature):
        log_probabilities = scipy.special.log_softmax(logits / numpy.exp(log_temperature), axis=1)
        return -log_probabilities[numpy.arange(len(labels)), labels].mean()

    return float(numpy.exp(scipy.optimize.minimize_scalar(loss, bounds=numpy.log([0.05, 20]), method="bounded").x))


def _checked(labels, logits):
    labels, logits = numpy.asarray(labels), numpy.asarray(logits, dtype=float)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise ValueError(
            f"labels have shape {labels.shape} and logits {logits.shape}: "
            "one label and one row of logits per review are needed."
        )
    if (labels != numpy.floor(labels)).any():
        raise ValueError("Some labels are not whole numbers: give each class a number, counted from 0.")
    if not numpy.isfinite(logits).all():
        raise ValueError(
            "Some logits are not finite (NaN or infinity): training diverged, so use a smaller learning rate."
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"Labels go from {labels.min()} to {labels.max()}, but the logits have {logits.shape[1]} classes (from 0)."
        )
    return labels.astype(int), logits


def _with_interval(name, successes, total):
    low, high = wilson_interval(successes, total)
    return {name: float(_divide(successes, total)), f"{name}_low": low, f"{name}_high": high}


def _with_bootstrap(counts, names, *, rounds=2000):
    """Return the named scores with 95% bootstrap intervals.

    Drawing n reviews with replacement and counting again is the same as drawing the confusion matrix's cells from a
    multinomial distribution, which takes a millisecond (seed fixed: the same counts give the same interval).
    """
    drawn = numpy.random.default_rng(0).multinomial(counts.sum(), counts.ravel() / counts.sum(), size=rounds)
    drawn_scores = precision_recall_f1(drawn.reshape(rounds, *counts.shape))
    scores = {}
    for name, place in names.items():
        low, high = numpy.quantile(drawn_scores[place], [0.025, 0.975])
        scores |= {
            name: float(precision_recall_f1(counts)[place]),
            f"{name}_low": float(low),
            f"{name}_high": float(high),
        }
    return scores


def _divide(a, b):
    return numpy.divide(a, b, out=numpy.zeros(numpy.shape(b)), where=numpy.asarray(b) > 0)
