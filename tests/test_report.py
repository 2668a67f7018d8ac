"""helpers.report: scikit-learn's figures for any number of classes, and on two classes those of notebook 05's cells."""

import contextlib
import io
import re
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy
import pandas
import pytest
import scipy.special
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import plots
from helpers.batches import encode
from helpers.data import load_reviews
from helpers.models import load_tokenizer
from helpers.report import measure, model_card, paired_comparison, report, show_report
from helpers.track import current_track
from tools import notebooks as tools

NAMES = ["bad", "fair", "good", "very good"]
WORDS = {"bad": "dull weak", "fair": "plain usual", "good": "fine warm", "very good": "great moving"}


def reviews_of(sizes, classes, *, seed=0):
    """Reviews whose words often belong to their class, as `load_reviews` returns them."""
    random = numpy.random.default_rng(seed)
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES[:classes])}
    )
    splits, number = {}, 0
    for name, size in zip(("train", "validation", "test"), sizes, strict=True):
        labels = random.integers(classes, size=size)
        said = numpy.where(random.random(size) < 0.7, labels, random.integers(classes, size=size))
        texts = [f"text {number + place} is {WORDS[NAMES[one]]}" for place, one in enumerate(said)]
        number += size
        splits[name] = datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)
    return datasets.DatasetDict(splits)


def logits_for(split, classes, *, skill=1.5, seed=1):
    random = numpy.random.default_rng(seed)
    labels = numpy.array(split["label"])
    return random.normal(size=(len(labels), classes)) + skill * numpy.eye(classes)[labels]


