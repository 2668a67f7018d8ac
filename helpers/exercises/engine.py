"""Exercises that check themselves, and quiz questions. How to write them stands in `helpers/exercises/__init__.py`."""

import ast
import copy
import functools
import html
import inspect
import linecache
import re
import sys
import textwrap
import traceback

from helpers.exercises import answers
from helpers.exercises.blank import ____
from helpers.exercises.compare import codes, has_blank, kind, plain, same, show
from helpers.exercises.limits import TimeIsUp, roll_dice, run_limited

CORRECT, NOT_YET, NOT_ATTEMPTED = "correct", "not yet", "not attempted"
RIGHT = "Your answer does what it should."
_LOOKS = {  # symbol, word and colour of each state: never the colour alone
    CORRECT: ("✓", "Correct", "#009E73"),
    NOT_YET: ("✗", "Not yet", "#D55E00"),
    NOT_ATTEMPTED: ("○", "Not attempted yet", "#767676"),
}


def as_html(text):
    """Text as HTML, with `backticks` as code and *stars* as emphasis."""
    text = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"(?<!\w)\*(\w[^*\n]*)(?<=\w)\*(?!\w)", r"<em>\1</em>", text)


class Card:
    """A short text that shows itself under a cell: as HTML in a notebook, as plain text elsewhere."""

    def __init__(self, heading, message, colour="#0072B2", role="note"):
        self.heading, self.message, self.colour, self.role = heading, message, colour, role

    def __repr__(self):
        return f"{self.heading}. {self.message}"

    def _repr_html_(self):
        return (
            f'<div role="{self.role}" style="border-left: 5px solid {self.colour}; padding: 0.3em 0.8em; '
            f'white-space: pre-wrap"><strong>{html.escape(self.heading)}.</strong> {as_html(self.message)}</div>'
        )


class Result(Card):
    """What `check` found: `.state` is "correct", "not yet" or "not attempted"; `.message` says why.

    The result of a quiz question shows the question above, so that one cell holds both.
    """

    def __init__(self, state, message, quiz=None):
        symbol, word, colour = _LOOKS[state]
        super().__init__(f"{symbol} {word}", message, colour, role="status")
        self.state, self.quiz = state, quiz

    def __repr__(self):
        return f"{self.quiz}\n{super().__repr__()}" if self.quiz else super().__repr__()

    def _repr_html_(self):
        return (self.quiz._repr_html_() if self.quiz else "") + super()._repr_html_()


class Source(Card):
    """A solution as source code, in `.message`."""

    def __repr__(self):
        return f"{self.heading}:\n\n{self.message}"

    def _repr_html_(self):
        return f"<p><strong>{self.heading}:</strong></p><pre><code>{html.escape(self.message)}</code></pre>"


class _Raised:
    """Stands in place of a value where the answer threw an exception."""

    def __init__(self, error, answer):
        self.name, self.where = type(error).__name__, _where(error, answer)
        self.text = "".join(traceback.format_exception_only(error)).strip()

    def __eq__(self, other):
        return isinstance(other, _Raised) and self.name == other.name

    def __repr__(self):
        return f"an exception, {self.name}"


def _where(error, answer):
    """The learner's line in which an exception arose, as text; empty if it arose elsewhere."""
    files, found, step = {code.co_filename for code in codes(answer)}, None, error.__traceback__
    while step:
        if step.tb_frame.f_code.co_filename in files:
            found = step
        step = step.tb_next
    if not found:
        return ""
    line = linecache.getline(found.tb_frame.f_code.co_filename, found.tb_lineno).strip()
    return f"\nIt happened in line {found.tb_lineno} of your cell: `{line or '?'}`"


def told(mistake):
    """What a learner who made this mistake is told: its docstring, as one line."""
    return " ".join(mistake.__doc__.split())


def ticked(task, answer, result):
    """Note what a check found and return it. A tick, once earned, stays; its answer is kept for the next session."""
    task.state = CORRECT if task.state == CORRECT else result.state
    if result.state == CORRECT:
        answers.keep(task, answer)
    return result


def _call(answer, *arguments):
    return answer(*arguments)


def exercise(**settings):
    """Make an exercise of the solution below: `@exercise(title=…, cases=…, hints=…)`."""
    return lambda solution: Exercise(solution, **settings)


