"""The whole report of notebook 05 in one call, for your own reviews and any number of classes.

Notebook 05 builds each part by hand for two classes. What changes with more: precision, recall and F1 are means over
the classes, with a row for each class beside them; and the answer is no longer made by a threshold, but is the class
whose expected cost is lowest. (With two classes that is a threshold: cost_fp / (cost_fp + cost_fn).)
"""

import re
import textwrap

import matplotlib.pyplot as plt
import numpy
import scipy.stats
from scipy.special import softmax
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline

from helpers import plots
from helpers.batches import encode, make_loader
from helpers.metrics import (
    calibration_error,
    confidence_and_correct,
    confusion_matrix,
    evaluate,
    fit_temperature,
    wilson_interval,
)
from helpers.training import predict_logits

SCORES = ("accuracy", "precision", "recall", "f1")


def report(model, tokenizer, reviews, *, max_tokens, batch_size=16, costs=None):
    """Measure `model` on the test split, show all of it, and return the figures, from which `model_card` makes a page.

    reviews      from `helpers.data.load_reviews`. This opens the test split: settle everything else before
    max_tokens   where texts were cut in training
    costs        what each answer costs: a row for each true class, a column for each answer. None: each error costs 1
    """
    for name in ("train", "validation", "test"):
        if not len(reviews[name]):
            raise ValueError(f"The split {name} is empty: give load_reviews an n_{name} of at least 1.")
    logits = {}
    for name in ("validation", "test"):
        ids = encode(reviews[name]["text"], tokenizer, max_tokens=max_tokens)
        loader = make_loader(ids, reviews[name]["label"], tokenizer, batch_size=batch_size, shuffle=False)
        logits[name] = predict_logits(model, loader)
    lengths = [len(ids) for ids in encode(reviews["test"]["text"], tokenizer, max_tokens=10**9)]
    figures = measure(reviews, logits["validation"], logits["test"], lengths, max_tokens=max_tokens, costs=costs)
    show_report(figures)
    return figures


def measure(reviews, validation_logits, logits, lengths, *, max_tokens, costs=None):
    """Return all figures of the report, {name: value}, without showing anything.

    validation_logits, logits   [reviews, classes], of the validation split and of the test split
    lengths                     tokens of each test review, uncut
    """
    names = [" ".join(name.split()) for name in reviews["train"].features["label"].names]
    train_labels, validation_labels, labels = (
        numpy.array(reviews[name]["label"]) for name in ("train", "validation", "test")
    )
    texts, logits, lengths = list(reviews["test"]["text"]), numpy.asarray(logits, dtype=float), numpy.array(lengths)
    if logits.shape[1] != len(names):
        cure = f"load it with load_classifier(num_labels={len(names)})"
        raise ValueError(f"The model knows {logits.shape[1]} classes, but the reviews have {len(names)}: {cure}.")
    costs = 1.0 - numpy.eye(len(names)) if costs is None else numpy.asarray(costs, dtype=float)
    if costs.shape != (len(names), len(names)) or not numpy.isfinite(costs).all():
        cure = f"give {len(names)} rows (the true class) of {len(names)} numbers (the answer)"
        raise ValueError(f"costs has shape {costs.shape}, and the reviews have {len(names)} classes: {cure}.")

    predictions = logits.argmax(axis=1)
    right = predictions == labels
    baseline, baseline_name = _baseline(reviews["train"])
    temperature = fit_temperature(validation_labels, validation_logits)
    scaled = logits / temperature
    probabilities = softmax(scaled, axis=1)
    confidence, _ = confidence_and_correct(labels, scaled)
    by_cost = (probabilities @ costs).argmin(axis=1)  # the class with the lowest expected cost
    always = numpy.bincount(train_labels, minlength=len(names))
    slices = _slices(right, lengths, max_tokens)
    surest_errors = [i for i in numpy.argsort(-confidence, kind="stable") if not right[i]][:6]
    return {
        "classes": names,
        "max_tokens": max_tokens,
        "reviews": {"train": len(train_labels), "validation": len(validation_labels), "test": len(labels)},
        "copies": _copies(reviews),
        "scores": evaluate(labels, logits),
        "confusion": confusion_matrix(labels, predictions, classes=len(names)),
        "by_class": _by_class(labels, predictions, probabilities, names),
        "always_the_same": float((labels == always.argmax()).mean()),
        "baseline": baseline_name,
        **paired_comparison(right, baseline.predict(texts) == labels),
        "temperature": temperature,
        "error_before": calibration_error(*confidence_and_correct(labels, logits)),
        "error_after": calibration_error(confidence, right),
        "error_by_chance": _calibration_by_chance(confidence),
        "loss_before": _loss(labels, softmax(logits, axis=1)),
        "loss_after": _loss(labels, probabilities),
        "reliability": [_reliability(labels, logits), _reliability(labels, scaled)],
        "costs": costs,
        "cost_likeliest": float(costs[labels, predictions].mean()),
        "cost_lowest_expected": float(costs[labels, by_cost].mean()),
        "cost_always_the_same": float(costs[labels, (always @ costs).argmin()].mean()),
        "slices": {name: (part.mean(), *wilson_interval(part.sum(), len(part))) for name, part in slices.items()},
        "slice_sizes": {name: len(part) for name, part in slices.items()},
        "slices_p_value": _same_share_p_value(slices.values()),
        "worst": [(texts[i], names[labels[i]], names[predictions[i]], confidence[i]) for i in surest_errors],
    }


