"""Exercises of notebook 04, overfitting."""

from helpers.exercises import Quiz, exercise, nb02, nb03, progress_of

# Exercise 1: read the best epoch off a history


@exercise(
    title="Read the best epoch off a history",
    minutes=4,
    cases={
        "a run that overfits": ([0.69, 0.5, 0.3, 0.1], [0.71, 0.58, 0.61, 0.66], [0.55, 0.7, 0.72, 0.71]),
        "a run with a wobble": ([0.7, 0.6, 0.5, 0.4, 0.2], [0.7, 0.6, 0.65, 0.55, 0.8], [0.6, 0.7, 0.65, 0.68, 0.7]),
        "a run with two equal epochs": ([0.7, 0.2, 0.25], [0.6, 0.6, 0.7], [0.6, 0.65, 0.7]),
    },
    hints=[
        "One of the three lists says how well the model does on sentences it doesn't train on, and how sure it is.",
        "`min(validation_loss)` is the lowest loss; `validation_loss.index(…)` says where it stands, counted from 0.",
    ],
    praise="That is the epoch whose weights early stopping keeps.",
)
def best_epoch(train_loss, validation_loss, validation_accuracy):
    return validation_loss.index(min(validation_loss)) + 1


@best_epoch.mistake(replace={" + 1": ""})
def counts_from_zero():
    """You count from 0. The first epoch is epoch 1, so add 1 to the place in the list."""


@best_epoch.mistake
def looks_at_training(train_loss, validation_loss, validation_accuracy):
    """You look at the training loss, which keeps falling while the model learns its sentences by heart. Look at the
    validation loss."""
    return train_loss.index(min(train_loss)) + 1


@best_epoch.mistake
def looks_at_accuracy(train_loss, validation_loss, validation_accuracy):
    """You look at the accuracy. It moves in steps of whole sentences and does not see confidence: take the lowest
    validation loss."""
    return validation_accuracy.index(max(validation_accuracy)) + 1


@best_epoch.mistake(replace={"min(": "max("})
def takes_the_highest_loss():
    """You take the highest validation loss. A loss is better when it is lower."""


@best_epoch.mistake
def takes_the_last_epoch(train_loss, validation_loss, validation_accuracy):
    """You take the last epoch. That is what happens without early stopping."""
    return len(validation_loss)


@best_epoch.mistake
def takes_the_last_of_equals(train_loss, validation_loss, validation_accuracy):
    """Where two epochs are equally good you take the later one. Take the earlier: the other took longer and is no
    better."""
    return len(validation_loss) - validation_loss[::-1].index(min(validation_loss))


@best_epoch.mistake
def smallest_loss_itself(train_loss, validation_loss, validation_accuracy):
    """That is the lowest loss itself. Return the number of its epoch."""
    return min(validation_loss)


# Exercise 2: early stopping


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


