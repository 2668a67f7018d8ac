"""The whole report of notebook 05 in one call, for your own reviews and any number of classes.

Notebook 05 builds each part by hand for two classes; its section 12 says what changes with more.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy
from scipy.special import softmax
from sklearn.dummy import DummyClassifier
from sklearn.metrics import ConfusionMatrixDisplay, roc_auc_score

from helpers import metrics, plots
from helpers.batches import encode, make_loader
from helpers.careful.checks import check_splits, copies_in_test, costs_of_errors
from helpers.careful.names import in_a_picture, in_markdown, on_one_line
from helpers.careful.tables import markdown_table, p_value
from helpers.training import predict_logits


def report(model, tokenizer, reviews, *, max_tokens, batch_size=16, costs=None):
    """Measure `model` on the test split, show all of it, and return the figures, from which `model_card` makes a page.

    reviews      from `helpers.data.load_reviews`. This opens the test split: settle everything else before
    max_tokens   where texts were cut in training
    costs        what each answer costs: a row for each true class, a column for each answer. None: each error costs 1
    """
    check_splits(reviews)
    logits = {}
    for name in ("validation", "test"):
        ids = encode(reviews[name]["text"], tokenizer, max_tokens=max_tokens)
        loader = make_loader(ids, reviews[name]["label"], tokenizer, batch_size=batch_size, shuffle=False)
        logits[name] = predict_logits(model, loader)
    uncut = tokenizer(list(reviews["test"]["text"]), split_special_tokens=True)["input_ids"]
    lengths = [len(ids) for ids in uncut]
    figures = measure(reviews, logits["validation"], logits["test"], lengths, max_tokens=max_tokens, costs=costs)
    show_report(figures)
    return figures


def measure(reviews, validation_logits, logits, lengths, *, max_tokens, costs=None):
    """Return all figures of the report, {name: value}, without showing anything.

    validation_logits, logits   [reviews, classes], of the validation split and of the test split
    lengths                     tokens of each test review, uncut
    """
    names = [on_one_line(name) for name in reviews["train"].features["label"].names]
    splits = {name: numpy.array(reviews[name]["label"]) for name in ("train", "validation", "test")}
    labels, texts, logits = splits["test"], list(reviews["test"]["text"]), numpy.asarray(logits, dtype=float)
    costs = costs_of_errors(costs, len(names), logits.shape[1])

    predictions = logits.argmax(axis=1)
    right, validation_right = predictions == labels, numpy.argmax(validation_logits, axis=1) == splits["validation"]
    confusion = metrics.confusion_matrix(labels, predictions, classes=len(names))
    baseline, baseline_name = _baseline(reviews["train"])
    temperature = metrics.fit_temperature(splits["validation"], validation_logits)
    probabilities = softmax(logits / temperature, axis=1)
    loss_before, loss_after = metrics.losses(labels, logits), metrics.losses(labels, logits / temperature)
    by_cost = (probabilities @ costs).argmin(axis=1)  # the class with the lowest expected cost
    always = numpy.bincount(splits["train"], minlength=len(names))
    slices = metrics.slices_by_length(right, numpy.array(lengths), max_tokens)
    worst = [i for i in numpy.argsort(-probabilities.max(axis=1), kind="stable") if not right[i]][:6]
    return {
        "classes": names,
        "max_tokens": max_tokens,
        "reviews": {name: len(values) for name, values in splits.items()},
        "copies": copies_in_test(reviews),
        "scores": metrics.evaluate(labels, logits),
        "confusion": confusion,
        "by_class": [
            [name, int((labels == place).sum()), *map(float, scores), _auc(labels == place, probabilities[:, place])]
            for place, (name, *scores) in enumerate(zip(names, *metrics.class_scores(confusion), strict=True))
        ],
        "validation_accuracy": float(validation_right.mean()),
        "validation_p_value": metrics.trend_p_value([validation_right, right]),
        "always_the_same": float((labels == always.argmax()).mean()),
        "baseline": baseline_name,
        **metrics.paired_comparison(right, baseline.predict(texts) == labels),
        "temperature": temperature,
        "temperature_helped": bool(loss_after.mean() < loss_before.mean()),
        **_calibration(labels, logits, "before"),
        **_calibration(labels, logits / temperature, "after"),
        "loss_before": float(loss_before.mean()),
        "loss_after": float(loss_after.mean()),
        "loss_change": metrics.bootstrap_interval(loss_after - loss_before),
        "costs": costs,
        "cost_likeliest": float(costs[labels, predictions].mean()),
        "cost_lowest_expected": float(costs[labels, by_cost].mean()),
        "cost_always_the_same": float(costs[labels, (always @ costs).argmin()].mean()),
        "slices": {n: (len(s), float(s.mean()), *metrics.wilson_interval(s.sum(), len(s))) for n, s in slices.items()},
        "slices_p_value": metrics.trend_p_value(list(slices.values())),
        "worst": [(texts[i], names[labels[i]], names[predictions[i]], probabilities[i].max()) for i in worst],
    }


def show_report(figures):
    """Show what `measure` returned, in the order of notebook 05."""
    names, scores, sizes, baseline = (figures[name] for name in ("classes", "scores", "reviews", "baseline"))
    print(f"{len(names)} classes; {sizes['test']:,} test reviews, never seen in training.")
    copies = "none: no leak found" if not figures["copies"] else f"{figures['copies']:,}: their score flatters"
    print(f"Test reviews whose words also stand, in this order, in training or validation: {copies}.")

    plots.table(_score_rows(figures), columns=["score", "value", "low", "high"])
    if scores["accuracy"] > figures["validation_accuracy"]:
        easier = "more than chance makes: the test reviews are easier, so expect less of new ones"
        chance = "and chance alone makes such a difference between two samples: it is no gain"
        meaning = easier if figures["validation_p_value"] < 0.05 else chance
        print(f"That is above the {figures['validation_accuracy']:.3f} of the validation reviews, {meaning}.")
    plots.table(figures["by_class"], columns=["class", "test reviews", "precision", "recall", "f1", "AUC"])
    _show_confusion(figures["confusion"], names)

    rows = [["the model", scores["accuracy"]], [baseline, figures["baseline_accuracy"]]]
    rows += [["always the most frequent class", figures["always_the_same"]]]
    plots.table(rows, columns=["who answers", "accuracy"])
    difference, low, high = (100 * figures[f"difference{end}"] for end in ("", "_low", "_high"))
    print(f"Right alone: the model on {figures['only_model']:,} reviews, {baseline} on {figures['only_baseline']:,}.")
    print(f"The difference is {difference:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}.")
    better = f"the model is {'better' if difference > 0 else 'worse'} on reviews like these"
    verdict = better if figures["p_value"] < 0.05 else "this test cannot tell them apart"
    print(f"McNemar's p-value {p_value(figures['p_value'])}: {verdict}.")

    _show_reliability(figures)
    low, high = figures["loss_change"]
    helped = "helped" if figures["temperature_helped"] else "did not help, so the model card leaves it out"
    chance = " But chance alone makes such a difference." if low <= 0 <= high else ""
    if figures["temperature"] == 1:
        print("On validation no wrong class has a larger logit than the true one, so no temperature is fitted.")
    else:
        print(f"Loss on the test reviews: {figures['loss_before']:.3f} before, {figures['loss_after']:.3f} after.")
        print(f"95% interval of the change {low:+.3f} to {high:+.3f}. Temperature scaling {helped}.{chance}")

    rows = [[name, *map(float, row)] for name, row in zip(names, figures["costs"], strict=True)]
    plots.table(rows, columns=["cost if the truth is …", *(f"answer {name}" for name in names)])
    rows = [["the likeliest class", figures["cost_likeliest"]]]
    rows += [["the class with the lowest expected cost", figures["cost_lowest_expected"]]]
    rows += [["always the same class, the cheapest", figures["cost_always_the_same"]]]
    plots.table(rows, columns=["answer", "cost per test review"])

    rows = [[name, *values] for name, values in figures["slices"].items()]
    plots.table(rows, columns=["slice", "reviews", "accuracy", "low", "high"])
    trend = "more than chance" if figures["slices_p_value"] < 0.05 else "no more than chance can explain"
    print(f"With the length, accuracy rises or falls by {trend} (p-value {p_value(figures['slices_p_value'])}).")

    print("\nThe errors of which the model was surest. Is it the model or the label that is wrong?\n")
    for number, (text, label, answer, sure) in enumerate(figures["worst"], start=1):
        text = text if len(text) < 700 else text[:200] + " […] " + text[-500:]
        print(f"{number}. LABEL: {label}; the model says {answer} ({sure:.0%} sure)")
        print(textwrap.fill(" ".join(text.split()), 80), end="\n\n")


def model_card(figures, *, title, about, models_tried=None):
    """Return the page that travels with the model, in Markdown. Notebook 05 builds one by hand in section 12.

    title, about   your own words, in Markdown: what it is called, what it is for and made from
    models_tried   how many models were measured on these test texts, this one included. None: nobody counted
    """
    sizes, names = figures["reviews"], [in_markdown(name) for name in figures["classes"]]
    scores = _score_rows(figures)[:-1]
    scores += [[f"accuracy, {name}", *values] for name, (_, *values) in figures["slices"].items()]
    scores = [[name, value, f"{low:.3f} to {high:.3f}"] for name, value, low, high in scores]
    by_class = [[name, *values] for name, (_, *values) in zip(names, figures["by_class"], strict=True)]
    scaling, error_after, chance = "", "", p_value(figures["p_value"])
    if figures["temperature_helped"]:
        scaling = f"\n- Divide the logits by {figures['temperature']:.2f} before softmax (fitted on validation texts)."
        error_after = f"; after temperature scaling {figures['error_after']:.3f}"
    return f"""# {title}

