"""Exercises and quiz questions that check themselves. Right answers are kept in outputs/answers; nothing is sent.

In a notebook:

    from helpers.exercises import ____
    from helpers.exercises import nb03 as ex

    # exercise: clip
    def clip(numbers, limit):          the cell has the tag "exercise", starts with this comment, defines `clip`,
        return ____                    and ends with the check
    ex.clip.check(clip)                then ex.clip.hint(), ex.clip.solution(); at the end ex.progress()

    # exercise: quiz_1                 a cell with the tag "exercise" too;
    ex.quiz_1.check(____)              it shows the question, and what the answer is worth

Unanswered cells run, because `____` puts up with everything (calling, indexing, arithmetic, looping once). Two
things cannot be helped: unpacking (write `a, b = ____, ____`) and `torch.tensor(____)`.

How to write the exercises of a notebook (`helpers/exercises/nbNN.py`). One declaration drives the check, the tests
and the instructor's guide: the solution, the cases, and the likely mistakes, whose docstrings are the messages for a
learner who made them. A mistake says only what differs from the solution, or it is a function of its own.

    from helpers.exercises import Quiz, exercise, progress_of

    @exercise(
        title="Clip numbers at a limit",
        cases=[([1, 5, 3], 4), ([], 4)],             # one tuple of arguments per case, or {"an empty list": ([], 4)},
        hints=["A hint.", "A more direct hint."],    #   or a function that builds them (to import torch in it)
        praise="Clipped gradients work like this.",  # shown with "Correct"
    )
    def clip(numbers, limit):                        # the name the learner uses; imports go inside the function
        return [min(number, limit) for number in numbers]

    @clip.mistake(replace={"min": "max"})            # or without="…": the solution without the lines that hold it
    def raises_small():
        '''`max` raises the small numbers. The limit is an upper one: use `min`.'''

    @clip.mistake
    def cuts_off(numbers, limit):
        '''You drop the large numbers. Keep every number, but lower it to the limit.'''
        return [number for number in numbers if number <= limit]

    quiz_1 = Quiz(
        '''
        How many?
        a) One
           ✗ Count again.
        b) Two
           ✓ Right: two.
        '''
    )
    again_1 = nb01.quiz_2.again()                    # an earlier question once more (import nb01 from here)
    progress = progress_of(__name__)

- An answer is compared with the solution on every case, by value: lists, tuples, arrays and tensors alike, floats
  within `tolerance` (relative, 1e-5). It may change its arguments only as the solution does. If it behaves like a
  mistake on all cases, that mistake's message is shown, then the first case that differs. So choose cases that tell
  the mistakes apart from the solution and from each other, the simplest one first: who made two mistakes is told the
  one that explains the first wrong case. Everything beside them is caught by the engine (`limits.py`): errors,
  endless loops (`time_limit`, 10 seconds), wrong types, a missing `return`, prints.
- `@clip.also_right(replace=…)` declares another right answer; its docstring is added to the praise.
- A value (`best_epoch = ____`) has a solution without parameters that returns it, and no cases. So have its mistakes.
- `run(answer, *case)` says how to use an answer that is not simply called with the case's arguments (a class, a
  training step on a tiny model) and returns plain values to compare, best as a dictionary {"what it is": value}: the
  message then shows the part that differs. Cases are seeds or settings. Make the tiny model there, so that nothing of
  the notebook is changed; seed torch there; don't catch the learner's errors.
- `check(answer)`, instead of cases, for what has more than one right answer: returns None if right, else one of the
  mistakes (whose docstring is shown) or a text.
- `minutes` is the author's estimate of the time that a learner needs who has just read the notebook: 6 for an
  exercise and 2 for a question unless said otherwise. The instructor's guide adds them up.
- Messages may hold `code` and *emphasis*. Import torch, numpy, transformers inside functions only.
"""

from helpers.exercises.blank import ____
from helpers.exercises.engine import Exercise, Quiz, exercise, progress_of

__all__ = ["Exercise", "Quiz", "____", "exercise", "progress_of"]
