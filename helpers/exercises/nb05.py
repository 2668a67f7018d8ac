"""Exercises of notebook 05, evaluation."""

from helpers.exercises import Quiz, exercise, nb03, nb04, progress_of

# Exercise 1: four scores from four counts


def _named(answer, *counts):
    """The four scores with their names, so that a message can say which one is wrong."""
    return dict(zip(("accuracy", "precision", "recall", "F1"), answer(*counts), strict=True))


@exercise(
    title="Four scores from four counts",
    run=_named,
    cases={
        "tp=30, fp=15, fn=10, tn=45": (30, 15, 10, 45),
        "tp=5, fp=45, fn=0, tn=950 (few positive reviews)": (5, 45, 0, 950),
        "tp=1, fp=0, fn=0, tn=0 (the article's test set)": (1, 0, 0, 0),
        "tp=0, fp=0, fn=5, tn=5 (none is called positive)": (0, 0, 5, 5),
        "tp=0, fp=0, fn=0, tn=7 (none is positive, none is called so)": (0, 0, 0, 7),
    },
    hints=[
        "Section 3 gives the formula of each score. Which of the four counts are right answers?",
        "Precision divides by all that are called positive, `tp + fp`; recall by all that are positive, `tp + fn`.",
        "`a / b if b > 0 else 0` takes care of an empty denominator.",
    ],
    praise="Note the second case: accuracy 0.955 and recall 1, yet nine of ten alarms are false (precision 0.1).",
)
def four_scores(tp, fp, fn, tn):
    accuracy = (tp + tn) / (tp + fp + fn + tn)
    precision = tp / (tp + fp) if tp + fp > 0 else 0
    recall = tp / (tp + fn) if tp + fn > 0 else 0
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn > 0 else 0
    return [accuracy, precision, recall, f1]


@four_scores.mistake(replace={"precision, recall, f1]": "recall, precision, f1]"})
def swaps_precision_and_recall():
    """Precision and recall are swapped. Precision asks about the reviews that are *called* positive (tp and fp),
    recall about those that *are* positive (tp and fn)."""


@four_scores.mistake(replace={"f1]": "(precision + recall) / 2]"})
def takes_the_plain_mean():
    """Your F1 is the plain mean of precision and recall. F1 is their harmonic mean, which stays low when either of
    them is low: 2 · tp / (2 · tp + fp + fn)."""


@four_scores.mistake(replace={"(tp + tn) /": "tp /"})
def forgets_true_negatives():
    """Your accuracy counts only the true positives as right. True negatives are right answers as well."""


@four_scores.mistake
def divides_by_nothing(tp, fp, fn, tn):
    """The formulas are right, but a denominator can be 0: see below in which case, and in which line. By convention a
    share of nothing is 0: check each denominator before you divide."""
    accuracy = (tp + tn) / (tp + fp + fn + tn)
    return [accuracy, tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn)]


# Exercise 2: an interval for a paired difference


@exercise(
    title="An interval for a paired difference",
    cases={
        "70 only ours, 50 only theirs, 1,000 reviews": (70, 50, 1000),
        "20 only ours, 60 only theirs, 400 reviews": (20, 60, 400),
        "9 only ours, 1 only theirs, 50 reviews": (9, 1, 50),
    },
    hints=[
        "Write the two formulas above with `only_ours` for a, `only_theirs` for b and `reviews` for n.",
        "A square root is `(...) ** 0.5`; take the root first and divide by `reviews` afterwards.",
    ],
    praise="Now give it `only_bert`, `only_words` and `len(labels)`: it should be close to the paired bootstrap.",
)
def paired_interval(only_ours, only_theirs, reviews):
    difference = (only_ours - only_theirs) / reviews
    error = (only_ours + only_theirs - (only_ours - only_theirs) ** 2 / reviews) ** 0.5 / reviews
    return [difference - 1.96 * error, difference + 1.96 * error]


@paired_interval.mistake(replace={" ** 0.5": ""})
def forgets_the_root():
    """The square root is missing: without it you have a variance, which is not in points of accuracy."""


@paired_interval.mistake(replace={"difference = (only_ours - only_theirs)": "difference = (only_theirs - only_ours)"})
def compares_with_theirs_first():
    """The sign is turned round: the difference should be positive when *our* model is right more often."""


@paired_interval.mistake(replace={"/ reviews": "/ (only_ours + only_theirs)"})
def divides_by_the_disagreement():
    """You divide by the number of disagreements. The difference in accuracy is a share of *all* reviews; those on
    which both agree count too, with a difference of 0."""


