"""helpers.report: scikit-learn's figures for any number of classes, and on two classes those of notebook 05's cells."""

import contextlib
import dataclasses
import io
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import datasets
import mistune
import numpy
import pandas
import pytest
import scipy.special
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import metrics, plots
from helpers.batches import encode
from helpers.data import load_reviews
from helpers.models import load_tokenizer
from helpers.report import measure, model_card, report, show_report
from helpers.track import current_track
from tools import notebooks as tools

NAMES = ["bad", "fair", "good", "very good"]
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SPLITS = ("train", "validation", "test")


def reviews_of(sizes, classes, *, seed=0, names=NAMES):
    """Reviews in which a word often tells the class, as `load_reviews` returns them."""
    random = numpy.random.default_rng(seed)
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names[:classes])}
    )
    splits, number = {}, 0
    for name, size in zip(SPLITS, sizes, strict=True):
        labels = random.integers(classes, size=size)
        said = numpy.where(random.random(size) < 0.7, labels, random.integers(classes, size=size))
        texts = [f"text {number + place} is w{one} v{one}" for place, one in enumerate(said)]
        number += size
        splits[name] = datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)
    return datasets.DatasetDict(splits)


def logits_for(split, classes, *, skill=1.5, seed=1):
    random = numpy.random.default_rng(seed)
    labels = numpy.array(split["label"])
    return random.normal(size=(len(labels), classes)) + skill * numpy.eye(classes)[labels]


def cells_of(notebook):
    """{id: source} of a notebook's cells."""
    return {cell.id: cell.source for cell in tools.read(NOTEBOOKS / f"{notebook}.ipynb").cells}


def figures_of(sizes=(120, 80, 90), classes=2, *, names=NAMES, costs=None, scale=1.0):
    """The figures of made-up reviews and logits; those of the test split are multiplied by `scale`."""
    reviews = reviews_of(sizes, classes, names=names)
    validation, test = (logits_for(reviews[name], classes) for name in ("validation", "test"))
    lengths = numpy.random.default_rng(2).integers(1, 70, size=sizes[2])
    return reviews, scale * test, measure(reviews, validation, scale * test, lengths, max_tokens=20, costs=costs)


def shown(figures):
    """All that the report prints and displays, as plain text. (Outside of a notebook IPython's display prints.)"""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        show_report(figures)
    return re.sub(r"base64,[\w+/=]+", "", printed.getvalue())


@pytest.mark.parametrize("classes", [2, 4])
def test_the_figures_are_those_of_scikit_learn(classes):
    reviews, logits, figures = figures_of(classes=classes)
    labels, predictions = numpy.array(reviews["test"]["label"]), logits.argmax(axis=1)
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
    costs = [[0, 1, 2], [3, 0, 1], [9, 4, -1]]
    reviews, logits, figures = figures_of((120, 400, 400), 3, costs=costs)
    probabilities, truths = scipy.special.softmax(logits / figures["temperature"], axis=1), reviews["test"]["label"]
    paid = []
    for shares, truth in zip(probabilities, truths, strict=True):
        expected = [sum(share * costs[true][answer] for true, share in enumerate(shares)) for answer in range(3)]
        paid.append(costs[truth][expected.index(min(expected))])
    assert figures["cost_lowest_expected"] == pytest.approx(numpy.mean(paid))
    assert figures["cost_lowest_expected"] < min(figures["cost_likeliest"], figures["cost_always_the_same"])
    always = [numpy.mean([costs[truth][answer] for truth in truths]) for answer in range(3)]
    assert figures["cost_always_the_same"] == pytest.approx(min(always))


