"""The exercises: the engine, every exercise and question of every notebook, and the notebooks blank and solved."""

import _thread
import builtins
import copy
import gc
import importlib
import inspect
import itertools
import math
import os
import random
import re
import signal
import subprocess
import symtable
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import nbformat
import numpy
import pytest
import torch
from nbclient import NotebookClient

from helpers.batches import make_loader
from helpers.exercises import Exercise, Quiz, ____, exercise, nb02, nb03, nb04, nb05, nb07, progress_of
from helpers.exercises.engine import Progress, tasks_of, told
from helpers.exercises.solve import exercise_name, solved

ROOT = Path(__file__).parents[1]
MODULES = [
    importlib.import_module(f"helpers.exercises.{path.stem}")
    for path in sorted((ROOT / "helpers" / "exercises").glob("nb[0-9][0-9].py"))
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
TASKS = [
    pytest.param(module, name, id=f"{module.__name__[-4:]}-{name}") for module in MODULES for name in tasks_of(module)
]
EXERCISES = [task for task in TASKS if isinstance(getattr(*task.values), Exercise)]
QUIZZES = [task for task in TASKS if isinstance(getattr(*task.values), Quiz)]


# A complete example: one exercise for a function, one for a value, one for a class, one with a check of its own, a quiz


def clip(numbers, limit):
    return [min(number, limit) for number in numbers]


def drops_large(numbers, limit):
    """You drop the large numbers. Keep every number, but lower it to the limit."""
    return [number for number in numbers if number <= limit]


def raises_small(numbers, limit):
    """`max` raises the small numbers. The limit is an upper one: use `min`."""
    return [max(number, limit) for number in numbers]


def best_epoch():
    return 3


def counts_from_zero():
    """You counted from 0. The first epoch is epoch 1."""
    return 2


class Counter_:
    def __init__(self, start):
        self.count = start

    def add(self, step):
        self.count += step
        return self.count


class ForgetsStart(Counter_):
    """Your counter starts at 0, whatever `start` says."""

    def __init__(self, start):
        super().__init__(0)


def shuffled(items):
    return items[::-1]


def leaves_as_is(items):
    """The order has not changed."""
    return list(items)


def loses_items(items):
    """Some items are missing after the shuffle."""
    return items[1:]


def check_shuffled(answer):
    items = [1, 2, 3, 4]
    result = answer(list(items))
    if result == items:
        return leaves_as_is
    if len(result) < len(items):
        return loses_items
    if sorted(result) != items:
        return "The items must stay the same ones."


HINTS = ["Think of `min`.", "`min(number, limit)` for each number."]


def make(solution, *mistakes, **settings):
    """What `@exercise(…)` and `@name.mistake` make, for a solution that stays a function of this file."""
    made = exercise(**{"title": "Title", "hints": HINTS, **settings})(solution)
    for mistake in mistakes:
        made.mistake(mistake)
    return made


def make_clip(**changes):
    settings = {"cases": [([1, 5, 3], 4), ([], 4), ([0.5], 4)], "praise": "Gradients are clipped like this."}
    return make(clip, drops_large, raises_small, **{**settings, **changes})


def make_best_epoch():
    return make(best_epoch, counts_from_zero, title="Read the best epoch")


def make_shuffled(**changes):
    return make(shuffled, leaves_as_is, loses_items, check=check_shuffled, **changes)


def make_quiz():
    return Quiz(
        """
        Which
        `rate`?
        a) 0.1
           ✗ Far too large.
        b) 2e-5
           ✓ Right: small
             steps.
        """
    )


# The blank


@pytest.mark.parametrize(
    "use",
    [
        lambda b: b(1, x=2),
        lambda b: b[0][1:2]["key"],
        lambda b: b.learning_rate.item(),
        lambda b: (b + 1) * 2 - 3 / b,
        lambda b: 2**b // 3 % b @ b,
        lambda b: "text" + b,
        lambda b: [1] + b,
        lambda b: -abs(b),
        lambda b: round(b, 2),
        lambda b: b < 3,
        lambda b: 3 >= b,
        lambda b: b == b,
        lambda b: sum(b),
        lambda b: next(iter(b)),
        lambda b: copy.deepcopy(b),
        lambda b: numpy.mean(b),
        lambda b: numpy.ones(2) * b,
        lambda b: numpy.float64(2) + b,
        lambda b: torch.ones(2) * b,
        lambda b: torch.relu(b),
        lambda b: torch.nn.Linear(2, 2)(b),
        lambda b: b.backward(),
    ],
)
def test_a_blank_stays_a_blank_whatever_is_done_with_it(use):
    assert use(____) is ____


def test_a_blank_stands_in_for_plain_values_without_an_error():
    assert not ____ and len(____) == 1 and int(____) == 0 and math.isnan(float(____))
    assert f"{____:.2f} {____}" == "____ ____"
    assert 3 not in ____ and not isinstance(3, ____)
    assert [____ for _ in ____] == [____] and [1, 2][____] == 1
    with ____ as inside:
        inside.x = 1
        inside["x"] = 1
    assert numpy.isnan(numpy.array([____, 1.0])[0])


# The states


def holds_blank(numbers, limit):
    return [____, 1]


def is_half_done(numbers, limit):
    inner = [min(number, ____) for number in numbers]
    return inner


GAP = ____  # so that the check must find these blanks by running


@pytest.mark.parametrize(
    "answer",
    [
        ____,
        [1, ____],
        {"a": (____,)},
        holds_blank,
        is_half_done,
        lambda numbers, limit: GAP,
        lambda numbers, limit: [{"a": GAP}],
        lambda numbers, limit=____: numbers,
        type("Unfinished", (), {"method": is_half_done}),
    ],
)
def test_an_answer_with_a_blank_is_not_attempted(answer):
    result = make_clip().check(answer)
    assert result.state == "not attempted" and "____" in result.message


def test_check_without_an_answer_is_not_attempted():
    assert make_clip().check().state == make_quiz().check().state == "not attempted"


def test_the_states_are_told_apart_by_word_and_symbol_in_text_and_html():
    task, looks = make_clip(), []
    for answer, state in [(____, "not attempted"), (drops_large, "not yet"), (clip, "correct")]:
        result = task.check(answer)
        assert result.state == task.state == state
        assert 'role="status"' in result._repr_html_() and repr(result).split(".")[0] in result._repr_html_()
        looks.append(repr(result).split(".")[0])
    assert looks == ["○ Not attempted yet", "✗ Not yet", "✓ Correct"]
    assert "Gradients are clipped like this." in repr(result)


def test_html_shows_code_and_emphasis():
    page = make_clip(hints=["Take *all* of `f(*x, **y)`, 2 * 3 * 4 times."]).hint()._repr_html_()
    assert "Take <em>all</em> of <code>f(*x, **y)</code>, 2 * 3 * 4 times." in page


def test_html_shows_code_and_never_markup_of_the_learner():
    page = make_clip().check(lambda numbers, limit: "<b>bold</b>")._repr_html_()
    assert "&lt;b&gt;" in page and "<b>" not in page and "<code>" in page


# Right and wrong answers


@pytest.mark.parametrize(
    "answer",
    [
        lambda numbers, limit: tuple(min(number, limit) for number in numbers),
        lambda numbers, limit: numpy.minimum(numpy.array(numbers, dtype=float), limit),
        lambda numbers, limit: (
            torch.tensor(numbers, requires_grad=True).clamp(max=limit)
            if numbers == [0.5]
            else torch.tensor(numbers).clamp(max=limit)
        ),
        lambda numbers, limit: [numpy.float32(min(number, limit)) for number in numbers],
        lambda numbers, limit: [min(number, limit) + 1e-7 for number in numbers],
        lambda *everything: clip(*everything),
    ],
)
def test_equal_values_are_accepted_as_list_tuple_array_or_tensor(answer):
    assert make_clip().check(answer).state == "correct"


def test_a_float_outside_the_tolerance_is_wrong():
    def a_little_more(numbers, limit):
        return [min(number, limit) * 1.001 for number in numbers]

    assert make_clip().check(a_little_more).state == "not yet"
    assert make_clip(tolerance=0.01).check(a_little_more).state == "correct"


def test_a_known_mistake_gets_its_own_message_and_the_case():
    for mistake in (drops_large, raises_small):
        message = make_clip().check(mistake).message
        assert told(mistake) in message and "Case: `clip([1, 5, 3], 4)`\nExpected: `[1, 4, 3]`" in message


def test_another_wrong_answer_gets_expected_and_got_and_no_foreign_misconception():
    message = make_clip().check(lambda numbers, limit: [1, 4, 4] if len(numbers) == 3 else numbers).message
    assert "1 of 3 cases wrong.\nCase: `clip([1, 5, 3], 4)`\nExpected: `[1, 4, 3]`\nGot: `[1, 4, 4]`\n" in message
    assert "hint()" in message
    assert not any(told(mistake) in message for mistake in (drops_large, raises_small))


def test_labels_name_the_case():
    task = make_clip(cases={"an empty list": ([], 4)})
    assert "Case: an empty list\nExpected: `[]`" in task.check(lambda numbers, limit: [0]).message


def test_cases_are_built_late_and_arguments_start_clean_each_time():
    task = make_clip(cases=lambda: [([1, 5], 4), ([1, 5], 4)])

    def clears(numbers, limit):
        result = clip(numbers, limit)
        numbers.clear()
        return result

    assert "changes its input" in task.check(clears).message
    assert task.check(clip).state == "correct"


def test_nan_is_told_and_only_equals_nan():
    assert "nan" in make_clip().check(lambda numbers, limit: [float("nan")] * len(numbers)).message
    task = make_clip(cases=[([float("nan")], float("nan"))])
    assert task.check(clip).state == "correct"
    assert task.check(lambda numbers, limit: [0.0]).state == "not yet"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "return"),
        (7, "a number"),
        ("clip", "a text"),
        ([1, 4, 3], "without brackets"),
        (torch.tensor([1.0, 4.0]), "without brackets"),
        (numpy.nan, "a number"),
        (object(), "object"),
        (clip([1], 2), "a list"),
        ((x for x in [1]), "generator"),
        (lambda numbers: numbers, "(numbers, limit)"),
        (lambda numbers, limit, more: numbers, "missing a required argument: 'more'"),
        (lambda numbers, limit: None, "a `return` is missing"),
        (lambda numbers, limit: (min(x, limit) for x in numbers), "list(...)"),
        (lambda numbers, limit: map(min, numbers), "list(...)"),
        (lambda numbers, limit: clip, "call it with"),
        (lambda numbers, limit: 3, "a number"),
        (lambda numbers, limit: str(clip(numbers, limit)), "a text"),
        (lambda numbers, limit: {1: 2}, "a dictionary"),
        (lambda numbers, limit: object(), "an object of type object"),
        (lambda numbers, limit: torch.zeros(2, 2), "[[0, 0], [0, 0]]"),
        (lambda numbers, limit: sys.exit(3), "SystemExit: 3"),
        (lambda numbers, limit: numbers[99], "IndexError: list index out of range"),
        (lambda numbers, limit: limit(), "TypeError: 'int' object is not callable"),
        (lambda numbers, limit: (_ for _ in ()).throw(KeyboardInterrupt), "KeyboardInterrupt"),
        (int, "TypeError"),
        (max, "TypeError"),
        (list, "argument"),
        (Counter_, "argument"),
    ],
)
def test_odd_answers_are_explained(answer, words):
    result = make_clip().check(answer)
    assert result.state == "not yet" and words in result.message, result.message


