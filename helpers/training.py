"""The training loop (notebook 03) and early stopping (notebook 04), with what both need."""

import contextlib
import copy
import itertools
import math
import time
from dataclasses import dataclass, field

import numpy
import torch
from accelerate.utils import broadcast, broadcast_object_list, reduce
from torch.nn.functional import cross_entropy

from helpers.careful.checks import check_before_training, check_lengths, check_loss
from helpers.careful.computer import processor_has_bf16
from helpers.careful.memory import in_parts_that_fit, tokens_that_fit
from helpers.careful.processes import add_up, all_processes
from helpers.careful.progress import progress_bar
from helpers.careful.resuming import Checkpoints, Run, Settings, what_decides
from helpers.track import set_seed


@dataclass
class History:
    """What happened while training: one entry an epoch, or one an optimizer step where the name begins with step."""

    train_loss: list = field(default_factory=list)  # mean over the epoch's reviews, dropout on
    validation_loss: list = field(default_factory=list)  # mean over the validation reviews, dropout off
    validation_accuracy: list = field(default_factory=list)  # from 0 to 1
    seconds: list = field(default_factory=list)  # training and validation of the epoch
    step_loss: list = field(default_factory=list)
    step_rate: list = field(default_factory=list)  # the learning rate of the step
    step_reviews: list = field(default_factory=list)  # how many reviews its batch held

    @property
    def best_epoch(self):
        """The epoch with the lowest validation loss, counted from 1; None where no loss is a number."""
        numbers = [loss for loss in self.validation_loss if math.isfinite(loss)]
        return self.validation_loss.index(min(numbers)) + 1 if numbers else None

    def plot(self):
        """Draw the losses of training and validation against the epochs."""
        from helpers import plots

        plots.history(self)


class EarlyStopping:
    """Stop when validation loss has not fallen by more than `min_delta` for `patience` epochs in a row.

    It keeps a copy of the best weights, so that `restore` can bring them back. Make a new one for each training.
    Built by hand in notebook 04.
    """

    def __init__(self, patience=1, min_delta=0.0):
        if patience < 1:
            raise ValueError(f"patience is {patience}, but at least 1 epoch without improvement is needed to stop.")
        self.patience, self.min_delta = patience, min_delta
        self.epoch = self.best_epoch = 0
        self.best_loss = float("inf")
        self.best_weights = None

    def update(self, validation_loss, model):
        """Take in the loss after one more epoch; return True when training should stop now."""
        self.epoch += 1
        if validation_loss < self.best_loss - self.min_delta:
            self.best_loss, self.best_epoch = validation_loss, self.epoch
            self.best_weights = copy.deepcopy(model.state_dict())
        return self.epoch - self.best_epoch >= self.patience

    def restore(self, model):
        """Put the best weights back into the model."""
        if self.best_weights is not None:
            model.load_state_dict(self.best_weights)


def train(
    model,
    train_loader,
    validation_loader=None,
    *,
    epochs,
    learning_rate=2e-5,
    warmup=0.1,
    weight_decay=0.01,
    clip_norm=1.0,
    early_stopping=None,
    on_epoch=None,
    checkpoint_dir=None,
    seed=0,
    progress=True,
):
    """Fine-tune `model` in place and return its History.

    train_loader, validation_loader   from `helpers.batches.make_loader`
    learning_rate     the peak: reached after the share `warmup` of all steps, then falling in a straight line to zero
    weight_decay      for AdamW; biases and LayerNorm weights are spared
    clip_norm         gradients longer than this are scaled down to it
    early_stopping    an EarlyStopping, which needs a validation_loader; afterwards the model has the best weights
    on_epoch          a function that is called as on_epoch(history, model) after each epoch, dropout off
    checkpoint_dir    a folder; the same call again goes on from there after a stop (careful/resuming.py). It takes
                      up to 12 times the room of the model's weights
    seed              of dropout; on a CPU the same seed and loader give the same weights, to the last bit
    progress          show a bar and a line an epoch

    The same script trains on several GPUs or computers under `torchrun` or `accelerate launch` (notebook 08): each
    process takes its share of every batch.
    """
    settings = Settings(epochs, learning_rate, warmup, weight_decay, clip_norm, seed)
    loaders = {"training": train_loader, "validation": validation_loader}
    check_before_training(settings, model, early_stopping, **loaders)
    processes = all_processes(model)
    set_seed(seed + 1_000_003 * processes.process_index)  # each process draws dropout of its own
    scaler = mixed_precision(model.device)[1]
    run = Run(model, make_optimizer(model, learning_rate, weight_decay), scaler, History(), early_stopping)
    decisive = checkpoint_dir and what_decides(settings, model, *loaders.values(), early_stopping, checkpoint_dir)
    progress = progress and processes.is_main_process
    with (
        Checkpoints(checkpoint_dir, run, decisive, len(train_loader), processes) as checkpoints,
        progress_bar(
            total=epochs * len(train_loader), initial=len(run.history.step_loss), unit="step", disable=not progress
        ) as bar,
    ):
        broadcast(list(model.state_dict().values()))  # all begin with the weights of the first process
        while len(run.history.seconds) < epochs and not run.stopped_early:
            train_for_an_epoch(run, settings, train_loader, checkpoints, bar)
            finish_epoch(run, settings, validation_loader, checkpoints, on_epoch, progress)
    if early_stopping is not None:
        early_stopping.restore(model)
    model.eval()
    return run.history