def test_what_notebooks_01_and_05_build_by_hand_is_what_helpers_hold(monkeypatch):
    """Runs the notebooks' own cells, with random logits in the place of the model's."""
    track = dataclasses.replace(current_track(), max_tokens=128)  # short enough for three lengths, long enough too
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
        "loader_for": lambda texts, labels, *others: len(labels),
        # the other site has fewer sentences than validation has reviews
        "predict_logits": lambda model, loader: logits["validation"][:loader],
    }
    monkeypatch.setattr(plots, "show", lambda figure, alt: None)
    sources = cells_of("05_evaluation")
    wanted = "012 014 016 018 020 022 026 028 030 032 034 038 040 044 042 046 052 054 058 061a 062 062b 080 076 090b"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for number in wanted.split():
            exec(sources[f"nb05-{number}"], cells)  # the last of them asserts what it compares
    assert "finds the figures of sections 3 to 9 again" in printed.getvalue()

    again, right = cells["again"], cells["right"]
    assert [again["only_model"], again["only_baseline"]] == [cells["only_bert"], cells["only_words"]]
    assert again["baseline_accuracy"] == cells["right_words"].mean()
    interval = cells["bootstrap_by_hand"](right.astype(float) - cells["right_words"])
    assert (again["difference_low"], again["difference_high"]) == interval
    for name, z in [("before", logits["test"]), ("after", cells["scaled"])]:
        confidence, correct = metrics.confidence_and_correct(cells["labels"], z)
        assert numpy.allclose(again[f"reliability_{name}"], cells["reliability"](confidence, correct), atol=1e-6)
        assert again[f"error_{name}"] == pytest.approx(cells[f"error_{name}"], abs=1e-6)
        assert again[f"chance_{name}"] == pytest.approx(cells["by_chance"](confidence), abs=1e-6)
    assert again["chance_before"] != again["chance_after"]
    assert again["temperature_helped"] == cells["temperature_helped"]
    assert again["cost_always_the_same"] == cells["cost_read_all"]
    chosen = cells["cost_per_review"](5 / 6, cells["labels"], cells["positive"])
    assert again["cost_lowest_expected"] == pytest.approx(chosen)  # with two classes a threshold
    by_length = metrics.slices_by_length(right, cells["lengths"], cells["limit"])
    assert list(by_length) == list(cells["by_length"]) and len(by_length) == 3
    assert all((by_length[name] == cells["by_length"][name]).all() for name in by_length)
    assert again["slices_p_value"] == cells["trend_p_value"](list(by_length.values()))
    assert again["validation_accuracy"] == cells["validation_right"].mean()
    assert [text for text, *_ in again["worst"]] == [cells["texts"][i] for i in cells["worst"]]
    card = model_card(again, title="Mine", about="A test.")
    by_hand = [line for line in cells["figures"].splitlines() if line.startswith(("| a", "| p", "| r", "| f", "Acc"))]
    assert len(by_hand) == 9 and [line for line in by_hand if line not in card] == [by_hand[7]]  # the other site's

    in_01 = next(source for source in cells_of("01_transfer_learning").values() if "def fit_word_counts" in source)
    exec(in_01.split("\nmost = ")[0], cells)
    ours, theirs = (fit(test["text"], test["label"]) for fit in (metrics.fit_word_counts, cells["fit_word_counts"]))
    assert str(ours) == str(theirs)
    assert (ours.predict_proba(cells["texts"]) == theirs.predict_proba(cells["texts"])).all()


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
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figures = measure(reviews, logits["validation"], logits["test"], lengths, max_tokens=20)
    absent = classes - len(set(reviews["test"]["label"]))
    assert len([one for one in caught if "None of these reviews" in str(one.message)]) == (absent > 0)
    plain = [figures["temperature"], figures["p_value"], figures["loss_after"], *figures["scores"].values()]
    assert numpy.isfinite([*plain, *figures["loss_change"], figures["slices_p_value"]]).all()
    assert figures["confusion"].sum() == sum(size for size, *_ in figures["slices"].values()) == sizes[2]
    if kind in ("equal", "one class"):
        assert figures["confusion"][:, 1:].sum() == 0
        assert [row[2] for row in figures["by_class"][1:]] == [0] * (classes - 1)
    if kind == "equal":
        assert figures["temperature"] == 1 and figures["loss_after"] == pytest.approx(numpy.log(classes))
    assert "# Mine" in model_card(figures, title="Mine", about="A test.")


ODD_NAMES = ["a|b", r"$\frac$ \| `x", "two\nlines", "# **bold** <b>&lt;</b> ![p](http://x.y)", "~~_gone_~~ \x1b[31m"]


@pytest.mark.parametrize("names", [ODD_NAMES, [f"class {n} " + "with a long name " * 9 for n in range(25)]])
def test_all_is_shown_whatever_the_names_of_the_classes(names, recwarn):
    _, _, figures = figures_of((90, 90, 300), len(names), names=names)
    text = shown(figures)
    # What libraries tell each other of deprecated names is no business of a learner's. What they say of us is.
    of_libraries = [
        w for w in recwarn.list if "site-packages" in w.filename and issubclass(w.category, DeprecationWarning)
    ]
    assert recwarn.list == of_libraries
    for heading in ("accuracy", "calibration error", "AUC", "McNemar", "perfectly calibrated", "cost per test review"):
        assert heading in text
    assert text.count("alt=") == 2 and "read whole (up to 20 tokens)" in text and "LABEL: " in text

    tokens = mistune.create_markdown(renderer="ast", plugins=["table", "strikethrough", "url"])(
        model_card(figures, title="Mine", about="A test.")
    )

    def plain(token):
        assert token["type"] in ("table_row", "table_cell", "text", "list_item", "block_text")  # nothing bold, no link
        return token.get("raw", "") + "".join(map(plain, token.get("children", [])))

    expected = [" ".join(name.replace("\x1b", " ").split()) for name in names]
    expected = [name if len(name) <= 60 else name[:59] + "…" for name in expected]
    rows = [token for token in tokens if token["type"] == "table"][1]["children"][1]["children"]
    assert [plain(row["children"][0]) for row in rows] == expected
    assert all(len(row["children"]) == 6 for row in rows)
    listed = next(token for token in tokens if token["type"] == "list")["children"][0]
    assert plain(listed) == "Classes: " + ", ".join(f"{n} = {name}" for n, name in enumerate(expected)) + "."


