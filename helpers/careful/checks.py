"""Numbers that a caller hands in: a wrong one is refused with one sentence, before it can be silently wrong."""

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