def paired_comparison(right, right_baseline):
    """Compare two models on the same reviews: McNemar's test, and a bootstrap interval for the difference.

    right, right_baseline   for each review, whether the model and the baseline were right
    """
    only_model, only_baseline = int((right & ~right_baseline).sum()), int((~right & right_baseline).sum())
    disagree = only_model + only_baseline
    differences = right.astype(float) - right_baseline
    random = numpy.random.default_rng(0)
    means = [random.choice(differences, len(differences)).mean() for _ in range(2000)]
    low, high = numpy.quantile(means, [0.025, 0.975])
    return {
        "baseline_accuracy": float(right_baseline.mean()),
        "only_model": only_model,
        "only_baseline": only_baseline,
        "difference": float(right.mean() - right_baseline.mean()),
        "difference_low": float(low),
        "difference_high": float(high),
        "p_value": scipy.stats.binomtest(only_model, disagree).pvalue if disagree else 1.0,
    }


def show_report(figures):
    """Show what `measure` returned, in the order of notebook 05."""
    names, scores, sizes = figures["classes"], figures["scores"], figures["reviews"]
    print(f"{len(names)} classes; {sizes['test']:,} test reviews, never seen in training.")
    copies = "none: no leak found" if not figures["copies"] else f"{figures['copies']:,}: their score flatters"
    print(f"Test reviews whose words also stand, in this order, in training or validation: {copies}.")

    plots.table(_score_rows(figures), columns=["score", "value", "low", "high"])
    plots.table(figures["by_class"], columns=["class", "test reviews", "precision", "recall", "f1", "AUC"])
    _show_confusion(figures["confusion"], names)

    baseline, p_value = figures["baseline"], figures["p_value"]
    plots.table(
        [
            ["the model", scores["accuracy"]],
            [baseline, figures["baseline_accuracy"]],
            ["always the most frequent class", figures["always_the_same"]],
        ],
        columns=["who answers", "accuracy"],
    )
    low, high = 100 * figures["difference_low"], 100 * figures["difference_high"]
    alone = f"Only the model is right on {figures['only_model']:,} reviews"
    print(f"{alone}, only {baseline} on {figures['only_baseline']:,}.")
    print(f"The difference is {100 * figures['difference']:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}.")
    better = f"the model is {'better' if figures['difference'] > 0 else 'worse'} on reviews like these"
    print(f"McNemar's p-value {_p(p_value)}: {better if p_value < 0.05 else 'this test cannot tell them apart'}.")

    _show_reliability(figures)
    chance = figures["error_by_chance"]
    print(f"A perfectly calibrated model would show {chance[0]:.3f} to {chance[1]:.3f}.")
    print(f"Loss on the test reviews: {figures['loss_before']:.3f} before, {figures['loss_after']:.3f} after.")

    rows = [[name, *map(float, row)] for name, row in zip(names, figures["costs"], strict=True)]
    plots.table(rows, columns=["cost if the truth is …", *(f"answer {name}" for name in names)])
    plots.table(
        [
            ["the likeliest class", figures["cost_likeliest"]],
            ["the class with the lowest expected cost", figures["cost_lowest_expected"]],
            ["always the same class, the cheapest", figures["cost_always_the_same"]],
        ],
        columns=["answer", "cost per test review"],
    )

    rows = [[name, figures["slice_sizes"][name], *values] for name, values in figures["slices"].items()]
    plots.table(rows, columns=["slice", "reviews", "accuracy", "low", "high"])
    p_value = figures["slices_p_value"]
    spread = "more than chance" if p_value < 0.05 else "no more than chance can explain"
    print(f"The lengths differ by {spread} (p-value {_p(p_value)}).")

    print("\nThe errors of which the model was surest. Is it the model or the label that is wrong?\n")
    for number, (text, label, answer, sure) in enumerate(figures["worst"], start=1):
        text = text if len(text) < 700 else text[:200] + " […] " + text[-500:]
        print(f"{number}. LABEL: {label}; the model says {answer} ({sure:.0%} sure)")
        print(textwrap.fill(" ".join(text.split()), 110), end="\n\n")


