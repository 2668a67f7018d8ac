"""Exercises of notebook 05, evaluation."""

from helpers.exercises import Exercise, Quiz, progress_of

# Exercise 1: four scores from four counts


def four_scores(tp, fp, fn, tn):
    accuracy = (tp + tn) / (tp + fp + fn + tn)
    precision = tp / (tp + fp) if tp + fp > 0 else 0
    recall = tp / (tp + fn) if tp + fn > 0 else 0
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn > 0 else 0
    return [accuracy, precision, recall, f1]


def swaps_precision_and_recall(tp, fp, fn, tn):
    """Precision and recall are swapped. Precision asks about the reviews that are *called* positive (tp and fp),
    recall about those that *are* positive (tp and fn)."""
    accuracy = (tp + tn) / (tp + fp + fn + tn)
    precision = tp / (tp + fn) if tp + fn > 0 else 0
    recall = tp / (tp + fp) if tp + fp > 0 else 0
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn > 0 else 0
    return [accuracy, precision, recall, f1]


def takes_the_plain_mean(tp, fp, fn, tn):
    """Your F1 is the plain mean of precision and recall. F1 is their harmonic mean, which stays low when either of
    them is low: 2 · tp / (2 · tp + fp + fn)."""
    accuracy = (tp + tn) / (tp + fp + fn + tn)
    precision = tp / (tp + fp) if tp + fp > 0 else 0
    recall = tp / (tp + fn) if tp + fn > 0 else 0
    return [accuracy, precision, recall, (precision + recall) / 2]


def forgets_true_negatives(tp, fp, fn, tn):
    """Your accuracy counts only the true positives as right. True negatives are right answers as well."""
    accuracy = tp / (tp + fp + fn + tn)
    precision = tp / (tp + fp) if tp + fp > 0 else 0
    recall = tp / (tp + fn) if tp + fn > 0 else 0
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn > 0 else 0
    return [accuracy, precision, recall, f1]


def divides_by_nothing(tp, fp, fn, tn):
    """The formulas are right, but one case has no review called positive, so precision would divide by zero. By
    convention a share of nothing is 0: check the denominator first."""
    accuracy = (tp + tn) / (tp + fp + fn + tn)
    return [accuracy, tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn)]


four_scores = Exercise(
    four_scores,
    title="Four scores from four counts",
    cases={
        "tp=30, fp=15, fn=10, tn=45": (30, 15, 10, 45),
        "tp=5, fp=45, fn=0, tn=950 (few positive reviews)": (5, 45, 0, 950),
        "tp=1, fp=0, fn=0, tn=0 (the article's test set)": (1, 0, 0, 0),
        "tp=0, fp=0, fn=5, tn=5 (none is called positive)": (0, 0, 5, 5),
        "tp=0, fp=0, fn=0, tn=7 (none is positive, none is called so)": (0, 0, 0, 7),
    },
    mistakes=[swaps_precision_and_recall, takes_the_plain_mean, forgets_true_negatives, divides_by_nothing],
    hints=[
        "Section 3 gives the formula of each score. Which of the four counts are right answers?",
        "Precision divides by all that are called positive, `tp + fp`; recall by all that are positive, `tp + fn`.",
        "`a / b if b > 0 else 0` takes care of an empty denominator.",
    ],
    praise="Note the second case: accuracy 0.955 and recall 1, yet nine of ten alarms are false (precision 0.1).",
)


# Exercise 2: an interval for a paired difference


def paired_interval(only_ours, only_theirs, reviews):
    difference = (only_ours - only_theirs) / reviews
    error = (only_ours + only_theirs - (only_ours - only_theirs) ** 2 / reviews) ** 0.5 / reviews
    return [difference - 1.96 * error, difference + 1.96 * error]


def forgets_the_root(only_ours, only_theirs, reviews):
    """The square root is missing: without it you have a variance, which is not in points of accuracy."""
    difference = (only_ours - only_theirs) / reviews
    error = (only_ours + only_theirs - (only_ours - only_theirs) ** 2 / reviews) / reviews
    return [difference - 1.96 * error, difference + 1.96 * error]