@exercise(
    title="Write EarlyStopping",
    minutes=15,
    run=_run_epochs,
    cases={
        "the losses 0.6, 0.5, 0.4 with patience=2": ([0.6, 0.5, 0.4], {"patience": 2}),
        "the losses 0.6, 0.5, 0.7, 0.8 with patience=1": ([0.6, 0.5, 0.7, 0.8], {"patience": 1}),
        "the losses 0.6, 0.7, 0.5, 0.6, 0.55, 0.8 with patience=2": ([0.6, 0.7, 0.5, 0.6, 0.55, 0.8], {"patience": 2}),
        "the losses 0.6, 0.55, 0.5, 0.6, 0.7 with patience=3 and min_delta=0.2": (
            [0.6, 0.55, 0.5, 0.6, 0.7],
            {"patience": 3, "min_delta": 0.2},
        ),
        "the losses 2.4, 2.2, 2.3 with patience=2": ([2.4, 2.2, 2.3], {"patience": 2}),
        "the losses 0.6, 0.5, 0.5, 0.5 with patience=2": ([0.6, 0.5, 0.5, 0.5], {"patience": 2}),
    },
    hints=[
        "Before the first epoch every loss should count as an improvement: start from `math.inf`, infinity.",
        "An epoch improves if `validation_loss < self.best_loss - self.min_delta`. Then the count starts again from 0; "
        "otherwise it goes up by one. Stop when it reaches the patience.",
        "Section 5 says why the weights must be copied: `copy.deepcopy(model.state_dict())`. Put them back as "
        "`StopByHand` does.",
    ],
    praise="`train(…, early_stopping=EarlyStopping(patience=2))` works with your class too: try it.",
)
class EarlyStopping:
    def __init__(self, patience=1, min_delta=0.0):
        self.patience, self.min_delta = patience, min_delta
        self.best_loss = float("inf")
        self.best_weights = None
        self.bad_epochs = 0  # epochs in a row without improvement

    def update(self, validation_loss, model):
        import copy

        if validation_loss < self.best_loss - self.min_delta:
            self.best_loss = validation_loss
            self.best_weights = copy.deepcopy(model.state_dict())
            self.bad_epochs = 0
        else:
            self.bad_epochs = self.bad_epochs + 1
        return self.bad_epochs >= self.patience

    def restore(self, model):
        model.load_state_dict(self.best_weights)


@EarlyStopping.also_right
class KeepsTheLowest:
    """With a `min_delta` the lowest loss need not be one that counted as an improvement. Your class gives back the
    weights of the truly lowest loss, ours those of the last improvement that counted. Both are in use."""

    def __init__(self, patience=1, min_delta=0.0):
        self.patience, self.min_delta, self.bad_epochs = patience, min_delta, 0
        self.counted, self.lowest, self.weights = float("inf"), float("inf"), None

    def update(self, validation_loss, model):
        import copy

        if validation_loss < self.lowest:
            self.lowest, self.weights = validation_loss, copy.deepcopy(model.state_dict())
        improved = validation_loss < self.counted - self.min_delta
        self.counted = validation_loss if improved else self.counted
        self.bad_epochs = 0 if improved else self.bad_epochs + 1
        return self.bad_epochs >= self.patience

    def restore(self, model):
        model.load_state_dict(self.weights)


@EarlyStopping.mistake(replace={">= self.patience": "> self.patience"})
def one_epoch_too_long():
    """You stop one epoch too late. With `patience=1` the first epoch without improvement is the last: compare with
    `>=`, not `>`."""


@EarlyStopping.mistake(replace={">= self.patience": ">= self.patience - 1"})
def one_epoch_too_short():
    """You stop one epoch too early. With `patience=2` two epochs without improvement in a row are needed."""


@EarlyStopping.mistake(replace={"            self.bad_epochs = 0\n": ""})
def never_forgives():
    """You count all epochs without improvement. Only those in a row count: start again from 0 when the loss
    improves."""


@EarlyStopping.mistake(replace={" - self.min_delta:": ":"})
def ignores_min_delta():
    """You don't use `min_delta`. A fall counts only if it is larger: `validation_loss < self.best_loss -
    self.min_delta`."""


@EarlyStopping.mistake(replace={"return": "self.best_loss = validation_loss\n        return"})
def compares_with_the_last_epoch():
    """You compare with the epoch before. Compare with the best so far: a loss that creeps back down is no new best."""


@EarlyStopping.mistake(replace={"copy.deepcopy(model.state_dict())": "model.state_dict()"})
def keeps_no_copy():
    """The kept weights follow the model, because `state_dict()` is no copy. Use `copy.deepcopy(model.state_dict())`."""


@EarlyStopping.mistake(replace={"model.load_state_dict(self.best_weights)": "pass"})
def does_not_restore():
    """After `restore` the model still has the weights of the last epoch. Put the best ones back with
    `model.load_state_dict(…)`."""