def train_for_an_epoch(run, settings, loader, checkpoints, bar):
    """Do the steps of one epoch that are not done."""
    model, optimizer, scaler, history = run.model, run.optimizer, run.scaler, run.history
    epoch, total_steps = len(history.seconds), settings.epochs * len(loader)
    precision, tokens_at_once = mixed_precision(model.device)[0], tokens_that_fit(model)
    model.train()  # dropout on
    optimizer.zero_grad()  # whatever ran before has left none behind
    loader.batch_sampler.epoch = epoch  # another order every epoch
    for batch in itertools.islice(loader, len(history.step_loss) - epoch * len(loader), None):
        rate = learning_rate_at(len(history.step_rate), total_steps, settings.learning_rate, settings.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, tokens_at_once = forward_and_backward(
            model, batch, precision, scaler, tokens_at_once, checkpoints.processes
        )
        loss = add_up(loss, run.trained(), checkpoints.processes)
        scaler.unscale_(optimizer)
        length = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        check_loss(loss if scaler.is_enabled() or length.isfinite() else math.nan, run, settings)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

        history.step_loss.append(loss)
        history.step_rate.append(rate)
        history.step_reviews.append(len(batch["labels"]))
        bar.set_postfix_str(f"epoch {epoch + 1}/{settings.epochs}, loss {loss:.3f}", refresh=False)
        bar.update()
        checkpoints.after_step()


def finish_epoch(run, settings, validation_loader, checkpoints, on_epoch, progress):
    """Validate, write down what the epoch brought, ask early stopping, call `on_epoch`, and save."""
    history = run.history
    steps = slice(len(history.step_loss) - checkpoints.steps_an_epoch, None)  # those of this epoch
    train_loss = float(numpy.average(history.step_loss[steps], weights=history.step_reviews[steps]))
    line = f"epoch {len(history.seconds) + 1}/{settings.epochs}: train loss {train_loss:.3f}"
    if validation_loader is not None:
        with checkpoints.stop_at_once():
            loss, accuracy = loss_and_accuracy(run.model, validation_loader)
        check_loss(loss, run, settings)
        history.validation_loss.append(loss)
        history.validation_accuracy.append(accuracy)
        line += f", validation loss {loss:.3f}, validation accuracy {accuracy:.1%}"
    history.train_loss.append(train_loss)
    history.seconds.append(time.perf_counter() - run.started)
    if progress:
        print(f"{line}, {history.seconds[-1]:.0f} s")
    if run.early_stopping is not None:  # the first process decides
        run.stopped_early = bool(broadcast_object_list([run.early_stopping.update(loss, run.model)])[0])
    if on_epoch is not None:
        run.model.eval()
        on_epoch(history, run.model)
    checkpoints.after_step(epoch_is_over=True)


def make_optimizer(model, learning_rate, weight_decay):
    """Return AdamW (Loshchilov and Hutter 2019) that decays weight matrices, but no bias and no LayerNorm weight.

    Only parameters that train are given to it. `fused` does the whole step in one pass over the memory.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("Every parameter of the model is frozen, so nothing can train: free some of its layers.")
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},  # biases and LayerNorm have one axis
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=trained[0].device.type in ("cpu", "cuda"))


def learning_rate_at(step, total_steps, peak, warmup):
    """Return the learning rate of optimizer step `step`, counted from 0.

    It climbs to `peak` over the first `warmup` share of the steps, then falls in a straight line to zero.
    """
    warmup_steps = round(warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (total_steps - step) / (total_steps - warmup_steps)


def loss_of(model, batch):
    """Return the mean cross-entropy of one batch (a tensor without axes, with its gradient's graph)."""
    batch = {name: tensor.to(model.device, non_blocking=True) for name, tensor in batch.items()}
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return cross_entropy(logits.float(), batch["labels"])


def forward_and_backward(model, batch, precision, scaler, tokens_at_once, processes):
    """Add the gradient of a batch's mean loss to the parameters. Return that loss and the new `tokens_at_once`.

    tokens_at_once   reviews times tokens that go through the model together. A larger batch goes through in parts,
                     whose gradients add up to those of the whole (*gradient accumulation*): slower, but in less memory
    processes        of several, each takes its share of the batch; their gradients and losses add up to the whole
    """
    reviews, tokens = batch["input_ids"].shape
    share = {name: tensor[processes.process_index :: processes.num_processes] for name, tensor in batch.items()}

    def do_part(part):
        with precision():
            loss = loss_of(model, part) * (len(part["labels"]) / reviews)
        scaler.scale(loss).backward()
        return loss.item()

    return in_parts_that_fit(do_part, model, share, reviews, tokens, tokens_at_once)


def predict_logits(model, loader):
    """Return the logits [reviews, classes] as a NumPy array, in the order in which the reviews were given.

    Dropout is off while it runs; afterwards the model is in the mode that it was in. On a processor it computes with
    32 bits, so that a review's score does not depend on the batch that it came in. Of several processes each must call
    it; they share the batches, and all of them get all logits.
    """
    check_lengths(model, loader)
    processes = all_processes(model)
    was_training = model.training
    precision = mixed_precision(model.device)[0] if model.device.type == "cuda" else contextlib.nullcontext
    model.eval()
    logits = torch.zeros((len(loader.dataset), model.config.num_labels))
    with torch.inference_mode():
        for batch in itertools.islice(loader, processes.process_index, None, processes.num_processes):
            ids, mask = (batch[name].to(model.device, non_blocking=True) for name in ("input_ids", "attention_mask"))
            with precision():
                output = model(input_ids=ids, attention_mask=mask).logits
            logits[batch["index"]] = output.float().cpu()
    model.train(was_training)
    if processes.num_processes > 1:
        logits = reduce(logits.to(processes.device), "sum").cpu()  # a review is zero in all processes but one
    return logits.numpy()


def loss_and_accuracy(model, loader):
    """Return the mean loss and the accuracy (0 to 1) over all reviews of the loader, dropout off."""
    logits = torch.from_numpy(predict_logits(model, loader))
    labels = torch.tensor([review["label"] for review in loader.dataset])
    return cross_entropy(logits, labels).item(), (logits.argmax(dim=1) == labels).float().mean().item()


def mixed_precision(device):
    """Return (a context for the forward pass, a loss scaler) that suit the device.

    Half of the bits are enough for most products, where the hardware multiplies such numbers: bf16 on NVIDIA GPUs
    from Ampere on and on some newer processors; fp16 on older NVIDIA GPUs, where small gradients must be scaled up to
    survive. Elsewhere both do nothing (fp32). Notebook 03 looks at what it chooses.
    """
    device = torch.device(device)
    if device.type == "cuda":
        native_bf16 = torch.cuda.get_device_capability(device) >= (8, 0)
        dtype = torch.bfloat16 if native_bf16 else torch.float16
        return lambda: torch.autocast("cuda", dtype=dtype), torch.amp.GradScaler("cuda", enabled=not native_bf16)
    unscaled = torch.amp.GradScaler("cpu", enabled=False)
    if device.type == "cpu" and processor_has_bf16():
        return lambda: torch.autocast("cpu", dtype=torch.bfloat16), unscaled
    return contextlib.nullcontext, unscaled