class Hostile:
    def __call__(self, *arguments):
        return self

    def __getattr__(self, name):
        raise RuntimeError("no")

    def __eq__(self, other):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no")


def wraps_itself(numbers, limit):
    raise Unprintable


wraps_itself.__wrapped__ = wraps_itself
nested = []
nested.append(nested)


def test_hostile_answers_do_not_raise():
    for answer in (Hostile(), Hostile, lambda *_: Hostile(), wraps_itself, nested, lambda *_: nested):
        for task in (make_clip(), make_best_epoch(), make_shuffled(), make_quiz()):
            assert task.check(answer).state == "not yet"


def test_an_exception_comes_with_its_text_and_the_learners_line():
    def divides(numbers, limit):
        total = sum(numbers) * 0
        return limit / total

    message = make_clip().check(divides).message
    line = inspect.getsourcelines(divides)[1] + 2
    assert "ZeroDivisionError: division by zero" in message
    assert f"line {line} of your cell: `return limit / total`" in message


def test_an_exception_inside_a_library_names_the_learners_line():
    def adds_shapes(numbers, limit):
        return torch.ones(2).add(torch.ones(3))

    assert "`return torch.ones(2).add(torch.ones(3))`" in make_clip().check(adds_shapes).message


def test_a_changed_input_is_told():
    def in_place(numbers, limit):
        for i in range(len(numbers)):
            numbers[i] = min(numbers[i], limit)
        return numbers

    assert "changes its input" in make_clip().check(in_place).message