@pytest.mark.parametrize(("scale", "helped"), [(0.5, True), (4.0, False)])
def test_a_temperature_that_made_the_test_loss_worse_is_named_and_left_out_of_the_card(scale, helped):
    # The validation logits are too timid. So are the test logits in the first case; in the second they are too sure.
    _, _, figures = figures_of((60, 80, 200), scale=scale)
    text, card = shown(figures), model_card(figures, title="Mine", about="A test.")
    low, high = figures["loss_change"]
    assert low < figures["loss_after"] - figures["loss_before"] < high and (high < 0 if helped else low > 0)
    assert ("scaling helped" in text, "did not help, so the model card leaves it out" in text) == (helped, not helped)
    assert (f"Divide the logits by {figures['temperature']:.2f}" in card) == ("temperature" in card) == helped


@pytest.mark.parametrize("scale", [4, 0])
def test_where_no_temperature_can_be_fitted_the_report_says_what_is_so(scale):
    # Logits that are all equal (scale 0) are no reviews that the model calls rightly, and it must not say so.
    reviews = reviews_of((60, 30, 50), 3)
    logits = {name: scale * numpy.eye(3)[reviews[name]["label"]] for name in ("validation", "test")}
    figures = measure(reviews, *logits.values(), [9] * 50, max_tokens=20)
    text = shown(figures)
    assert "On validation no wrong class has a larger logit than the true one" in text
    assert "scaling helped" not in text and "did not help" not in text and "no validation review wrongly" not in text
    assert "Divide the logits" not in model_card(figures, title="Mine", about="")


def test_the_card_and_the_report_say_what_a_reader_might_not_think_of():
    reviews, logits, figures = figures_of()
    assert "measured on these test texts: 3." in model_card(figures, title="Mine", about="", models_tried=3)
    assert "measured on these test texts: not counted." in model_card(figures, title="Mine", about="")
    # A test score above the validation score is explained, and only then.
    said = {}
    for name, validation in [("below", 5 * logits_for(reviews["validation"], 2)), ("above", numpy.zeros((80, 2)))]:
        figures = measure(reviews, validation, logits, [9] * 90, max_tokens=20)
        figures["validation_accuracy"] += 0.2 * (name == "below")
        said[name] = shown(figures)
    easier = f"above the {figures['validation_accuracy']:.3f} of the validation reviews, more than chance makes"
    assert easier in said["above"] and "of the validation reviews" not in said["below"]
    assert "and chance alone makes" in shown(figures | {"validation_p_value": 0.05})


def test_copies_are_found_in_spite_of_case_and_commas():
    texts = ["A fine film.", "🎬", "Nothing new here"], ["Two lines", "Other", "More"]
    test = ["a fine film!!", "🎞️", "two\nlines", "fine film", "new here nothing"]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])})
    reviews = {
        name: datasets.Dataset.from_dict({"text": some, "label": [0, 1, 0, 1, 0][: len(some)]}, features=features)
        for name, some in zip(SPLITS, (*texts, test), strict=True)
    }
    figures = measure(reviews, numpy.zeros((3, 2)), numpy.zeros((5, 2)), [4] * 5, max_tokens=20)
    assert figures["copies"] == 2
    assert "2: their score flatters" in shown(figures)


def test_the_report_asks_the_model_in_the_right_order(capsys, tmp_path):
    """A stand-in for a model, which knows each text's class by its first word: everything must be right."""
    rows = [(f"{name} " + "word " * (n % 7), name) for n in range(10) for name in ("one", "two", "three")]
    rows = [(f"{text} {place}", name) for place, (text, name) in enumerate(rows)]
    pandas.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "mine.csv", index=False)
    reviews = load_reviews(tmp_path / "mine.csv", n_validation=6, n_test=9)
    tokenizer = load_tokenizer()
    first = tokenizer.convert_tokens_to_ids(reviews["train"].features["label"].names)

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


def test_the_lines_of_the_recap_work_and_names_come_back(tmp_path, monkeypatch):
    names = ["1", "Müll, alt", "sehr gut"]
    rows = [(f"text {n} is w{n % 3}", names[n % 3]) for n in range(45)]
    pandas.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "my_reviews.csv", index=False)
    monkeypatch.chdir(tmp_path)
    cells = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(re.search(r"```python\n(.*?)```", cells_of("05_evaluation")["nb05-121"], re.DOTALL)[1], cells)
    test = cells["reviews"]["test"]
    answers = cells["classify"]("my_model", test["text"])["label"]
    right = [answer == names[label] for answer, label in zip(answers, test["label"], strict=True)]
    assert cells["classes"] == names and cells["figures"]["scores"]["accuracy"] == numpy.mean(right)
    assert "# My model" in printed.getvalue()
