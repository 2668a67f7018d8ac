"""Exercises of notebook 04, overfitting."""

from helpers.exercises import Exercise, Quiz, progress_of

# Exercise 1: read the best epoch off a history


def best_epoch(train_loss, validation_loss, validation_accuracy):
    return validation_loss.index(min(validation_loss)) + 1


def counts_from_zero(train_loss, validation_loss, validation_accuracy):
    """You count from 0. The first epoch is epoch 1, so add 1 to the place in the list."""
    return validation_loss.index(min(validation_loss))


def looks_at_training(train_loss, validation_loss, validation_accuracy):
    """You look at the training loss, which keeps falling while the model learns its sentences by heart. Look at the
    validation loss."""
    return train_loss.index(min(train_loss)) + 1


def looks_at_accuracy(train_loss, validation_loss, validation_accuracy):
    """You look at the accuracy. It moves in steps of whole sentences and does not see confidence: take the lowest
    validation loss."""
    return validation_accuracy.index(max(validation_accuracy)) + 1


def takes_the_highest_loss(train_loss, validation_loss, validation_accuracy):
    """You take the highest validation loss. A loss is better when it is lower."""
    return validation_loss.index(max(validation_loss)) + 1


def takes_the_last_epoch(train_loss, validation_loss, validation_accuracy):
    """You take the last epoch. That is what happens without early stopping."""
    return len(validation_loss)


def takes_the_last_of_equals(train_loss, validation_loss, validation_accuracy):
    """Where two epochs are equally good you take the later one. Take the earlier: the other took longer and is no
    better."""
    return len(validation_loss) - validation_loss[::-1].index(min(validation_loss))


def smallest_loss_itself(train_loss, validation_loss, validation_accuracy):
    """That is the lowest loss itself. Return the number of its epoch."""
    return min(validation_loss)


best_epoch = Exercise(
    best_epoch,
    title="Read the best epoch off a history",
    minutes=4,
    cases={
        "a run that overfits": ([0.69, 0.5, 0.3, 0.1], [0.71, 0.58, 0.61, 0.66], [0.55, 0.7, 0.72, 0.71]),
        "a run with a wobble": ([0.7, 0.6, 0.5, 0.4, 0.2], [0.7, 0.6, 0.65, 0.55, 0.8], [0.6, 0.7, 0.65, 0.68, 0.7]),
        "a run with two equal epochs": ([0.7, 0.2, 0.25], [0.6, 0.6, 0.7], [0.6, 0.65, 0.7]),
    },
    mistakes=[
        counts_from_zero,
        looks_at_training,
        looks_at_accuracy,
        takes_the_highest_loss,
        takes_the_last_epoch,
        takes_the_last_of_equals,
        smallest_loss_itself,
    ],
    hints=[
        "One of the three lists says how well the model does on sentences it doesn't train on, and how sure it is.",
        "`min(validation_loss)` is the lowest loss; `validation_loss.index(…)` says where it stands, counted from 0.",
    ],
    praise="That is the epoch whose weights early stopping keeps.",
)


# Exercise 2: early stopping


class EarlyStopping:
    def __init__(self, patience=1, min_delta=0.0):
        self.patience, self.min_delta = patience, min_delta
        self.best_loss, self.best_weights, self.bad_epochs = float("inf"), None, 0

    def update(self, validation_loss, model):
        import copy

        if validation_loss < self.best_loss - self.min_delta:
            self.best_loss, self.bad_epochs = validation_loss, 0
            self.best_weights = copy.deepcopy(model.state_dict())
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience

    def restore(self, model):
        model.load_state_dict(self.best_weights)