class Exercise:
    """One exercise: its solution, the cases it is judged on, its hints, and likely mistakes with their messages."""

    def __init__(
        self,
        solution,
        *,
        title,
        hints,
        cases=None,
        run=None,
        check=None,
        praise="",
        tolerance=1e-5,
        time_limit=10,
        minutes=6,
    ):
        if cases is not None and check is not None:
            raise ValueError(f"{solution.__name__}: give `cases` or `check`, not both.")
        self.name, self.title, self.hints, self.praise = solution.__name__, title, hints, praise
        self.minutes = minutes  # the author's estimate, for the instructor's guide
        self.answer, self.mistakes, self.variants = solution, [], []
        self.is_value = inspect.isfunction(solution) and not inspect.signature(solution).parameters
        self.state = NOT_ATTEMPTED
        self._cases, self._run, self._checker = cases, run, check
        self._tolerance, self._time_limit = tolerance, time_limit
        self._hints_given, self._known = 0, None

    # How it is declared

    def mistake(self, function=None, **changes):
        """Declare a likely wrong answer. Its docstring is what a learner who made it is told.

        @clip.mistake                                   the function below is the wrong answer, or
        @clip.mistake(replace={"min": "max"})           the solution with other words in it, or
        @clip.mistake(without="numbers.sort()")         the solution without the lines that hold these words
        """
        return self._declare(self.mistakes, function, changes)

    def also_right(self, function=None, **changes):
        """Declare, like a mistake, another answer that is right too. Its docstring is added to the praise."""
        return self._declare(self.variants, function, changes)

    def _declare(self, place, function, changes):
        if function is None:  # with brackets: Python calls what we return, with the function below
            return lambda function: self._declare(place, function, changes)
        if changes:
            changed = self._changed(**changes)
            changed.__name__, changed.__doc__ = function.__name__, function.__doc__
            function = changed
        place.append(function)
        return function

    def _changed(self, replace=(), without=None):
        """The solution with changes in its source."""
        source = self.source
        for old, new in dict(replace).items():
            if old not in source:
                raise ValueError(f"{self.name}: the solution holds no {old!r} to replace.")
            source = source.replace(old, new)
        if without:
            if without not in source:
                raise ValueError(f"{self.name}: the solution holds no line with {without!r}.")
            source = "\n".join(line for line in source.splitlines() if without not in line)
        names = {}
        exec(source, vars(sys.modules[self.answer.__module__]), names)
        return names[self.name]

    @functools.cached_property
    def source(self):
        """The solution as plain code, without the decorator."""
        source = textwrap.dedent(inspect.getsource(self.answer))
        return "".join(source.splitlines(keepends=True)[ast.parse(source).body[0].lineno - 1 :])

    def built(self, function):
        """What a learner with this solution or mistake hands in: the function, or for a value what it returns."""
        return function() if self.is_value else function

    # What the learner calls

    def check(self, answer=____):
        """Judge the answer. Never raises, whatever the answer is. A tick, once earned, stays."""
        blank, _, _ = run_limited(lambda: has_blank(answer), self._time_limit)
        if blank:
            result = Result(NOT_ATTEMPTED, "Replace every `____` in this cell with your answer, then run it again.")
        else:
            result = self._judge(answer)
        return ticked(self, answer, result)

    def hint(self):
        """The next hint, one at a time."""
        if self._hints_given == len(self.hints):
            return Card("No more hints", f"That was all {len(self.hints)}. `.solution()` shows one way to do it.")
        self._hints_given += 1
        return Card(f"Hint {self._hints_given} of {len(self.hints)}", self.hints[self._hints_given - 1])

    def solution(self):
        """The source of one right answer: the very function that the course's tests run."""
        return Source("One solution", self.source)

    def __repr__(self):
        return f"Exercise {self.name}: {self.title}. Use .check(answer), .hint(), .solution()."

    # How it is judged

    def _judge(self, answer):
        if self._known is None:  # the answer's clock has not started: this may have to import torch
            self._known, error, _ = run_limited(self._find_out, 300)
            if error is not None:
                raise RuntimeError(f"Exercise {self.name} is broken: its own solution fails.") from error
        got, error, printed = run_limited(lambda: self._try_out(answer), self._time_limit)
        finding = None
        if error is None:  # compared afterwards, when what the answer may have patched is whole again
            finding, error, _ = run_limited(lambda: self._compare(got, answer), self._time_limit)
        if isinstance(error, TimeIsUp):
            finding = f"Stopped after {self._time_limit} seconds: is there a loop that never ends?"
            finding += _where(error, answer).replace("It happened", "It was still busy")
            finding += "\nIf the computer stays busy now, restart the kernel."
        elif error is not None:
            finding = self._explain_error(_Raised(error, answer))
        if finding is ____:
            return Result(NOT_ATTEMPTED, "What your function returns is still a blank: replace every `____`.")
        if isinstance(finding, Result):
            return finding
        return Result(NOT_YET, finding + (f"\nYour code printed:\n{printed.strip()}" if printed.strip() else ""))

    def _find_out(self):
        """What the solution, its variants and every known mistake do on the cases."""
        if self._checker:
            return {self.answer: self._checker(self.built(self.answer))}
        self._outcomes(self.built(self.answer))  # once in vain: it may import torch, whose dice were not rolled then
        functions = [self.answer, *self.variants, *self.mistakes]
        known = {function: self._outcomes(self.built(function)) for function in functions}
        for value, _ in known[self.answer]:
            if isinstance(value, _Raised):
                raise RuntimeError(value.text)
        return known

    def _try_out(self, answer):
        """What the answer does: a message, when it can't be tried; what a check of its own finds; else its outcomes."""
        if not self.is_value and not callable(answer):
            given = f"`{show(plain(answer))}` ({kind(answer)})"
            what = "class" if isinstance(self.answer, type) else "function"
            return f"Give the {what} itself, without brackets: `ex.{self.name}.check({self.name})`. You gave {given}."
        if self._checker:
            roll_dice()
            return self._checker(answer)
        return self._wrong_parameters(answer) or self._outcomes(answer)

    def _compare(self, got, answer):
        """Say what is wrong: a message; a blank, when the answer gives one; praise, when nothing is wrong."""
        if callable(got) and got is not ____:
            return told(got)
        if got is None or got is ____ or isinstance(got, str):
            return Result(CORRECT, self.praise or RIGHT) if got is None else got
        if any(has_blank(value) for value, _ in got):
            return ____
        expected = self._known[self.answer]
        wrong = [i for i in range(len(got)) if not same(expected[i], got[i], self._tolerance)]
        if not wrong:
            return Result(CORRECT, self.praise or RIGHT)
        for variant in self.variants:
            if same(self._known[variant], got, self._tolerance):
                return Result(CORRECT, f"{told(variant)} {self.praise}".strip())
        first = wrong[0]
        detail = self._explain(wrong, expected[first], got[first])
        for mistake in self.mistakes:
            if same(self._known[mistake], got, self._tolerance):
                return f"{told(mistake)}\n{detail}"
        like = [m for m in self.mistakes if same(self._known[m][first], got[first], self._tolerance)]
        if len(like) == 1 and not isinstance(got[first][0], _Raised):  # two mistakes? name the one that shows first
            detail += f"\nPerhaps this is why: {told(like[0])}"
        return f"{detail}\nStuck? `ex.{self.name}.hint()`"

    @functools.cached_property
    def _named_cases(self):
        """[(how to call this case in a message, its arguments)]"""
        if self._cases is None:
            return [("", ())]
        cases = self._cases() if callable(self._cases) else self._cases
        if isinstance(cases, dict):
            return list(cases.items())
        texts = [", ".join(show(plain(argument)) for argument in case) for case in cases]
        return [
            (f"case {text}" if self._run else f"`{self.name}({text})`", case)
            for text, case in zip(texts, cases, strict=True)
        ]

    def _outcomes(self, answer):
        """For each case [the value, the arguments afterwards]; arguments are copied, so that each case starts clean."""
        outcomes = []
        for _, case in self._named_cases:
            arguments = copy.deepcopy(case)
            roll_dice()
            try:
                if self.is_value:
                    value = plain(self._run(answer) if self._run else answer)
                else:
                    value = plain((self._run or _call)(answer, *arguments))
            except TimeIsUp:
                raise
            except BaseException as error:
                value = _Raised(error, answer)
            outcomes.append([value, plain(arguments)])
        return outcomes

    def _wrong_parameters(self, answer):
        if self.is_value or self._run:
            return None
        try:
            inspect.signature(answer).bind(*self._named_cases[0][1])
        except ValueError:
            return None  # some built-in functions have no signature to look at
        except TypeError as error:
            return f"Your function will be called with `{inspect.signature(self.answer)}`, but: {error}."

    def _explain(self, wrong, expected, got):
        label = self._named_cases[wrong[0]][0]
        (wanted, _), (value, _) = expected, got
        if isinstance(value, _Raised):
            return self._explain_error(value, f" (case: {label})" if label else "")
        if same(wanted, value, self._tolerance):
            return f"The value is right, but your function changes its input: work on a copy of it.\nCase: {label}"
        if isinstance(wanted, dict) and isinstance(value, dict) and wanted.keys() == value.keys():
            key = next(key for key in wanted if not same(wanted[key], value[key], self._tolerance))
            label, wanted, value = f"{label}; {key}", wanted[key], value[key]
        what = f"`{show(value)}`" if kind(wanted) == kind(value) else f"`{show(value)}` ({kind(value)})"
        if self.is_value:  # the expected value would give the answer away
            return f"{what} is not the answer."
        share = f"{len(wrong)} of {len(self._named_cases)} cases wrong."
        return f"{share}\nCase: {label}\nExpected: `{show(wanted)}`\nGot: {what}"

    def _explain_error(self, raised, label=""):
        if raised.where:
            return f"Your code stopped with an error{label}. {raised.text}{raised.where}"
        missing = " Is a `return` missing?" if "None" in raised.text else ""
        return f"The check could not call your answer or use what it gave{label}. {raised.text}.{missing}"


