"""Exercises of notebook 01, transfer learning."""

from helpers.exercises import Quiz, exercise, progress_of

# Exercise 1: choose a learning rate

_RATES = {2e-5: [0.50, 0.53], 1e-4: [0.72, 0.74], 3e-4: [0.66, 0.77], 1e-3: [0.50, 0.50]}


@exercise(
    title="Choose a learning rate",
    cases={
        "four rates, two trainings each; one training at 3e-4 was lucky": (_RATES,),
        "two rates with the same mean": ({1e-4: [0.75, 0.50], 3e-4: [0.625, 0.625]},),
        "the same two, the larger rate first": ({3e-4: [0.625, 0.625], 1e-4: [0.75, 0.50]},),
        "three trainings at one rate, one at the other": ({1e-4: [0.60, 0.61, 0.62], 3e-4: [0.70]},),
        "the largest rate is best": ({2e-5: [0.5], 1e-4: [0.55], 3e-4: [0.64]},),
        "the first training at 1e-4 was lucky": ({1e-4: [0.74, 0.60], 3e-4: [0.70, 0.71]},),
        "one training at 3e-4 was unlucky": ({1e-4: [0.70, 0.71], 3e-4: [0.65, 0.80]},),
        "a single rate": ({5e-5: [0.7, 0.6, 0.8]},),
    },
    hints=[
        "`trials[rate]` is the list of accuracies of that rate. Its mean is its sum, divided by how many there are.",
        "`sum(trials[rate]) / len(trials[rate])`. Now you need the key of `means` whose value is largest.",
        "`max(means, key=means.get)` goes through the keys and compares their values; of equals it takes the first.",
    ],
    praise="Mind that the winner's own figure is a little too good: it won partly by luck. Measure it on other texts.",
)
def choose_rate(trials):
    means = {}
    for rate in sorted(trials):
        means[rate] = sum(trials[rate]) / len(trials[rate])
    return max(means, key=means.get)


@choose_rate.mistake(replace={"sum(trials[rate]) / len(trials[rate])": "max(trials[rate])"})
def the_luckiest_training():
    """You choose the rate of the single best training. One lucky draw makes no good rate: compare the means."""


@choose_rate.mistake(replace={"sum(trials[rate]) / len(trials[rate])": "min(trials[rate])"})
def the_unluckiest_training():
    """You compare the worst trainings of each rate. Compare the means."""


@choose_rate.mistake(replace={" / len(trials[rate])": ""})
def adds_without_dividing():
    """You compare sums, so a rate that was tried more often wins. Divide by the number of its trainings."""


@choose_rate.mistake(replace={"sum(trials[rate]) / len(trials[rate])": "trials[rate][0]"})
def first_training_only():
    """You look at the first training of each rate alone. Take the mean of all of them."""


@choose_rate.mistake(replace={"max(means, key": "max(reversed(means), key"})
def larger_of_two_equals():
    """Of two rates with the same mean you return the larger. The smaller one is the safer choice."""


@choose_rate.mistake(replace={"max(means, key": "min(means, key"})
def lowest_mean():
    """You return the rate with the lowest mean. That would be right for a loss; of accuracies the highest is best."""


@choose_rate.mistake(replace={"max(means, key=means.get)": "max(means.values())"})
def mean_instead_of_rate():
    """You return the best mean. Return the rate that reached it."""


@choose_rate.mistake(replace={"max(means, key=means.get)": "max(means)"})
def always_the_largest_rate():
    """You return the largest rate, whatever its accuracies are: `max(means)` compares the keys. Compare the means."""


# Exercise 2: read a curve

_CURVE = [(50, 0.55), (200, 0.67), (800, 0.71), (3200, 0.79)]
_POWER = "factor**share"


