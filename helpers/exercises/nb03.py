"""Exercises of notebook 03, the training loop."""

from helpers.exercises import Quiz, exercise, nb01, nb02, progress_of


def _tiny_bert(seed=0, **sizes):
    """A BERT with 2 layers of 32 numbers: answers are tried on it in a moment, and the notebook's model stays as it
    is.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, **sizes)
    return BertForSequenceClassification(config)


# Exercise 1: one training step


def _some_steps(answer, steps, seed):
    """Run the answer for some steps on a tiny BERT: losses, mode and a few weights. When it clears the gradients,
    before `backward()` or after `step()`, is its own choice.
    """
    import torch

    model = _tiny_bert(seed)
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # so that gradients are long enough to be clipped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # plain, so that a difference in gradients shows
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    ids = torch.randint(1000, 2000, (4, 12))
    real = torch.arange(12) < torch.tensor([[12], [5], [7], [12]])  # the second and the third review are padded
    batch = {"input_ids": ids * real, "attention_mask": real.long(), "labels": torch.tensor([0, 1, 1, 0])}
    torch.manual_seed(seed)
    losses = [answer(model, batch, optimizer) for _ in range(steps)]
    return {
        "the losses": losses,
        "calls of `optimizer.step()`": len(calls),
        "model in train mode": model.training,
        "some weights afterwards": model.classifier.weight[:, :4],
    }


@exercise(
    title="Write one training step",
    minutes=8,
    cases={"one step on a tiny BERT": (1, 0), "three steps": (3, 0), "three steps on another tiny BERT": (3, 1)},
    run=_some_steps,
    hints=[
        "The order is the one of the loop in section 9: forward, backward, clip, step, clear.",
        "Forward: `loss_of(model, batch)`. Backward: `loss.backward()`.",
        "Clip: `torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)`. Then `optimizer.step()` and "
        "`optimizer.zero_grad()`.",
    ],
    praise="Forward, backward, clip, step, clear: every training loop for neural networks has these five lines.",
    tolerance=1e-3,
)
def training_step(model, batch, optimizer):
    import torch

    from helpers.training import loss_of

    model.train()
    loss = loss_of(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


@training_step.mistake(without="optimizer.zero_grad()")
def keeps_old_gradients():
    """The gradients are never set to zero, so each step adds the new ones to all earlier ones. Call
    `optimizer.zero_grad()` once a step."""


@training_step.mistake(replace={"optimizer.step()": "optimizer.zero_grad()\n    optimizer.step()"})
def clears_too_early():
    """The gradients are set to zero between `backward()` and `step()`, so the step has nothing to go by and the model
    never learns."""


@training_step.mistake(without="clip_grad_norm_")
def never_clips():
    """The gradients are not clipped before the step. Scale them down to a norm of 1.0 between `backward()` and
    `step()`."""


@training_step.mistake(without="optimizer.")
def never_steps():
    """Gradients are computed but no weight changes: `optimizer.step()` is missing."""


@training_step.mistake(replace={"model.train()": "model.eval()"})
def trains_in_eval_mode():
    """The model is in eval mode, so dropout is off while it trains. Leave `model.train()` as the first line."""


_NO_MASK = 'torch.nn.functional.cross_entropy(model(batch["input_ids"]).logits, batch["labels"])'


@training_step.mistake(replace={"loss_of(model, batch)": _NO_MASK})
def forgets_the_mask():
    """The model reads the padding as if it were words. Hand it the `attention_mask` of the batch too, or call
    `loss_of(model, batch)`."""


# Exercise 2: another schedule


@exercise(
    title="Warm-up, then cosine decay",
    minutes=4,
    cases=[(0, 100, 1e-4, 0.1), (9, 100, 1e-4, 0.1), (10, 100, 1e-4, 0.1), (70, 100, 1e-4, 0.1), (39, 40, 2e-5, 0.25)],
    hints=[
        "`done` is the share of the steps after the warm-up that lies behind us: 0 when the warm-up has just ended.",
        "How many steps lie between the end of the warm-up and `step`? How many between it and `total_steps`?",
    ],
    praise="This schedule is as common as the straight line: it stays high longer and lands more softly.",
)
def cosine_rate(step, total_steps, peak, warmup):
    import math

    warmup_steps = round(warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * done)) / 2


@cosine_rate.also_right(replace={"/ (total_steps - warmup_steps)": "/ (total_steps - warmup_steps - 1)"})
def ends_at_zero():
    """Your rate is zero in the last step, which then changes nothing. Ours reaches zero one step later."""


@cosine_rate.mistake(replace={"warmup_steps = round(warmup * total_steps)": "warmup_steps = 0"})
def no_warmup():
    """There is no warm-up: the first steps must climb to the peak in a straight line, as in section 6."""


@cosine_rate.mistake(replace={"(step - warmup_steps) / (total_steps - warmup_steps)": "step / total_steps"})
def counts_from_the_start():
    """The cosine starts at step 0, so the rate jumps after the warm-up. Count `done` from the end of the warm-up."""


@cosine_rate.mistake(replace={"(1 + math.cos(math.pi * done)) / 2": "math.cos(math.pi / 2 * done)"})
def quarter_wave():
    """Your curve is a quarter of a wave: flat at the top and steep at the end. (1 + cos(pi * done)) / 2 is flat at
    both ends."""


@cosine_rate.mistake(replace={"(1 + math.cos(math.pi * done)) / 2": "(1 - done)"})
def straight_line():
    """That is the straight line of section 6. Here the rate should follow a cosine after the warm-up."""


@cosine_rate.mistake(replace={"math.pi * done": "180 * done"})
def in_degrees():
    """Your cosine hardly moves: `math.cos` wants radians, in which half a turn is `math.pi`, not 180 degrees."""


# Exercise 3: the faulty loop


class _Watch:
    """Short reviews, one very long one, and a tiny BERT that notes what is done with it.

    On validation reviews the BERT's answers are replaced: all right after the first epoch, all wrong later. So the
    weights to keep are those of the first epoch, however they are chosen.
    """

    def __init__(self):
        import random

        from helpers.models import load_tokenizer

        self.tokenizer, dice = load_tokenizer(), random.Random(0)
        words = {0: ["dull", "bad", "slow", "weak"], 1: ["fun", "good", "bright", "strong"]}
        self.splits, self.owner = {}, {}  # owner: (split, row) of the token ids of a review
        for name, half in {"train": 16, "validation": 8, "test": 8}.items():
            labels = [0] * half + [1] * half  # sorted by label, like the real file
            numbers = [dice.randrange(10**6) for _ in labels]  # makes each text a different one
            texts = [
                " ".join([str(number), *dice.choices(words[label], k=dice.randrange(3, 9)), str(number)])
                for number, label in zip(numbers, labels, strict=True)
            ]
            if name == "train":
                texts[5] = texts[5].replace(" ", " dull " * 520, 1)
            self.splits[name] = {"text": texts, "label": labels}
            for row, text in enumerate(texts):
                ids = self.tokenizer(text, verbose=False)["input_ids"]
                self.owner |= {part: (name, row) for part in (tuple(ids), tuple(ids[:5]), tuple(ids[-5:]))}
        self.model = _tiny_bert(max_position_embeddings=640)
        self.passes = []  # of each forward pass a dictionary
        self.model.register_forward_pre_hook(self.note, with_kwargs=True)
        self.model.register_forward_hook(self.answer_for_validation, with_kwargs=True)

    def weights(self):
        return self.model.classifier.weight.detach().clone()

    def note(self, model, args, kwargs):
        import torch

        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        mask = kwargs.get("attention_mask", args[1] if len(args) > 1 else None)
        real = ids != self.tokenizer.pad_token_id
        rows = []
        for row, is_real in zip(ids, real, strict=True):
            row = tuple(row[is_real].tolist())
            rows.append(self.owner.get(row) or self.owner.get(row[:5]) or self.owner.get(row[-5:]))
        self.passes.append(
            {
                "rows": rows,
                "kind": {row[0] for row in rows if row},
                "train mode": model.training,
                "gradients": torch.is_grad_enabled(),
                "width": ids.shape[1],
                "longest": int(real.sum(dim=1).max()),
                "reads padding": not bool(real.all()) and (mask is None or bool((mask.bool() & ~real).any())),
                "weights": self.weights(),
            }
        )

    def answer_for_validation(self, model, args, kwargs, output):
        import torch

        here = self.passes[-1]
        trained = sum(len(p["rows"]) for p in self.passes if p["kind"] == {"train"} and p["gradients"])
        here["epoch"] = trained // len(self.splits["train"]["text"])
        if here["kind"] == {"validation"}:
            labels = torch.tensor([self.splits[name]["label"][row] for name, row in here["rows"]])
            said = labels if here["epoch"] == 1 else 1 - labels
            output.logits = torch.nn.functional.one_hot(said, 2) * 4.0 + output.logits * 0
            if kwargs.get("labels") is not None:
                output.loss = torch.nn.functional.cross_entropy(output.logits, labels)
        here["said"] = output.logits.argmax(dim=1).tolist()


def _first_fault(answer):
    """Run the answer on a tiny BERT, watch what it does, and return the first fault found, or None."""
    from itertools import pairwise

    from helpers.exercises.compare import has_blank

    watch = _Watch()
    try:
        accuracy = answer(watch.model, watch.splits, watch.tokenizer)
    except ImportError as problem:
        if "AdamW" in str(problem):
            return old_import
        raise
    passes = watch.passes
    if has_blank(accuracy):
        return None if not passes else "Your function returns a blank: replace every `____`."
    weights = [each["weights"] for each in passes] + [watch.weights()]
    for each, (before, after) in zip(passes, pairwise(weights), strict=True):
        each["moved"] = (after - before).abs().max().item()
        used = each["kind"] == {"train"} and each["gradients"]
        each["trains"] = used and (each["train mode"] or each["moved"] > 0)
    trained = [each for each in passes if each["trains"]]
    if not any(each["moved"] for each in trained):
        return "No weight moves after a batch of training reviews. Keep the loop over `splits['train']`."
    order = [row[1] for each in trained for row in each["rows"]]
    reviews = len(watch.splits["train"]["text"])
    last = max(place for place, each in enumerate(passes) if each["trains"])
    validated = [each for each in passes if "validation" in each["kind"]]
    tested = [each for each in passes if "test" in each["kind"]]
    if max(each["moved"] for each in trained) > 5e-4:
        return rate_too_high
    if order[:reviews] == list(range(reviews)) or order[:reviews] == order[reviews : 2 * reviews]:
        return sorted_labels
    if max(each["width"] for each in passes) > 512:
        return never_cuts
    if any(each["width"] > each["longest"] + 7 for each in passes):  # up to a multiple of 8 is a good habit
        return everything_padded
    if any(each["reads padding"] for each in passes):
        return no_mask
    if any(each["train mode"] for each in validated + tested):
        return no_eval_mode
    if not all(each["train mode"] for each in trained):
        return stays_in_eval_mode
    if any("test" in each["kind"] for each in passes[:last]):
        return chooses_on_test
    if len(order) < 2 * reviews:
        return one_epoch
    if not validated:
        return never_validates
    if len({row for each in tested for row in each["rows"]}) < len(watch.splits["test"]["text"]):
        return one_sentence
    best = [each["weights"] for each in validated if each["epoch"] == 1]
    if not any((tested[-1]["weights"] == kept).all() for kept in best):
        return keeps_the_last
    said = {row: label for each in tested for (_, row), label in zip(each["rows"], each["said"], strict=True)}
    labels = watch.splits["test"]["label"]
    expected = sum(said[row] == label for row, label in enumerate(labels)) / len(labels)
    try:
        agrees = abs(float(accuracy) - expected) < 1e-6
    except (TypeError, ValueError):
        agrees = False
    return None if agrees else f"Return the accuracy on all test reviews: expected {expected}, got {accuracy!r}."


@exercise(
    title="Repair the faulty loop",
    minutes=20,
    check=_first_fault,
    hints=[
        "Run it and read the message. There are eight faults; each one repaired brings the next message.",
        "`encode` and `make_loader(…, shuffle=True)` cure three of them at once, `predict_logits` cures another.",
        "The validation reviews choose the epoch: keep a copy of its weights. The test reviews come after the loop, "
        "all of them, once.",
    ],
    praise="Eight faults found. You will now see them in tutorials everywhere.",
    time_limit=60,
)
def fine_tune(model, splits, tokenizer):
    import copy

    import torch

    from helpers.batches import encode, make_loader
    from helpers.training import loss_and_accuracy, loss_of

    loaders = {}
    for name, split in splits.items():
        ids = encode(split["text"], tokenizer, max_tokens=256)
        loaders[name] = make_loader(ids, split["label"], tokenizer, batch_size=8, shuffle=name == "train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    best_loss = float("inf")
    for _epoch in range(2):
        model.train()
        for batch in loaders["train"]:
            loss_of(model, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
        loss, _ = loss_and_accuracy(model, loaders["validation"])  # in eval mode
        if loss < best_loss:
            best_loss, best_weights = loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return loss_and_accuracy(model, loaders["test"])[1]


@fine_tune.mistake(replace={"import torch\n": "from transformers import AdamW\n"})
def old_import():
    """`AdamW` is no longer in transformers. It lives in torch: `torch.optim.AdamW`."""


@fine_tune.mistake(replace={"lr=2e-5": "lr=1e-3"})
def rate_too_high():
    """One step moves the weights by about 1e-3. That learning rate suits a network trained from nothing and wipes out
    what BERT has learned: use 2e-5 to 1e-4."""


@fine_tune.mistake(replace={'shuffle=name == "train"': "shuffle=False"})
def sorted_labels():
    """The training reviews come in the same order every epoch, and they are sorted by label. Shuffle them anew each
    epoch."""


@fine_tune.mistake(replace={"encode(split": "tokenizer(split", ", tokenizer, max_tokens=256)": ')["input_ids"]'})
def never_cuts():
    """A review went through uncut. BERT has places for 512 tokens, and real reviews are longer: cut with
    `truncation=True, max_length=256`, or with `encode(…, max_tokens=256)`."""


_PAD = ', padding="max_length", max_length=256, truncation=True)["input_ids"]'


@fine_tune.mistake(replace={"encode(split": "tokenizer(split", ", tokenizer, max_tokens=256)": _PAD})
def everything_padded():
    """Batches are padded far beyond their longest review. Pad each batch to the longest of its own: `padding=True`, or
    `make_loader`."""


@fine_tune.mistake(replace={"loss_of(model, batch)": _NO_MASK})
def no_mask():
    """The model reads the padding as if it were words. Hand it the attention mask of each batch: `model(**inputs)`, or
    `loss_of`."""


_LOSS = 'loss, _ = loss_and_accuracy(model, loaders["validation"])'


@fine_tune.mistake(replace={_LOSS: 'loss = sum(loss_of(model, batch).item() for batch in loaders["validation"])'})
def no_eval_mode():
    """Some reviews are scored with dropout on. Call `model.eval()` before measuring, and `model.train()` before
    training goes on."""


@fine_tune.mistake(without="model.train()", replace={"loss_and_accuracy(model,": "loss_and_accuracy(model.eval(),"})
def stays_in_eval_mode():
    """After the first measurement the model stays in eval mode, so the rest of the training runs without dropout. Call
    `model.train()` at the start of each epoch."""


@fine_tune.mistake(replace={'loaders["validation"]': 'loaders["test"]'})
def chooses_on_test():
    """The test reviews are looked at while training, to choose the best epoch. Choose on the validation reviews; touch
    the test reviews once, at the end."""


@fine_tune.mistake(replace={"range(2)": "range(1)"})
def one_epoch():
    """There is only one epoch, so there is none to choose from. Train for two or more, and keep the better one."""


@fine_tune.mistake(replace={_LOSS: "loss = -_epoch"})
def never_validates():
    """The validation reviews are not used. Measure on them after each epoch, to choose the better one."""


@fine_tune.mistake(replace={"copy.deepcopy(model.state_dict())": "model.state_dict()"})
def keeps_the_last():
    """The test reviews were scored with the weights of the last epoch, but an earlier one was better on the validation
    reviews. Keep `copy.deepcopy(model.state_dict())` of the best epoch (without the copy it follows the model), and
    put it back with `model.load_state_dict(…)`."""


_ONE_TEXT = 'make_loader(ids[:1], split["label"][:1], tokenizer, batch_size=1, shuffle=False)'


@fine_tune.mistake(replace={'loaders["test"]': _ONE_TEXT})
def one_sentence():
    """The accuracy at the end rests on a part of the test reviews only. One review can only score 0 or 1: measure on
    all of them."""


# Exercise 4: the same answer to everything


def _some_logits():
    """Logits with their case: who gives one class to all, and who doesn't."""
    import numpy

    return {
        "3 reviews, both classes": (numpy.array([[1.9, 1.6], [0.2, 0.9], [-0.3, 0.8]]),),
        "4 reviews, all of class 1 with different scores": (numpy.array([[0.1, 0.3], [-1, 2], [0.2, 0.5], [0, 0.9]]),),
        "2 reviews, both of class 0": (numpy.array([[0.7, 0.2], [1.4, -1.1]]),),
        "5 reviews, one unlike the others": (numpy.array([[0, 1], [0, 2], [0, 1.5], [0.3, 0.2], [0, 0.7]]),),
        "3 reviews and 3 classes, all of class 2": (numpy.array([[0, 1, 2], [0.5, -1, 0.6], [0.1, 0.2, 0.3]]),),
    }