class Quiz:
    """A question with lettered options, each of which explains itself.

    The text holds the question, and for each option a line `a) …` and below it the reply: `✗ …`, or `✓ …` for the
    right one.
    """

    def __init__(self, text, *, minutes=2):
        question, *parts = re.split(r"^\s*([a-f])\) ", text, flags=re.MULTILINE)
        self.question, self.options, self.why, rights = " ".join(question.split()), {}, {}, []
        for letter, part in zip(parts[::2], parts[1::2], strict=True):
            option, *marks = re.split(r"^\s*([✓✗]) ", part, flags=re.MULTILINE)
            if len(marks) != 2:
                raise ValueError(f"Quiz {self.question!r}: give option {letter} one reply, which starts with ✓ or ✗.")
            self.options[letter], self.why[letter] = " ".join(option.split()), " ".join(marks[1].split())
            rights += [letter] if marks[0] == "✓" else []
        if len(rights) != 1:
            raise ValueError(f"Quiz {self.question!r}: mark one option as the right one, ✓, not {len(rights)}.")
        self.right, self.title, self.state = rights[0], self.question, NOT_ATTEMPTED
        self.minutes = minutes  # the author's estimate, for the instructor's guide

    def check(self, answer=____):
        """Show the question, and explain the chosen option, a letter. Never raises."""
        letter = answer.strip(" .:()\"'\t\n").lower() if isinstance(answer, str) else None
        if answer is ____:
            result = Result(NOT_ATTEMPTED, 'Put the letter of your choice in place of `____`, in quotes: `"a"`.', self)
        elif letter not in self.options:
            choices = ", ".join(f'`"{option}"`' for option in self.options)
            result = Result(NOT_YET, f"There is no option {show(answer)}. The options are {choices}.", self)
        else:
            result = Result(CORRECT if letter == self.right else NOT_YET, f"{letter}) {self.why[letter]}", self)
        return ticked(self, answer, result)

    def again(self):
        """The same question for a later notebook, where it is answered anew."""
        other = copy.copy(self)
        other.state = NOT_ATTEMPTED
        return other

    def __repr__(self):
        return "\n".join([self.question, *(f"  {letter}) {text}" for letter, text in self.options.items())])

    def _repr_html_(self):
        rows = "".join(f"<li>{letter}) {as_html(text)}</li>" for letter, text in self.options.items())
        return f'<p><strong>{as_html(self.question)}</strong></p><ul style="list-style: none">{rows}</ul>'