class _Variant:
    """An EarlyStopping in which each likely mistake can be switched on alone."""

    late = 0  # epochs too many
    forgives = True  # a better epoch starts the count anew
    use_delta = True
    compare_with_last = False
    copies = True
    restores = True
    upside_down = False
    keeps_last = False

    def __init__(self, patience=1, min_delta=0.0):
        self.patience, self.min_delta = patience + self.late, min_delta if self.use_delta else 0.0
        self.best, self.weights, self.bad = float("-inf" if self.upside_down else "inf"), None, 0

    def update(self, validation_loss, model):
        import copy

        better = validation_loss < self.best - self.min_delta
        if self.upside_down:
            better = validation_loss > self.best + self.min_delta
        if better:
            self.bad = 0 if self.forgives else self.bad
        else:
            self.bad += 1
        if better or self.compare_with_last:
            self.best = validation_loss
        if better or self.keeps_last:
            self.weights = copy.deepcopy(model.state_dict()) if self.copies else model.state_dict()
        return self.bad >= self.patience

    def restore(self, model):
        if self.restores:
            model.load_state_dict(self.weights)


class OneEpochTooLong(_Variant):
    """You stop one epoch too late. With `patience=1` the first epoch without improvement is the last: compare with
    `>=`, not `>`."""

    late = 1


class OneEpochTooShort(_Variant):
    """You stop one epoch too early. With `patience=2` two epochs without improvement in a row are needed."""

    late = -1


class NeverForgives(_Variant):
    """You count all epochs without improvement. Only those in a row count: start again from 0 when the loss
    improves."""

    forgives = False


class IgnoresMinDelta(_Variant):
    """You don't use `min_delta`. A fall counts only if it is larger: `validation_loss < self.best_loss -
    self.min_delta`."""

    use_delta = False


class ComparesWithTheLastEpoch(_Variant):
    """You compare with the epoch before. Compare with the best so far: a loss that creeps back down is no new best."""

    compare_with_last = True


class KeepsNoCopy(_Variant):
    """The kept weights follow the model, because `state_dict()` is no copy. Use `copy.deepcopy(model.state_dict())`."""

    copies = False


class DoesNotRestore(_Variant):
    """After `restore` the model still has the weights of the last epoch. Put the best ones back with
    `model.load_state_dict(…)`."""

    restores = False


class KeepsTheLast(_Variant):
    """You restore the weights of the last epoch. Keep a copy only when the loss has improved."""

    keeps_last = True


class HigherIsBetter(_Variant):
    """You treat a higher loss as better. A loss is better when it is lower: start from `float("inf")` and look for
    falls."""

    upside_down = True


def _run_epochs(answer, losses, settings):
    """Show the answer one validation loss an epoch; return what `update` said and the weight after `restore`.

    The "model" has one weight, which is 1 after epoch 1, 2 after epoch 2, and so on. After the last update it trains
    for one more epoch, and the weights are restored into another model, whose weight is 0: so a missing copy, a
    missing restore and the wrong epoch can be told apart.
    """
    import torch

    model = torch.nn.Linear(1, 1, bias=False)
    stopping = answer(**settings)
    said = []
    for epoch, loss in enumerate(losses, start=1):
        with torch.no_grad():
            model.weight.fill_(epoch)
        stops = stopping.update(loss, model)
        said.append(stops if stops is None else bool(stops))
        if stops:
            break
    with torch.no_grad():
        model.weight.fill_(epoch + 1)
    restored = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(restored.weight)
    stopping.restore(restored)
    return {"stop now?": said, "restored epoch": restored.weight.item()}


EarlyStopping = Exercise(
    EarlyStopping,
    title="Write EarlyStopping",
    minutes=15,
    run=_run_epochs,
    cases={
        "the losses 0.6, 0.5, 0.7, 0.8 with patience=1": ([0.6, 0.5, 0.7, 0.8], {"patience": 1}),
        "the losses 0.6, 0.7, 0.5, 0.6, 0.55, 0.8 with patience=2": ([0.6, 0.7, 0.5, 0.6, 0.55, 0.8], {"patience": 2}),
        "the losses 0.6, 0.55, 0.5, 0.6, 0.7 with patience=3 and min_delta=0.2": (
            [0.6, 0.55, 0.5, 0.6, 0.7],
            {"patience": 3, "min_delta": 0.2},
        ),
        "the losses 0.6, 0.5, 0.4 with patience=2": ([0.6, 0.5, 0.4], {"patience": 2}),
    },
    mistakes=[
        OneEpochTooLong,
        OneEpochTooShort,
        NeverForgives,
        IgnoresMinDelta,
        ComparesWithTheLastEpoch,
        KeepsNoCopy,
        DoesNotRestore,
        KeepsTheLast,
        HigherIsBetter,
    ],
    hints=[
        'Remember three things: the best loss so far (`float("inf")` at first), a copy of its weights, and how many '
        "epochs in a row have not improved on it.",
        "An epoch improves if `validation_loss < self.best_loss - self.min_delta`. Then the count starts again from 0.",
        "Copy with `copy.deepcopy(model.state_dict())`; put back with `model.load_state_dict(self.best_weights)`. "
        "Stop when the count reaches the patience (`>=`).",
    ],
    praise="`train(…, early_stopping=EarlyStopping(patience=2))` works with your class too: try it.",
)