@exercise(
    title="Read a learning curve",
    minutes=10,
    cases={
        "70% on the curve 50: 55%, 200: 67%, 800: 71%, 3,200: 79%": (_CURVE, 0.70),
        "61% on the same curve": (_CURVE, 0.61),
        "77% on the same curve": (_CURVE, 0.77),
        "67%, which is a measured point": (_CURVE, 0.67),
        "50%, below the whole curve": (_CURVE, 0.50),
        "90%, above the whole curve": (_CURVE, 0.90),
        "72% on a curve that dips: 100: 60%, 200: 58%, 400: 74%": ([(100, 0.60), (200, 0.58), (400, 0.74)], 0.72),
        "65% on a curve that gets there twice": ([(100, 0.60), (200, 0.70), (400, 0.62), (800, 0.74)], 0.65),
    },
    hints=[
        "The share: how far the target lies above the point before, divided by how far the point after does.",
        "A point is (labels, accuracy), so `before[1]` is an accuracy: `share` is "
        "`(target - before[1]) / (after[1] - before[1])`.",
        "On a logarithmic axis steps multiply. From 100 labels to 400 the factor is 4: `after[0] / before[0]`.",
    ],
    tolerance=0.005,  # an answer rounded to whole labels is right
    praise="Such a reading tells you how many labels to buy before you buy them.",
)
def labels_for(curve, target):
    from itertools import pairwise

    if curve[0][1] >= target:
        return curve[0][0]
    for before, after in pairwise(curve):
        if before[1] < target <= after[1]:
            share = (target - before[1]) / (after[1] - before[1])
            factor = after[0] / before[0]
            return before[0] * factor**share
    return None


@labels_for.mistake(replace={_POWER: "(1 + (factor - 1) * share)"})
def on_a_plain_axis():
    """Your line is straight on a plain axis of labels. On a logarithmic axis equal steps multiply: multiply the
    labels before by `(after[0] / before[0]) ** share`."""


@labels_for.mistake(replace={_POWER: "factor"})
def next_point():
    """You answer the next measured point. The line reaches the target before that point: find where."""


@labels_for.mistake(replace={_POWER: "1"})
def point_before():
    """You answer the last measured point below the target. There the line hasn't reached it yet: go `share` of the
    way on."""


@labels_for.mistake(replace={_POWER: "factor * share"})
def multiplies_by_the_share():
    """You multiply by the share. On a logarithmic axis the whole way multiplies by `factor`, and half of it by the
    square root of `factor`: use `** share`."""


@labels_for.mistake(replace={"after[0] / before[0]": "after[0] - before[0]"})
def adds_up_the_way():
    """Your factor is how many labels are added on the way. On a logarithmic axis a step multiplies: divide the labels
    of the point after by those of the point before."""


@labels_for.mistake(replace={"(target - before[1]) /": "(after[1] - target) /"})
def share_from_the_end():
    """Your share is measured from the wrong end: it must be 0 at the start of the piece and 1 at its end."""


@labels_for.mistake(replace={"(target - before[1]) / (after[1] - before[1])": "target / after[1]"})
def share_of_the_target():
    """Your share compares the target with a whole accuracy. Compare how far it lies above the point before with how
    far the point after does."""


@labels_for.mistake(replace={"<= after[1]:": "<= after[1] or after == curve[-1]:"})
def runs_on():
    """Your line runs on beyond the last point. Nothing was measured there, so the answer is None."""


@labels_for.mistake(replace={"in pairwise(curve)": "in reversed(list(pairwise(curve)))"})
def last_crossing():
    """A curve that dips can reach the target more than once. Take the first time: those are the fewest labels."""


# Exercise 3: choose the learner for a budget


def _budgets():
    figures = {
        "random weights": (0.61, 90),
        "fine-tuned": (0.79, 95),
        "frozen features": (0.72, 8),
        "word counts": (0.70, 0.1),
    }
    learners = [{"name": name, "accuracy": a, "seconds": s} for name, (a, s) in figures.items()]
    return {
        "the four learners, 100 seconds, margin 0.01": (learners, 100, 0.01),
        "the four learners, 100 seconds, margin 0.075": (learners, 100, 0.075),
        "the four learners, 10 seconds, margin 0.01": (learners, 10, 0.01),
        "the four learners, 10 seconds, margin 0.03": (learners, 10, 0.03),
        "the four learners, exactly 95 seconds, margin 0.01": (learners, 95, 0.01),
        "the four learners, 100 seconds, no margin at all": (learners, 100, 0),
        "the four learners, no time at all": (learners, 0, 0.03),
    }