class Progress:
    """A table of a notebook's exercises and questions with the state of each."""

    def __init__(self, tasks, number="00"):
        self.tasks, self.number = tasks, number  # {name: Exercise or Quiz}, the notebook's number

    def __repr__(self):
        rows = [
            f"{_LOOKS[task.state][0]} {_LOOKS[task.state][1]:18} {name}: {task.title}"
            for name, task in self.tasks.items()
        ]
        return "\n".join([self._caption(), *rows])

    def _repr_html_(self):
        rows = "".join(
            f'<tr><th scope="row" style="text-align: left"><code>{name}</code></th>'
            f'<td style="text-align: left">{as_html(task.title)}</td>'
            f'<td style="text-align: left; white-space: nowrap">{" ".join(_LOOKS[task.state][:2])}</td></tr>'
            for name, task in self.tasks.items()
        )
        head = "".join(
            f'<th scope="col" style="text-align: left">{word}</th>' for word in ("name", "exercise", "state")
        )
        return f"<table><caption>{self._caption()}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _caption(self):
        done = sum(task.state == CORRECT for task in self.tasks.values())
        return f"{done} of {len(self.tasks)} correct. To read out: {self.code()}"

    def code(self):
        """What a room needs to know, and no more: "03: 1, 2, 4; quiz 3" has exercises 1, 2 and 4, and 3 questions."""
        exercises = [task for task in self.tasks.values() if isinstance(task, Exercise)]
        done = [str(number) for number, task in enumerate(exercises, 1) if task.state == CORRECT]
        questions = sum(task.state == CORRECT for task in self.tasks.values() if isinstance(task, Quiz))
        return f"{self.number}: {', '.join(done) or 'none'}; quiz {questions}"


def tasks_of(module):
    """{name: Exercise or Quiz} of a notebook's module, in the order they are written there."""
    return {name: task for name, task in vars(module).items() if isinstance(task, (Exercise, Quiz))}


def progress_of(module_name):
    """The function `progress()` of a notebook's module: write `progress = progress_of(__name__)` at its end."""

    def progress():
        tasks = tasks_of(sys.modules[module_name])
        answers.check_again(module_name.rpartition(".")[2], tasks)
        return Progress(tasks, module_name[-2:])

    return progress
