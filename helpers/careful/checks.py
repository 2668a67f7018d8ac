"""What could be silently wrong: numbers that a caller hands in, and splits without a class."""

import numbers


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


def sizes_of_splits(labels, n_train, n_validation, n_test):
    """Return the three sizes, those that are None filled in. Raises ValueError where a split or a class is too small.

    labels   a pandas Series with the class of each review
    """
    total, size_of_class = len(labels), labels.value_counts()
    classes = len(size_of_class)
    if 0 < total and size_of_class.min() < 3:
        rare = f"The class {size_of_class.idxmin()} has only {size_of_class.min()} different reviews"
        raise ValueError(f"{rare}, but train, validation and test need one each: add some, or leave the class out.")
    n_validation = max(classes, total // 10) if n_validation is None else n_validation
    n_test = max(classes, total // 10) if n_test is None else n_test
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