@exercise(
    title="Choose the learner for a budget",
    minutes=8,
    cases=_budgets,
    hints=[
        "A learner is affordable if its seconds are at most those that there are.",
        'So the first condition is `learner["seconds"] <= seconds`.',
        'The best accuracy of those that fit is `max(learner["accuracy"] for learner in affordable)`. Good enough is '
        "what lies at most `margin` below it.",
    ],
    praise="With a margin of the size of the noise, this is how the decision table of section 10 was made.",
)
def choose(learners, seconds, margin):
    affordable = [learner for learner in learners if learner["seconds"] <= seconds]
    if not affordable:
        return None
    least = max(learner["accuracy"] for learner in affordable) - margin
    good_enough = [learner for learner in affordable if learner["accuracy"] >= least]
    return min(good_enough, key=lambda learner: learner["seconds"])["name"]


@choose.mistake(replace={'[learner for learner in learners if learner["seconds"] <= seconds]': "learners"})
def forgets_the_budget():
    """The budget is not used: your choice may take more seconds than there are. Drop the learners that don't fit
    first."""


@choose.mistake(replace={" - margin": ""})
def always_the_best():
    """You choose the most accurate learner that fits, however little it wins by. A faster one within `margin` of it
    is preferred."""


@choose.mistake(replace={">= least": ">= 0"})
def always_the_fastest():
    """You choose the fastest learner, however inaccurate. Keep only those within `margin` of the best that fits,
    then take the fastest of them."""


@choose.mistake(
    replace={
        "for learner in affordable)": "for learner in learners)",
        'seconds"])': 'seconds"], default={"name": None})',
    }
)
def best_of_all():
    """You measure the margin from the best of *all* learners, even one that doesn't fit into the budget. Take the
    best of those that fit."""


@choose.mistake(replace={"<= seconds": "< seconds"})
def exactly_affordable_left_out():
    """A learner that takes exactly the seconds there are fits too: compare with `<=`."""


@choose.mistake(replace={">= least": "> least"})
def exactly_good_enough_left_out():
    """A learner that lies exactly `margin` behind is good enough, and so is the best one itself: compare with `>=`."""


@choose.mistake(replace={'["name"]': ""})
def learners_instead_of_name():
    """You return the whole learner. Return its name: `learner["name"]`."""


# Exercise 4: freeze the lowest layers