# Exercise 3: dropout on paper


def on_paper():
    return [2.5, 0.0, -1.25, 5.0, 0.0]


def forgets_to_scale():
    """The zeros are right. But the numbers that stay must make up for those that go: divide them by 1 - 0.2."""
    return [2.0, 0.0, -1.0, 4.0, 0.0]


def multiplies_instead():
    """You multiply by 0.8 where you should divide: the numbers that stay grow, so that the mean stays the same."""
    return [1.6, 0.0, -0.8, 3.2, 0.0]


def divides_by_the_rate():
    """You divide by the rate, 0.2. Divide by the share that stays, 1 - 0.2."""
    return [10.0, 0.0, -5.0, 20.0, 0.0]


def drops_the_others():
    """You drop where the mask says keep. A 1 in the mask keeps a number, a 0 drops it."""
    return [0.0, 3.75, 0.0, 0.0, 1.25]


def scales_by_what_stayed():
    """You divide by the share that happened to stay here, 3 of 5. The factor is fixed by the rate alone: divide by 1 -
    0.2."""
    return [number / 0.6 for number in (2.0, 0.0, -1.0, 4.0, 0.0)]


on_paper = Exercise(
    on_paper,
    title="Dropout on paper",
    minutes=3,
    mistakes=[forgets_to_scale, multiplies_instead, divides_by_the_rate, drops_the_others, scales_by_what_stayed],
    hints=["First the mask: two of the five numbers become 0.", "Then divide what stays by 1 - 0.2 = 0.8."],
    praise="Now let the computer throw the dice.",
)


# Exercise 4: dropout in code


def dropout(numbers, rate, training):
    import torch

    if not training:
        return numbers
    keep = torch.rand(numbers.shape) >= rate
    return numbers * keep / (1 - rate)


def does_not_scale(numbers, rate, training):
    """The numbers that stay are too small: divide them by `1 - rate`, so that the mean stays the same."""
    import torch

    return numbers * (torch.rand(numbers.shape) >= rate) if training else numbers


def drops_in_eval_mode(numbers, rate, training):
    """Your dropout also drops in eval mode. With `training=False` return the numbers as they are."""
    import torch

    return numbers * (torch.rand(numbers.shape) >= rate) / (1 - rate)


def keeps_what_it_should_drop(numbers, rate, training):
    """You keep the share `rate` and drop the rest. `torch.rand(…) >= rate` is True for the share `1 - rate`."""
    import torch

    return numbers * (torch.rand(numbers.shape) < rate) / (1 - rate) if training else numbers


def all_or_nothing(numbers, rate, training):
    """You throw one die for all numbers. Each number needs its own: `torch.rand(numbers.shape)`."""
    import torch

    return numbers * (torch.rand(()) >= rate) / (1 - rate) if training else numbers


def always_the_same(numbers, rate, training):
    """Your dropout drops the same numbers each time. Leave the seed alone, so that every call is new."""
    import torch

    torch.manual_seed(0)
    return numbers * (torch.rand(numbers.shape) >= rate) / (1 - rate) if training else numbers


def scales_in_eval_mode(numbers, rate, training):
    """In train mode all is well, but in eval mode you change the numbers. With `training=False` return them as they
    are."""
    import torch

    return numbers * (torch.rand(numbers.shape) >= rate) / (1 - rate) if training else numbers * (1 - rate)