@exercise(
    title="The same answer to everything",
    cases=_some_logits,
    hints=[
        "The class of a review is the place of the highest score in its row: `logits.argmax(axis=1)`.",
        "Compare all of `said` with its first element. `.all()` says whether a whole array of truth values is true.",
    ],
    praise="Call it on validation reviews after each training: a model that says one thing to all raises no error.",
)
def constant_class(logits):
    said = logits.argmax(axis=1)
    if (said == said[0]).all():
        return int(said[0])
    return None


@constant_class.mistake(replace={"(said == said[0])": "(logits == logits[0])"})
def compares_the_scores():
    """You compare the scores. They differ from review to review even where the class is always the same: compare the
    classes, `said`."""


@constant_class.mistake(replace={"axis=1": "axis=0"})
def looks_down_the_columns():
    """With `axis=0` you get, for each class, the review that has most of it. The class of each review is the highest
    score in its *row*: `axis=1`."""


@constant_class.mistake(replace={"int(said[0])": "int(said[0]) or None"})
def takes_class_0_for_nothing():
    """Where the model always gives class 0 you return `None`: in Python 0 counts as false. Ask whether all classes are
    equal, not whether the class is true."""


@constant_class.mistake(replace={"(said == said[0]).all()": "(said == said[0]).mean() > 0.7"})
def puts_up_with_exceptions():
    """One review with another class is enough for `None`: the model doesn't say the same to everything."""