def test_what_was_printed_is_shown_in_part_and_nothing_leaks(capsys):
    def prints(numbers, limit):
        for i in range(10_000):
            print("line", i)

    message = make_clip().check(prints).message
    assert "Your code printed:\nline 0\nline 1" in message and len(message) < 2_500
    assert capsys.readouterr() == ("", "")


# Time


def never_ends(numbers, limit):
    while True:
        pass


def catches_everything(numbers, limit):
    while True:
        try:
            time.sleep(0.001)
        except Exception:
            pass


def matches_slowly(numbers, limit):
    re.match("(a+)+$", "a" * 40 + "b")


def swallows_everything(numbers, limit):
    while True:
        try:
            time.sleep(0.001)
        except BaseException:
            pass


@pytest.mark.parametrize(
    "answer",
    [
        never_ends,
        catches_everything,
        swallows_everything,
        matches_slowly,
        lambda *_: [0 for _ in itertools.count()],
        lambda *_: 10**10**9,
        lambda *_: time.sleep(1000),
        lambda *_: threading.Lock().acquire() and threading.Event().wait(),
    ],
)
def test_what_never_ends_is_stopped_and_later_checks_work(answer, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # pytest's, which an alarm may hit as well
    before = threading.active_count()
    task = make_clip(time_limit=0.2)
    result = task.check(answer)
    assert result.state == "not yet" and "never ends" in result.message and "line" in result.message
    assert threading.active_count() == before
    assert make_clip().check(clip).state == "correct"
    assert "never ends" in make_shuffled(time_limit=0.2).check(lambda items: answer(items, 4)).message


def test_a_check_gives_back_somebody_elses_alarm():
    # pytest-timeout is one.
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    make_clip().check(never_ends if before[1][0] == 0 else clip)
    assert signal.getsignal(signal.SIGALRM) == before[0]
    assert signal.getitimer(signal.ITIMER_REAL)[0] == pytest.approx(before[1][0], abs=20)


def in_a_thread(function):
    """What Windows does, where there is no alarm."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start(), thread.join()
    return results[0]


def test_without_an_alarm_a_loop_is_stopped_and_its_thread_ends():
    before = threading.active_count()
    for answer in (never_ends, catches_everything):
        result = in_a_thread(lambda answer=answer: make_clip(time_limit=0.2).check(answer))
        assert result.state == "not yet" and "never ends" in result.message and "line" in result.message
    for _ in range(100):
        if threading.active_count() > before:
            time.sleep(0.05)
    assert threading.active_count() == before
    assert in_a_thread(lambda: make_clip().check(clip)).state == "correct"


def test_without_an_alarm_what_cannot_be_stopped_is_left_behind_and_told():
    release = threading.Lock()
    release.acquire()
    result = in_a_thread(lambda: make_clip(time_limit=0.1).check(lambda *_: release.acquire()))
    release.release()
    assert result.state == "not yet" and "restart the kernel" in result.message


@pytest.mark.parametrize("answer", [never_ends, swallows_everything])
def test_the_stop_button_works_and_stops_the_answer(answer, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    threading.Timer(0.3, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        make_clip(time_limit=60).check(answer)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# What an answer might do to the kernel, to Python and to later verdicts


class Liar(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


class LyingList(list):
    def __eq__(self, other):
        return True

    def __len__(self):
        return 3

    def __iter__(self):
        return iter([1, 4, 3])


def calls_itself(numbers, limit):
    return calls_itself(numbers, limit)


def without_a_limit(numbers, limit):
    sys.setrecursionlimit(10**9)
    return sorted([numbers], key=lambda _: without_a_limit(numbers, limit))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *_: sys.exit(), "SystemExit"),
        (lambda *_: exit(), "SystemExit"),  # noqa: PLR1722
        (lambda *_: os._exit(1), "`_exit` is refused"),
        (lambda *_: os.kill(os.getpid(), signal.SIGKILL), "`kill` is refused"),
        (lambda *_: os.abort(), "`abort` is refused"),
        (lambda *_: signal.raise_signal(signal.SIGTERM), "`raise_signal` is refused"),
        (lambda *_: [0] * 10**12, "MemoryError"),
        (lambda *_: [0] * 10**9, "MemoryError"),  # 8 GB, which a laptop may have, once
        (calls_itself, "RecursionError"),
        (without_a_limit, "`setrecursionlimit` is refused"),
        (lambda numbers, limit: [Liar(0), Liar(0), Liar(0)][: len(numbers)], "Expected: `[1, 4, 3]`"),
        (lambda numbers, limit: LyingList(), "Got: `[]`"),
        (lambda *_: sys.stdout.close(), "return"),
        (lambda *_: setattr(sys, "stdout", None), "return"),
    ],
)
def test_an_answer_cannot_end_or_fool_the_kernel(answer, words, capsys):
    result = make_clip().check(answer)
    assert result.state == "not yet" and words in result.message, result.message
    print("still here")
    assert capsys.readouterr().out == "still here\n"
    assert make_clip().check(clip).state == "correct"


def patches_everything(numbers, limit):
    builtins.len = lambda _: 3
    builtins.min = max
    math.isclose = lambda *args, **options: True
    copy.deepcopy = lambda value: value
    torch.manual_seed = random.setstate = numpy.random.seed = signal.signal = signal.setitimer = lambda *_: None
    sys.modules["helpers.exercises.compare"].same = lambda *_: True
    torch.nn.functional.cross_entropy = None
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    sys.setswitchinterval(1)
    gc.disable()
    os.chdir("/")
    os.environ.clear()
    del sys.modules["json"], builtins.sorted
    return [4, 4, 4]


def test_what_an_answer_patches_is_put_back_and_fools_no_verdict():
    def state():
        return (
            [builtins.len, builtins.min, builtins.sorted, math.isclose, copy.deepcopy, torch.manual_seed],
            [random.setstate, numpy.random.seed, signal.signal, sys.modules["helpers.exercises.compare"].same],
            [torch.nn.functional.cross_entropy, torch.is_grad_enabled(), torch.get_default_dtype()],
            [
                signal.getsignal(signal.SIGINT),
                signal.getsignal(signal.SIGALRM),
                sys.getswitchinterval(),
                gc.isenabled(),
                os.getcwd(),
                dict(os.environ),
                sys.modules["json"],
            ],
        )

    before = state()
    result = make_clip().check(patches_everything)
    assert state() == before
    assert result.state == "not yet" and "Got: `[4, 4, 4]`" in result.message


def test_a_thread_that_an_answer_starts_spoils_no_later_verdict():
    def starts_a_thread(numbers, limit):
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
        return clip(numbers, limit)

    assert make_clip().check(starts_a_thread).state == make_clip().check(clip).state == "correct"


# What a check must leave alone


def test_a_check_leaves_the_random_numbers_alone():
    def rolls(numbers, limit):
        random.random(), numpy.random.rand(), torch.rand(1)
        return numbers

    def draw():
        return random.random(), numpy.random.rand(), torch.rand(1).item()

    drawn = []
    for task in (None, make_clip()):
        random.seed(5), numpy.random.seed(5), torch.manual_seed(5)
        if task:
            task.check(rolls)
        drawn.append(draw())
    assert drawn[0] == drawn[1]


def test_random_answers_are_judged_on_the_same_random_numbers():
    def noise(size):
        import torch

        return torch.rand(size)

    task = make(noise, cases=[(3,), (3,)])
    assert task.check(lambda size: torch.rand(size)).state == "correct"
    assert task.check(lambda size: torch.rand(size) + 0.01).state == "not yet"


def test_no_module_of_exercises_imports_torch_and_the_first_check_may_be_the_one_that_does():
    names = "\n".join(f"import {module.__name__}" for module in MODULES)
    code = f"""
from helpers.exercises import Exercise
import sys
{names}
def noise(size):
    import torch
    return torch.rand(size)
assert not {{"torch", "transformers", "numpy"}} & set(sys.modules)
print(Exercise(noise, title="", cases=[(3,)], hints=[]).check(noise).state)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "correct\n", run.stderr


# The other kinds of exercise


def test_a_value_is_checked_without_giving_the_answer_away():
    task = make_best_epoch()
    assert task.check(3).state == task.check(torch.tensor(3)).state == "correct"
    assert told(counts_from_zero) in task.check(2).message
    for answer, words in [(7, "7"), ("three", "a text"), (None, "nothing"), (best_epoch, "call it"), (math.nan, "nan")]:
        message = task.check(answer).message
        assert words in message and "3" not in message
    assert task.check([____]).state == "not attempted"


def test_run_says_how_to_use_an_answer_such_as_a_class():
    def count(answer, start):
        counter = answer(start)
        return {"after adding 2": counter.add(2), "after adding 0": counter.add(0)}

    task = make(Counter_, ForgetsStart, run=count, cases=[(1,)])
    assert task.check(Counter_).state == "correct"
    assert told(ForgetsStart) in task.check(ForgetsStart).message

    class NeverCounts(Counter_):
        def add(self, step):
            return self.count if step == 0 else self.count + step

    message = task.check(NeverCounts).message
    assert "after adding 0\nExpected: `3`\nGot: `1`" in message and "after adding 2" not in message
    assert "AttributeError" in task.check(dict).message or "TypeError" in task.check(dict).message


def test_a_check_of_its_own_returns_a_mistake_or_a_text():
    task = make_shuffled()
    assert task.check(shuffled).state == task.check(lambda items: [2, 1, 4, 3]).state == "correct"
    for mistake in (leaves_as_is, loses_items):
        assert task.check(mistake).message == told(mistake)
    assert task.check(lambda items: [9, 9, 9, 9]).message == "The items must stay the same ones."
    assert "Is a `return` missing?" in task.check(print).message


def test_a_solution_that_fails_is_not_taken_for_the_measure():
    def fails(x):
        raise ValueError("oh")

    with pytest.raises(RuntimeError, match="fails is broken"):
        make(fails, cases=[(1,)]).check(fails)


def test_cases_and_check_exclude_each_other():
    with pytest.raises(ValueError, match="not both"):
        make_clip(check=check_shuffled)


def test_hints_come_one_by_one_and_end():
    task = make_clip()
    shown = [repr(task.hint()) for _ in range(4)]
    assert shown[0] == f"Hint 1 of 2. {HINTS[0]}" and shown[1] == f"Hint 2 of 2. {HINTS[1]}"
    assert "No more hints" in shown[2] and shown[2] == shown[3]


def test_the_solution_shown_is_the_source_of_the_function_tested_without_its_decorator():
    @exercise(
        title="Add",
        hints=[],
        cases=[(1, 2)],
    )
    def add(a, b):
        """Add."""
        return a + b

    @exercise(title="Keep", hints=[], run=lambda answer: answer().kept, cases=[()])
    class Keep:
        kept = 1

    assert add.solution().message == 'def add(a, b):\n    """Add."""\n    return a + b\n'
    assert Keep.solution().message == "class Keep:\n    kept = 1\n"
    assert make_clip().solution().message == inspect.getsource(clip)
    assert "<pre>" in make_clip().solution()._repr_html_()


# Mistakes, declared by what differs


def test_a_mistake_is_declared_by_what_differs_from_the_solution():
    @exercise(title="Largest", hints=[], cases=[([3, 1, 2],)])
    def largest(numbers):
        numbers = sorted(numbers)
        return numbers[-1]

    @largest.mistake(replace={"sorted": "list", "-1": "0"})
    def takes_the_first():
        """You take the first."""

    @largest.mistake(without="sorted")
    def forgets_to_sort():
        """You take the last."""

    assert takes_the_first([3, 1, 2]) == 3 and forgets_to_sort([3, 1, 2]) == 2
    assert largest.mistakes == [takes_the_first, forgets_to_sort] and takes_the_first.__name__ == "takes_the_first"
    assert largest.check(lambda numbers: numbers[-1]).message.startswith("You take the last.")
    for changes in ({"replace": {"max": "min"}}, {"without": "yield"}):  # else a solution that changes loses a mistake
        with pytest.raises(ValueError, match="largest: the solution holds no"):
            largest.mistake(**changes)(takes_the_first)


def test_another_right_answer_passes_with_its_own_word():
    task = make_clip()

    @task.also_right(replace={"min(number, limit)": "min(number, limit - 1)"})
    def stays_below():
        """Below the limit is right too."""

    result = task.check(stays_below)
    assert result.state == "correct" and result.message.startswith("Below the limit is right too. Gradients")


def test_of_two_mistakes_the_one_that_explains_the_first_wrong_case_is_told():
    def two_mistakes(numbers, limit):
        return drops_large(numbers, limit) if len(numbers) == 3 else [7]

    message = make_clip().check(two_mistakes).message
    assert "Perhaps this is why: " + told(drops_large) in message and told(raises_small) not in message
    assert "3 of 3 cases wrong" in message


# Quizzes and progress


def test_a_quiz_explains_the_chosen_option_however_it_is_written():
    for letter in ("b", " B ", "b)", "'b'"):
        result = make_quiz().check(letter)
        assert result.state == "correct" and "Right: small steps." in result.message
    assert make_quiz().check("A").state == "not yet" and "Far too large." in make_quiz().check("A").message
    for odd in ("z", "", 2, None, ["b"], math.nan):
        assert make_quiz().check(odd).state == "not yet" and '`"a"`, `"b"`' in make_quiz().check(odd).message


def test_a_quiz_shows_its_question_and_options_with_every_answer():
    for shown in (make_quiz(), make_quiz().check(), make_quiz().check("a"), make_quiz().check("z")):
        shown = repr(shown) + shown._repr_html_()
        assert all(part in shown for part in ("Which", "a) 0.1", "b) 2e-5"))
        assert "small steps" not in shown


@pytest.mark.parametrize("text", ["?\na) 1\nb) 2\n✓ Yes.", "?\na) 1\n✗ No.", "?\na) 1\n✓ Yes.\nb) 2\n✓ Yes."])
def test_a_quiz_with_a_gap_or_two_right_options_is_refused(text):
    with pytest.raises(ValueError, match="option a one reply|mark one option"):
        Quiz(text)


def test_a_tick_once_earned_stays():
    for task, right, wrong in [(make_quiz(), "b", "a"), (make_clip(), clip, drops_large)]:
        assert [task.check(answer).state for answer in (right, wrong, ____)] == ["correct", "not yet", "not attempted"]
        assert task.state == "correct" and "1 of 1 correct" in repr(Progress({"task": task}))


def test_progress_tells_the_state_of_each_task():
    tasks = {"clip": make_clip(), "best_epoch": make_best_epoch(), "quiz_1": make_quiz()}
    tasks["clip"].check(clip), tasks["quiz_1"].check("a")
    for shown in (repr(Progress(tasks)), Progress(tasks)._repr_html_()):
        assert "1 of 3 correct" in shown
        assert all(word in shown for word in ("✓ Correct", "✗ Not yet", "○ Not attempted yet", "Read the best epoch"))


def test_a_modules_progress_survives_a_second_import(monkeypatch):
    module = type(sys)("helpers.exercises.nb99")
    module.clip, module.progress = make_clip(), progress_of("helpers.exercises.nb99")
    monkeypatch.setitem(sys.modules, "helpers.exercises.nb99", module)
    module.clip.check(clip)
    assert importlib.import_module("helpers.exercises.nb99").progress().tasks == {"clip": module.clip}
    assert "1 of 1" in repr(module.progress())


# Solved notebooks


def notebook_of(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell in cells[1:]:
        cell.metadata["tags"] = ["exercise"]
    return nbformat.v4.new_notebook(cells=cells)


def example_module(monkeypatch):
    module = type(sys)("helpers.exercises.nb99")
    module.clip, module.best_epoch, module.quiz_1 = make_clip(), make_best_epoch(), make_quiz()
    monkeypatch.setitem(sys.modules, "helpers.exercises.nb99", module)
    return module


@pytest.mark.parametrize("imports", ["import nb99 as ex", "import ____, nb99 as ex"])
def test_solved_replaces_the_answers_and_keeps_the_checks(monkeypatch, imports):
    module = example_module(monkeypatch)
    notebook = notebook_of(
        f"from helpers.exercises {imports}\nfrom helpers.exercises import ____",
        "# exercise: clip\nimport math\ndef clip(numbers, limit):\n    return 'wrong'\n\nex.clip.check(____)  # here",
        "# exercise: best_epoch\nbest_epoch = ____\nex.best_epoch.check(best_epoch)",
        "# exercise: quiz_1\nex.quiz_1.check(____)",
    )
    before = copy.deepcopy(notebook)
    result = solved(notebook)
    assert notebook == before
    names = {"ex": module, "____": ____}
    for original, cell in zip(notebook.cells[1:], result.cells[1:], strict=True):
        exec(original.source, names)
        task = getattr(module, exercise_name(cell.source))
        assert task.state == "not attempted"
        exec(cell.source, names)
        assert task.state == "correct" and cell.source.splitlines()[0] == original.source.splitlines()[0]
    assert "import math" in result.cells[1].source.splitlines()


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["x = 1", "# exercise: clip\nex.clip.check(____)"], "no `from"),
        (["from helpers.exercises import nb99 as ex", "ex.clip.check(____)"], "must start with"),
        (["from helpers.exercises import nb99 as ex", "# exercise: clip\nclip = ____"], "last line"),
    ],
)
def test_solved_says_which_cell_breaks_the_rules(monkeypatch, cells, words):
    example_module(monkeypatch)
    with pytest.raises(ValueError, match=words):
        solved(notebook_of(*cells))