def model_card(figures, *, title, about):
    """Return the page that travels with the model, in Markdown. `about` says what it is for and made from."""
    rows = _score_rows(figures)[: len(SCORES)]
    rows += [[f"accuracy, {name}", *values] for name, values in figures["slices"].items()]
    scores = [f"| {name} | {value:.3f} | {low:.3f} to {high:.3f} |" for name, value, low, high in rows]
    by_class = [
        f"| {name.replace('|', '/')} | {reviews:,} | {' | '.join(f'{value:.3f}' for value in values)} |"
        for name, reviews, *values, _ in figures["by_class"]
    ]
    sizes, new_line = figures["reviews"], "\n"
    return f"""# {title}

{about}

- Classes: {", ".join(f"{place} = {name}" for place, name in enumerate(figures["classes"]))}.
- Trained on {sizes["train"]:,} texts. Reads at most {figures["max_tokens"]:,} tokens of a text.
- Divide the logits by {figures["temperature"]:.2f} before softmax (fitted on {sizes["validation"]:,} validation texts).

## Measured on {sizes["test"]:,} test texts

| score | value | 95% interval |
|---|---|---|
{new_line.join(scores)}

| class | test texts | precision | recall | f1 |
|---|---|---|---|---|
{new_line.join(by_class)}

Calibration error {figures["error_before"]:.3f}; after temperature scaling {figures["error_after"]:.3f}.
Accuracy less that of {figures["baseline"]}: {figures["difference"]:+.3f} (McNemar's p-value: {_p(figures["p_value"])}).

## Known limits

- Test texts that also stand in training or validation: {figures["copies"]:,}.
- One training with one seed: another seed gives another model.
- The labels were taken as they are; some may be wrong.
- Not tested: texts from elsewhere, and changes such as negation or typing errors.
"""


def _baseline(train):
    """Return (a fitted classifier, its name): word counts, or the most frequent class where no word comes twice."""
    counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    try:
        model = make_pipeline(counts, LogisticRegression(C=3, max_iter=1000)).fit(train["text"], train["label"])
        return model, "word counts"
    except ValueError:  # a handful of texts, or all of one class
        return DummyClassifier().fit(train["text"], train["label"]), "the most frequent class"


def _copies(reviews):
    """Return how many test reviews have the words of a training or validation review, in the same order."""

    def words(text):
        return " ".join(re.findall(r"\w+", text.casefold())) or text

    known = {words(text) for name in ("train", "validation") for text in reviews[name]["text"]}
    return sum(words(text) in known for text in reviews["test"]["text"])


def _by_class(labels, predictions, probabilities, names):
    """Return a row for each class: name, test reviews, precision, recall, F1, AUC (this class against the rest)."""
    rows = []
    for place, name in enumerate(names):
        true, said = labels == place, predictions == place
        both = (true & said).sum()
        shares = [float(both / max(said.sum(), 1)), float(both / max(true.sum(), 1))]
        f1 = float(2 * both / max(true.sum() + said.sum(), 1))
        auc = float(roc_auc_score(true, probabilities[:, place])) if 0 < true.sum() < len(true) else "–"
        rows.append([name, int(true.sum()), *shares, f1, auc])
    return rows


