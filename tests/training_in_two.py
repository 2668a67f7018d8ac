"""What one of two processes does for test_training.py; `torchrun` starts both. Each writes what it found as JSON."""

import json
import signal
import sys
from pathlib import Path

import torch
from training_to_kill import NO_DROPOUT, fingerprint, loader, stop_at, tiny_bert, train_tiny

from helpers import training
from helpers.training import predict_logits, train


def train_plainly(folder=None, *, stop=None, **settings):
    """Train without dropout for 54 steps; the last batch of an epoch has one review, so one process has none."""
    model = tiny_bert(**NO_DROPOUT)
    settings = {"epochs": 9, "learning_rate": 1e-3, **settings}
    if stop:
        stop_at(model, stop, lambda: signal.raise_signal(signal.SIGINT))
    loaders = loader(41), loader(21, seed=2, shuffle=False)
    history = train(model, *loaders, checkpoint_dir=folder, progress=stop is None and folder is None, **settings)
    return model, history, predict_logits(model, loaders[1])


def as_json(model, history, logits):
    losses = {name: values for name, values in vars(history).items() if name != "seconds"}
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return {"weights": weights.tolist(), "history": losses, "logits": logits.tolist()}


def raised(action):
    try:
        action()
    except (KeyboardInterrupt, ValueError, RuntimeError) as problem:
        return f"{type(problem).__name__} {problem}"


def main(folder):
    from accelerate import PartialState

    found = {"whole": as_json(*train_plainly())}
    second = PartialState().process_index == 1
    found["stopped"] = raised(lambda: train_plainly(folder / "two", stop=10 if second else None))  # pressed in one
    found["refused"] = raised(lambda: train_plainly(folder / "two", epochs=8))
    found["went on"] = as_json(*train_plainly(folder / "one"))
    found["diverged"] = raised(lambda: train_plainly(learning_rate=1e30))

    whole = fingerprint(*train_tiny())  # with dropout, of which each process draws its own
    model = tiny_bert()
    hook = stop_at(model, 8, lambda: signal.raise_signal(signal.SIGINT))
    found["stopped again"] = raised(lambda: train_tiny(folder / "dropout", model=model))
    hook.remove()
    found["to the bit"] = fingerprint(*train_tiny(folder / "dropout"))[:4] == whole[:4]
    (folder / f"{PartialState().process_index}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    training.processor_has_bf16 = lambda: False  # 16 bits would round halves otherwise than the whole
    main(Path(sys.argv[1]))