def compares_with_theirs_first(only_ours, only_theirs, reviews):
    """The sign is turned round: the difference should be positive when *our* model is right more often."""
    difference = (only_theirs - only_ours) / reviews
    error = (only_ours + only_theirs - (only_ours - only_theirs) ** 2 / reviews) ** 0.5 / reviews
    return [difference - 1.96 * error, difference + 1.96 * error]


def divides_by_the_disagreement(only_ours, only_theirs, reviews):
    """You divide by the number of disagreements. The difference in accuracy is a share of *all* reviews; those on
    which both agree count too, with a difference of 0."""
    disagree = only_ours + only_theirs
    difference = (only_ours - only_theirs) / disagree
    error = (disagree - (only_ours - only_theirs) ** 2 / disagree) ** 0.5 / disagree
    return [difference - 1.96 * error, difference + 1.96 * error]


def divides_under_the_root(only_ours, only_theirs, reviews):
    """The division by the number of reviews stands under the square root. In the formula 1/n stands before the root."""
    difference = (only_ours - only_theirs) / reviews
    error = ((only_ours + only_theirs - (only_ours - only_theirs) ** 2 / reviews) / reviews) ** 0.5
    return [difference - 1.96 * error, difference + 1.96 * error]


paired_interval = Exercise(
    paired_interval,
    title="An interval for a paired difference",
    cases={
        "70 only ours, 50 only theirs, 1,000 reviews": (70, 50, 1000),
        "20 only ours, 60 only theirs, 400 reviews": (20, 60, 400),
        "9 only ours, 1 only theirs, 50 reviews": (9, 1, 50),
    },
    mistakes=[
        forgets_the_root,
        compares_with_theirs_first,
        divides_by_the_disagreement,
        divides_under_the_root,
    ],
    hints=[
        "Write the two formulas above with `only_ours` for a, `only_theirs` for b and `reviews` for n.",
        "A square root is `(...) ** 0.5`; take the root first and divide by `reviews` afterwards.",
    ],
    praise="Now give it `only_bert`, `only_words` and `len(labels)`: it should be close to the paired bootstrap.",
)


# Exercise 3: the threshold for a cost


def best_threshold(labels, probabilities, cost_fp, cost_fn):
    best, lowest_cost = 0.5, float("inf")
    for threshold in [0.0, *probabilities, 1.01]:
        cost = 0
        for label, probability in zip(labels, probabilities, strict=True):
            called_positive = probability >= threshold
            if called_positive and label == 0:
                cost += cost_fp
            if not called_positive and label == 1:
                cost += cost_fn
        if cost < lowest_cost:
            best, lowest_cost = threshold, cost
    return best


def swaps_the_costs(labels, probabilities, cost_fp, cost_fn):
    """The two costs are swapped. A false positive is a *negative* review that is called positive."""
    pairs = list(zip(labels, probabilities, strict=True))

    def cost(threshold):
        return sum(cost_fn for label, p in pairs if p >= threshold and label == 0) + sum(
            cost_fp for label, p in pairs if p < threshold and label == 1
        )

    return min([0.0, *probabilities, 1.01], key=cost)


def counts_errors_only(labels, probabilities, cost_fp, cost_fn):
    """You choose the threshold with the fewest errors, whatever they cost. Weight each kind of error with its cost."""
    pairs = list(zip(labels, probabilities, strict=True))
    return min([0.0, *probabilities, 1.01], key=lambda t: sum((p >= t) != (label == 1) for label, p in pairs))


def trusts_the_probabilities(labels, probabilities, cost_fp, cost_fn):
    """You compute the threshold from the two costs alone. That is right only for a calibrated model; search on the
    given labels instead."""
    return cost_fp / (cost_fp + cost_fn)


