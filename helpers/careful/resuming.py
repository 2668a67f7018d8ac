"""Going on after a stop, be it the stop button of a notebook or a power cut. Used by `helpers.training.train`.

What has been done is known from the history alone: an entry for each step and each epoch that is over.
"""

import contextlib
import hashlib
import itertools
import json
import random
import signal
import threading
import time
import warnings
import weakref
from pathlib import Path

import numpy
import torch

from helpers.careful.checkpoints import list_checkpoints, load_checkpoint, save_checkpoint

SAVE_EVERY_SECONDS = 180  # and at the end of each epoch
MAY_DIFFER = ("transformers_version", "_name_or_path", "dtype", "torch_dtype")  # between two sittings, in a config
RANDOM_WEIGHTS = "random weights at the start"
_BEGAN_WITH = weakref.WeakKeyDictionary()  # {model: {folder: digests of the weights with which it began there}}


class ResumableRun:
    """What `train` needs to go on after a stop. Without a folder (None) nothing is saved or loaded."""

    def __init__(self, call, optimizer, scaler, history):
        """`call` holds the arguments of `train`: {name: value}."""
        self.folder = None if call["checkpoint_dir"] is None else Path(call["checkpoint_dir"])
        self.training = None if self.folder is None else _describe(**call)
        self.model, self.early_stopping = call["model"], call["early_stopping"]
        self.optimizer, self.scaler, self.history = optimizer, scaler, history
        self.stopped_early = self.interrupted = self.stops_at_once = self.has_warned = False

    @contextlib.contextmanager
    def resumed(self):
        """Load the newest good checkpoint. In here the stop button of the notebook acts between two steps."""
        self.started = self.last_save = time.perf_counter()
        if self.folder is not None:
            self._load()
        self.random = _random_states(self.model.device)
        usual = signal.getsignal(signal.SIGINT)
        takes_signals = callable(usual) and threading.current_thread() is threading.main_thread()
        if takes_signals:
            signal.signal(signal.SIGINT, self._stop_button)
        try:
            yield self
            if self.interrupted:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.optimizer.zero_grad()  # a step may have begun
            self.model.eval()
            what_now = "With a checkpoint_dir it could go on later."
            if self.folder is not None:
                what_now = "Run the cell again to go on." if self.save() else "It could not be saved."
            print(f"Stopped after step {len(self.history.step_loss)}. The model is as that step left it. {what_now}")
            raise
        finally:
            if takes_signals:
                signal.signal(signal.SIGINT, usual)

    def _stop_button(self, *_):
        self.interrupted = True
        if self.stops_at_once:
            raise KeyboardInterrupt

    def epochs_to_do(self, epochs):
        """Yield the numbers, from 1, of the epochs that are not over; save at the end of each."""
        while len(self.history.seconds) < epochs and not self.stopped_early:
            yield len(self.history.seconds) + 1
            self.random = _random_states(self.model.device)
            self.started = time.perf_counter()
            self.save(best=self.history.best_epoch == len(self.history.seconds))
            self.started = time.perf_counter()

    def batches_to_do(self, loader):
        """Yield the batches of this epoch that are not done; between two, stop or save if it is time to."""
        done = len(self.history.step_loss) - len(self.history.seconds) * len(loader)
        for batch in itertools.islice(loader, done, None):
            yield batch
            self.random = _random_states(self.model.device)
            if self.interrupted:
                raise KeyboardInterrupt
            if time.perf_counter() - self.last_save > SAVE_EVERY_SECONDS:
                self.save()

    def save(self, *, best=False):
        """Save a checkpoint and return True; where that is impossible, warn the first time and return False."""
        if self.folder is None:
            return False
        state = {
            "training": self.training,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": vars(self.history),
            "early_stopping": getattr(self.early_stopping, "__dict__", {}),  # with the best weights
            "stopped_early": self.stopped_early,
            "random": self.random,
            "seconds": time.perf_counter() - self.started,
        }
        self.last_save = time.perf_counter()
        try:
            if not self.folder.is_dir():
                self._warn(f"The folder {self.folder} has vanished. It is made again for the next checkpoints.")
                self.folder.mkdir()
            save_checkpoint(self.folder, state, best=best)
            return True
        except (OSError, TypeError) as problem:  # TypeError: early_stopping holds what JSON can't
            self._warn(f"No checkpoint could be saved ({problem}). Training goes on, and saves again when it can.")
            return False

    def _load(self):
        others = []
        for path in reversed(list_checkpoints(self.folder)):
            try:
                state = load_checkpoint(path)
                then = state["training"]  # what only one of two versions of transformers knows can't be compared
                others = [name for name, value in self.training.items() if then.get(name, value) != value]
                if others == [RANDOM_WEIGHTS]:
                    print("The model began with other random weights now; the checkpoint's take their place.")
                    self.training[RANDOM_WEIGHTS] = then[RANDOM_WEIGHTS]
                elif others:
                    raise ValueError(f"it is of a training with another {', '.join(others)}")
            except ValueError as problem:
                print(f"{path.name} is refused: {problem}. An older one is used, if there is one.")
                continue
            self._restore(state)
            print(f"Going on after step {len(self.history.step_loss)}, from the checkpoint {path.name[:11]}.")
            return
        if others:
            cure = "give `train` another checkpoint_dir, or delete that folder to begin again"
            raise ValueError(f"{self.folder} is of a training with another {', '.join(others)}: {cure}.")
        with contextlib.suppress(OSError):  # `save` will warn
            self.folder.mkdir(parents=True, exist_ok=True)

    def _restore(self, state):
        self.model.load_state_dict(state["model"])
        state["optimizer"]["state"] = {int(place): moments for place, moments in state["optimizer"]["state"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        vars(self.history).update(state["history"])
        getattr(self.early_stopping, "__dict__", {}).update(state["early_stopping"])
        self.stopped_early = state["stopped_early"]
        self.started = time.perf_counter() - state["seconds"]
        version, words, spare = state["random"]["python"]
        random.setstate((version, tuple(words), spare))
        numpy.random.set_state(tuple(state["random"]["numpy"]))
        torch.set_rng_state(state["random"]["torch"])
        if self.model.device.type in state["random"]:
            getattr(torch, self.model.device.type).set_rng_state(state["random"][self.model.device.type])

    def _warn(self, sentence):
        if not self.has_warned:
            warnings.warn(sentence, RuntimeWarning, stacklevel=2)
        self.has_warned = True


def _describe(model, train_loader, validation_loader, early_stopping, checkpoint_dir, progress, **settings):
    """Return what decides the result of a training, as JSON gives it back: {what: value}."""
    for name in ("patience", "min_delta"):
        settings[name] = getattr(early_stopping, name, None)
    for name, loader in (("training reviews", train_loader), ("validation reviews", validation_loader)):
        order = getattr(loader, "batch_sampler", None)
        settings[name] = order and _digest([(order.batch_size, order.shuffle, order.seed), *loader.dataset])
    for name, value in model.config.to_dict().items():
        if name not in MAY_DIFFER:
            settings[f"{name} of the model"] = value
    settings["frozen layers"] = _digest((name, p.shape, p.requires_grad) for name, p in model.named_parameters())
    settings |= _starting_weights(model, checkpoint_dir)
    return json.loads(json.dumps(settings, default=str))


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


def _random_states(device):
    """Return the states of all random number generators; numpy's and Python's as lists of numbers."""
    name, words, *spare = numpy.random.get_state()
    states = {"python": random.getstate(), "numpy": [name, words.tolist(), *spare], "torch": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = getattr(torch, device.type).get_rng_state()
    return states


def _digest(parts):
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(repr(part).encode())
    return sha256.hexdigest()