def shown(function, *arguments, **settings):
    """Return all that a function prints and displays, as plain text."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):  # outside of a notebook, IPython's display prints
        function(*arguments, **settings)
    return re.sub(r"base64,[\w+/=]+", "", printed.getvalue())


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_figures_are_those_of_scikit_learn(classes):
    reviews = reviews_of((120, 80, 90), classes)
    logits = logits_for(reviews["test"], classes)
    labels, predictions = numpy.array(reviews["test"]["label"]), logits.argmax(axis=1)
    figures = measure(reviews, logits_for(reviews["validation"], classes), logits, [9] * 90, max_tokens=20)

    average = {"average": "binary"} if classes == 2 else {"average": "macro"}
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predictions, **average)[:3]
    assert [figures["scores"][name] for name in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert (figures["confusion"] == sklearn.metrics.confusion_matrix(labels, predictions)).all()
    theirs = sklearn.metrics.precision_recall_fscore_support(labels, predictions)
    probabilities = scipy.special.softmax(logits / figures["temperature"], axis=1)
    for place, (name, count, precision, recall, f1, auc) in enumerate(figures["by_class"]):
        assert (name, count) == (NAMES[place], theirs[3][place])
        assert (precision, recall, f1) == pytest.approx([column[place] for column in theirs[:3]])
        assert auc == pytest.approx(sklearn.metrics.roc_auc_score(labels == place, probabilities[:, place]))
    assert figures["loss_after"] == pytest.approx(sklearn.metrics.log_loss(labels, probabilities))
    assert figures["cost_likeliest"] == pytest.approx(1 - sklearn.metrics.accuracy_score(labels, predictions))
    assert figures["baseline"] == "word counts" and figures["baseline_accuracy"] > figures["always_the_same"]


def test_the_answer_is_the_one_with_the_lowest_expected_cost():
    # Would catch a cost matrix read the wrong way round, and costs that are not weighted with probabilities.
    reviews = reviews_of((120, 400, 400), 3)
    logits = logits_for(reviews["test"], 3)
    costs = [[0, 1, 2], [3, 0, 1], [9, 4, -1]]
    figures = measure(reviews, logits_for(reviews["validation"], 3), logits, [9] * 400, max_tokens=20, costs=costs)
    probabilities = scipy.special.softmax(logits / figures["temperature"], axis=1)
    paid = []
    for shares, truth in zip(probabilities, reviews["test"]["label"], strict=True):
        expected = [sum(share * costs[true][answer] for true, share in enumerate(shares)) for answer in range(3)]
        paid.append(costs[truth][expected.index(min(expected))])
    assert figures["cost_lowest_expected"] == pytest.approx(numpy.mean(paid))
    assert figures["cost_lowest_expected"] < min(figures["cost_likeliest"], figures["cost_always_the_same"])
    always = [numpy.mean([costs[truth][answer] for truth in reviews["test"]["label"]]) for answer in range(3)]
    assert figures["cost_always_the_same"] == pytest.approx(min(always))


def test_with_two_classes_the_lowest_expected_cost_is_a_threshold():
    reviews = reviews_of((120, 400, 400), 2)
    logits = logits_for(reviews["test"], 2)
    figures = measure(
        reviews, logits_for(reviews["validation"], 2), logits, [9] * 400, max_tokens=20, costs=[[0, 5], [1, 0]]
    )
    positive = scipy.special.softmax(logits / figures["temperature"], axis=1)[:, 1]
    truth = numpy.array(reviews["test"]["label"])
    errors = 5 * ((positive >= 5 / 6) & (truth == 0)) + ((positive < 5 / 6) & (truth == 1))
    assert figures["cost_lowest_expected"] == pytest.approx(errors.mean())


def test_on_two_classes_it_finds_what_the_cells_of_notebook_05_find(monkeypatch):
    """Runs the notebook's own cells, with random logits in the place of the model's."""
    track = current_track()
    reviews = load_reviews("imdb", n_train=200, n_validation=120, n_test=300, seed=0)
    test = reviews["test"]
    logits = {name: logits_for(reviews[name], 2).astype("float32") for name in ("validation", "test")}
    tokenizer = load_tokenizer()
    cells = {
        "texts": list(test["text"]),
        "labels": numpy.array(test["label"]),
        "logits": logits["test"],
        "predictions": logits["test"].argmax(axis=1),
        "reviews": reviews,
        "model": None,
        "tokenizer": tokenizer,
        "track": track,
        "numpy": numpy,
        "load_reviews": load_reviews,
        "encode": encode,
        "loader_for": lambda texts, labels, shuffle=False: len(labels),
        # the other site has fewer sentences than validation has reviews
        "predict_logits": lambda model, loader: logits["validation"][:loader],
    }
    monkeypatch.setattr(plots, "show", lambda figure, alt: None)
    notebook = tools.read(Path(__file__).resolve().parent.parent / "notebooks" / "05_evaluation.ipynb")
    wanted = "012 014 016 018 020 022 026 028 030 032 034 038 040 044 046 052 054 058 062 076 090b"
    sources = {cell.id: cell.source for cell in notebook.cells}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for number in wanted.split():
            exec(sources[f"nb05-{number}"], cells)  # the last of them asserts what it compares
    assert "finds the figures of sections 3 to 7 again" in printed.getvalue()

    again, right = cells["again"], cells["right"]
    assert [again["only_model"], again["only_baseline"]] == [cells["only_bert"], cells["only_words"]]
    assert again["baseline_accuracy"] == cells["right_words"].mean()
    assert again["error_after"] == pytest.approx(cells["error_after"], abs=1e-6)
    differences = right.astype(float) - cells["right_words"]
    assert (again["difference_low"], again["difference_high"]) == cells["bootstrap_by_hand"](differences)
    assert again["cost_always_the_same"] == cells["cost_read_all"]
    chosen = cells["cost_per_review"](5 / 6, cells["labels"], cells["positive"])
    assert again["cost_lowest_expected"] == pytest.approx(chosen)
    slices = {name: values for name, values in cells["slices"].items() if "site" not in name}
    assert again["slice_sizes"] == {name: len(values) for name, values in slices.items()}
    assert [share for share, *_ in again["slices"].values()] == [values.mean() for values in slices.values()]
    assert f"{again['slices_p_value']:.3f}" in cells["verdict_on"](list(slices.values()))
    assert [text for text, *_ in again["worst"]] == [cells["texts"][i] for i in cells["worst"]]
    assert again["error_by_chance"] == pytest.approx(numpy.quantile(cells["by_chance"], [0.025, 0.975]), abs=1e-6)


@given(
    classes=st.integers(2, 4),
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12)),
    kind=st.sampled_from(["usual", "equal", "one class", "huge"]),
    seed=st.integers(0, 9),
)
@settings(deadline=None, max_examples=25)
def test_few_reviews_missing_classes_and_odd_logits_still_make_a_report(classes, sizes, kind, seed):
    reviews = reviews_of(sizes, classes, seed=seed)
    logits = {name: logits_for(reviews[name], classes) for name in ("validation", "test")}
    if kind == "equal":
        logits = {name: numpy.zeros_like(values) for name, values in logits.items()}
    if kind == "one class":  # the others are never predicted
        logits = {name: values + 50 * numpy.eye(classes)[0] for name, values in logits.items()}
    if kind == "huge":
        logits = {name: 1e4 * values for name, values in logits.items()}
    lengths = numpy.random.default_rng(seed).integers(1, 100, size=sizes[2])
    figures = measure(reviews, logits["validation"], logits["test"], lengths, max_tokens=20)
    plain = [figures["temperature"], figures["p_value"], figures["loss_after"], *figures["scores"].values()]
    assert numpy.isfinite(plain).all()
    assert figures["confusion"].sum() == sum(figures["slice_sizes"].values()) == sizes[2]
    if kind in ("equal", "one class"):
        assert figures["confusion"][:, 1:].sum() == 0
        assert [row[2] for row in figures["by_class"][1:]] == [0] * (classes - 1)
    if kind == "equal":
        assert figures["temperature"] == 1 and figures["loss_after"] == pytest.approx(numpy.log(classes))
    assert "# Mine" in model_card(figures, title="Mine", about="A test.")


@pytest.mark.parametrize(
    "names", [["a|b", "$\\frac$", "two\nlines"], [f"class {n} " + "with a long name " * 3 for n in range(25)]]
)
def test_all_is_shown_whatever_the_names_of_the_classes(names, recwarn):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    data = {"text": [f"word {n}" for n in range(50)], "label": [n % len(names) for n in range(50)]}
    reviews = {name: datasets.Dataset.from_dict(data, features=features) for name in ("train", "validation", "test")}
    logits = numpy.random.default_rng(0).normal(size=(50, len(names)))
    figures = measure(reviews, logits, logits, range(50), max_tokens=20)
    text = shown(show_report, figures)
    # What libraries tell each other of deprecated names is no business of a learner's. What they say of us is.
    of_libraries = [
        w for w in recwarn.list if "site-packages" in w.filename and issubclass(w.category, DeprecationWarning)
    ]
    assert recwarn.list == of_libraries
    for heading in ("accuracy", "calibration error", "AUC", "McNemar", "perfectly calibrated", "cost per test review"):
        assert heading in text
    assert text.count("alt=") == 2 and "read whole (up to 20 tokens)" in text and "LABEL: " in text
    card = model_card(figures, title="Mine", about="A test.")
    columns = {line.count("|") for line in card.splitlines() if line.startswith("|")}
    assert columns == {4, 6}  # a class's name can't break a table


def test_copies_are_found_in_spite_of_case_and_commas():
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])})
    texts = {
        "train": ["A fine film.", "🎬", "Nothing new here"],
        "validation": ["Two lines", "Other", "More"],
        "test": ["a fine film!!", "🎞️", "two\nlines", "fine film", "new here nothing"],
    }
    reviews = {
        name: datasets.Dataset.from_dict({"text": some, "label": [n % 2 for n in range(len(some))]}, features=features)
        for name, some in texts.items()
    }
    logits = numpy.zeros((5, 2))
    figures = measure(reviews, logits[:3], logits, [4] * 5, max_tokens=20)
    assert figures["copies"] == 2
    assert "2: their score flatters" in shown(show_report, figures)


def test_two_models_that_agree_can_not_be_told_apart():
    right = numpy.array([True, False, True])
    figures = paired_comparison(right, right)
    assert (figures["p_value"], figures["difference_low"], figures["difference_high"]) == (1, 0, 0)
    assert paired_comparison(numpy.ones(9, bool), numpy.zeros(9, bool))["p_value"] == pytest.approx(2 / 2**9)


def test_the_report_asks_the_model_in_the_right_order(capsys, tmp_path):
    """A stand-in for a model, which knows each text's class by its first word: everything must be right."""
    rows = [(f"{name} " + "word " * (n % 7), name) for n in range(10) for name in ("one", "two", "three")]
    rows = [(f"{text} {place}", name) for place, (text, name) in enumerate(rows)]
    pandas.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "mine.csv", index=False)
    reviews = load_reviews(tmp_path / "mine.csv", n_validation=6, n_test=9)
    tokenizer = load_tokenizer()
    names = reviews["train"].features["label"].names
    first = tokenizer.convert_tokens_to_ids(names)

    class Model(torch.nn.Module):
        config, device = SimpleNamespace(num_labels=3), torch.device("cpu")

        def forward(self, input_ids, attention_mask):
            return SimpleNamespace(logits=(input_ids[:, 1:2] == torch.tensor(first)).float())

    figures = report(Model(), tokenizer, reviews, max_tokens=12, batch_size=4)
    assert figures["scores"]["accuracy"] == 1 and figures["worst"] == []
    assert figures["reviews"] == {"train": 15, "validation": 6, "test": 9}
    assert "there is no error" in capsys.readouterr().out

    with pytest.raises(ValueError, match="costs has shape .2, 2., and the reviews have 3 classes: give 3 rows"):
        report(Model(), tokenizer, reviews, max_tokens=12, costs=[[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"knows 2 classes, but the reviews have 3: .*num_labels=3"):
        measure(reviews, numpy.zeros((6, 2)), numpy.zeros((9, 2)), [3] * 9, max_tokens=12)
    with pytest.raises(ValueError, match="The split test is empty: .*n_test"):
        report(Model(), tokenizer, {**reviews, "test": reviews["test"].select([])}, max_tokens=12)