def _many_dice(answer, rate, training):
    """Drop out 10,000 threes twice. Return what can be said of any right answer, whatever its dice."""
    import torch

    numbers = torch.full((100, 100), 3.0)
    torch.manual_seed(1)
    first, second = (torch.as_tensor(answer(numbers.clone(), rate, training)) for _ in range(2))
    stays = first[first != 0]
    return {
        "shape": list(first.shape),
        "share of zeros": round((first == 0).float().mean().item(), 1),
        "what a 3 becomes if it stays": [round(stays.min().item(), 4), round(stays.max().item(), 4)]
        if len(stays)
        else "none stays",
        "two calls are equal": bool(torch.equal(first, second)),
        "rows are alike": bool((first == first[0]).all()),
        "columns are alike": bool((first == first[:, :1]).all()),
    }


dropout = Exercise(
    dropout,
    title="Dropout in code",
    minutes=7,
    run=_many_dice,
    cases={
        "10,000 threes, rate 0.3, train mode": (0.3, True),
        "10,000 threes, rate 0.1, train mode": (0.1, True),
        "10,000 threes, rate 0.3, eval mode": (0.3, False),
    },
    mistakes=[
        does_not_scale,
        drops_in_eval_mode,
        keeps_what_it_should_drop,
        all_or_nothing,
        always_the_same,
        scales_in_eval_mode,
    ],
    hints=[
        "`torch.rand(numbers.shape)` gives one number between 0 and 1 for each of yours.",
        "`torch.rand(numbers.shape) >= rate` is True where a number stays. Multiply by it, then divide by `1 - rate`.",
        "Before all that: `if not training: return numbers`.",
    ],
    praise="That is what `torch.nn.Dropout` does.",
)


quiz_1 = Quiz(
    "Training loss falls every epoch, validation loss rises, validation accuracy stays level. What is going on?",
    options={
        "a": "Nothing bad: accuracy is what counts, and it hasn't fallen",
        "b": "The model grows more confident, also where it is wrong",
        "c": "The validation loss must have been computed in train mode, with dropout on",
    },
    right="b",
    why={
        "a": "The same share of reviews is wrong, but with ever higher confidence: the probabilities become worthless.",
        "b": "Right. Accuracy counts mistakes, the loss also weighs how sure the model was of them.",
        "c": "Dropout would raise the loss in all epochs alike. It would not make it turn up.",
    },
)

quiz_2 = Quiz(
    "Early stopping with patience 2 has stopped after epoch 6 and restored the best weights. Of which epoch?",
    options={"a": "Epoch 4", "b": "Epoch 5", "c": "Epoch 6"},
    right="a",
    why={
        "a": "Right: epochs 5 and 6 were the two in a row that didn't improve on it.",
        "b": "Then only one epoch without improvement would have followed, and training would have gone on.",
        "c": "Epoch 6 is where it stopped, because that epoch was no improvement.",
    },
)

quiz_3 = Quiz(
    "Over three seeds, setting A beats setting B by 0.02 in mean validation loss; the seeds of each setting differ by "
    "0.05. What do you report?",
    options={
        "a": "A is better",
        "b": "They are equally good, since the difference is within the spread of the seeds",
        "c": "These runs can't tell them apart",
    },
    right="c",
    why={
        "a": "Another three seeds could well turn it round: the difference is smaller than the spread.",
        "b": "That is more than you know. Not seeing a difference is not the same as seeing that there is none.",
        "c": "Right. More seeds might tell them apart, or show that any difference is too small to matter.",
    },
)

quiz_4 = Quiz(
    "Your best epoch has a validation loss of 0.55. Is 0.55 what you should expect on new reviews?",
    options={
        "a": "A little more, since that epoch was chosen because it did well on just these reviews",
        "b": "Yes: the model was never trained on the validation reviews",
        "c": "Less, because restoring the best weights lowers the loss",
    },
    right="a",
    why={
        "a": "Right. What is used to choose is no longer a fair judge. That is why notebook 05 has a test set.",
        "b": "It wasn't trained on them, but it was chosen on them, which favours their luck.",
        "c": "Restoring brings the loss of the best epoch back, exactly, and no lower.",
    },
)

progress = progress_of(__name__)
