"""The exercises: the engine, every exercise and question of every notebook, and the notebooks blank and solved."""

import _thread
import copy
import importlib
import inspect
import itertools
import math
import random
import subprocess
import symtable
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import nbformat
import numpy
import pytest
import torch
from nbclient import NotebookClient

from helpers.exercises import Exercise, Quiz, ____, progress_of
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


def make_clip(**changes):
    settings = {
        "title": "Clip numbers",
        "cases": [([1, 5, 3], 4), ([], 4), ([0.5], 4)],
        "mistakes": [drops_large, raises_small],
        "hints": HINTS,
        "praise": "Gradients are clipped like this.",
    }
    return Exercise(clip, **{**settings, **changes})


def make_best_epoch():
    return Exercise(best_epoch, title="Read the best epoch", mistakes=[counts_from_zero], hints=HINTS)


def make_shuffled():
    mistakes = [leaves_as_is, loses_items]
    return Exercise(shuffled, title="Shuffle", check=check_shuffled, mistakes=mistakes, hints=HINTS)


def make_quiz():
    return Quiz(
        "Which `rate`?",
        options={"a": "0.1", "b": "2e-5"},
        right="b",
        why={"a": "Far too large.", "b": "Right: small steps."},
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
    exercise, looks = make_clip(), []
    for answer, state in [(____, "not attempted"), (drops_large, "not yet"), (clip, "correct")]:
        result = exercise.check(answer)
        assert result.state == exercise.state == state
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
    exercise = make_clip(cases={"an empty list": ([], 4)})
    assert "Case: an empty list\nExpected: `[]`" in exercise.check(lambda numbers, limit: [0]).message


def test_cases_are_built_late_and_arguments_start_clean_each_time():
    exercise = make_clip(cases=lambda: [([1, 5], 4), ([1, 5], 4)])

    def clears(numbers, limit):
        result = clip(numbers, limit)
        numbers.clear()
        return result

    assert "changes its input" in exercise.check(clears).message
    assert exercise.check(clip).state == "correct"


def test_nan_is_told_and_only_equals_nan():
    assert "nan" in make_clip().check(lambda numbers, limit: [float("nan")] * len(numbers)).message
    exercise = make_clip(cases=[([float("nan")], float("nan"))])
    assert exercise.check(clip).state == "correct"
    assert exercise.check(lambda numbers, limit: [0.0]).state == "not yet"


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
        for exercise in (make_clip(), make_best_epoch(), make_shuffled()):
            assert exercise.check(answer).state == "not yet"
        assert make_quiz().check(answer).state == "not yet"


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


def assert_threads_return_to(count):
    for _ in range(100):
        if threading.active_count() > count:
            time.sleep(0.05)
    assert threading.active_count() == count


@pytest.mark.parametrize("answer", [never_ends, catches_everything, lambda *_: [0 for _ in itertools.count()]])
def test_an_endless_loop_is_stopped_and_its_thread_ends(answer):
    before = threading.active_count()
    result = make_clip(time_limit=0.2).check(answer)
    assert result.state == "not yet" and "never ends" in result.message and "line" in result.message
    assert_threads_return_to(before)


def test_what_cannot_be_stopped_is_left_behind_and_told():
    release = threading.Lock()
    release.acquire()
    result = make_clip(time_limit=0.1).check(lambda *_: release.acquire())
    release.release()
    assert result.state == "not yet" and "restart the kernel" in result.message


def test_an_endless_loop_in_a_check_of_its_own_and_in_a_value_is_stopped():
    assert (
        "never ends"
        in Exercise(shuffled, title="", check=check_shuffled, mistakes=[], hints=[], time_limit=0.2)
        .check(lambda items: [0 for _ in itertools.count()])
        .message
    )


def test_the_stop_button_works_and_stops_the_answer():
    before = threading.active_count()
    threading.Timer(0.3, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        make_clip(time_limit=60).check(never_ends)
    assert_threads_return_to(before)


# What a check must leave alone


def test_a_check_leaves_the_random_numbers_alone():
    def rolls(numbers, limit):
        random.random(), numpy.random.rand(), torch.rand(1)
        return numbers

    def draw():
        return random.random(), numpy.random.rand(), torch.rand(1).item()

    drawn = []
    for exercise in (None, make_clip()):
        random.seed(5), numpy.random.seed(5), torch.manual_seed(5)
        if exercise:
            exercise.check(rolls)
        drawn.append(draw())
    assert drawn[0] == drawn[1]


def test_random_answers_are_judged_on_the_same_random_numbers():
    def noise(size):
        import torch

        return torch.rand(size)

    exercise = Exercise(noise, title="Noise", cases=[(3,), (3,)], mistakes=[], hints=HINTS)
    assert exercise.check(lambda size: torch.rand(size)).state == "correct"
    assert exercise.check(lambda size: torch.rand(size) + 0.01).state == "not yet"


def test_the_first_check_may_be_the_one_that_imports_torch():
    code = """
from helpers.exercises import Exercise
import sys
def noise(size):
    import torch
    return torch.rand(size)
assert "torch" not in sys.modules and "numpy" not in sys.modules
print(Exercise(noise, title="", cases=[(3,)], mistakes=[], hints=[]).check(noise).state)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "correct\n", run.stderr


def test_no_module_of_exercises_imports_torch():
    names = "\n".join(f"import {module.__name__}" for module in MODULES)
    code = (
        f"import helpers.exercises\n{names}\nimport sys\nprint(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "[]\n", run.stderr


# The other kinds of exercise


def test_a_value_is_checked_without_giving_the_answer_away():
    exercise = make_best_epoch()
    assert exercise.check(3).state == exercise.check(torch.tensor(3)).state == "correct"
    assert told(counts_from_zero) in exercise.check(2).message
    for answer, words in [(7, "7"), ("three", "a text"), (None, "nothing"), (best_epoch, "call it"), (math.nan, "nan")]:
        message = exercise.check(answer).message
        assert words in message and "3" not in message
    assert exercise.check([____]).state == "not attempted"


def test_run_says_how_to_use_an_answer_such_as_a_class():
    def count(answer, start):
        counter = answer(start)
        return {"after adding 2": counter.add(2), "after adding 0": counter.add(0)}

    exercise = Exercise(Counter_, title="Count", run=count, cases=[(1,)], mistakes=[ForgetsStart], hints=HINTS)
    assert exercise.check(Counter_).state == "correct"
    assert told(ForgetsStart) in exercise.check(ForgetsStart).message

    class NeverCounts(Counter_):
        def add(self, step):
            return self.count if step == 0 else self.count + step

    message = exercise.check(NeverCounts).message
    assert "after adding 0\nExpected: `3`\nGot: `1`" in message and "after adding 2" not in message
    assert "AttributeError" in exercise.check(dict).message or "TypeError" in exercise.check(dict).message


def test_a_check_of_its_own_returns_a_mistake_or_a_text():
    exercise = make_shuffled()
    assert exercise.check(shuffled).state == exercise.check(lambda items: [2, 1, 4, 3]).state == "correct"
    for mistake in (leaves_as_is, loses_items):
        assert exercise.check(mistake).message == told(mistake)
    assert exercise.check(lambda items: [9, 9, 9, 9]).message == "The items must stay the same ones."
    assert "Is a `return` missing?" in exercise.check(print).message


def test_a_solution_that_fails_is_not_taken_for_the_measure():
    def fails(x):
        raise ValueError("oh")

    with pytest.raises(RuntimeError, match="fails is broken"):
        Exercise(fails, title="", cases=[(1,)], mistakes=[], hints=[]).check(fails)


def test_cases_and_check_exclude_each_other():
    with pytest.raises(ValueError, match="not both"):
        make_clip(check=check_shuffled)


def test_hints_come_one_by_one_and_end():
    exercise = make_clip()
    shown = [repr(exercise.hint()) for _ in range(4)]
    assert shown[0] == f"Hint 1 of 2. {HINTS[0]}" and shown[1] == f"Hint 2 of 2. {HINTS[1]}"
    assert "No more hints" in shown[2] and shown[2] == shown[3]


def test_the_solution_shown_is_the_source_of_the_function_tested():
    assert make_clip().solution().message == inspect.getsource(clip)
    assert "<pre>" in make_clip().solution()._repr_html_()


# Quizzes and progress


def test_a_quiz_explains_the_chosen_option_however_it_is_written():
    for letter in ("b", " B ", "b)", "'b'"):
        result = make_quiz().check(letter)
        assert result.state == "correct" and "Right: small steps." in result.message
    assert make_quiz().check("A").state == "not yet" and "Far too large." in make_quiz().check("A").message
    for odd in ("z", "", 2, None, ["b"], math.nan):
        assert make_quiz().check(odd).state == "not yet" and '`"a"`, `"b"`' in make_quiz().check(odd).message


def test_a_quiz_shows_its_question_and_options():
    for shown in (repr(make_quiz()), make_quiz()._repr_html_()):
        assert all(part in shown for part in ("Which", "a) 0.1", "b) 2e-5"))
        assert "small steps" not in shown


@pytest.mark.parametrize(
    "change", [{"right": "c"}, {"why": {"a": "No."}}, {"why": {"a": "No.", "b": "Yes.", "c": "What?"}}]
)
def test_a_quiz_with_a_gap_is_refused(change):
    with pytest.raises(ValueError, match="why"):
        Quiz(
            **{
                "question": "?",
                "options": {"a": "1", "b": "2"},
                "right": "b",
                "why": {"a": "No.", "b": "Yes."},
                **change,
            }
        )


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
    exercise = getattr(module, name)
    assert exercise.check(exercise.built(exercise.answer)).state == "correct"
    names = {}
    exec(exercise.solution().message, names)
    result = exercise.check(exercise.built(names[name]))
    assert result.state == "correct", result.message
    assert exercise.check(____).state == "not attempted"


@pytest.mark.parametrize(("module", "name"), EXERCISES)
def test_each_likely_mistake_is_recognised(module, name):
    exercise = getattr(module, name)
    assert len(exercise.mistakes) >= 3
    for mistake in exercise.mistakes:
        assert mistake.__doc__, f"{mistake.__name__} needs a docstring: the message for the learner"
        result = exercise.check(exercise.built(mistake))
        assert result.state == "not yet", f"{mistake.__name__} passes"
        assert told(mistake) in result.message, f"{mistake.__name__} is told: {result.message}"
    assert len({told(mistake) for mistake in exercise.mistakes}) == len(exercise.mistakes)


@pytest.mark.parametrize(("module", "name"), EXERCISES)
def test_there_are_hints_in_steps(module, name):
    hints = getattr(module, name).hints
    assert len(hints) >= 2 and len(set(hints)) == len(hints)


@pytest.mark.parametrize(("module", "name"), EXERCISES)
def test_odd_answers_to_the_real_exercises_do_not_raise_and_do_not_pass(module, name):
    exercise = getattr(module, name)
    for odd in (None, "", "yes", -12345, math.nan, [], {}, torch.full((2,), math.nan), object, lambda: None):
        assert exercise.check(odd).state == "not yet", odd
        assert exercise.check(lambda *a, odd=odd, **k: odd).state == "not yet", odd


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
    declare = (
        "def two(x):\n    return 2 * x\n\n"
        "ex = Exercise(two, title='', cases=[(1,)], mistakes=[], hints=[], time_limit=1)"
    )
    loop = "def two(x):\n    while True:\n        x += 1\n\nex.check(two)"
    divide = "def two(x):\n    return x / 0\n\nex.check(two)"
    right = "def two(x):\n    print('hello')\n    return x + x\n\nex.check(two)"
    notebook = execute(notebook_of(setup, declare, loop, divide, right))
    _, _, looped, divided, passed = notebook.cells
    assert "never ends" in result_of(looped) and "line " in result_of(looped)
    assert "ZeroDivisionError" in result_of(divided) and "line 2 of your cell: `return x / 0`" in result_of(divided)
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


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "variant",
    # Blank is how they are committed: nbval runs that on the laptop track, so here it would only cost minutes.
    [pytest.param("blank", marks=pytest.mark.slow), "solved"],
)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end_whether_blank_or_solved(path, variant, monkeypatch):
    monkeypatch.setenv("COURSE_TRACK", "quick")
    notebook = nbformat.read(path, 4)
    notebook = execute(solved(notebook) if variant == "solved" else notebook)  # a cell that fails raises here
    wanted = "✓ Correct" if variant == "solved" else "○ Not attempted yet"
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            assert result_of(cell).startswith(wanted), f"{exercise_name(cell.source)}: {result_of(cell)}"
