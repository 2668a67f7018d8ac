"""Going on after a stop, be it the stop button of a notebook or a power cut. Used by `helpers.training.train`.

A checkpoint is one safetensors file: the tensors, and everything else as JSON in its header. Nothing is unpickled. It
is written under another name, forced onto the disk and then renamed, so that it is there as a whole or not at all; its
name ends with its checksum. The last two are kept, and the one with the lowest validation loss.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import signal
import threading
import time
import warnings
import weakref
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list, gather_object, reduce
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

SAVE_EVERY_SECONDS = 180  # and at the end of each epoch
FORMAT = "helpers.careful.resuming 2"
TENSOR = "tensor of this file"  # stands in the JSON where a tensor was, with its name
MAY_DIFFER = ("transformers_version", "_name_or_path", "dtype", "torch_dtype")  # between two sittings, in a config
RANDOM_WEIGHTS = "random weights at the start"
_BEGAN_WITH = weakref.WeakKeyDictionary()  # {model: {folder: digests of the weights with which it began there}}


@dataclass
class Settings:
    """What the caller of `train` chose. A training goes on only where all of it, and the reviews, are the same."""

    epochs: int
    learning_rate: float
    warmup: float
    weight_decay: float
    clip_norm: float
    seed: int


@dataclass
class Run:
    """One training under way: all that changes from step to step. What is done is known from the history alone."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    history: object
    early_stopping: object = None
    stopped_early: bool = False
    started: float = field(default_factory=time.perf_counter)  # this epoch; after a stop, less the seconds before it

    def trained(self):
        """Return the parameters that train."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def state(self, empty=torch.zeros_like):
        """Return what a checkpoint holds, but for the random numbers; `empty` makes a mean that AdamW lacks."""
        means = [
            {"step": torch.tensor(0.0), "exp_avg": empty(p), "exp_avg_sq": empty(p), **self.optimizer.state.get(p, {})}
            for p in self.trained()
        ]
        return {
            "model": self.model.state_dict(),
            "optimizer": means,
            "scaler": self.scaler.state_dict(),
            "history": vars(self.history),
            "early_stopping": getattr(self.early_stopping, "__dict__", {}),  # with the best weights
            "stopped_early": self.stopped_early,
            "seconds": time.perf_counter() - self.started,
        }

    def restore(self, state):
        """Take in what `state` returned, in this process or in another one."""
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": dict(enumerate(state["optimizer"])), "param_groups": groups})
        if self.scaler.is_enabled() and state["scaler"]:  # a GPU with bf16 needs none, and has none to give
            self.scaler.load_state_dict(state["scaler"])
        vars(self.history).update(state["history"])
        getattr(self.early_stopping, "__dict__", {}).update(state["early_stopping"])
        self.stopped_early = state["stopped_early"]
        self.started = time.perf_counter() - state["seconds"]


class Checkpoints:
    """The checkpoints of one run, in `folder` (None: none). In `with` the stop button acts between two steps.

    decisive    what decides the result of the training, from `what_decides`
    processes   the PartialState of accelerate: the first process reads and writes files, for all of them
    """

    def __init__(self, folder, run, decisive, steps_an_epoch, processes):
        self.folder = None if folder is None else Path(folder)
        self.run, self.decisive, self.steps_an_epoch, self.processes = run, decisive, steps_an_epoch, processes
        self.pressed = self.at_once = self.has_warned = False
        self.lock = None

    def __enter__(self):
        state = self._on_first(self._newest) if self.folder is not None else None
        if state is not None:
            self.run.restore(state)
            if self.processes.process_index < len(state["random"]):
                _set_random(state["random"][self.processes.process_index], self.run.model.device)
        self.random, self.last_save = _get_random(self.run.model.device), time.perf_counter()
        self.usual = signal.getsignal(signal.SIGINT)
        if callable(self.usual) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, kind, *_):
        try:
            self.run.optimizer.zero_grad()  # a step may have begun
            if kind is not None:
                self.run.model.eval()
            if kind is KeyboardInterrupt and (self.pressed or self.processes.num_processes == 1):
                what_now = "With a checkpoint_dir it could go on later."
                if self.folder is not None:
                    what_now = "Run the cell again to go on." if self.save() else "It could not be saved."
                if self.processes.is_main_process:
                    step = len(self.run.history.step_loss)
                    print(f"Stopped after step {step}. The model is as that step left it. {what_now}")
        finally:
            if signal.getsignal(signal.SIGINT) == self._press:
                signal.signal(signal.SIGINT, self.usual)
            if self.lock is not None:
                self.lock.release()

    def _press(self, *_):
        self.pressed = True
        if self.at_once:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def stop_at_once(self):
        """In here the stop button needn't wait: nothing changes. Several processes stop together, so they do wait."""
        self.at_once = self.processes.num_processes == 1
        try:
            yield
        finally:
            self.at_once = False

    def after_step(self, *, epoch_is_over=False):
        """Stop if the button was pressed in any process; save if it is time to."""
        self.random = _get_random(self.run.model.device)
        due = epoch_is_over or time.perf_counter() - self.last_save > SAVE_EVERY_SECONDS
        if self.processes.num_processes > 1:  # any process's button stops all, the first one's clock decides
            flags = [self.pressed, due and self.processes.is_main_process]
            self.pressed, due = reduce(torch.tensor(flags, device=self.processes.device).int(), "sum").bool().tolist()
        if epoch_is_over:
            self.run.started = time.perf_counter()
        if epoch_is_over or (due and not self.pressed):  # where it is pressed, `__exit__` saves
            self.save(best=epoch_is_over and self.run.history.best_epoch == len(self.run.history.seconds))
        if epoch_is_over:
            self.run.started = time.perf_counter()  # saving belongs to no epoch
        if self.pressed:
            raise KeyboardInterrupt

    def save(self, *, best=False):
        """Save a checkpoint and return True; where that is impossible, warn the first time and return False."""
        if self.folder is None:
            return False
        random = gather_object([self.random]) if self.processes.num_processes > 1 else [self.random]
        state = {"training": self.decisive, "random": random, **self.run.state()}
        saved = self._on_first(lambda: self._save(state, best))
        self.last_save = time.perf_counter()
        return saved

    def _save(self, state, best):
        try:
            if not self.folder.is_dir():
                self._warn(f"The folder {self.folder} has vanished. It is made again for the next checkpoints.")
                self.folder.mkdir()
            save_checkpoint(self.folder, state, best=best)
            return True
        except (OSError, TypeError) as problem:  # TypeError: early_stopping holds what JSON can't
            self._warn(f"No checkpoint could be saved ({problem}). Training goes on, and saves again when it can.")
            return False

    def _warn(self, sentence):
        if not self.has_warned:
            warnings.warn(sentence, RuntimeWarning, stacklevel=2)
        self.has_warned = True

    def _on_first(self, work):
        """Return in all processes what `work()` returns in the first one; raise its ValueError in all of them too."""
        answer = [None, None]
        if self.processes.is_main_process:
            try:
                answer = [work(), None]
            except ValueError as problem:
                answer = [None, problem]
        result, problem = broadcast_object_list(answer) if self.processes.num_processes > 1 else answer
        if problem is not None:
            raise problem
        return result

    def _newest(self):
        """Lock the folder and return the state of its newest checkpoint that is whole and of this training, or None."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = FileLock(self.folder / ".lock")  # the system drops it with the process that holds it
            self.lock.acquire(timeout=0)
        except Timeout:
            self.lock = None
            raise ValueError(
                f"Another training writes into {self.folder} now: wait for its end, or give `train` another "
                "checkpoint_dir."
            ) from None
        except (OSError, NotImplementedError):
            self.lock = None  # `save` will warn
        others = []
        for path in reversed(list_checkpoints(self.folder)):
            try:
                state = load_checkpoint(path)
                then = state["training"]  # what only one of two versions of transformers knows can't be compared
                others = [name for name, value in self.decisive.items() if then.get(name, value) != value]
                if others == [RANDOM_WEIGHTS]:
                    print("The model began with other random weights now; the checkpoint's take their place.")
                    self.decisive[RANDOM_WEIGHTS] = then[RANDOM_WEIGHTS]
                elif others:
                    raise ValueError(f"it is of a training with another {', '.join(others)}")
                check_state(state, self.run, self.steps_an_epoch)
            except ValueError as problem:
                print(f"{path.name} is refused: {problem}. An older one is used, if there is one.")
                continue
            print(f"Going on after step {len(state['history']['step_loss'])}, from the checkpoint {path.name[:11]}.")
            return state
        if others:
            if self.lock is not None:
                self.lock.release()
            cure = "give `train` another checkpoint_dir, or delete that folder to begin again"
            raise ValueError(f"{self.folder} is of a training with another {', '.join(others)}: {cure}.")


def what_decides(settings, model, train_loader, validation_loader, early_stopping, folder):
    """Return what decides the result of a training, as JSON gives it back: {what: value}."""
    decisive = asdict(settings)
    for name in ("patience", "min_delta"):
        decisive[name] = getattr(early_stopping, name, None)
    for name, loader in (("training reviews", train_loader), ("validation reviews", validation_loader)):
        order = getattr(loader, "batch_sampler", None)
        decisive[name] = order and _digest([(order.batch_size, order.shuffle, order.seed), *loader.dataset])
    for name, value in model.config.to_dict().items():
        if name not in MAY_DIFFER:
            decisive[f"{name} of the model"] = value
    decisive["frozen layers"] = _digest((name, p.shape, p.requires_grad) for name, p in model.named_parameters())
    return json.loads(json.dumps(decisive | _starting_weights(model, folder), default=str))


def _starting_weights(model, folder):
    """Return digests of the weights with which `model` began to train into `folder`: {what: digest}.

    What has one axis (biases, LayerNorm) is alike in all new networks and layers, so it tells pretrained weights apart
    whatever the seed. A model that was stopped has moved on from where it began: its digests are remembered.
    """
    began = _BEGAN_WITH.setdefault(model, {})
    place = str(Path(folder).resolve())
    if place not in began or not list_checkpoints(folder):
        pretrained, drawn = hashlib.sha256(), hashlib.sha256()
        for parameter in model.parameters():
            weights = parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
            (pretrained if parameter.ndim < 2 else drawn).update(weights)
        began[place] = {"pretrained weights": pretrained.hexdigest(), RANDOM_WEIGHTS: drawn.hexdigest()}
    return began[place]


def _digest(parts):
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(repr(part).encode())
    return sha256.hexdigest()


def check_state(state, run, steps_an_epoch):
    """Raise ValueError unless `state` could come from this training: its names, shapes and numbers."""
    try:
        history, stopping, ours = (
            state["history"],
            state["early_stopping"],
            run.state(empty=lambda parameter: parameter),
        )
        epochs, steps = len(history["seconds"]), len(history["step_loss"])
        fits = [
            _alike(state["model"], ours["model"]) and _alike(state["optimizer"], ours["optimizer"]),
            all(0 <= means["step"] <= steps and means["exp_avg_sq"].min() >= 0 for means in state["optimizer"]),
            not (state["scaler"] and ours["scaler"]) or _alike(state["scaler"], ours["scaler"]),
            all(number >= 0 for number in state["scaler"].values()) and state["scaler"].get("scale", 1) > 0,
            history.keys() == vars(run.history).keys(),
            epochs * steps_an_epoch <= steps <= min(epochs + 1, state["training"]["epochs"]) * steps_an_epoch,
            type(state["stopped_early"]) is bool and _number(state["seconds"]),
            stopping.keys() >= ours["early_stopping"].keys(),
            all(_alike(kept, ours["model"]) for kept in stopping.values() if isinstance(kept, dict) and kept),
        ]
        for name, values in history.items():
            watched = name.startswith("validation") and state["training"]["validation reviews"] is None
            fits.append(len(values) == (0 if watched else steps if name.startswith("step") else epochs))
            fits.append(all(map(_number, values)))
        fits.append(all(count >= 1 for count in history["step_reviews"]))
        if type(run.early_stopping).__module__ == "helpers.training":  # ours; a learner's own has its own names
            fits.append(0 <= stopping["best_epoch"] <= stopping["epoch"] == epochs and stopping["best_loss"] >= 0)
        for states in state["random"]:
            for name in {"cpu", run.model.device.type} & states.keys():
                torch.Generator(name).set_state(states[name])
        if not (all(fits) and state["random"]):
            raise ValueError
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        raise ValueError("what it holds can't come from this training") from None


def _alike(a, b):
    """Have two nested dicts and lists the same names, and tensors of the same shapes and types?"""
    if isinstance(b, dict):
        return isinstance(a, dict) and a.keys() == b.keys() and all(_alike(a[name], b[name]) for name in b)
    if isinstance(b, list):
        return isinstance(a, list) and len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(b, torch.Tensor):
        return isinstance(a, torch.Tensor) and (a.shape, a.dtype) == (b.shape, b.dtype) and bool(a.isfinite().all())
    return _number(a) if isinstance(b, (int, float)) else type(a) is type(b)


def _number(value):
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def save_checkpoint(folder, state, *, best=False):
    """Write the next checkpoint into `folder` and return its path; then delete all but the last two and the best.

    state  dicts and lists, nested as you like, of tensors and of what JSON can hold
    best   whether its validation loss is the lowest so far
    Raises OSError where there is no room or no right to write; the checkpoints that are there stay as they are.
    """
    workplace = Path(folder) / ".course-unfinished"  # a folder: safetensors leaves a hidden file where it is killed
    unfinished = workplace / "checkpoint.safetensors"
    number = max((int(path.name.split("-")[1]) for path in list_checkpoints(folder)), default=0) + 1
    tensors = {}
    header = {"format": FORMAT, "state": json.dumps(_take_tensors_out(state, tensors, "state"))}
    try:
        shutil.rmtree(workplace, ignore_errors=True)
        workplace.mkdir(exist_ok=True)
        save_file(tensors, unfinished, metadata=header)
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        name = f"saved-{number:05}-{'best-' if best else ''}{_checksum(unfinished)}.safetensors"
        path = unfinished.rename(Path(folder) / name)
    except (OSError, SafetensorError) as problem:
        raise OSError(str(problem)) from None
    finally:
        shutil.rmtree(workplace, ignore_errors=True)  # gives its room back
    paths = list_checkpoints(folder)
    for old in set(paths[:-2]) - set([path for path in paths if "-best-" in path.name][-1:]):
        with contextlib.suppress(OSError):
            os.truncate(old, 0)  # a trash that keeps deleted files (Google Drive's) then keeps nothing
            old.unlink()
    return path


def load_checkpoint(path):
    """Return the state that was given to `save_checkpoint`; numbers that were keys are text now.

    Raises ValueError, with the reason, when a single byte has changed or the file is none of ours.
    """
    try:
        if not path.stem.endswith(_checksum(path)):
            raise ValueError("it was cut short or altered")
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError("another program or another version of the course made it")
            return _put_tensors_back(json.loads(header["state"]), file)
    except (OSError, SafetensorError, LookupError, RecursionError, TypeError) as problem:
        raise ValueError(f"it can't be read ({problem})") from None


def list_checkpoints(folder):
    """Return the paths of the checkpoints in `folder`, the newest last."""
    return sorted(Path(folder).glob("saved-[0-9][0-9][0-9][0-9][0-9]-*.safetensors"))


def _take_tensors_out(value, tensors, place):
    """Put the tensors of nested dicts and lists into `tensors`; return the rest, with names where they were."""
    if isinstance(value, torch.Tensor):
        tensors[place] = value.detach().to("cpu", copy=True).contiguous()
        return {TENSOR: place}
    if isinstance(value, dict):
        return {name: _take_tensors_out(inner, tensors, f"{place}/{name}") for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_tensors_out(inner, tensors, f"{place}/{number}") for number, inner in enumerate(value)]
    return value


def _put_tensors_back(value, file):
    if isinstance(value, list):
        return [_put_tensors_back(inner, file) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {TENSOR}:
        return file.get_tensor(value[TENSOR]).clone()
    return {name: _put_tensors_back(inner, file) for name, inner in value.items()}


def _checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _get_random(device):
    """Return the states of torch's random number generators, from which all chance in a training comes."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = getattr(torch, device.type).get_rng_state()
    return states


def _set_random(states, device):
    torch.set_rng_state(states["cpu"])
    if device.type in states and device.type != "cpu":
        getattr(torch, device.type).set_rng_state(states[device.type])
