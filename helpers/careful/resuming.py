"""Going on after a stop, be it the stop button of a notebook or a power cut. Used by `helpers.training.train`.

A checkpoint is one safetensors file: the tensors, and everything else as JSON in its header. Nothing is unpickled. It
is written under another name, forced onto the disk and then renamed, so that it is there as a whole or not at all; its
name ends with its checksum. The last two are kept, and the one with the lowest validation loss.
"""

import contextlib
import hashlib
import json
import os
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
from safetensors.torch import save

SAVE_EVERY_SECONDS = 180  # and at the end of each epoch; larger checkpoints come more seldom:
BYTES_A_SECOND = 2e6  # BERT-base's 1.3 GB every 11 minutes, for a Google Drive holds 15 GB and takes its time
FORMAT = "helpers.careful.resuming 3"
TENSOR = "tensor of this file"  # stands in the JSON where a tensor was, with its name
MAY_DIFFER = ("transformers_version", "_name_or_path", "dtype", "torch_dtype")  # between two sittings, in a config
_BEGAN_WITH = weakref.WeakKeyDictionary()  # {model: {folder: digest of the weights with which it began there}}


@dataclass
class Settings:
    """What the caller of `train` chose. A training goes on only where all of it, model and reviews are the same."""

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

    def state(self):
        """Return what a checkpoint holds, but for the random numbers."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],  # AdamW's means
            "scaler": self.scaler.state_dict(),
            "history": vars(self.history),
            "early_stopping": getattr(self.early_stopping, "__dict__", {}),  # with the best weights
            "stopped_early": self.stopped_early,
            "seconds": time.perf_counter() - self.started,
        }

    def restore(self, state):
        """Take in what `state` returned, in this process or in another one."""
        self.model.load_state_dict(state["model"])
        means = {int(number): means for number, means in state["optimizer"].items()}  # JSON's names are texts
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": means})
        if self.scaler.is_enabled() and state["scaler"]:  # a GPU with bf16 needs none, and has none to give
            self.scaler.load_state_dict(state["scaler"])
        vars(self.history).update(state["history"])
        getattr(self.early_stopping, "__dict__", {}).update(state["early_stopping"])
        self.stopped_early, self.started = state["stopped_early"], time.perf_counter() - state["seconds"]


class Checkpoints:
    """The checkpoints of one run, in `folder` (None: none). In `with` the stop button acts between two steps.

    decisive    what decides the result of the training, from `what_decides`
    processes   accelerate's PartialState: the first process reads and writes the files, for all of them
    """

    def __init__(self, folder, run, decisive, steps_an_epoch, processes):
        self.folder = None if folder is None else Path(folder)
        self.run, self.decisive, self.steps_an_epoch, self.processes = run, decisive, steps_an_epoch, processes
        self.several, self.device = processes.num_processes > 1, run.model.device
        self.pressed = self.at_once = self.has_warned = False
        self.pause = SAVE_EVERY_SECONDS  # from one save to the next
        self.locked = contextlib.ExitStack()  # holds the lock of the folder

    def __enter__(self):
        state = None if self.folder is None else self._in_first(self._newest)
        if state is not None:
            self.run.restore(state)
            if self.processes.process_index < len(state["random"]):  # another number: the new ones draw their own
                _random_states(self.device, state["random"][self.processes.process_index])
        self.random, self.last_save = _random_states(self.device), time.perf_counter()
        self.usual = signal.getsignal(signal.SIGINT)
        self.takes_signals = callable(self.usual) and threading.current_thread() is threading.main_thread()
        if self.takes_signals:
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, kind, *_):
        with self.locked:
            self.run.optimizer.zero_grad()  # a step may have begun
            if kind is KeyboardInterrupt and (self.pressed or not self.several):
                what_now = "With a checkpoint_dir it could go on later."
                if self.folder is not None:
                    what_now = "Run it again to go on." if self.save() else "It could not be saved."
                if self.processes.is_main_process:
                    step = len(self.run.history.step_loss)
                    print(f"Stopped after step {step}. The model is as that step left it. {what_now}")
        self.run.model.eval()
        if self.takes_signals:
            signal.signal(signal.SIGINT, self.usual)

    def _press(self, *_):
        self.pressed = True
        if self.at_once:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def stop_at_once(self):
        """In here the stop button needn't wait: nothing changes. Several processes stop together, so they do wait."""
        self.at_once = not self.several
        try:
            yield
        finally:
            self.at_once = False

    def after_step(self, *, epoch_is_over=False):
        """Save if it is time to, and stop if the button was pressed, in any process."""
        self.random = _random_states(self.device)
        due = epoch_is_over or time.perf_counter() - self.last_save > self.pause
        if self.several:  # the first process's clock decides
            flags = [self.pressed, due and self.processes.is_main_process]
            self.pressed, due = reduce(torch.tensor(flags, device=self.processes.device).int(), "sum").bool().tolist()
        if epoch_is_over:
            self.run.started = time.perf_counter()
        if due and (epoch_is_over or not self.pressed):  # where it is pressed, `__exit__` saves
            began = time.perf_counter()
            self.save(best=epoch_is_over and self.run.history.best_epoch == len(self.run.history.seconds))
            self.run.started += time.perf_counter() - began  # saving belongs to no epoch
        if self.pressed:
            raise KeyboardInterrupt

    def save(self, *, best=False):
        """Save a checkpoint and return True; where that is impossible, warn the first time and return False."""
        if self.folder is None:
            return False
        random = gather_object([self.random]) if self.several else [self.random]

        def write():
            try:
                self.folder.mkdir(exist_ok=True)  # it may have vanished
                state = {"training": self.decisive, "random": random, **self.run.state()}
                path = save_checkpoint(self.folder, state, best=best)
                self.pause = max(SAVE_EVERY_SECONDS, path.stat().st_size / BYTES_A_SECOND)
                return True
            except (OSError, TypeError) as problem:  # TypeError: early_stopping holds what JSON can't
                sentence = f"No checkpoint could be saved ({problem}). Training goes on, and saves again when it can."
                if not self.has_warned:
                    warnings.warn(sentence, RuntimeWarning, stacklevel=2)
                self.has_warned = True
                return False

        saved = self._in_first(write)
        self.last_save = time.perf_counter()
        return saved

    def _in_first(self, work):
        """Return in all processes what `work()` returns in the first one; raise its ValueError in all of them too."""
        answer = [None, None]
        if self.processes.is_main_process:
            try:
                answer[0] = work()
            except ValueError as problem:
                answer[1] = problem
        result, problem = broadcast_object_list(answer) if self.several else answer
        if problem is not None:
            raise problem
        return result

    def _newest(self):
        """Lock the folder and return the state of its newest checkpoint that is whole and of this training, or None."""
        with contextlib.ExitStack() as locked:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                # The system unlocks it when the process that holds it ends, however it ends.
                locked.enter_context(FileLock(self.folder / ".lock", timeout=0))
            except Timeout:
                cure = "wait for its end, or give `train` another checkpoint_dir"
                raise ValueError(f"Another training writes into {self.folder} now: {cure}.") from None
            except (OSError, NotImplementedError):
                pass  # `save` will warn
            state = self._choose()
            self.locked = locked.pop_all()
            return state

    def _choose(self):
        others = []
        for path in reversed(list_checkpoints(self.folder)):
            try:
                state = load_checkpoint(path)
                then = state["training"]  # what only one of two versions of transformers knows can't be compared
                others = [name for name, value in self.decisive.items() if then.get(name, value) != value]
                if others:
                    raise ValueError(f"it is of a training with another {', '.join(others)}")
            except ValueError as problem:
                print(f"{path.name} is refused: {problem}. An older one is used, if there is one.")
                continue
            print(f"Going on after step {len(state['history']['step_loss'])}, from the checkpoint {path.name[:11]}.")
            return state
        if others:
            cure = "give `train` another checkpoint_dir, or delete that folder to begin again"
            raise ValueError(f"{self.folder} is of a training with another {', '.join(others)}: {cure}.")
        return None


