"""The training loop (notebook 03) and early stopping (notebook 04), with what both need."""

import contextlib
import copy
import time
from dataclasses import dataclass, field

import numpy
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from helpers.careful.resuming import ResumableRun
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
        """The epoch with the lowest validation loss, counted from 1; None without validation."""
        return int(numpy.argmin(self.validation_loss)) + 1 if self.validation_loss else None

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
    checkpoint_dir    a folder; the same call again goes on from there after a stop (careful/resuming.py). It takes
                      up to 12 times the room of the model's weights
    seed              of dropout; on a CPU the same seed and loader give the same weights, to the last bit
    progress          show a bar and a line an epoch
    """
    call = dict(locals())  # all arguments: a stopped training goes on when it is called with the same
    if early_stopping is not None and validation_loader is None:
        raise ValueError("Early stopping watches the validation loss: give `train` a validation_loader.")
    set_seed(seed)
    optimizer = make_optimizer(model, learning_rate, weight_decay)
    total_steps = epochs * len(train_loader)
    precision, scaler = mixed_precision(model.device)
    tokens_at_once = tokens_that_fit(model)
    history = History()
    run = ResumableRun(call, optimizer, scaler, history)

    with (
        run.resumed(),
        progress_bar(total=total_steps, initial=len(history.step_loss), unit="step", disable=not progress) as bar,
    ):
        for epoch in run.epochs_to_do(epochs):  # all of them, unless this run goes on after a stop
            model.train()  # dropout on
            train_loader.batch_sampler.epoch = epoch - 1  # another order every epoch
            for batch in run.batches_to_do(train_loader):
                rate = learning_rate_at(len(history.step_rate), total_steps, learning_rate, warmup)
                for group in optimizer.param_groups:
                    group["lr"] = rate

                loss, tokens_at_once = forward_and_backward(model, batch, precision, scaler, tokens_at_once)
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()

                history.step_loss.append(loss)
                history.step_rate.append(rate)
                history.step_reviews.append(len(batch["labels"]))
                bar.set_postfix_str(f"epoch {epoch}/{epochs}, loss {history.step_loss[-1]:.3f}", refresh=False)
                bar.update()
            steps = slice(-len(train_loader), None)  # those of this epoch
            train_loss = float(numpy.average(history.step_loss[steps], weights=history.step_reviews[steps]))
            line = f"epoch {epoch}/{epochs}: train loss {train_loss:.3f}"

            if validation_loader is not None:
                run.stops_at_once = True  # the stop button needn't wait: validation changes nothing
                loss, accuracy = loss_and_accuracy(model, validation_loader)
                run.stops_at_once = False
                history.validation_loss.append(loss)
                history.validation_accuracy.append(accuracy)
                line += f", validation loss {loss:.3f}, validation accuracy {accuracy:.1%}"
            history.train_loss.append(train_loss)
            history.seconds.append(time.perf_counter() - run.started)
            if progress:
                print(f"{line}, {history.seconds[-1]:.0f} s")
            if early_stopping is not None:
                run.stopped_early = early_stopping.update(loss, model)

    if early_stopping is not None:
        early_stopping.restore(model)
    model.eval()
    return history


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


def forward_and_backward(model, batch, precision, scaler, tokens_at_once):
    """Add the gradient of a batch's mean loss to the parameters. Return that loss and the new `tokens_at_once`.

    tokens_at_once   reviews times tokens that go through the model together. A larger batch goes through in parts,
                     whose gradients add up to those of the whole (*gradient accumulation*): slower, but in less memory

    Where the GPU's memory turns out to be too small even so, the batch is tried again in smaller parts.
    """
    reviews, tokens = batch["input_ids"].shape
    while True:
        size = max(1, min(reviews, tokens_at_once // tokens))  # reviews in a part
        try:
            total = 0.0
            for start in range(0, reviews, size):
                part = {name: tensor[start : start + size] for name, tensor in batch.items()}
                with precision():
                    loss = loss_of(model, part) * (len(part["labels"]) / reviews)
                scaler.scale(loss).backward()
                total += loss.item()
            return total, tokens_at_once
        except RuntimeError as problem:
            if not _is_out_of_memory(problem):
                raise
        tokens_at_once = _less(size, tokens)  # here, where the failed attempt's memory is free again
        model.zero_grad()


def predict_logits(model, loader):
    """Return the logits [reviews, classes] as a NumPy array, in the order in which the reviews were given.

    Dropout is off while it runs; afterwards the model is in the mode that it was in. On a processor it computes with
    32 bits, so that a review's score does not depend on the batch that it came in.
    """
    was_training = model.training
    precision = mixed_precision(model.device)[0] if model.device.type == "cuda" else contextlib.nullcontext
    model.eval()
    logits = numpy.empty((len(loader.dataset), model.config.num_labels), dtype=numpy.float32)
    with torch.inference_mode():
        for batch in loader:
            ids, mask = (batch[name].to(model.device, non_blocking=True) for name in ("input_ids", "attention_mask"))
            with precision():
                output = model(input_ids=ids, attention_mask=mask).logits
            logits[batch["index"].numpy()] = output.float().cpu().numpy()
    model.train(was_training)
    return logits


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


def processor_has_bf16():
    """Can this processor multiply 16-bit numbers by itself? (Newer Intel Xeon, AMD from Zen 4 on: twice as fast.)"""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):  # or the variable ATEN_CPU_CAPABILITY hides it
        return False
    ask = getattr(torch.cpu, "get_capabilities", dict)  # a torch that can't tell: then no
    return any(ask().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def tokens_that_fit(model):
    """Return how many tokens, padding included, may go through the model at once; a careful estimate.

    A training step on a GPU keeps about 40 numbers of 2 bytes for each token, layer and unit of width; the weights,
    their gradients and AdamW's two means take 16 bytes a parameter. Off the GPU there is no limit.
    """
    if model.device.type != "cuda":
        return 2**40
    free = 0.8 * torch.cuda.get_device_properties(model.device).total_memory - 16 * model.num_parameters()
    bytes_per_token = 2 * 40 * model.config.num_hidden_layers * model.config.hidden_size
    return max(1, int(free / bytes_per_token))


def _is_out_of_memory(problem):
    return isinstance(problem, torch.OutOfMemoryError) or "out of memory" in str(problem)  # MPS has no class of its own


def _less(size, tokens):
    """Return half of the tokens that were too many, and say so; raise RuntimeError where half a review is left."""
    if size == 1:
        raise RuntimeError(
            f"The GPU's memory can't hold one review of {tokens} tokens: close other programs that use the GPU "
            "(other notebooks, say), or lower max_tokens."
        )
    print(
        f"The GPU's memory is too small for {size} reviews of {tokens} tokens at once. From here on {size // 2} go "
        "through together and their gradients are added up: slower, with the same result."
    )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return size // 2 * tokens


class _NotebookLine:
    """Where tqdm writes in a notebook: one line of text that is replaced again and again."""

    def __init__(self):
        from IPython.display import display

        self.handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text):
        text = text.strip("\r\n ")
        if text:
            self.handle.update({"text/plain": text}, raw=True)

    def flush(self):
        pass


def progress_bar(iterable=None, **settings):
    """Return a tqdm bar that is plain text everywhere, in notebooks too. Takes tqdm's own arguments."""
    try:
        in_notebook = get_ipython().__class__.__name__ != "TerminalInteractiveShell"
    except NameError:  # plain Python
        in_notebook = False
    if in_notebook and not settings.get("disable"):
        settings.update(file=_NotebookLine(), ncols=100, ascii=False)
    return tqdm(iterable, mininterval=0.5, **settings)