# Every exercise and question of every notebook


@pytest.mark.parametrize(("module", "name"), TASKS)
def test_a_task_has_the_name_its_messages_use(module, name):
    task = getattr(module, name)
    assert name == (task.name if isinstance(task, Exercise) else name) and task.title


@pytest.mark.parametrize(("module", "name"), EXERCISES)
def test_a_solution_passes_also_when_pasted_into_an_empty_notebook(module, name):
    task = getattr(module, name)
    names = {}
    exec(task.solution().message, names)
    for right in (names[name], *task.variants):
        result = task.check(task.built(right))
        assert result.state == "correct", result.message
    assert not task.variants or result.message.startswith(told(task.variants[-1]))
    assert task.check(____).state == "not attempted"


@pytest.mark.parametrize(("module", "name"), EXERCISES)
def test_each_likely_mistake_is_recognised(module, name):
    task = getattr(module, name)
    assert len(task.mistakes) >= 3
    for mistake in task.mistakes:
        assert mistake.__doc__, f"{mistake.__name__} needs a docstring: the message for the learner"
        result = task.check(task.built(mistake))
        assert result.state == "not yet", f"{mistake.__name__} passes"
        assert told(mistake) in result.message, f"{mistake.__name__} is told: {result.message}"
    assert len({told(mistake) for mistake in task.mistakes}) == len(task.mistakes)