def _random_states(device, new=()):
    """Set torch's random number generators to the states in `new`, if any; return their states: {device: state}."""
    generators = {"cpu": torch, device.type: torch if device.type == "cpu" else torch.get_device_module(device)}
    for name in generators.keys() & new:
        generators[name].set_rng_state(new[name])
    return {name: generator.get_rng_state() for name, generator in generators.items()}


def what_decides(settings, model, train_loader, validation_loader, early_stopping, folder):
    """Return what decides the result of a training, as JSON gives it back: {what: value}."""
    decisive = asdict(settings)
    for name in ("patience", "min_delta"):
        decisive[name] = getattr(early_stopping, name, None)
    for name, loader in (("training reviews", train_loader), ("validation reviews", validation_loader)):
        order = getattr(loader, "batch_sampler", None)
        decisive[name] = order and _digest((order.batch_size, order.shuffle, order.seed), *loader.dataset)
    for name, value in model.config.to_dict().items():
        if name not in MAY_DIFFER:
            decisive[f"{name} of the model"] = value
    decisive["frozen layers"] = _digest(*((name, p.shape, p.requires_grad) for name, p in model.named_parameters()))
    # What has one axis (biases, LayerNorm) is alike in all new networks, so it tells pretrained weights apart whatever
    # the seed; other random weights are no matter, for the checkpoint's take their place. A model that was stopped has
    # moved on from where it began: that is remembered.
    began, place = _BEGAN_WITH.setdefault(model, {}), str(Path(folder).resolve())
    if place not in began or not list_checkpoints(folder):
        one_axis = [parameter for parameter in model.parameters() if parameter.ndim < 2]
        began[place] = _digest(*(p.detach().cpu().view(torch.uint8).numpy().tobytes() for p in one_axis))
    decisive["pretrained weights"] = began[place]
    return json.loads(json.dumps(decisive, default=str))


