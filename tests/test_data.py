"""helpers.data: what is read, how it is cleaned and split."""

import pandas
import pytest

from helpers import data
from helpers.data import clean, load_reviews, remove_duplicates, split_reviews


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


def test_without_sizes_a_tenth_each_goes_to_validation_and_test():
    splits = split_reviews(made_up())
    assert {name: len(split) for name, split in splits.items()} == {"train": 80, "validation": 10, "test": 10}


def test_unequal_classes_keep_their_proportions():
    splits = split_reviews(made_up((300, 100)), n_train=200, n_validation=100, n_test=100)
    assert [split["label"].mean() for split in splits.values()] == [0.25, 0.25, 0.25]


@pytest.mark.parametrize("sizes", [{"n_train": 101, "n_validation": 0, "n_test": 0}, {"n_train": 90, "n_test": 11}])
def test_more_reviews_than_there_are_is_refused_with_the_number(sizes):
    with pytest.raises(ValueError, match="only 100 different reviews"):
        split_reviews(made_up(), **sizes)


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="n_test is -1"):
        split_reviews(made_up(), n_train=1, n_validation=1, n_test=-1)


def test_clean_turns_runs_of_html_breaks_into_one_line_break():
    assert clean(" One.<br /><br />Two.<br>Three. <BR/>") == "One.\nTwo.\nThree."
    assert clean("One. <br /> <br /> Two.") == "One.\nTwo."
    assert clean("a < b, no tag") == "a < b, no tag"


def test_duplicates_go_and_the_first_stays():
    table = pandas.DataFrame({"text": ["a", "b", "a"], "label": [1, 0, 0]})
    assert remove_duplicates(table).values.tolist() == [["a", 1], ["b", 0]]
