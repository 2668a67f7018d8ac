"""Exercises of notebook 03, the training loop."""

from helpers.exercises import Exercise, Quiz, progress_of


def _tiny_bert(seed=0):
    """A BERT with 2 layers of 32 numbers: answers are tried on it in a moment, and the notebook's model stays as it
    is.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    return BertForSequenceClassification(config)


# Exercise 1: one training step


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


def keeps_old_gradients(model, batch, optimizer):
    """The gradients are never set to zero, so each step adds the new ones to all earlier ones. Call
    `optimizer.zero_grad()` once a step.
    """
    import torch

    from helpers.training import loss_of

    model.train()
    loss = loss_of(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def clears_too_early(model, batch, optimizer):
    """The gradients are set to zero between `backward()` and `step()`, so the step has nothing to go by and the model
    never learns.
    """
    import torch

    from helpers.training import loss_of

    model.train()
    loss = loss_of(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def never_clips(model, batch, optimizer):
    """The gradients are not clipped before the step. Scale them down to a norm of 1.0 between `backward()` and
    `step()`.
    """
    from helpers.training import loss_of

    model.train()
    loss = loss_of(model, batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def never_steps(model, batch, optimizer):
    """Gradients are computed but no weight changes: `optimizer.step()` is missing."""
    import torch

    from helpers.training import loss_of

    model.train()
    loss = loss_of(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return loss.item()


def trains_in_eval_mode(model, batch, optimizer):
    """The model is in eval mode, so dropout is off while it trains. Leave `model.train()` as the first line."""
    import torch

    from helpers.training import loss_of

    model.eval()
    loss = loss_of(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def _three_steps(answer, seed):
    """Run the answer for three steps on a tiny BERT: losses, mode and a few weights. When it clears the gradients,
    before `backward()` or after `step()`, is its own choice.
    """
    import torch

    model = _tiny_bert(seed)
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # so that gradients are long enough to be clipped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # plain, so that a difference in gradients shows
    steps = []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    ids = torch.randint(1000, 2000, (4, 12))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor([0, 1, 1, 0])}
    torch.manual_seed(seed)
    losses = [answer(model, batch, optimizer) for _ in range(3)]
    return {
        "the three losses": losses,
        "calls of `optimizer.step()`": len(steps),
        "model in train mode": model.training,
        "some weights afterwards": model.classifier.weight[:, :4],
    }


training_step = Exercise(
    training_step,
    title="Write one training step",
    minutes=8,
    cases={"three steps on a tiny BERT": (0,), "three steps on another tiny BERT": (1,)},
    run=_three_steps,
    mistakes=[keeps_old_gradients, clears_too_early, never_clips, never_steps, trains_in_eval_mode],
    hints=[
        "The order is the one of section 8: forward, backward, clip, step, clear.",
        "Forward: `loss_of(model, batch)`. Backward: `loss.backward()`.",
        "Clip: `torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)`. Then `optimizer.step()` and "
        "`optimizer.zero_grad()`.",
    ],
    praise="Forward, backward, clip, step, clear: every training loop for neural networks has these five lines.",
    tolerance=1e-3,
)


# Exercise 2: another schedule


def cosine_rate(step, total_steps, peak, warmup):
    import math

    warmup_steps = round(warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * done)) / 2


def no_warmup(step, total_steps, peak, warmup):
    """There is no warm-up: the first steps must climb to the peak in a straight line, as in section 6."""
    import math

    return peak * (1 + math.cos(math.pi * step / total_steps)) / 2


def counts_from_the_start(step, total_steps, peak, warmup):
    """The cosine starts at step 0, so the rate jumps after the warm-up. Count `done` from the end of the warm-up."""
    import math

    warmup_steps = round(warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 + math.cos(math.pi * step / total_steps)) / 2


def quarter_wave(step, total_steps, peak, warmup):
    """Your curve is a quarter of a wave: flat at the top and steep at the end. (1 + cos(pi * done)) / 2 is flat at
    both ends.
    """
    import math

    warmup_steps = round(warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * math.cos(math.pi / 2 * done)


def straight_line(step, total_steps, peak, warmup):
    """That is the straight line of section 6. Here the rate should follow a cosine after the warm-up."""
    warmup_steps = round(warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (total_steps - step) / (total_steps - warmup_steps)


def in_degrees(step, total_steps, peak, warmup):
    """Your cosine hardly moves: `math.cos` wants radians, in which half a turn is `math.pi`, not 180 degrees."""
    import math

    warmup_steps = round(warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(180 * done)) / 2


cosine_rate = Exercise(
    cosine_rate,
    title="Warm-up, then cosine decay",
    minutes=4,
    cases=[(0, 100, 1e-4, 0.1), (9, 100, 1e-4, 0.1), (10, 100, 1e-4, 0.1), (70, 100, 1e-4, 0.1), (39, 40, 2e-5, 0.25)],
    mistakes=[no_warmup, counts_from_the_start, quarter_wave, straight_line, in_degrees],
    hints=[
        "The first branch is the one of `learning_rate_by_hand`.",
        "`done` is the share of the steps after the warm-up that lies behind us: 0 when the warm-up has just ended.",
        "The rate is `peak * (1 + math.cos(math.pi * done)) / 2`.",
    ],
    praise="This schedule is as common as the straight line: it stays high longer and lands more softly.",
)


# Exercise 3: the faulty loop


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


def _tutorial(
    model,
    splits,
    tokenizer,
    *,
    rate=2e-5,
    shuffle=True,
    pad_to=None,
    eval_mode=True,
    train_mode=True,
    choose_on="validation",
    test_size=None,
):
    """The loop of the exercise cell, written so that each fault can be switched on alone."""
    import copy

    import torch

    def batches(split, order):
        for start in range(0, len(order), 8):
            rows = order[start : start + 8]
            texts = [split["text"][row] for row in rows]
            padding = {"padding": "max_length", "max_length": pad_to} if pad_to else {"padding": True}
            yield tokenizer(texts, return_tensors="pt", **padding), torch.tensor([split["label"][row] for row in rows])

    def accuracy_on(split):
        if eval_mode:
            model.eval()
        order = range(len(split["text"]) if test_size is None else test_size)
        with torch.no_grad():
            right = [model(**inputs).logits.argmax(dim=1) == labels for inputs, labels in batches(split, order)]
        return torch.cat(right).float().mean().item()

    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    best = -1
    for epoch in range(2):
        if train_mode or epoch == 0:
            model.train()
        reviews = len(splits["train"]["text"])
        for inputs, labels in batches(splits["train"], torch.randperm(reviews).tolist() if shuffle else range(reviews)):
            torch.nn.functional.cross_entropy(model(**inputs).logits, labels).backward()
            optimizer.step()
            optimizer.zero_grad()
        accuracy = accuracy_on(splits[choose_on])
        if accuracy > best:
            best, weights = accuracy, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return accuracy_on(splits["test"])


def old_import(model, splits, tokenizer):
    """`AdamW` is no longer in transformers. It lives in torch: `torch.optim.AdamW`."""
    from transformers import AdamW

    return AdamW


def rate_too_high(model, splits, tokenizer):
    """One step moves the weights by about 1e-3. That learning rate suits a network trained from nothing and wipes out
    what BERT has learned: use 2e-5 to 1e-4.
    """
    return _tutorial(model, splits, tokenizer, rate=1e-3)


def sorted_labels(model, splits, tokenizer):
    """The training reviews come in the same order every epoch, and they are sorted by label. Shuffle them anew each
    epoch.
    """
    return _tutorial(model, splits, tokenizer, shuffle=False)


def everything_padded(model, splits, tokenizer):
    """Every batch is padded to 256 tokens, although these reviews are far shorter. Pad to the longest of the batch:
    `padding=True`, or `make_loader`.
    """
    return _tutorial(model, splits, tokenizer, pad_to=256)


def no_eval_mode(model, splits, tokenizer):
    """Some reviews are scored with dropout on. Call `model.eval()` before measuring, and `model.train()` before
    training goes on.
    """
    return _tutorial(model, splits, tokenizer, eval_mode=False)


def stays_in_eval_mode(model, splits, tokenizer):
    """After the first measurement the model stays in eval mode, so the rest of the training runs without dropout. Call
    `model.train()` at the start of each epoch.
    """
    return _tutorial(model, splits, tokenizer, train_mode=False)


def chooses_on_test(model, splits, tokenizer):
    """The test reviews are looked at while training, to choose the best epoch. Choose on the validation reviews; touch
    the test reviews once, at the end.
    """
    return _tutorial(model, splits, tokenizer, choose_on="test")


def one_sentence(model, splits, tokenizer):
    """The accuracy at the end rests on a part of the test reviews only. One review can only score 0 or 1: measure on
    all of them.
    """
    return _tutorial(model, splits, tokenizer, test_size=1)


def _watch(answer):
    """Run the answer on a tiny BERT, watch what it does, and return the first fault found, or None."""
    import random
    from itertools import pairwise

    import torch

    from helpers.models import load_tokenizer

    tokenizer, dice = load_tokenizer(), random.Random(0)
    words = {0: ["dull", "bad", "slow", "weak"], 1: ["fun", "good", "bright", "strong"]}
    splits, owner = {}, {}
    for name, half in {"train": 16, "validation": 8, "test": 8}.items():
        labels = [0] * half + [1] * half  # sorted by label, like the real file
        numbers = [dice.randrange(10**6) for _ in labels]  # makes each text a different one
        texts = [
            " ".join([str(number), *dice.choices(words[label], k=dice.randrange(3, 9))])
            for number, label in zip(numbers, labels, strict=True)
        ]
        splits[name] = {"text": texts, "label": labels}
        owner |= {tuple(tokenizer(text)["input_ids"]): (name, row) for row, text in enumerate(texts)}
    longest = max(len(ids) for ids in owner)

    model, passes, weights, gradients = _tiny_bert(), [], [], []

    def spy(module, args, kwargs):
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        rows = [owner.get(tuple(i for i in row if i != tokenizer.pad_token_id)) for row in ids.tolist()]
        passes.append((module.training, ids.shape[1], rows))
        weights.append(module.classifier.weight.detach().clone())
        gradients.append(torch.is_grad_enabled())

    model.register_forward_pre_hook(spy, with_kwargs=True)
    try:
        accuracy = answer(model, splits, tokenizer)
    except ImportError as problem:
        if "AdamW" in str(problem):
            return old_import
        raise
    from helpers.exercises.compare import has_blank

    if has_blank(accuracy):
        return None if not passes else "Your function returns a blank: replace every `____`."
    kinds = [{row[0] for row in rows if row} for _, _, rows in passes]
    weights.append(model.classifier.weight.detach())
    moved = [(after - before).abs().max().item() for before, after in pairwise(weights)]  # after each pass
    trained = [place for place, kind in enumerate(kinds) if kind == {"train"} and gradients[place]]
    trained = [place for place in trained if passes[place][0] or moved[place]]
    if not any(moved[place] for place in trained):
        return "No weight moves after a batch of training reviews. Keep the loop over `splits['train']`."
    order = [row[1] for place in trained for row in passes[place][2]]
    reviews = len(splits["train"]["text"])
    tested = [place for place, kind in enumerate(kinds) if "test" in kind]
    if max(moved[place] for place in trained) > 5e-4:
        return rate_too_high
    if order[:reviews] == list(range(reviews)) or order[:reviews] == order[reviews : 2 * reviews]:
        return sorted_labels
    if max(width for _, width, _ in passes) > longest:
        return everything_padded
    if any(training and kind & {"validation", "test"} for (training, _, _), kind in zip(passes, kinds, strict=True)):
        return no_eval_mode
    if not all(passes[place][0] for place in trained):
        return stays_in_eval_mode
    if any(place < trained[-1] for place in tested):
        return chooses_on_test
    if len({row for place in tested for row in passes[place][2]}) < len(splits["test"]["text"]):
        return one_sentence
    model.eval()
    with torch.no_grad():
        logits = model(**tokenizer(splits["test"]["text"], padding=True, return_tensors="pt")).logits
    expected = (logits.argmax(dim=1) == torch.tensor(splits["test"]["label"])).float().mean().item()
    try:
        agrees = abs(float(accuracy) - expected) < 1e-6
    except (TypeError, ValueError):
        agrees = False
    return None if agrees else f"Return the accuracy on all test reviews: expected {expected}, got {accuracy!r}."


fine_tune = Exercise(
    fine_tune,
    title="Repair the faulty loop",
    minutes=20,
    check=_watch,
    mistakes=[
        old_import,
        rate_too_high,
        sorted_labels,
        everything_padded,
        no_eval_mode,
        stays_in_eval_mode,
        chooses_on_test,
        one_sentence,
    ],
    hints=[
        "Run it and read the message. There are seven faults; each one repaired brings the next message.",
        "`make_loader(…, shuffle=True)` cures two of them at once, `loss_and_accuracy` cures another.",
        "The validation reviews choose the epoch. The test reviews come after the loop, all of them, once.",
    ],
    praise="Seven faults found. You will now see them in tutorials everywhere.",
    time_limit=60,
)


quiz_1 = Quiz(
    "A new classifier with 5 equally frequent classes has a first loss of 4.2. What do you do?",
    options={
        "a": "Train on: the first loss is always high",
        "b": "Stop and look for a fault, since it should be about ln 5 = 1.6",
        "c": "Raise the learning rate, so that the loss falls faster and the run catches up",
    },
    right="b",
    why={
        "a": "A fresh head gives every class about the same probability, so the first loss is about ln 5.",
        "b": "Right. Wrong labels, a head that is not fresh, weights already damaged: look before you train.",
        "c": "A higher rate mends no fault. Something is wrong before the first step has been taken.",
    },
)

quiz_2 = Quiz(
    "Why does `model.eval()` matter when you measure?",
    options={
        "a": "It switches dropout off, so the whole network answers and the same input gives the same output",
        "b": "It stops gradients from being computed",
        "c": "It loads the best weights",
    },
    right="a",
    why={
        "a": "Right. In train mode random parts of the network are missing.",
        "b": "That is what `torch.no_grad()` and `torch.inference_mode()` do. Eval mode changes what layers compute.",
        "c": "No weight changes. Restoring the best weights is early stopping's work (notebook 04).",
    },
)

quiz_3 = Quiz(
    "You forget `optimizer.zero_grad()`. What happens?",
    options={
        "a": "torch stops with an error in the second step",
        "b": "Nothing: AdamW keeps running means anyway",
        "c": "Each step follows the sum of all gradients so far",
    },
    right="c",
    why={
        "a": "torch says nothing. Faults that say nothing are the reason for sanity checks.",
        "b": "AdamW's means forget old gradients; a sum never does, and grows.",
        "c": "Right: `backward()` adds to what is there. (Used on purpose, this is gradient accumulation.)",
    },
)

quiz_4 = Quiz(
    "Your loop reaches 95% training accuracy with shuffled labels after many epochs. Is it broken?",
    options={
        "a": "Yes: shuffled labels can't be learned, so the answer must be leaking into the input somewhere",
        "b": "No: after many epochs it has memorised them; look at the first epoch or at new reviews",
        "c": "No: 95% is within the noise of 50%",
    },
    right="b",
    why={
        "a": "Not yet: a network this large can memorise any labels. A leak shows on reviews that are new to it.",
        "b": "Right. Memorising is not learning: on reviews that it hasn't seen it is left with chance.",
        "c": "The interval around 50% is a few points wide, even for small sets. Section 10 shows one.",
    },
)

progress = progress_of(__name__)
