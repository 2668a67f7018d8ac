"""What could be silently wrong: numbers that a caller hands in, and splits without a class."""

import math
import numbers
import re


def whole_numbers(*, least=0, **values):
    """Raise ValueError unless each of the named values is a whole number, `least` or more."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            raise ValueError(f"{name} is {value!r:.80}, but it must be a whole number, {least} or more.")


def class_numbers(labels):
    """Return `labels` as a list of whole numbers. Raises ValueError where one is not a class: 0, 1, 2 …"""
    found = []
    for place, label in enumerate(labels):
        try:
            number = int(label)
            right = number == label and number >= 0 and "bool" not in str(getattr(label, "dtype", type(label)))
        except (TypeError, ValueError, OverflowError, RuntimeError):  # words, nothing, NaN, infinity, several numbers
            right = False
        if not right:
            cure = "number the classes from 0, as load_reviews does"
            raise ValueError(f"Label {place} is {label!r:.80}, but it must be a whole number, 0 or more: {cure}.")
        found.append(number)
    return found


def sizes_of_splits(labels, n_train, n_validation, n_test, share=0.1):
    """Return the three sizes, those that are None filled in. Raises ValueError where a split or a class is too small.

    labels   a pandas Series with the class of each review
    share    of all reviews, where the size of validation or of test is None
    """
    total, size_of_class = len(labels), labels.value_counts()
    classes = len(size_of_class)
    if 0 < total and size_of_class.min() < 3:
        rare = f"The class {size_of_class.idxmin()} has only {size_of_class.min()} different reviews"
        raise ValueError(f"{rare}, but train, validation and test need one each: add some, or leave the class out.")
    n_validation = max(classes, int(total * share)) if n_validation is None else n_validation
    n_test = max(classes, int(total * share)) if n_test is None else n_test
    whole_numbers(n_validation=n_validation, n_test=n_test)
    n_train = max(0, total - n_validation - n_test) if n_train is None else n_train
    whole_numbers(n_train=n_train)
    sizes = {"test": n_test, "validation": n_validation, "train": n_train}
    if sum(sizes.values()) > total:
        asked = ", ".join(f"{size:,} for {name}" for name, size in sizes.items())
        raise ValueError(f"You asked for {asked}, but there are only {total:,} different reviews: ask for fewer.")
    for name, size in sizes.items():
        if 0 < size < classes:
            cure = f"ask for {classes} or more, or for 0"
            raise ValueError(f"n_{name} is {size}, too few for one review of each of {classes} classes: {cure}.")
    return n_train, n_validation, n_test


def all_classes_between(labels, start, stop):
    """Return the places of `labels` in an order that has every class between start and stop, after few swaps."""
    import numpy

    places = numpy.arange(len(labels))
    for label in numpy.unique(labels):
        part = labels[places[start:stop]]
        if label not in part:
            names, counts = numpy.unique(part, return_counts=True)
            spare = start + numpy.flatnonzero(part == names[counts.argmax()])[-1]  # of the class that has most there
            of_class = numpy.flatnonzero(labels[places] == label)
            middle = of_class[len(of_class) // 2]  # neither the first, which is for test, nor the last, for train
            places[[spare, middle]] = places[[middle, spare]]
    return places


def list_of_texts(texts):
    """Return `texts` as a list. Raises ValueError, with the cure, where they are no list of texts."""
    import pandas

    if isinstance(texts, (str, pandas.DataFrame)):
        cure = (
            "write [text] instead of text" if isinstance(texts, str) else 'take its column of texts, table["text"] say'
        )
        raise ValueError(f"classify wants a list of texts, but it got a {type(texts).__name__}: {cure}.")
    texts = list(texts)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"Number {number} of the texts is {text!r}, but it must be a text: take it out or mend it."
            )
    return texts


def check_encoding(texts, tokenizer, max_tokens, keep, choices):
    """Raise ValueError, with the cure, for arguments of `encode` that can't be meant."""
    if isinstance(texts, str):
        raise ValueError("encode got one text, but it wants a list of texts: write [text] instead of text.")
    if keep not in choices:
        raise ValueError(f"keep is {keep!r}, but it must be one of {', '.join(choices)}.")
    whole_numbers(max_tokens=max_tokens, least=3)
    if max_tokens > tokenizer.model_max_length:
        most = tokenizer.model_max_length
        raise ValueError(
            f"max_tokens is {max_tokens}, but the tokenizer's model has places for {most}: use {most} or fewer."
        )


def check_for_batches(input_ids, labels, batch_size, seed):
    """Raise ValueError, with the cure, for arguments of `make_loader` that can't be meant."""
    if len(input_ids) != len(labels):
        raise ValueError(f"There are {len(input_ids)} reviews but {len(labels)} labels: they must be equally many.")
    if len(input_ids) == 0:
        raise ValueError("There are no reviews to make batches of: give make_loader at least one.")
    if not all(isinstance(ids, list) and ids for ids in input_ids):
        raise ValueError("make_loader wants a list of token ids for each review: get them from encode.")
    whole_numbers(batch_size=batch_size, least=1)
    whole_numbers(seed=seed)