@paired_interval.mistake(replace={"error = (": "error = ((", " ** 0.5 / reviews": " / reviews) ** 0.5"})
def divides_under_the_root():
    """The division by the number of reviews stands under the square root. In the formula 1/n stands before the root."""


# Exercise 3: the threshold for a cost


def _cost_of_the_answer(answer, labels, probabilities, cost_fp, cost_fn):
    """What the answer's threshold costs: several thresholds can be equally good, so the threshold isn't compared."""
    threshold = float(answer(labels, probabilities, cost_fp, cost_fn))
    if not -1 <= threshold <= 2:
        return {"your threshold is no probability": threshold}
    false_positives = (probabilities >= threshold) & (labels == 0)
    false_negatives = (probabilities < threshold) & (labels == 1)
    return {"cost of your threshold": cost_fp * false_positives.sum() + cost_fn * false_negatives.sum()}


def _twelve_reviews():
    """Labels and probabilities as arrays, as section 7 has them."""
    import numpy

    labels = numpy.array([0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1])
    probabilities = numpy.array([0.05, 0.12, 0.2, 0.31, 0.38, 0.44, 0.57, 0.63, 0.7, 0.82, 0.86, 0.97])
    too_sure = numpy.array([0, 1, 0, 1, 1]), numpy.array([0.9, 0.93, 0.95, 0.97, 0.99])
    return {
        "a false positive that costs 5": (labels, probabilities, 5, 1),
        "a false negative that costs 5": (labels, probabilities, 1, 5),
        "equal costs": (labels, probabilities, 1, 1),
        "a model that is too sure": (*too_sure, 2, 3),
        "no positive reviews at all": (numpy.array([0, 0, 0]), numpy.array([0.2, 0.9, 0.99]), 1, 1),
    }


@exercise(
    title="The threshold for a cost",
    minutes=10,
    run=_cost_of_the_answer,
    cases=_twelve_reviews,
    hints=[
        "For one threshold: add up what each review costs. It costs nothing if it is called rightly.",
        "A false positive has `probability >= threshold` and label 0; a false negative `probability < threshold` and "
        "label 1.",
        "Section 7 counts each kind with `&` and `.sum()`. Or go through `zip(labels, probabilities)` and add the cost "
        "of each review.",
    ],
    praise="Use it on validation reviews only. Chosen on the holdout, it would make the holdout's cost look too low.",
)
def best_threshold(labels, probabilities, cost_fp, cost_fn):
    best, lowest_cost = 0.5, float("inf")
    for threshold in [0.0, *probabilities, 1.01]:
        false_positives = (probabilities >= threshold) & (labels == 0)
        false_negatives = (probabilities < threshold) & (labels == 1)
        cost = cost_fp * false_positives.sum() + cost_fn * false_negatives.sum()
        if cost < lowest_cost:
            best, lowest_cost = threshold, cost
    return best


@best_threshold.mistake(replace={"cost_fp * ": "cost_fn * ", "+ cost_fn *": "+ cost_fp *"})
def swaps_the_costs():
    """The two costs are swapped. A false positive is a *negative* review that is called positive."""


@best_threshold.mistake(replace={"cost_fp * ": "", "cost_fn * ": ""})
def counts_errors_only():
    """You choose the threshold with the fewest errors, whatever they cost. Weight each kind of error with its cost."""


@best_threshold.mistake
def trusts_the_probabilities(labels, probabilities, cost_fp, cost_fn):
    """You compute the threshold from the two costs alone. That is right only for a calibrated model; search on the
    given labels instead."""
    return cost_fp / (cost_fp + cost_fn)


@best_threshold.mistake
def stays_at_one_half(labels, probabilities, cost_fp, cost_fn):
    """Your function always returns 0.5. Try every candidate, and keep the one with the lowest cost."""
    return 0.5


@best_threshold.mistake(replace={'float("inf")': "-1", "cost < lowest_cost": "cost > lowest_cost"})
def finds_the_dearest():
    """You return the threshold with the *highest* cost. Or is a review called positive below the threshold in your
    code? It should be from the threshold upwards."""


# Exercise 4: find the mislabelled review

_ROWS = [15_465, 8_347, 522, 21_843, 15_022]  # of the packaged file, whose checksum is compared before it is read