def _what_trains(answer, k):
    """Freeze a tiny BERT with 4 layers; return for each part whether all, some or none of its weights train, and
    its mode.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16)
    ).train()
    answer(model, k)
    parts = {"embeddings": model.bert.embeddings}
    parts |= {f"layer {number}": layer for number, layer in enumerate(model.bert.encoder.layer, start=1)}
    parts |= {"pooler": model.bert.pooler, "head": model.classifier}
    words = {frozenset([True]): "trains", frozenset([False]): "frozen"}
    return {
        name: words.get(frozenset(weight.requires_grad for weight in part.parameters()), "partly frozen")
        + ("" if part.training else ", in eval mode")
        for name, part in parts.items()
    }


@exercise(
    title="Freeze the lowest layers",
    cases={"k = 2, of 4 layers": (2,), "k = 0": (0,), "k = 1": (1,), "k = 4": (4,)},
    run=_what_trains,
    hints=[
        "`model.bert.encoder.layer[:k]` holds the lowest `k` layers.",
        "Put the embeddings in front of them: `[model.bert.embeddings, *model.bert.encoder.layer[:k]]`.",
        "With `k = 0` the list must be empty: `[…] if k > 0 else []`.",
    ],
    praise="`load_classifier(frozen_layers=k)` in `helpers/models.py` does the same; notebook 04 uses it.",
)
def freeze_lowest(model, k):
    frozen = [model.bert.embeddings, *model.bert.encoder.layer[:k]] if k > 0 else []
    for part in frozen:
        part.requires_grad_(False)


@freeze_lowest.mistake(replace={"model.bert.embeddings, ": ""})
def leaves_embeddings():
    """The embeddings still train. They lie below the lowest layer, so freeze them too."""


@freeze_lowest.mistake(replace={"[:k]": "[len(model.bert.encoder.layer) - k :]"})
def freezes_the_top():
    """You freeze the highest layers. The lowest ones come first in the list: `layer[:k]`."""


@freeze_lowest.mistake(replace={"*model.bert.encoder.layer[:k]": "model.bert.encoder.layer[k - 1]"})
def one_layer_only():
    """You freeze a single layer, `layer[k]` or its neighbour. Freeze all the lowest `k`: `layer[:k]`."""


@freeze_lowest.mistake(replace={"[:k]": "[: k + 1]"})
def one_too_many():
    """You freeze one layer too many. `layer[:k]` holds layers 0 to k - 1, which are `k` layers."""


@freeze_lowest.mistake(replace={" if k > 0 else []": ""})
def embeddings_always():
    """With `k = 0` the embeddings should train, but you freeze them. Freeze them only when `k` is more than 0."""


@freeze_lowest.mistake
def all_but_the_head(model, k):
    """Everything but the head is frozen, whatever `k` is. Only the embeddings and the lowest `k` layers should be."""
    model.bert.requires_grad_(False)


@freeze_lowest.mistake(replace={"requires_grad_(False)": "eval()", " if k > 0 else []": ""})
def eval_mode():
    """`eval()` switches dropout off, but the weights still train. Freezing is `requires_grad_(False)`."""


quiz_1 = Quiz(
    """
    You load a model for classification, and the report calls `classifier.weight` newly initialized. What do you do?
    a) Load it again: the file is damaged
       ✗ The file is fine. It never held a head for your classes, so there was nothing to load for it.
    b) Train it on labelled texts before using its answers
       ✓ Right. The head is random, so its answers are guesses until it has been trained.
    c) Use it: the rest of the model is pretrained, so the answers will be good enough
       ✗ Everything goes through the head. Random weights there make the answers guesses, however good the rest is.
    """
)

quiz_2 = Quiz(
    """
    What does attention do with the vector of a token?
    a) It mixes vectors of the other tokens into it, more of some than of others
       ✓ Right. That is how the vector of *good* comes to know of the *not* before it.
    b) It decides whether the token is important enough to be kept
       ✗ No token is dropped. All of them go on to the next layer, each with a changed vector.
    c) It looks the token up in a table with one row for each token
       ✗ Those are the embeddings. There the vector is still the same in every sentence.
    """
)

quiz_3 = Quiz(
    """
    Your support desk has 30,000 long letters with labels, and each new one must be sorted in a millisecond on an
    old server. What do you try first?
    a) Fine-tuning BERT-base, since it's the most accurate
       ✗ Perhaps it is, but one letter would take many milliseconds on such a server, and you'd have nothing to
         compare it with.
    b) Training a BERT from random weights, since there are so many labels
       ✗ 30,000 is little for a network that has to learn the language first, and it would be as slow as the
         pretrained one.
    c) Word counts
       ✓ Right: long texts, many labels and no time for an answer are where they are strong. And you need them as
         baseline.
    """
)

quiz_4 = Quiz(
    """
    A colleague fine-tunes BERT with a rate of 0.01. Her model gives every sentence the same answer. She trains the
    same network from random weights with that rate, gets the same, and concludes that pre-training is of no use here.
    What do you say?
    a) Each of the two needs its own learning rate, chosen on sentences kept for choosing; only then compare
       ✓ Right. Both were broken by steps that are too large, so nothing was compared but two accidents.
    b) She is right: both had the same rate and the same sentences, so the comparison is fair
       ✗ Equal treatment is fair only if it suits both. This rate suits neither.
    c) She should take the rate that is best on the sentences on which she compares the two
       ✗ Then the winner is partly lucky with just these sentences. Choose on one set, compare on another.
    """
)

progress = progress_of(__name__)