def _reliability(labels, logits, bins=15):
    """Return [mean confidence, share right, reviews] of each bin that holds reviews."""
    confidence, correct = confidence_and_correct(labels, logits)
    bin_of = numpy.minimum((confidence * bins).astype(int), bins - 1)
    members = [bin_of == place for place in range(bins) if (bin_of == place).any()]
    return [(confidence[here].mean(), correct[here].mean(), int(here.sum())) for here in members]


def _calibration_by_chance(confidence):
    """Return the 95% interval of the calibration error that a perfectly calibrated model would show."""
    random = numpy.random.default_rng(0)
    errors = [calibration_error(confidence, random.random(len(confidence)) < confidence) for _ in range(500)]
    return tuple(numpy.quantile(errors, [0.025, 0.975]))


def _loss(labels, probabilities):
    return float(log_loss(labels, probabilities, labels=range(probabilities.shape[1])))


def _slices(right, lengths, limit):
    """Return {name: whether each of its reviews is called rightly} for short, longer and very long reviews."""
    slices = {
        f"read whole (up to {limit} tokens)": right[lengths <= limit],
        f"at least half read (to {2 * limit})": right[(lengths > limit) & (lengths <= 2 * limit)],
        f"less than half read (over {2 * limit})": right[lengths > 2 * limit],
    }
    return {name: part for name, part in slices.items() if len(part)}


def _same_share_p_value(groups):
    """Return the p-value of the chi-squared test that all groups have the same share of right answers."""
    counted = numpy.array([[part.sum(), (~part).sum()] for part in groups])
    if len(counted) < 2 or not counted.sum(axis=0).all():
        return 1.0
    return float(scipy.stats.chi2_contingency(counted).pvalue)


def _p(value):
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _score_rows(figures):
    scores, several = figures["scores"], len(figures["classes"]) > 2
    rows = []
    for name in SCORES:
        shown = f"{name}, mean over classes" if several and name != "accuracy" else name
        rows.append([shown, scores[name], scores[f"{name}_low"], scores[f"{name}_high"]])
    return [*rows, ["calibration error", scores["calibration_error"], "–", "–"]]


def _show_confusion(counts, names):
    size = min(4 + 0.8 * len(names), 14)
    figure, axes = plt.subplots(figsize=(size + 1, size))
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(1.6 * counts.max(), 1))
    for row, column in zip(*numpy.nonzero(counts), strict=True):
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center")
    labels = [textwrap.shorten(name, 20, placeholder="…") for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=30, ha="right", parse_math=False)
    axes.set_yticks(range(len(names)), labels, parse_math=False)
    axes.set(xlabel="the model says", ylabel="the label says", title="Errors lie off the diagonal")
    axes.grid(False)
    errors = counts * (1 - numpy.eye(len(names), dtype=int))
    true, said = numpy.unravel_index(errors.argmax(), errors.shape)
    finding = f"{numpy.trace(counts):,} of {counts.sum():,} reviews are called rightly"
    most = f"the most frequent error is {names[true]} called {names[said]} ({errors.max():,})"
    plots.show(figure, f"{finding}; {most if errors.any() else 'there is no error'}.")


def _show_reliability(figures):
    figure, panels = plt.subplots(1, 2, figsize=(12, 5), sharey=True)
    looks = [("before", plots.ORANGE, "s"), ("after", plots.BLUE, "o")]
    for axes, bins, (name, colour, marker) in zip(panels, figures["reliability"], looks, strict=True):
        sure, share, reviews = numpy.array(bins).T
        lowest = 1 / len(figures["classes"])  # the likeliest class can't have less
        axes.plot([lowest, 1], [lowest, 1], color=plots.GREY, linestyle=":")
        axes.plot(sure, share, color=colour)
        axes.scatter(sure, share, s=30 + 600 * reviews / reviews.sum(), color=colour, marker=marker)
        axes.set(xlabel="mean confidence", title=f"{name} temperature scaling", ylim=(-0.05, 1.05))
    panels[0].set_ylabel("share right")
    finding = f"Temperature {figures['temperature']:.2f} takes the calibration error on the test reviews"
    plots.show(figure, f"{finding} from {figures['error_before']:.3f} to {figures['error_after']:.3f}.")