def threshold_of_section_7(labels, probabilities, cost_fp, cost_fn):
    def cost(threshold):
        false_positives = ((probabilities >= threshold) & (labels == 0)).sum()
        return cost_fp * false_positives + cost_fn * ((probabilities < threshold) & (labels == 1)).sum()

    thresholds = numpy.linspace(0, 1, 201)
    return thresholds[numpy.argmin([cost(threshold) for threshold in thresholds])]


def threshold_of_a_loop(labels, probabilities, cost_fp, cost_fn):
    pairs = list(zip(labels, probabilities, strict=True))
    costs = {
        t: sum(cost_fp for y, p in pairs if p >= t and y == 0) + sum(cost_fn for y, p in pairs if p < t and y == 1)
        for t in [0.0, *probabilities, 1.01]
    }
    return min(costs, key=costs.get)


def batches_of_equal_lengths(lengths, batch_size):
    same = {length: [place for place in range(len(lengths)) if lengths[place] == length] for length in set(lengths)}
    return [places[i : i + batch_size] for places in same.values() for i in range(0, len(places), batch_size)]


def loaders_of(splits, tokenizer):
    from helpers.batches import encode, make_loader

    return {
        name: make_loader(
            encode(split["text"], tokenizer, max_tokens=128), split["label"], tokenizer, batch_size=4, shuffle=True
        )
        for name, split in splits.items()
    }