@constant_class.mistake(
    replace={"return None": "return int(numpy.bincount(said).argmax())", "said = ": "import numpy\n\n    said = "}
)
def never_says_none():
    """Your function gives a class in any case. Where the reviews get more than one class it must return `None`."""


# Exercise 5: the same training with the library's Trainer


def _sixteen_reviews():
    """Sixteen short reviews as token ids: one batch, so that their order doesn't matter."""
    import random

    dice = random.Random(0)
    return [
        {"input_ids": [101, *dice.choices(range(1000, 2000), k=dice.randrange(3, 12)), 102], "labels": place % 2}
        for place in range(16)
    ]


def _losses_of_trainer(answer):
    """The losses of the answer on a tiny BERT without dropout. (`Trainer` warns of a GPU that isn't there.)"""
    import tempfile
    import warnings

    import torch

    from helpers.models import load_tokenizer

    model = _tiny_bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # so that there is something to learn
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"the loss of each step": answer(model, _sixteen_reviews(), load_tokenizer(), folder)}


@exercise(
    title="The same training with Trainer",
    minutes=10,
    cases={"16 reviews on a tiny BERT": ()},
    run=_losses_of_trainer,
    hints=[
        "Three of the blanks stand in the call of `train`, and the fourth in the text below it.",
        "After the warm-up the rate falls in a straight line. The adjective for that goes into `lr_scheduler_type`, in "
        "quotes; section 6 uses it.",
        "A loss for each step: it should note one after every single step.",
    ],
    praise="The same losses: there is no magic in either. Mind what `Trainer` does when you say nothing: 3 epochs, "
    "batches of 8, a rate of 5e-5, no weight decay, a loss every 500 steps.",
    tolerance=1e-3,
    time_limit=60,
)
def train_with_trainer(model, rows, tokenizer, folder):
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    settings = TrainingArguments(
        output_dir=folder,
        num_train_epochs=6,
        per_device_train_batch_size=16,
        learning_rate=1e-3,
        lr_scheduler_type="linear",
        weight_decay=0.01,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
    )
    pad = DataCollatorWithPadding(tokenizer)
    trainer = Trainer(model, settings, train_dataset=rows, data_collator=pad)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@train_with_trainer.mistake(without="num_train_epochs")
