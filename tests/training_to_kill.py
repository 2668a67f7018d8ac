"""A tiny BERT and its training, which test_resuming.py stops in the middle, and kills in a process of its own."""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
import torch
from transformers import BertConfig, BertForSequenceClassification

from helpers.batches import make_loader
from helpers.careful import resuming
from helpers.training import EarlyStopping, train

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def tiny_bert(**settings):
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=64, max_position_embeddings=32, **settings)
    return BertForSequenceClassification(config).eval()


def reviews(count, classes=2, *, seed=0):
    """Random ids of 3 to 12 tokens and random labels: nothing to learn, but plenty to memorise."""
    random = numpy.random.default_rng(seed)
    ids = [random.integers(1, 50, size=random.integers(3, 13)).tolist() for _ in range(count)]
    return ids, random.integers(0, classes, size=count).tolist()


def loader(count, *, seed=0, shuffle=True, classes=2):
    pad = SimpleNamespace(pad_token_id=0)  # all that make_loader asks of a tokenizer
    return make_loader(*reviews(count, classes, seed=seed), pad, batch_size=8, shuffle=shuffle)


def train_tiny(folder=None, *, model=None, stopping=None, loaders=None, **settings):
    """Epochs of six steps until early stopping ends them, after two or three; the last batch of an epoch is smaller."""
    model = model or tiny_bert()
    stopping = stopping or EarlyStopping(patience=1)
    settings = {"epochs": 6, "learning_rate": 3e-3, **settings}
    loaders = loaders or (loader(44), loader(20, seed=2, shuffle=False))
    history = train(model, *loaders, early_stopping=stopping, checkpoint_dir=folder, progress=False, **settings)
    return model, stopping, history


def fingerprint(model, stopping, history):
    """All that must be the same to the bit after an interrupted run: only the seconds may differ."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    record = {name: values for name, values in vars(history).items() if name != "seconds"}
    return [digest.hexdigest(), record, stopping.best_epoch, stopping.best_loss, torch.rand(1).item()]


def stop_at(model, number, action):
    """Call `action` in the middle of the `number`-th forward pass, counted from 1, after dropout has been drawn."""
    passes = []

    def hook(*_):
        passes.append(1)
        if len(passes) == number:
            action()

    return model.bert.encoder.layer[1].register_forward_hook(hook)


def die_at(call, count):
    """Replace one of the calls that write a checkpoint by one that kills this process the `count`-th time."""
    module, name = (os, "fsync") if call in ("write", "fsync") else (Path, call)
    usual, calls = getattr(module, name), []

    def deadly(*arguments):
        calls.append(1)
        if len(calls) == count:
            if call == "write":  # half of the file is written
                os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(*arguments)

    setattr(module, name, deadly)


def train_and_tell(folder, result, die=None):
    """Train, save after each step, and write the fingerprint to `result`: in a process that may be killed."""
    torch.set_num_threads(1)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")
    resuming.SAVE_EVERY_SECONDS = 0
    resuming.BYTES_A_SECOND = float("inf")
    if die:
        die_at(*die)
    result.write_text(json.dumps(fingerprint(*train_tiny(folder))))