def stays_at_one_half(labels, probabilities, cost_fp, cost_fn):
    """Your function always returns 0.5. Try every candidate, and keep the one with the lowest cost."""
    return 0.5


def finds_the_dearest(labels, probabilities, cost_fp, cost_fn):
    """You return the threshold with the *highest* cost. Or is a review called positive below the threshold in your
    code? It should be from the threshold upwards."""
    pairs = list(zip(labels, probabilities, strict=True))

    def cost(threshold):
        return sum(cost_fp for label, p in pairs if p >= threshold and label == 0) + sum(
            cost_fn for label, p in pairs if p < threshold and label == 1
        )

    return max([0.0, *probabilities, 1.01], key=cost)


def _cost_of_the_answer(answer, labels, probabilities, cost_fp, cost_fn):
    """What the answer's threshold costs: several thresholds can be equally good, so the threshold isn't compared."""
    threshold = float(answer(labels, probabilities, cost_fp, cost_fn))
    if not -1 <= threshold <= 2:
        return {"your threshold is no probability": threshold}
    cost = 0
    for label, probability in zip(labels, probabilities, strict=True):
        cost += cost_fp if probability >= threshold and label == 0 else 0
        cost += cost_fn if probability < threshold and label == 1 else 0
    return {"cost of your threshold": cost}


_LABELS = [0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1]
_PROBABILITIES = [0.05, 0.12, 0.2, 0.31, 0.38, 0.44, 0.57, 0.63, 0.7, 0.82, 0.86, 0.97]

best_threshold = Exercise(
    best_threshold,
    title="The threshold for a cost",
    minutes=10,
    run=_cost_of_the_answer,
    cases={
        "a false positive that costs 5": (_LABELS, _PROBABILITIES, 5, 1),
        "a false negative that costs 5": (_LABELS, _PROBABILITIES, 1, 5),
        "equal costs": (_LABELS, _PROBABILITIES, 1, 1),
        "a model that is too sure": ([0, 1, 0, 1, 1], [0.9, 0.93, 0.95, 0.97, 0.99], 2, 3),
        "no positive reviews at all": ([0, 0, 0], [0.2, 0.9, 0.99], 1, 1),
    },
    mistakes=[
        swaps_the_costs,
        counts_errors_only,
        trusts_the_probabilities,
        stays_at_one_half,
        finds_the_dearest,
    ],
    hints=[
        "For one threshold: add up what each review costs. It costs nothing if it is called rightly.",
        "A false positive has `probability >= threshold` and label 0; a false negative `probability < threshold` and "
        "label 1. Go through `zip(labels, probabilities)`.",
        "`cost = sum(cost_fp for y, p in zip(labels, probabilities) if p >= threshold and y == 0) + ...`, and likewise "
        "for the false negatives.",
    ],
    praise="Use it on validation reviews only. Chosen on the holdout, it would make the holdout's cost look too low.",
)


# Exercise 4: find the mislabelled review

_ROWS = [15_465, 8_347, 522, 21_843, 15_022]  # of the packaged file, whose checksum is compared before it is read


def five_reviews():
    """Return five real IMDb reviews as (text, "negative" or "positive"): four labelled rightly, one wrongly."""
    import pandas

    from helpers.data import CLASS_NAMES, clean, packaged_file

    table = pandas.read_csv(packaged_file()).iloc[_ROWS]
    return [(clean(text), CLASS_NAMES[label]) for text, label in zip(table["text"], table["label"], strict=True)]


def mislabelled():
    return 4


def takes_scolding_for_blame():
    """Read number 1 to its end. Every single thing is bad, and so bad that it is "simply the funniest movie": this
    is a recommendation, and the label *positive* is right. Word counts can't see that."""
    return 1


def takes_praise_of_parts():
    """Number 2 praises the cast and other films, but calls this one "unremarkable". The label *negative* is right."""
    return 2


def misses_the_sarcasm():
    """Number 3 is sarcasm: it "desperately wants" to give a 10, and ends with "what were they smoking". The label
    *negative* is right. Sarcasm is where models (and hasty readers) fail most."""
    return 3