def five_reviews():
    """Return five real IMDb reviews as (text, "negative" or "positive"): four labelled rightly, one wrongly."""
    import pandas

    from helpers.data import CLASS_NAMES, clean, packaged_file

    table = pandas.read_csv(packaged_file()).iloc[_ROWS]
    return [(clean(text), CLASS_NAMES[label]) for text, label in zip(table["text"], table["label"], strict=True)]


@exercise(
    title="Find the mislabelled review",
    minutes=8,
    run=int,  # "4" in quotes will do
    hints=[
        "Ask of each review: would its author tell a friend to see this film? Single words mislead.",
        "One of them says outright how many stars it gives.",
    ],
    praise="No stars out of five, and the data calls it positive. A model that is marked down here was right.",
)
def mislabelled():
    return 4


@mislabelled.mistake
def takes_scolding_for_blame():
    """Read number 1 to its end. Every single thing is bad, and so bad that it is "simply the funniest movie": this
    is a recommendation, and the label *positive* is right. Word counts can't see that."""
    return 1


@mislabelled.mistake
def takes_praise_of_parts():
    """Number 2 praises the cast and other films, but calls this one "unremarkable". The label *negative* is right."""
    return 2


@mislabelled.mistake
def misses_the_sarcasm():
    """Number 3 is sarcasm: it "desperately wants" to give a 10, and ends with "what were they smoking". The label
    *negative* is right. Sarcasm is where models (and hasty readers) fail most."""
    return 3


@mislabelled.mistake
def stops_at_no_and_wasted():
    """Number 5 holds *cuts*, *nothing*, *no* and *wasted*, and still says "the definitive movie version". The label
    *positive* is right."""
    return 5


quiz_1 = Quiz(
    """
    A model calls the only review of its test set rightly. What do we know about its accuracy?
    a) It is 1.00, for now.
       ✗ 1.00 is the share in the test set. The accuracy on other reviews is what we want to know.
    b) It is most likely above 0.9.
       ✗ A model that is right in half of all cases would be right here in one of two tries.
    c) It is probably not below about 0.2.
       ✓ Right: the 95% interval goes from 0.21 to 1.00. It rules out hopeless models, and nothing else.
    d) It is better than tossing a coin.
       ✗ A coin calls one review rightly in half of all cases, so one success doesn't set the two apart.
    """
)

quiz_2 = Quiz(
    """
    Model A has 88.1% and model B 87.6% on the same 1,000 reviews. A alone is right on 48 of them, B alone on 43.
    What do you say?
    a) A is better, by half a point.
       ✗ A coin falls 48 to 43 or more unevenly in about two of three tries, so chance explains it easily.
    b) These reviews can't tell A and B apart.
       ✓ Right: 48 to 43 is what a fair coin does. McNemar's test gives a p-value of about 0.7.
    c) A and B are equally good.
       ✗ Not shown either. A true difference of a point would go unnoticed with 1,000 reviews.
    d) Their intervals overlap, and that settles that no test could find a difference on these reviews.
       ✗ The conclusion doesn't follow: in a paired comparison two models with overlapping intervals can differ.
    """
)

quiz_3 = Quiz(
    """
    What does temperature scaling change?
    a) How sure the model is, but none of its answers at the threshold 0.5.
       ✓ Right: all logits are divided by one number, so the larger one stays the larger one.
    b) The accuracy, which it raises a little.
       ✗ The larger logit stays the larger one, so every prediction stays, and so does the accuracy.
    c) The order of the reviews by probability, and so the ROC curve.
       ✗ With two classes a smaller logit difference keeps its rank, so the curve stays as it is.
    d) The weights of the last layer, by a short training on validation reviews.
       ✗ No weight changes. One number is fitted, and the logits are divided by it.
    """
)

quiz_4 = Quiz(
    """
    The score on the holdout is disappointing. You think of a better learning rate. What now?
    a) Train again and measure on the holdout: it is the best test that you have.
       ✗ The holdout has told you that the first try was poor. The second would be chosen by it.
    b) Measure both on the holdout and report the better score, with its interval.
       ✗ The better of two scores is flattered, and the interval doesn't know that you have chosen.
    c) Choose the rate on validation reviews, and measure the winner on reviews that nobody has used.
       ✓ Right: choosing and measuring need different reviews, and the old holdout has helped to choose now.
    d) Move half of the holdout into the training set; more labels help most.
       ✗ More labels do help, but reviews that have been a holdout in training make every later score a leak.
    """
)

again_1 = nb03.quiz_1.again()
again_2 = nb04.quiz_3.again()

progress = progress_of(__name__)