def _digest(*parts):
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part if isinstance(part, bytes) else repr(part).encode())
    return sha256.hexdigest()


def save_checkpoint(folder, state, *, best=False):
    """Write the next checkpoint into `folder` and return its path; then delete all but the last two and the best.

    state  dicts and lists, nested as you like, of tensors and of what JSON can hold
    best   whether its validation loss is the lowest so far
    Raises OSError where there is no room or no right to write; the checkpoints that are there stay as they are.
    """
    tensors = {}

    def take_out(value):
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"a {type(value).__name__} can't be saved")
        tensors[name := str(len(tensors))] = value.detach().to("cpu", copy=True).contiguous()
        return {TENSOR: name}

    text = json.dumps(state, default=take_out)
    content = save(tensors, metadata={"format": FORMAT, "state": text})
    number = max((int(path.name.split("-")[1]) for path in list_checkpoints(folder)), default=0) + 1
    name = f"saved-{number:05}-{'best-' if best else ''}{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    unfinished = Path(folder) / ".course-unfinished"
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path = unfinished.rename(Path(folder) / name)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()  # gives its room back
        raise
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
        with open(path, "rb") as file:
            if not path.stem.endswith(hashlib.file_digest(file, "sha256").hexdigest()[:16]):
                raise ValueError("it was cut short or altered")
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError("another program or another version of the course made it")

            def put_back(value):
                return file.get_tensor(value[TENSOR]).clone() if value.keys() == {TENSOR} else value

            return json.loads(header["state"], object_hook=put_back)
    except (OSError, SafetensorError, LookupError, RecursionError, TypeError) as problem:
        raise ValueError(f"it can't be read ({problem})") from None


def list_checkpoints(folder):
    """Return the paths of the checkpoints in `folder`, the newest last."""
    return sorted(Path(folder).glob("saved-[0-9][0-9][0-9][0-9][0-9]-*.safetensors"))