def tuned_with_train(model, splits, tokenizer):
    from helpers.training import EarlyStopping, loss_and_accuracy, train

    loaders = loaders_of(splits, tokenizer)
    settings = {"epochs": 3, "learning_rate": 5e-5, "early_stopping": EarlyStopping(), "progress": False}
    train(model, loaders["train"], loaders["validation"], **settings)
    return loss_and_accuracy(model, loaders["test"])[1]


def tuned_by_patching(model, splits, tokenizer):
    """The tutorial's loop, each fault mended where it stands; the epoch is chosen by accuracy."""
    pad = {"padding": True, "truncation": True, "max_length": 256, "return_tensors": "pt", "pad_to_multiple_of": 8}

    def accuracy_on(split):
        model.eval()
        with torch.no_grad():
            logits = model(**tokenizer(split["text"], **pad), labels=torch.tensor(split["label"])).logits
        return (logits.argmax(dim=1) == torch.tensor(split["label"])).float().mean().item()

    train, best = splits["train"], -1
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    for _ in range(2):
        model.train()
        for rows in torch.randperm(len(train["text"])).split(8):
            inputs = tokenizer([train["text"][row] for row in rows], **pad)
            model(**inputs, labels=torch.tensor([train["label"][row] for row in rows])).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        if (accuracy := accuracy_on(splits["validation"])) > best:
            best, weights = accuracy, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return accuracy_on(splits["test"])


