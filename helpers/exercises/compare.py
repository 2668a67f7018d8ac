"""Look at answers: is there still a blank in it, what is its plain value, are two values the same, how to show one."""

import inspect
import math
import re
import reprlib

from helpers.exercises.blank import Blank

_VIEWS = (range, type({}.keys()), type({}.values()), type({}.items()))


def codes(answer):
    """The code objects of a function, or of the methods of a class or object, with the functions inside them."""
    if inspect.ismethod(answer):
        answer = answer.__func__
    members = (
        [answer] if inspect.isfunction(answer) else vars(answer if isinstance(answer, type) else type(answer)).values()
    )
    members = [getattr(m, "__func__", m) if isinstance(m, (staticmethod, classmethod)) else m for m in members]
    functions = [m for m in members if inspect.isfunction(m)]
    # A decorator such as torch.no_grad() keeps the learner's function as __wrapped__.
    functions = [getattr(f, "__wrapped__", f) for f in functions]
    found = [f.__code__ for f in functions if inspect.isfunction(f)]
    for code in found:  # grows while we walk it
        found += [part for part in code.co_consts if inspect.iscode(part)]
    return found


def has_blank(value, depth=8):
    """Is it `____`, or a list, dictionary, function or class with `____` left inside?"""
    if type(value) in (str, int, float, bool, type(None)) or depth == 0:
        return False
    if type(value) is Blank:
        return True
    if type(value) in (list, tuple, set, frozenset):
        return any(has_blank(part, depth - 1) for part in value)
    if type(value) is dict:
        return any(has_blank(part, depth - 1) for part in (*value.keys(), *value.values()))
    if inspect.isfunction(value) and has_blank([*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]):
        return True
    return any("____" in code.co_names for code in codes(value))


def plain(value):
    """Tensors, arrays, tuples and ranges as lists, 0-d tensors and numpy numbers as numbers; the rest as it is.

    A subclass of a number, text, list or dictionary becomes that plain thing: its own `==` might always say yes.
    """
    if type(value) in (str, int, float, bool, type(None), Blank) or isinstance(value, type):
        return value
    if hasattr(value, "tolist"):  # a torch tensor, a numpy array or number, a pandas column
        return plain((value.detach() if hasattr(value, "detach") else value).tolist())
    for base in (int, float, str):
        if isinstance(value, base):
            return base.__add__(value, base())
    for base in (list, tuple):
        if isinstance(value, base):
            return [plain(part) for part in base.__iter__(value)]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in dict.items(value)}
    return [plain(part) for part in value] if isinstance(value, _VIEWS) else value


def same(a, b, tolerance):
    """Are two plain values equal? Numbers within a relative `tolerance`; nan only equals nan."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], tolerance) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or (a != a and b != b) or math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-8)
    if type(a) is not type(b):
        return False
    # Two objects that only know "am I that very object?" (a model, say) cannot be compared: their kind decides.
    return type(a).__eq__ is object.__eq__ or bool(a == b)


class _Short(reprlib.Repr):
    """repr() that stays short, with six digits of a float."""

    def __init__(self):
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 12
        self.maxstring = self.maxother = 100

    def repr_float(self, number, level):
        return f"{number:.6g}"

    def repr_list(self, values, level):
        text = super().repr_list(values, level)
        return f"{text} ({len(values)} items)" if len(values) > self.maxlist else text


def show(value):
    """A value in few characters, without its place in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", _Short().repr(value))


def kind(value):
    """What a value is, in words for a beginner."""
    if value is None:
        return "nothing, as when a `return` is missing"
    if inspect.isgenerator(value) or isinstance(value, (map, filter, zip, reversed)):
        return "a generator or iterator, which gives its items only once: put `list(...)` round it"
    if callable(value):
        return "a function or class itself: call it with `(...)`"
    words = {
        bool: "True or False",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "a dictionary",
    }
    return words.get(type(value), f"an object of type {type(value).__name__}")
