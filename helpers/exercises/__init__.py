"""Exercises and quiz questions that check themselves. Nothing is written or sent anywhere.

In a notebook:

    from helpers.exercises import ____
    from helpers.exercises import nb03 as ex

    # exercise: clip
    def clip(numbers, limit):          the cell has the tag "exercise", starts with this comment, defines `clip`,
        return ____                    and ends with the check
    ex.clip.check(clip)                then ex.clip.hint(), ex.clip.solution(); at the end ex.progress()

    ex.quiz_1                          shows the question; the next cell (tag "exercise") is
    # exercise: quiz_1
    ex.quiz_1.check(____)

Unanswered cells run, because `____` puts up with everything (calling, indexing, arithmetic, looping once). Two
things cannot be helped: unpacking (write `a, b = ____, ____`) and `torch.tensor(____)`.

How to write the exercises of a notebook (`helpers/exercises/nbNN.py`). One declaration drives the check, the tests
and the instructor's guide: the solution, the cases, and the likely mistakes, each a function whose docstring is the
message for a learner who made it.

    from helpers.exercises import Exercise, Quiz, progress_of

    def clip(numbers, limit):                        # the name the learner uses; imports go inside the function
        return [min(number, limit) for number in numbers]

    def cuts_off(numbers, limit):
        '''You drop the large numbers. Keep every number, but lower it to the limit.'''
        return [number for number in numbers if number <= limit]

    clip = Exercise(                                 # from here on the name means the exercise
        clip,
        title="Clip numbers at a limit",
        cases=[([1, 5, 3], 4), ([], 4)],             # one tuple of arguments per case, or {"an empty list": ([], 4)},
        mistakes=[cuts_off, ...],                    #   or a function that builds them (to import torch in it)
        hints=["A hint.", "A more direct hint."],
        praise="Clipped gradients work like this.",  # shown with "Correct"
    )
    quiz_1 = Quiz(
        "How many?", options={"a": "One", "b": "Two"}, right="b", why={"a": "Count again.", "b": "Right: two."}
    )
    progress = progress_of(__name__)

- An answer is compared with the solution on every case, by value: lists, tuples, arrays and tensors alike, floats
  within `tolerance` (relative, 1e-5). It may change its arguments only as the solution does. If it behaves like a
  mistake on all cases, that mistake's message is shown, then the first case that differs. So choose cases that tell
  the mistakes apart from the solution and from each other. Everything beside them is caught by the engine: errors,
  endless loops (`time_limit`, 10 seconds), wrong types, a missing `return`, prints.
- A value (`best_epoch = ____`) has a solution without parameters that returns it, and no cases. So have its mistakes.
- `run(answer, *case)` says how to use an answer that is not simply called with the case's arguments (a class, a
  training step on a tiny model) and returns plain values to compare, best as a dictionary {"what it is": value}: the
  message then shows the part that differs. Cases are seeds or settings. Make the tiny model there, so that nothing of
  the notebook is changed; seed torch there; don't catch the learner's errors.
- `check(answer)`, instead of cases, for what has more than one right answer: returns None if right, else one of the
  mistakes (whose docstring is shown) or a text.
- `minutes` is the author's estimate of the time that a learner needs who has just read the notebook: 6 for an
  exercise and 2 for a question unless said otherwise. The instructor's guide adds them up.
- A mistake must not call the solution by its name: that is the exercise by then.
- Messages may hold `code` and *emphasis*. Import torch, numpy, transformers inside functions only.
"""

from helpers.exercises.blank import ____
from helpers.exercises.engine import Exercise, Quiz, progress_of

__all__ = ["Exercise", "Quiz", "____", "progress_of"]