class StopsByEpochs(nb04.EarlyStopping.answer):
    """Counts epochs, as notebook 04 does, and starts without a best loss."""

    def __init__(self, patience=1, min_delta=0.0):
        self.patience, self.min_delta, self.epoch, self.best_loss = patience, min_delta, 0, None

    def update(self, validation_loss, model):
        self.epoch += 1
        if self.best_loss is None or self.best_loss - validation_loss > self.min_delta:
            self.best_loss, self.best_epoch = validation_loss, self.epoch
            self.best_weights = {name: weight.clone() for name, weight in model.state_dict().items()}
        return self.epoch == self.best_epoch + self.patience


def dropout_of_the_library(numbers, rate, training):
    return torch.nn.functional.dropout(numbers, rate, training)


def log_probabilities_of_the_library(logits, answers):
    return torch.tensor(logits, dtype=torch.float64).log_softmax(dim=0)[answers]


def pays_by_floor_division(labels, training, prompt, own):
    return (labels + training) // (prompt - own) + 1 if prompt > own else None


def convolve_by_the_library(picture, window):
    picture, window = torch.tensor(picture).double(), torch.tensor(window).double()
    return torch.nn.functional.conv2d(picture[None, None], window[None, None])[0, 0]


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        (nb02.make_batches, batches_of_equal_lengths),
        (nb03.fine_tune, tuned_with_train),
        (nb03.fine_tune, tuned_by_patching),
        (nb04.EarlyStopping, StopsByEpochs),
        (nb04.dropout, dropout_of_the_library),
        (nb05.best_threshold, threshold_of_section_7),
        (nb05.best_threshold, threshold_of_a_loop),
        (nb05.mislabelled, "4"),
        (nb07.log_probabilities, log_probabilities_of_the_library),
        (nb07.pays_from, pays_by_floor_division),
        (nb07.convolve, convolve_by_the_library),
    ],
)
def test_a_right_answer_of_another_form_passes(task, answer):
    result = task.check(answer)
    assert result.state == "correct", result.message


def test_without_copy_or_restoring_fine_tune_does_not_pass():
    def restores_nothing(model, splits, tokenizer):
        from helpers.training import loss_and_accuracy, train

        loaders = loaders_of(splits, tokenizer)
        train(model, loaders["train"], loaders["validation"], epochs=2, progress=False)
        return loss_and_accuracy(model, loaders["test"])[1]

    assert nb03.fine_tune.check(restores_nothing).message == told(nb03.keeps_the_last)


def test_of_two_missing_lines_in_a_training_step_the_first_is_told():
    def two_missing(model, batch, optimizer):
        from helpers.training import loss_of

        model.train()
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        return loss.item()

    assert told(nb03.never_clips) in nb03.training_step.check(two_missing).message


@pytest.mark.parametrize(
    "second",
    [
        {">= self.patience": "> self.patience"},
        {"if validation_loss < self": "if validation_loss <= self"},
        {" - self.min_delta:": ":"},
        {"            self.bad_epochs = 0\n": ""},
    ],
)
def test_of_two_mistakes_in_early_stopping_the_missing_copy_is_told(second):
    # Would catch a first case in which two mistakes mix, so that neither is named.
    both = nb04.EarlyStopping._changed({"copy.deepcopy(model.state_dict())": "model.state_dict()", **second})
    assert told(nb04.keeps_no_copy) in nb04.EarlyStopping.check(both).message


def test_the_losses_of_the_trainer_are_those_of_train(monkeypatch):
    # Would catch a library whose Trainer counts warm-up, decay or clipping in another way than the exercise says.
    from helpers import training

    monkeypatch.setattr(
        training, "mixed_precision", lambda _: (nullcontext, torch.amp.GradScaler("cpu", enabled=False))
    )

    def with_train(model, rows, tokenizer, folder):
        ids, labels = [row["input_ids"] for row in rows], [row["labels"] for row in rows]
        loader = make_loader(ids, labels, tokenizer, batch_size=16, shuffle=True)
        return training.train(model, loader, epochs=6, learning_rate=1e-3, warmup=0, progress=False).step_loss

    assert nb03.train_with_trainer.check(with_train).state == "correct"


def test_the_score_that_divides_by_zero_is_the_one_that_is_named():
    def unguarded_f1(tp, fp, fn, tn):
        precision = tp / (tp + fp) if tp + fp else 0
        recall = tp / (tp + fn) if tp + fn else 0
        f1 = 2 * precision * recall / (precision + recall)
        return [(tp + tn) / (tp + fp + fn + tn), precision, recall, f1]

    message = nb05.four_scores.check(unguarded_f1).message
    assert "`f1 = 2 * precision * recall / (precision + recall)`" in message and "precision would" not in message
    message = nb05.four_scores.check(lambda tp, fp, fn, tn: [(tp + tn) / (tp + fp + fn + tn), 0, 0, 0]).message
    assert "; precision\nExpected: `0.666667`" in message


@pytest.mark.parametrize(("module", "name"), EXERCISES)
def test_hints_come_in_steps_name_what_was_met_and_do_not_repeat_what_is_printed(module, name):
    hints = getattr(module, name).hints
    assert len(hints) >= 2 and len(set(hints)) == len(hints)
    met = [
        c.source for path in NOTEBOOKS if path.stem[:2] <= module.__name__[-2:] for c in nbformat.read(path, 4).cells
    ]
    (cell,) = [source for source in met if source.startswith(f"# exercise: {name}\n")]
    for code in re.findall("`([^`]+)`", " ".join(hints)):
        assert len(code) < 20 or code not in cell, f"`{code}` stands in the cell"
        for word in re.findall("[A-Za-z_]{3,}", code):
            assert any(word in source for source in met), f"{word} was not met before"