def three_epochs():
    """These are three epochs, which is what `Trainer` does when it isn't told. Say `num_train_epochs`."""


@train_with_trainer.mistake(without="per_device_train_batch_size")
def batches_of_eight():
    """There are twice as many steps as there should be: your batches hold 8 reviews and not 16."""


@train_with_trainer.mistake(without="learning_rate=")
def default_rate():
    """The loss hardly falls: the rate is `Trainer`'s own, 5e-5. The call of `train` above has another one."""


@train_with_trainer.mistake(replace={'"linear"': '"constant"'})
def rate_that_never_falls():
    """The rate stays where it is. In `train` it falls in a straight line to zero once the warm-up is over."""


@train_with_trainer.mistake(replace={'"linear"': '"cosine"'})
def rate_on_a_wave():
    """The rate falls on a cosine, as in exercise 2. In `train` it falls in a straight line."""


@train_with_trainer.mistake(replace={"logging_steps=1,": "logging_steps=500,"})
def notes_no_loss():
    """No loss was noted, because the training ends before the first note. Note one after every step."""


quiz_1 = Quiz(
    """
    A new classifier with 5 equally frequent classes has a first loss of 4.2. What do you do?
    a) Train on: the first loss is always high
       ✗ A fresh head gives every class about the same probability, so the first loss is about ln 5.
    b) Stop and look for a fault, since it should be about ln 5 = 1.6
       ✓ Right. A head that is not fresh or has too many outputs (ln 66 = 4.2), weights already damaged: look first.
    c) Raise the learning rate, so that the loss falls faster and the run catches up
       ✗ A higher rate mends no fault. Something is wrong before the first step has been taken.
    """
)