@EarlyStopping.mistake(
    replace={"        return": "        self.best_weights = copy.deepcopy(model.state_dict())\n        return"}
)
def keeps_the_last():
    """You restore the weights of the last epoch. Keep a copy only when the loss has improved."""


@EarlyStopping.mistake(replace={'float("inf")': 'float("-inf")', "< self.best_loss -": "> self.best_loss +"})
def higher_is_better():
    """You treat a higher loss as better. A loss is better when it is lower: start from `math.inf` and look for
    falls."""


@EarlyStopping.mistake(replace={'float("inf")': "1.0"})
def starts_at_one():
    """Your best loss starts at a number that a loss can lie above: then the first epoch is no improvement. Start from
    `math.inf`, which every loss is below."""


@EarlyStopping.mistake(replace={"if validation_loss < self": "if validation_loss <= self"})
def equal_is_better():
    """You take an equal loss for an improvement, so a loss that stays where it is never ends the training. Compare
    with `<`."""


# Exercise 3: dropout on paper


@exercise(
    title="Dropout on paper",
    minutes=3,
    hints=[
        "The mask decides what becomes 0. Section 6 says what happens to the numbers that stay.",
        "The share that stays is 1 - 0.2. Divide by it.",
    ],
    praise="Now let the computer throw the dice.",
)
def on_paper():
    return [2.5, 0.0, -1.25, 5.0, 0.0]


@on_paper.mistake
def forgets_to_scale():
    """The zeros are right. But the numbers that stay must make up for those that go: divide them by 1 - 0.2."""
    return [2.0, 0.0, -1.0, 4.0, 0.0]


@on_paper.mistake
def multiplies_instead():
    """You multiply by 0.8 where you should divide: the numbers that stay grow, so that the mean stays the same."""
    return [1.6, 0.0, -0.8, 3.2, 0.0]


@on_paper.mistake
def divides_by_the_rate():
    """You divide by the rate, 0.2. Divide by the share that stays, 1 - 0.2."""
    return [10.0, 0.0, -5.0, 20.0, 0.0]


@on_paper.mistake
def drops_the_others():
    """You drop where the mask says keep. A 1 in the mask keeps a number, a 0 drops it."""
    return [0.0, 3.75, 0.0, 0.0, 1.25]


@on_paper.mistake
def scales_by_what_stayed():
    """You divide by the share that happened to stay here, 3 of 5. The factor is fixed by the rate alone: divide by
    1 - 0.2."""
    return [number / 0.6 for number in (2.0, 0.0, -1.0, 4.0, 0.0)]


# Exercise 4: dropout in code


def _many_dice(answer, rate, training):
    """Drop out 10,000 threes twice. Return what can be said of any right answer, whatever its dice."""
    import torch

    torch.manual_seed(1)
    given = [torch.full((100, 100), 3.0) for _ in range(2)]
    first, second = (torch.as_tensor(answer(numbers, rate, training)) for numbers in given)
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
        "the numbers that you were given are still threes": all(bool((numbers == 3).all()) for numbers in given),
    }


@exercise(
    title="Dropout in code",
    minutes=7,
    run=_many_dice,
    cases={
        "10,000 threes, rate 0.3, train mode": (0.3, True),
        "10,000 threes, rate 0.1, train mode": (0.1, True),
        "10,000 threes, rate 0.3, eval mode": (0.3, False),
    },
    hints=[
        "`torch.rand(numbers.shape)` gives one number between 0 and 1 for each of yours. What share of them is at "
        "least `rate`?",
        "`torch.rand(numbers.shape) >= rate` is True where a number stays. Multiply by it, then divide by `1 - rate`.",
    ],
    praise="That is what `torch.nn.Dropout` does.",
)
def dropout(numbers, rate, training):
    import torch

    if not training:
        return numbers
    keep = torch.rand(numbers.shape) >= rate
    return numbers * keep / (1 - rate)