@pytest.mark.parametrize(("module", "name"), EXERCISES)
def test_odd_answers_to_the_real_exercises_do_not_raise_and_do_not_pass(module, name):
    task = getattr(module, name)
    for odd in (None, "", "yes", -12345, math.nan, [], {}, torch.full((2,), math.nan), object, lambda: None):
        assert task.check(odd).state == "not yet", odd
        assert task.check(lambda *a, odd=odd, **k: odd).state == "not yet", odd


@pytest.mark.parametrize(("module", "name"), QUIZZES)
def test_every_option_explains_itself(module, name):
    quiz = getattr(module, name)
    assert len(quiz.options) >= 3 and list(quiz.options) == list("abcdef"[: len(quiz.options)])
    states = []
    for letter in quiz.options:
        result = quiz.check(letter)
        states.append(result.state)
        assert quiz.why[letter] in result.message
    assert states.count("correct") == 1 and states.count("not yet") == len(states) - 1
    assert len(set(quiz.why.values())) == len(quiz.options) == len(set(quiz.options.values()))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__[-4:])
def test_a_notebook_has_enough_tasks_and_its_right_options_give_no_pattern(module):
    tasks = tasks_of(module).values()
    quizzes = [task for task in tasks if isinstance(task, Quiz)]
    assert len(quizzes) >= 3 and len(tasks) - len(quizzes) >= 3
    assert max(Counter(quiz.right for quiz in quizzes).values()) <= len(quizzes) / 2
    longest = [quiz for quiz in quizzes if quiz.right == max(quiz.options, key=lambda o, q=quiz: len(q.options[o]))]
    assert len(longest) <= len(quizzes) / 2, [quiz.title for quiz in longest]
    assert repr(module.progress()).count("\n") == len(tasks)


# Every notebook, blank and solved, in a real kernel on the quick track


def execute(notebook, **settings):
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute(
        **settings
    )
    return notebook


def result_of(cell):
    """The plain text that a cell shows as its value."""
    return [output["data"]["text/plain"] for output in cell.outputs if output["output_type"] == "execute_result"][-1]


def test_a_check_works_in_a_real_kernel():
    setup = "import os, sys\nsys.path.insert(0, os.path.abspath('..'))\nfrom helpers.exercises import Exercise, ____"
    declare = "def two(x):\n    return 2 * x\n\nex = Exercise(two, title='', cases=[(1,)], hints=[], time_limit=1)"
    loop = "def two(x):\n    while True:\n        x += 1\n\nex.check(two)"
    divide = "def two(x):\n    return x / 0\n\nex.check(two)"
    ends = "def two(x):\n    quit()\n\nex.check(two)"
    right = "def two(x):\n    print('hello')\n    return x + x\n\nex.check(two)"
    notebook = execute(notebook_of(setup, declare, loop, divide, ends, right))
    _, _, looped, divided, ended, passed = notebook.cells
    assert "never ends" in result_of(looped) and "line " in result_of(looped)
    assert "ZeroDivisionError" in result_of(divided) and "line 2 of your cell: `return x / 0`" in result_of(divided)
    assert result_of(ended).startswith("✗")
    assert result_of(passed).startswith("✓ Correct") and len(passed.outputs) == 1
    assert 'role="status"' in passed.outputs[0]["data"]["text/html"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_a_cell_for_every_task_and_each_cell_a_blank(path):
    cells = [cell for cell in nbformat.read(path, 4).cells if "exercise" in cell.metadata.get("tags", [])]
    module = importlib.import_module(f"helpers.exercises.nb{path.stem[:2]}")
    assert sorted(exercise_name(cell.source) for cell in cells) == sorted(tasks_of(module))
    assert all("____" in cell.source for cell in cells)


def names_of(source):
    """The names that a cell binds (its imports apart), those it imports, and those it uses."""
    tables = [symtable.symtable(source, "cell", "exec")]
    for table in tables:  # grows: the functions and classes inside
        tables += table.get_children()
    cell = tables[0].get_symbols()
    imported = {symbol.get_name() for symbol in cell if symbol.is_imported()}
    bound = {symbol.get_name() for symbol in cell if symbol.is_assigned()} - imported
    symbols = [symbol for table in tables for symbol in table.get_symbols() if table is tables[0] or symbol.is_global()]
    return bound, imported, {symbol.get_name() for symbol in symbols if symbol.is_referenced()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_rest_of_a_notebook_uses_no_answer(path):
    answers = set()
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            bound, imported, used = names_of(cell.source)
            if "exercise" in cell.metadata.get("tags", []):
                answers |= bound
            else:
                answers -= bound | imported
                assert not used & answers, f"{used & answers} is an answer, but used here:\n{cell.source}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_solved_cells_of_a_notebook_are_correct(path):
    module = importlib.import_module(f"helpers.exercises.nb{path.stem[:2]}")
    for cell in solved(nbformat.read(path, 4)).cells:
        if "exercise" in cell.metadata.get("tags", []):
            *lines, check = cell.source.splitlines()
            names = {"ex": module, "____": ____}
            exec("\n".join(lines), names)
            assert eval(check, names).state == "correct", cell.source


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_solved_notebook_runs_to_its_end(path, monkeypatch):
    # Blank is how they are committed: nbval runs that. The test above has found that the solved cells are correct.
    monkeypatch.setenv("COURSE_TRACK", "quick")
    for cell in execute(solved(nbformat.read(path, 4))).cells:  # a cell that fails raises here
        if "exercise" in cell.metadata.get("tags", []):
            said = result_of(cell).splitlines()  # a question shows itself first
            assert any(line.startswith("✓ Correct") for line in said), f"{exercise_name(cell.source)}: {said}"