quiz_2 = Quiz(
    """
    Why does `model.eval()` matter when you measure?
    a) It switches dropout off, so the whole network answers and the same input gives the same output
       ✓ Right. In train mode random parts of the network are missing.
    b) It stops gradients from being computed
       ✗ That is what `torch.no_grad()` and `torch.inference_mode()` do. Eval mode changes what layers compute.
    c) It loads the best weights
       ✗ No weight changes. Restoring the best weights is early stopping's work (notebook 04).
    """
)

quiz_3 = Quiz(
    """
    You forget `optimizer.zero_grad()`. What happens?
    a) torch stops with an error in the second step
       ✗ torch says nothing. Faults that say nothing are the reason for sanity checks.
    b) Nothing: AdamW keeps running means anyway
       ✗ AdamW's means forget old gradients; a sum never does, and grows.
    c) Each step follows the sum of all gradients so far
       ✓ Right: `backward()` adds to what is there. (Used on purpose, this is gradient accumulation.)
    """
)

quiz_4 = Quiz(
    """
    Your loop reaches 95% training accuracy with shuffled labels after many epochs. Is it broken?
    a) Yes: shuffled labels can't be learned, so the answer must be leaking into the input somewhere
       ✗ Not yet: a network this large can memorise any labels. A leak shows on reviews that are new to it.
    b) No: after many epochs it has memorised them; look at the first epoch or at new reviews
       ✓ Right. Memorising is not learning: on reviews that it hasn't seen it is left with chance.
    c) No: 95% is within the noise of 50%
       ✗ With 100 reviews chance stays between 40% and 60%, with more it stays closer.
    """
)

again_1 = nb01.quiz_3.again()
again_2 = nb02.quiz_1.again()

progress = progress_of(__name__)