@dropout.mistake(replace={" / (1 - rate)": ""})
def does_not_scale():
    """The numbers that stay are too small: divide them by `1 - rate`, so that the mean stays the same."""


@dropout.mistake(replace={"if not training": "if False"})
def drops_in_eval_mode():
    """Your dropout also drops in eval mode. With `training=False` return the numbers as they are."""


@dropout.mistake(replace={">= rate": "< rate"})
def keeps_what_it_should_drop():
    """You keep the share `rate` and drop the rest. `torch.rand(…) >= rate` is True for the share `1 - rate`."""


@dropout.mistake(replace={"numbers.shape": "()"})
def all_or_nothing():
    """You throw one die for all numbers. Each number needs its own: `torch.rand(numbers.shape)`."""


@dropout.mistake(replace={"keep =": "torch.manual_seed(0)\n    keep ="})
def always_the_same():
    """Your dropout drops the same numbers each time. Leave the seed alone, so that every call is new."""


@dropout.mistake(replace={"return numbers\n": "return numbers * (1 - rate)\n"})
def scales_in_eval_mode():
    """In train mode all is well, but in eval mode you change the numbers. With `training=False` return them as they
    are."""


@dropout.mistake(replace={"numbers * keep / (1 - rate)": "numbers.mul_(keep).div_(1 - rate)"})
def works_in_place():
    """What comes out is right, but you overwrite the numbers that you were given, and others may need them: the names
    with a `_` at their end, `*=` and `numbers[…] = 0` do that. Return new numbers."""


quiz_1 = Quiz(
    """
    Training loss falls every epoch, validation loss rises, validation accuracy stays level. What is going on?
    a) Nothing bad: accuracy is what counts, and it hasn't fallen
       ✗ The same share of reviews is wrong, but with ever higher confidence: the probabilities become worthless.
    b) The model grows more confident, also where it is wrong
       ✓ Right. Accuracy counts mistakes, the loss also weighs how sure the model was of them.
    c) The validation loss must have been computed in train mode, with dropout on
       ✗ Dropout would raise the loss in all epochs alike. It would not make it turn up.
    """
)

quiz_2 = Quiz(
    """
    After two epochs a BERT with frozen lower layers has the higher validation loss; after twelve it has the lower one.
    Each figure is a mean over five seeds, far outside the spread. What do you report?
    a) Freezing helps: the longer training is the better test
       ✗ Longer is not better here, it is another question. Who trains for two epochs would be badly advised.
    b) The two contradict each other, so one of them must be chance
       ✗ They don't: early there is little to cure, later there is much. And chance was ruled out by the seeds.
    c) Both, each with its number of epochs
       ✓ Right. Whether a cure helps depends on how far the illness has gone.
    """
)

quiz_3 = Quiz(
    """
    Over three seeds, setting A beats setting B by 0.02 in mean validation loss; the seeds of each setting differ by
    0.05. What do you report?
    a) A is better
       ✗ Another three seeds could well turn it round: the difference is smaller than the spread.
    b) They are equally good, since the difference is within the spread of the seeds
       ✗ That is more than you know. Not seeing a difference is not the same as seeing that there is none.
    c) These runs can't tell them apart
       ✓ Right. More seeds might tell them apart, or show that any difference is too small to matter.
    """
)

quiz_4 = Quiz(
    """
    Your best epoch has a validation loss of 0.55. Is 0.55 what you should expect on new reviews?
    a) A little more, since that epoch was chosen because it did well on just these reviews
       ✓ Right. What is used to choose is no longer a fair judge. That is why notebook 05 has a test set.
    b) Yes: the model was never trained on the validation reviews
       ✗ It wasn't trained on them, but it was chosen on them, which favours their luck.
    c) Less, because restoring the best weights lowers the loss
       ✗ Restoring brings the loss of the best epoch back, exactly, and no lower.
    """
)

again_1 = nb02.quiz_2.again()
again_2 = nb03.quiz_2.again()

progress = progress_of(__name__)