def stops_at_no_and_wasted():
    """Number 5 holds *cuts*, *nothing*, *no* and *wasted*, and still says "the definitive movie version". The label
    *positive* is right."""
    return 5


mislabelled = Exercise(
    mislabelled,
    title="Find the mislabelled review",
    minutes=8,
    mistakes=[takes_scolding_for_blame, takes_praise_of_parts, misses_the_sarcasm, stops_at_no_and_wasted],
    hints=[
        "Ask of each review: would its author tell a friend to see this film? Single words mislead.",
        "One of them says outright how many stars it gives.",
    ],
    praise="No stars out of five, and the data calls it positive. A model that is marked down here was right.",
)


quiz_1 = Quiz(
    "A model calls the only review of its test set rightly. What do we know about its accuracy?",
    options={
        "a": "It is 1.00, for now.",
        "b": "Nothing whatever.",
        "c": "It is probably not below about 0.2.",
        "d": "It is better than tossing a coin.",
    },
    right="c",
    why={
        "a": "1.00 is the share in the test set. The accuracy on other reviews is what we want to know.",
        "b": "Nearly. But a model that is right once in a hundred times would hardly have been right here.",
        "c": "Right: the 95% interval goes from 0.21 to 1.00. It rules out hopeless models, and nothing else.",
        "d": "A coin calls one review rightly in half of all cases, so one success doesn't set the two apart.",
    },
)

quiz_2 = Quiz(
    "Model A has 88.1% and model B 87.6% on the same 1,000 reviews. A alone is right on 48 of them, B alone on 43. "
    "What do you say?",
    options={
        "a": "A is better, by half a point.",
        "b": "These reviews can't tell A and B apart.",
        "c": "A and B are equally good.",
        "d": "Their intervals overlap, and that settles that no test could find a difference on these reviews.",
    },
    right="b",
    why={
        "a": "A coin falls 48 to 43 or more unevenly in about two of three tries, so chance explains it easily.",
        "b": "Right: 48 to 43 is what a fair coin does. McNemar's test gives a p-value of about 0.7.",
        "c": "Not shown either. A true difference of a point would go unnoticed with 1,000 reviews.",
        "d": "The conclusion doesn't follow: in a paired comparison two models with overlapping intervals can differ.",
    },
)

quiz_3 = Quiz(
    "What does temperature scaling change?",
    options={
        "a": "How sure the model is, but none of its answers at the threshold 0.5.",
        "b": "The accuracy, which it raises a little.",
        "c": "The order of the reviews by probability, and so the ROC curve.",
        "d": "The weights of the last layer, by a short training on validation reviews.",
    },
    right="a",
    why={
        "a": "Right: all logits are divided by one number, so the larger one stays the larger one.",
        "b": "The larger logit stays the larger one, so every prediction stays, and so does the accuracy.",
        "c": "With two classes a smaller logit difference keeps its rank, so the curve stays as it is.",
        "d": "No weight changes. One number is fitted, and the logits are divided by it.",
    },
)

quiz_4 = Quiz(
    "The score on the holdout is disappointing. You think of a better learning rate. What now?",
    options={
        "a": "Train again and measure on the holdout: it is the best test that you have.",
        "b": "Measure both on the holdout and report the better score, with its interval.",
        "c": "Choose the rate on validation reviews, and measure the winner on reviews that nobody has used.",
        "d": "Move half of the holdout into the training set; more labels help most.",
    },
    right="c",
    why={
        "a": "The holdout has told you that the first try was poor. The second would be chosen by it.",
        "b": "The better of two scores is flattered, and the interval doesn't know that you have chosen.",
        "c": "Right: choosing and measuring need different reviews, and the old holdout has helped to choose now.",
        "d": "More labels do help, but reviews that have been a holdout in training make every later score a leak.",
    },
)

progress = progress_of(__name__)