def check_before_training(settings, model, early_stopping, training, validation):
    """Raise ValueError, with the cure, for settings and reviews that can't train or would train something else."""
    if isinstance(settings.epochs, bool) or not hasattr(settings.epochs, "__index__") or settings.epochs < 1:
        raise ValueError(f"epochs is {settings.epochs!r}, but it must be a whole number, 1 or more.")
    if not 0 <= settings.warmup <= 1:
        raise ValueError(f"warmup is {settings.warmup}, but it is a share of all steps: from 0 to 1.")
    if early_stopping is not None and validation is None:
        raise ValueError("Early stopping watches the validation loss: give `train` a validation_loader.")
    for name, loader in (("training", training), ("validation", validation)):
        if loader is None:
            continue
        check_lengths(model, loader)
        outputs = model.config.num_labels
        strange = sorted({review["label"] for review in loader.dataset} - set(range(outputs)))
        if strange:
            cure = "labels are whole numbers from 0 on, one for each class: correct them"
            if strange[0] >= outputs and strange[-1] < 1000:
                cure = f"load it with load_classifier(num_labels={strange[-1] + 1})"
            raise ValueError(
                f"The label {strange[-1] if strange[0] >= 0 else strange[0]} stands in the {name} reviews, but the "
                f"model knows 0 to {outputs - 1} alone: {cure}."
            )


def check_lengths(model, loader):
    """Raise ValueError where a review is longer than the model has positions."""
    longest = max(len(review["input_ids"]) for review in loader.dataset)
    positions = getattr(model.config, "max_position_embeddings", longest)
    if longest > positions:
        raise ValueError(
            f"A review has {longest} tokens, but the model has {positions} positions: encode the reviews with "
            f"max_tokens={positions} or less."
        )


def check_loss(loss, run, settings):
    """Raise RuntimeError where the training has diverged, before a step or a checkpoint makes it worse."""
    if math.isfinite(loss):
        return
    step = len(run.history.step_loss) + 1
    cure = f"Make the model anew and train it with a smaller learning rate than {settings.learning_rate:g}"
    if step == 1:
        cure = "Nothing was trained yet, so the model's own weights are damaged: load it anew"
    raise RuntimeError(f"The training has diverged: at step {step} the loss is no finite number. {cure}.")


def labels_and_logits(labels, logits):
    """Return both as arrays. Raises ValueError, with the cure, where scores of them would mean nothing."""
    import numpy

    labels, logits = numpy.asarray(labels), numpy.asarray(logits, dtype=float)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        shapes = f"labels have shape {labels.shape} and logits {logits.shape}"
        raise ValueError(f"{shapes}: one label and one row of logits per review are needed.")
    if (labels != numpy.floor(labels)).any():
        raise ValueError("Some labels are not whole numbers: give each class a number, counted from 0.")
    if not numpy.isfinite(logits).all():
        raise ValueError("Some logits are NaN or infinity: training diverged, so use a smaller learning rate.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        found = f"Labels go from {labels.min()} to {labels.max()}"
        raise ValueError(f"{found}, but the logits have {logits.shape[1]} classes (from 0).")
    return labels.astype(int), logits


def check_confidence(confidence, correct):
    """Raise ValueError unless there is a probability and a right or wrong for each review."""
    if confidence.ndim != 1 or confidence.shape != correct.shape or len(confidence) == 0:
        shapes = f"confidence has shape {confidence.shape} and correct {correct.shape}"
        raise ValueError(f"{shapes}: one confidence and one correct (True or False) per review are needed.")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("Some confidences are not between 0 and 1: give probabilities, not logits or per cent.")


def check_splits(reviews):
    """Raise ValueError where a split has no reviews."""
    for name in ("train", "validation", "test"):
        if not len(reviews[name]):
            raise ValueError(f"The split {name} is empty: give load_reviews an n_{name} of at least 1.")


def copies_in_test(reviews):
    """Return how many test reviews have the words of a training or validation review, in the same order."""

    def words(text):
        return " ".join(re.findall(r"\w+", text.casefold())) or text

    known = {words(text) for name in ("train", "validation") for text in reviews[name]["text"]}
    return sum(words(text) in known for text in reviews["test"]["text"])


def costs_of_errors(costs, classes, outputs):
    """Return the costs as an array [classes, classes]; None: each error costs 1. Raises ValueError for another shape.

    outputs   how many classes the model knows
    """
    import numpy

    cure = f"load it with load_classifier(num_labels={classes})"
    if outputs != classes:
        raise ValueError(f"The model knows {outputs} classes, but the reviews have {classes}: {cure}.")
    costs = 1.0 - numpy.eye(classes) if costs is None else numpy.asarray(costs, dtype=float)
    if costs.shape != (classes, classes) or not numpy.isfinite(costs).all():
        cure = f"give {classes} rows (the true class) of {classes} numbers (the answer)"
        raise ValueError(f"costs has shape {costs.shape}, and the reviews have {classes} classes: {cure}.")
    return costs