{about}

- Classes: {", ".join(f"{place} = {name}" for place, name in enumerate(names))}.
- Trained on {sizes["train"]:,} texts. Reads at most {figures["max_tokens"]:,} tokens of a text.{scaling}

## Measured on {sizes["test"]:,} test texts

{markdown_table(scores, ["score", "value", "95% interval"])}

{markdown_table(by_class, ["class", "test texts", "precision", "recall", "f1", "AUC"])}

Calibration error {figures["error_before"]:.3f}{error_after}.
Accuracy less that of {figures["baseline"]}: {figures["difference"]:+.3f} (McNemar's p-value: {chance}).

## Known limits

- Models measured on these test texts: {models_tried or "not counted"}. The best of several looks better than it is.
- Test texts that also stand in training or validation: {figures["copies"]:,}.
- One training with one seed: another seed gives another model.
- The labels were taken as they are; some may be wrong.
- Not tested: texts from elsewhere, and changes such as negation or typing errors.
"""


def _baseline(train):
    """Return (a fitted classifier, its name): word counts, or the most frequent class where no word comes twice."""
    try:
        return metrics.fit_word_counts(train["text"], train["label"]), "word counts"
    except ValueError:  # a handful of texts, or all of one class
        return DummyClassifier().fit(train["text"], train["label"]), "the most frequent class"


def _calibration(labels, logits, when):
    """Return the calibration figures of logits [reviews, classes], with `when` in their names."""
    confidence, correct = metrics.confidence_and_correct(labels, logits)
    return {
        f"error_{when}": metrics.calibration_error(confidence, correct),
        f"chance_{when}": metrics.calibration_by_chance(confidence),
        f"reliability_{when}": metrics.reliability(confidence, correct),
    }


def _auc(is_class, probability):
    return float(roc_auc_score(is_class, probability)) if 0 < is_class.sum() < len(is_class) else "–"


def _score_rows(figures):
    scores, rows = figures["scores"], []
    for name in ("accuracy", "precision", "recall", "f1"):
        mean = ", mean over classes" if len(figures["classes"]) > 2 and name != "accuracy" else ""
        rows.append([name + mean, *(scores[f"{name}{end}"] for end in ("", "_low", "_high"))])
    return [*rows, ["calibration error", scores["calibration_error"], "–", "–"]]


def _show_confusion(counts, names):
    size = min(4 + 0.8 * len(names), 14)
    figure, axes = plt.subplots(figsize=(size + 1, size))
    picture = ConfusionMatrixDisplay(counts, display_labels=[in_a_picture(name) for name in names])
    picture.plot(ax=axes, cmap="Blues", values_format=",", xticks_rotation=30, colorbar=False)
    axes.set(xlabel="the model says", ylabel="the label says", title="Errors lie off the diagonal")
    axes.grid(False)
    errors = counts * (1 - numpy.eye(len(names), dtype=int))
    true, said = numpy.unravel_index(errors.argmax(), errors.shape)
    most = f"the most frequent error is {names[true]} called {names[said]} ({errors.max():,})"
    finding = f"{numpy.trace(counts):,} of {counts.sum():,} reviews are called rightly"
    plots.show(figure, f"{finding}; {most if errors.any() else 'there is no error'}.")


def _show_reliability(figures):
    figure, panels = plt.subplots(1, 2, figsize=(12, 5), sharey=True)
    looks, found = [("before", plots.ORANGE, "s"), ("after", plots.BLUE, "o")], []
    for axes, (name, colour, marker) in zip(panels, looks, strict=True):
        sure, share, reviews = numpy.array(figures[f"reliability_{name}"]).T
        lowest = 1 / len(figures["classes"])  # the likeliest class can't have less
        axes.plot([lowest, 1], [lowest, 1], color=plots.GREY, linestyle=":")
        axes.plot(sure, share, color=colour)
        axes.scatter(sure, share, s=30 + 600 * reviews / reviews.sum(), color=colour, marker=marker)
        low, high = figures[f"chance_{name}"]
        found.append(f"{name}: {figures[f'error_{name}']:.3f} (by chance {low:.3f} to {high:.3f})")
        axes.set(xlabel="mean confidence", ylabel="share right", title=found[-1], ylim=(-0.05, 1.05))
    plots.show(figure, f"Calibration error before and after temperature scaling: {', '.join(found)}.")
    print("Above each panel its calibration error, and what a perfectly calibrated model that is as sure would show.")
