"""The training loop and early stopping, on a BERT with 2 layers of 32 numbers."""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import sklearn.metrics
import torch
import training_in_two as in_two
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_to_kill import NO_DROPOUT, loader, reviews, tiny_bert

from helpers import training
from helpers.batches import make_loader
from helpers.models import freeze
from helpers.track import set_seed
from helpers.training import (
    EarlyStopping,
    History,
    learning_rate_at,
    loss_and_accuracy,
    predict_logits,
    train,
)

PAD = SimpleNamespace(pad_token_id=0)  # all that make_loader asks of a tokenizer


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(autouse=True)
def a_processor_without_bf16(monkeypatch):
    """What these tests find must not depend on the processor that they run on."""
    monkeypatch.setattr(training, "processor_has_bf16", lambda: False)


# The whole loop


@pytest.mark.parametrize("has_bf16", [False, True])
def test_the_loop_is_the_plain_one_to_the_bit_and_leaves_the_model_plain(monkeypatch, has_bf16):
    """Forward, backward, clip, step; warm-up and decay; weight decay where it belongs; a new order each epoch."""
    monkeypatch.setattr(training, "processor_has_bf16", lambda: has_bf16)
    epochs, peak, warmup, decay, clip = 3, 1e-3, 0.25, 0.1, 0.25
    model, batches, losses, lengths = tiny_bert(), loader(22), [], []
    steps = epochs * len(batches)
    spared = [p for name, p in model.named_parameters() if name.endswith(".bias") or "LayerNorm" in name]
    decayed = [p for name, p in model.named_parameters() if not (name.endswith(".bias") or "LayerNorm" in name)]
    groups = [{"params": decayed, "weight_decay": decay}, {"params": spared, "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, fused=True)
    climb = round(warmup * steps)
    rates = [peak * (i + 1) / climb for i in range(climb)]
    rates += [peak * (steps - climb - i) / (steps - climb) for i in range(steps - climb)]
    set_seed(5)
    for _ in range(epochs):
        model.train()
        for batch in batches:
            for group in optimizer.param_groups:
                group["lr"] = rates[len(losses)]
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16):
                logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
                loss = torch.nn.functional.cross_entropy(logits.float(), batch["labels"])
            loss.backward()
            lengths.append(torch.nn.utils.clip_grad_norm_(model.parameters(), clip))
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())

    assert min(lengths) < clip < max(lengths)
    other = tiny_bert()
    before = set(vars(other))
    other.classifier.bias.grad = torch.ones(2)  # left behind by a cell before this one
    plan = dict(epochs=epochs, learning_rate=peak, warmup=warmup, weight_decay=decay, clip_norm=clip, seed=5)
    history = train(other, loader(22), **plan, progress=False)
    assert history.step_loss == losses and history.step_rate == rates
    assert same(weights(model), weights(other))
    assert set(vars(other)) == before and all(p.grad is None for p in other.parameters())
    assert not any(module.training for module in other.modules())


def trained(seed=0, validation=True, before=None):
    model, batches = tiny_bert(), loader(22)
    if before:
        before(model, batches)
    watched = loader(9, seed=1, shuffle=False) if validation else None
    train(model, batches, watched, epochs=2, learning_rate=1e-3, seed=seed, progress=False)
    return weights(model)


def test_the_seed_decides_to_the_bit_and_nothing_else_does():
    """Wrong code: validation that draws random numbers, leaves the model in eval mode, or leaves gradients behind."""

    def disturb(model, batches):
        torch.rand(7)
        numpy.random.rand(7)
        list(batches)  # the loader has been used: its own count of epochs has moved on

    usual = trained()
    assert same(usual, trained(before=disturb)) and same(usual, trained(validation=False))
    assert not same(usual, trained(seed=1))


def test_losses_are_means_over_reviews_not_over_batches():
    """22 reviews in batches of 8, 8 and 6: with rate 0 and no dropout training and validation see the same model."""
    model = tiny_bert(**NO_DROPOUT)
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # so that the batches' losses differ
    history = train(model, loader(22), loader(22, shuffle=False), epochs=1, learning_rate=0.0, progress=False)
    assert max(history.step_loss) - min(history.step_loss) > 0.05
    assert history.train_loss[0] == pytest.approx(history.validation_loss[0], rel=1e-5)
    assert history.train_loss[0] != pytest.approx(numpy.mean(history.step_loss), rel=1e-4)


def test_best_epoch_counts_from_one_takes_the_first_of_equals_and_needs_validation():
    assert History(validation_loss=[0.7, 0.5, 0.5, 0.6]).best_epoch == 2
    assert History(validation_loss=[0.4, 0.5]).best_epoch == 1
    assert History(validation_loss=[math.nan, 0.5, math.inf]).best_epoch == 2
    assert History(validation_loss=[math.nan]).best_epoch is None
    assert train(tiny_bert(), loader(22), epochs=1, progress=False).best_epoch is None


def test_the_history_and_the_screen_have_a_line_an_epoch_unless_progress_is_off(capfd):
    validation = loader(9, shuffle=False)
    train(tiny_bert(), loader(22), validation, epochs=2, progress=False)
    assert capfd.readouterr() == ("", "")
    history = train(tiny_bert(), loader(22), validation, epochs=2)
    for name in ("train_loss", "validation_loss", "validation_accuracy", "seconds"):
        assert len(getattr(history, name)) == 2, name
    assert len(history.step_loss) == len(history.step_rate) == 2 * 3
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2") and f"validation loss {history.validation_loss[1]:.3f}" in lines[1]


# The learning rate


@pytest.mark.parametrize(
    "step, total, warmup, expected",
    [
        (0, 10, 0.2, 0.5),  # half-way up
        (1, 10, 0.2, 1.0),  # the peak
        (2, 10, 0.2, 1.0),
        (6, 10, 0.2, 0.5),  # half-way down
        (9, 10, 0.2, 0.125),  # the last step still moves
        (0, 4, 0.0, 1.0),  # no warm-up: starts at the peak
        (3, 4, 0.0, 0.25),
        (0, 1, 0.1, 1.0),  # one step in all
        (39, 40, 1.0, 1.0),  # warm-up alone
        (2, 3, 0.9, 1.0),
    ],
)
def test_the_rate_climbs_and_falls_in_straight_lines(step, total, warmup, expected):
    assert learning_rate_at(step, total, 3e-5, warmup) == pytest.approx(3e-5 * expected)


# What trains


def test_frozen_parameters_do_not_move_and_all_others_do():
    model = tiny_bert()
    freeze(model, 1)
    before = weights(model)
    train(model, loader(22), epochs=2, learning_rate=1e-3, weight_decay=0.5, progress=False)
    for name, parameter in model.named_parameters():
        frozen = name.startswith(("bert.embeddings.", "bert.encoder.layer.0."))
        assert torch.equal(parameter, before[name]) == frozen, name


def test_a_model_without_anything_to_train_is_refused():
    with pytest.raises(ValueError, match="frozen"):
        train(tiny_bert().requires_grad_(False), loader(22), epochs=1, progress=False)


# Early stopping


def replay(losses, **settings):
    """Return (epoch after which it stops or None, best epoch, best loss) on a list of validation losses."""
    stopping = EarlyStopping(**settings)
    model = torch.nn.Linear(1, 1)
    for epoch, loss in enumerate(losses, start=1):
        if stopping.update(loss, model):
            return epoch, stopping.best_epoch, stopping.best_loss
    return None, stopping.best_epoch, stopping.best_loss


@pytest.mark.parametrize(
    "losses, settings, expected",
    [
        ([0.5, 0.6, 0.4], dict(patience=1), (2, 1, 0.5)),  # one bad epoch is enough: the better third is never seen
        ([0.5, 0.6, 0.4, 0.5, 0.6], dict(patience=2), (5, 3, 0.4)),  # two in a row; a fall starts the count anew
        ([0.5, 0.6, 0.4, 0.7, 0.3, 0.7], dict(patience=2), (None, 5, 0.3)),  # bad epochs that aren't in a row
        ([0.5, 0.5], dict(patience=1), (2, 1, 0.5)),  # equal is no fall
        ([1.0, 0.75, 0.5], dict(patience=1, min_delta=0.25), (2, 1, 1.0)),  # exactly min_delta is not more than it
        ([1.0, 0.7, 0.5], dict(patience=1, min_delta=0.25), (3, 2, 0.7)),  # measured from the best, epoch by epoch
        ([1.0, 0.9, 0.8, 0.7], dict(patience=3, min_delta=0.25), (None, 4, 0.7)),  # small falls add up to a real one
        ([0.5, 0.4, 0.3], dict(patience=1), (None, 3, 0.3)),  # always falling: never stops
        ([math.nan, math.nan], dict(patience=2), (2, 0, math.inf)),  # diverged at once: stops, nothing to keep
        ([0.5, math.nan, math.nan], dict(patience=2), (3, 1, 0.5)),  # a loss that isn't a number is no fall
    ],
)
def test_early_stopping_stops_and_keeps_when_it_should(losses, settings, expected):
    assert replay(losses, **settings) == expected


def test_early_stopping_keeps_a_copy_of_the_best_weights():
    """Wrong code: keeping a reference, which follows the model; restoring the last or any worse weights."""
    model, stopping = torch.nn.Linear(2, 2), EarlyStopping(patience=5)
    best = weights(model)
    stopping.restore(model)
    assert same(weights(model), best)  # before any epoch it changes nothing
    for loss in (0.9, 0.3, 0.5, 0.4):
        with torch.no_grad():
            model.weight.add_(1)
        if loss == 0.3:
            best = weights(model)
        stopping.update(loss, model)
    assert not same(weights(model), best)
    stopping.restore(model)
    assert same(weights(model), best)
    with torch.no_grad():
        model.weight.add_(1)  # training on must not spoil the copy
    stopping.restore(model)
    assert same(weights(model), best)


@pytest.mark.parametrize("patience", [0, -1])
def test_a_patience_below_one_is_refused(patience):
    with pytest.raises(ValueError, match="patience.*at least 1"):
        EarlyStopping(patience=patience)


def overfitted(early_stopping, epochs=12):
    """Memorise random labels: the loss on other random labels soon rises."""
    model, validation = tiny_bert(**NO_DROPOUT), loader(16, seed=1, shuffle=False)
    plan = dict(epochs=epochs, learning_rate=3e-3, early_stopping=early_stopping, progress=False)
    return model, validation, train(model, loader(16), validation, **plan)


def test_train_stops_early_and_gives_back_exactly_the_best_weights_also_when_the_epochs_run_out():
    _, _, long = overfitted(None)
    for patience in (2, 100):
        model, validation, history = overfitted(EarlyStopping(patience=patience))
        losses, best = history.validation_loss, history.best_epoch
        assert len(losses) == min(best + patience, 12) and losses == long.validation_loss[: len(losses)]
        assert loss_and_accuracy(model, validation)[0] == losses[best - 1] == min(losses) < losses[-1]


def test_on_epoch_is_called_after_each_epoch_and_changes_nothing():
    seen, gradients = [], []

    def look(history, model):
        seen.append((len(history.seconds), history.validation_loss[-1], weights(model)))
        model(torch.tensor([[1, 2]])).logits.sum().backward()  # gradients that must not go into the next step
        gradients.append(predict_logits(model, loader(9, seed=1, shuffle=False)))

    model, validation = tiny_bert(), loader(9, seed=1, shuffle=False)
    plan = dict(epochs=2, learning_rate=1e-3, seed=0, progress=False)
    history = train(model, loader(22), validation, on_epoch=look, **plan)
    assert [(epoch, loss) for epoch, loss, _ in seen] == list(enumerate(history.validation_loss, start=1))
    assert not same(seen[0][2], seen[1][2]) and same(seen[1][2], weights(model))
    assert same(weights(model), trained())


# What can't train


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ({"epochs": 0}, "epochs is 0, .* whole number, 1 or more"),
        ({"epochs": -1}, "epochs is -1"),
        ({"epochs": 2.5}, "epochs is 2.5"),
        ({"epochs": "3"}, "epochs is '3'"),
        ({"epochs": math.nan, "warmup": 100}, "epochs is nan"),
        ({"warmup": 100}, "warmup is 100, .* share"),
        ({"early_stopping": EarlyStopping()}, "give `train` a validation_loader"),
    ],
)
def test_settings_that_make_no_sense_are_a_sentence(plan, sentence):
    with pytest.raises(ValueError, match=sentence):
        train(tiny_bert(), loader(22), **{"epochs": 1, "progress": False, **plan})


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 1, 2], r"label 2 .* training .*load_classifier\(num_labels=3\)"),
        ([0, 10**6, 1], "label 1000000 .* whole numbers from 0"),
    ],
)
def test_labels_without_an_output_are_a_sentence_before_the_first_step(labels, sentence):
    strange = make_loader([[1, 2, 3]] * 3, labels, PAD, batch_size=2, shuffle=True)
    model = tiny_bert()
    before = weights(model)
    with pytest.raises(ValueError, match=sentence):
        train(model, strange, epochs=1, progress=False)
    with pytest.raises(ValueError, match=sentence.replace("training", "validation")):
        train(model, loader(22), strange, epochs=1, progress=False)
    assert same(weights(model), before)


def test_reviews_longer_than_the_models_positions_are_a_sentence():
    long = make_loader([[1] * 33, [2]], [0, 1], PAD, batch_size=2, shuffle=False)
    for action in (lambda: train(tiny_bert(), long, epochs=1), lambda: predict_logits(tiny_bert(), long)):
        with pytest.raises(ValueError, match="33 tokens, .* 32 positions: .*max_tokens=32"):
            action()


@pytest.mark.parametrize("where", ["loss", "gradient", "validation"])
def test_a_training_that_diverges_stops_with_a_sentence_before_it_saves(tmp_path, monkeypatch, where):
    """Wrong code: goes on with NaN, or saves it over the good checkpoint."""
    from helpers.careful import resuming

    monkeypatch.setattr(resuming, "SAVE_EVERY_SECONDS", 0)
    monkeypatch.setattr(resuming, "BYTES_A_SECOND", float("inf"))
    model, forwards = tiny_bert(), []

    def fifth(module, arguments, output):
        forwards.append(1) if module.training else None
        if where == "gradient" and len(forwards) == 5:
            output.logits.register_hook(lambda gradient: gradient * math.nan)
        if where == "loss" and len(forwards) == 5 or not module.training and where == "validation":
            output.logits = output.logits * math.nan

    model.register_forward_hook(fifth)
    with pytest.raises(RuntimeError, match="diverged: at step [45] .* smaller learning rate than 0.02"):
        train(model, loader(22), loader(9), epochs=9, learning_rate=0.02, checkpoint_dir=tmp_path, progress=False)
    saved = [resuming.load_checkpoint(path) for path in resuming.list_checkpoints(tmp_path)]
    assert saved and all(tensor.isfinite().all() for state in saved for tensor in state["model"].values())
    assert all(math.isfinite(loss) for state in saved for loss in state["history"]["validation_loss"])
    assert all(parameter.isfinite().all() and parameter.grad is None for parameter in model.parameters())


def test_a_model_that_has_diverged_before_is_not_blamed_on_the_learning_rate():
    model = tiny_bert()
    torch.nn.init.constant_(model.classifier.weight, math.nan)
    with pytest.raises(RuntimeError, match="own weights are damaged: load it anew"):
        train(model, loader(22), epochs=1, progress=False)


# Prediction


@pytest.mark.parametrize("shuffle", [False, True])
def test_logits_come_in_the_order_of_the_reviews(shuffle):
    model = tiny_bert(num_labels=3)
    ids, labels = reviews(21)
    logits = predict_logits(model, make_loader(ids, labels, PAD, batch_size=4, shuffle=shuffle))
    assert logits.shape == (21, 3) and logits.dtype == numpy.float32
    with torch.no_grad():
        one_by_one = torch.cat([model(torch.tensor([review])).logits for review in ids])
    numpy.testing.assert_allclose(logits, one_by_one.numpy(), atol=1e-5)
    assert len(numpy.unique(logits[:, 0])) > 15  # or any order would do


@pytest.mark.parametrize("training_mode", [True, False])
def test_prediction_is_without_dropout_and_leaves_mode_and_random_numbers_alone(training_mode):
    model = tiny_bert(hidden_dropout_prob=0.5)
    batches = loader(10, shuffle=False)
    expected = predict_logits(model, batches)
    model.train(training_mode)
    state = torch.get_rng_state()
    numpy.testing.assert_array_equal(predict_logits(model, batches), expected)
    assert all(module.training == training_mode for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_loss_and_accuracy_agree_with_scikit_learn():
    model, batches = tiny_bert(), loader(21, shuffle=True)
    with torch.no_grad():
        model.classifier.weight.mul_(50)
    _, labels = reviews(21)
    logits = predict_logits(model, batches).astype(float)
    probabilities = numpy.exp(logits) / numpy.exp(logits).sum(axis=1, keepdims=True)
    loss, accuracy = loss_and_accuracy(model, batches)
    assert loss == pytest.approx(sklearn.metrics.log_loss(labels, probabilities), rel=1e-5)
    assert accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, probabilities.argmax(axis=1)))
    assert 0 < accuracy < 1


# Mixed precision: on a GPU what is asked of torch, since a test has none


@pytest.mark.parametrize(
    "capability, dtype, scaled",
    [((7, 5), torch.float16, True), ((8, 0), torch.bfloat16, False), ((9, 0), torch.bfloat16, False)],
)
def test_bf16_only_where_the_gpu_has_it_and_loss_scaling_for_fp16(monkeypatch, capability, dtype, scaled):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch, "autocast", lambda device, dtype: (device, dtype))
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: (device, enabled))
    precision, scaler = training.mixed_precision("cuda")
    assert precision() == ("cuda", dtype)
    assert scaler == ("cuda", scaled)


@pytest.mark.parametrize("has_bf16, dtype", [(False, torch.float32), (True, torch.bfloat16)])
def test_a_processor_computes_in_16_bits_only_where_it_can_and_never_scales(monkeypatch, has_bf16, dtype):
    monkeypatch.setattr(training, "processor_has_bf16", lambda: has_bf16)
    precision, scaler = training.mixed_precision("cpu")
    assert not scaler.is_enabled()
    with precision():
        assert tiny_bert()(torch.tensor([[1, 2, 3]])).logits.dtype == dtype


@pytest.mark.parametrize(
    ("level", "can", "expected"),
    [
        ("AVX512", {"avx512_bf16": True}, True),
        ("AVX512", {"amx_bf16": True}, True),
        ("AVX512", {"avx512_f": True}, False),
        ("AVX2", {"amx_bf16": True}, False),  # hidden by ATEN_CPU_CAPABILITY
        ("AVX512", None, False),  # a torch that can't tell
    ],
)
def test_the_processor_is_asked_for_bf16(monkeypatch, level, can, expected):
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: level)
    if can is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities")
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    assert training.processor_has_bf16() is expected


def test_predictions_keep_all_32_bits(monkeypatch):
    """Or a review's score would depend on the batch that it came in."""
    model, batches = tiny_bert(), loader(16, shuffle=False)
    logits = predict_logits(model, batches)
    monkeypatch.setattr(training, "processor_has_bf16", lambda: True)
    numpy.testing.assert_array_equal(predict_logits(model, batches), logits)


# Too little memory


CUDA_IS_FULL = torch.OutOfMemoryError("CUDA out of memory.")


def out_of_memory_above(model, tokens, problem=CUDA_IS_FULL):
    """Let the model fail as a GPU does when more than so many tokens go through it; return what went through."""
    passed = []

    def look(module, arguments, named):
        size = named["input_ids"].numel()
        if size > tokens:
            raise problem
        passed.append(size)

    model.register_forward_pre_hook(look, with_kwargs=True)
    return passed


@pytest.mark.parametrize(
    "problem", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("MPS backend out of memory")]
)
def test_too_little_memory_is_answered_by_parts_with_the_same_result_and_one_sentence(capsys, problem):
    """Wrong code: parts not weighted by their reviews, gradients of the failed attempt kept, asked anew each step."""
    whole = tiny_bert(**NO_DROPOUT)
    # a small rate, because AdamW makes whole steps of a gradient that is rounding alone
    history = train(whole, loader(22), epochs=2, learning_rate=1e-4, progress=False)

    model = tiny_bert(**NO_DROPOUT)
    passed = out_of_memory_above(model, 3 * 12, problem)
    other = train(model, loader(22), epochs=2, learning_rate=1e-4, progress=False)
    assert other.step_loss == pytest.approx(history.step_loss, rel=1e-5)
    for a, b in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert max(passed) <= 3 * 12
    said = capsys.readouterr().out
    assert 1 <= said.count("memory is too small for") <= 2  # 8 reviews, then perhaps 4: halved, and remembered
    assert "gradients are added up" in said


def test_too_little_memory_in_the_backward_pass_frees_the_failed_attempt(capsys):
    """Wrong code: the graph of the failed attempt is still held, by a name or by the error, while the next one runs."""
    whole, model, alive, graphs = tiny_bert(**NO_DROPOUT), tiny_bert(**NO_DROPOUT), [], []

    class Hook:  # lives as long as the graph
        def __call__(self, gradient):
            if len(graphs) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    def look(module, arguments, output):
        alive.append(sum(graph() is not None for graph in graphs))
        output.logits.register_hook(hook := Hook())
        graphs.append(weakref.ref(hook))

    model.register_forward_hook(look)
    plan = dict(epochs=1, learning_rate=1e-3, progress=False)
    history = train(model, loader(8), **plan)
    assert history.step_loss == pytest.approx(train(whole, loader(8), **plan).step_loss, rel=1e-5)
    for a, b in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert alive == [0, 0, 0]
    assert "too small for 8 reviews" in capsys.readouterr().out


def test_memory_that_cannot_hold_one_review_is_a_sentence(capsys):
    model = tiny_bert()
    out_of_memory_above(model, 2)
    with pytest.raises(RuntimeError, match="can't hold one review of .* lower max_tokens"):
        train(model, loader(22), epochs=1, progress=False)


def test_other_errors_are_not_taken_for_too_little_memory():
    model = tiny_bert()
    out_of_memory_above(model, 2, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(model, loader(22), epochs=1, progress=False)


def test_the_tokens_that_fit_grow_with_the_gpus_free_memory(monkeypatch):
    def fitting(gigabytes, kept=0, layers=12, width=768, parameters=110e6):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (gigabytes * 1e9, 80e9))
        model = SimpleNamespace(
            device=torch.device("cuda"),
            num_parameters=lambda: parameters,
            config=SimpleNamespace(num_hidden_layers=layers, hidden_size=width),
        )
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: kept * 1e9)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
        return training.tokens_that_fit(model)

    assert fitting(10, kept=5) == fitting(15)  # what torch keeps in reserve is free too
    assert fitting(15.6) > 32 * 256  # the gpu track's batch goes through a T4 in one piece
    assert 256 < fitting(4) < 32 * 256  # on a small card in several
    assert fitting(80) > 4 * fitting(15.6)
    assert fitting(1) == 1  # then `train` finds out by itself
    assert training.tokens_that_fit(tiny_bert()) > 10**9  # on a processor there is no limit


def test_an_apple_gpus_memory_has_a_limit_too(monkeypatch):
    """Wrong code: only CUDA has one, so a Mac's whole memory fills up and it swaps for minutes."""

    def fitting(gigabytes, in_use=0):
        monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: gigabytes * 1e9)
        monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: in_use * 1e9)
        config = SimpleNamespace(num_hidden_layers=12, hidden_size=768)
        model = SimpleNamespace(device=torch.device("mps"), num_parameters=lambda: 110e6, config=config)
        return training.tokens_that_fit(model)

    assert 256 < fitting(5.3) < fitting(10.6) < 32 * 256  # 8 and 16 GB: the gpu track's batch goes through in parts
    assert fitting(12, in_use=2) == fitting(10) < fitting(12)


class NoFloat64(TorchDispatchMode):
    """Refuse numbers of 64 bits, as an Apple GPU does. Nothing here computes on one."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if any(getattr(value, "dtype", None) == torch.float64 for value in tree_leaves(made)):
            raise TypeError(f"Cannot convert a MPS Tensor to float64 dtype ({function})")
        return made


def test_training_asks_an_apple_gpu_for_no_number_of_64_bits(tmp_path):
    with NoFloat64():
        with pytest.raises(TypeError, match="float64"):
            torch.ones(3).double()
        settings = {"epochs": 1, "progress": False, "checkpoint_dir": tmp_path, "early_stopping": EarlyStopping()}
        model = tiny_bert()
        train(model, loader(22), loader(9), **settings)
        predict_logits(model, loader(9))


def test_a_limit_known_beforehand_needs_no_failure(monkeypatch, capsys):
    monkeypatch.setattr(training, "tokens_that_fit", lambda model: 24)
    model = tiny_bert(**NO_DROPOUT)
    passed = out_of_memory_above(model, 24)
    history = train(model, loader(22), epochs=1, learning_rate=1e-3, progress=False)
    assert max(passed) <= 24 and capsys.readouterr().out == ""
    monkeypatch.undo()
    whole = train(tiny_bert(**NO_DROPOUT), loader(22), epochs=1, learning_rate=1e-3, progress=False)
    assert history.step_loss == pytest.approx(whole.step_loss, rel=1e-2)


# Several processes


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder, and what each of two processes found in it: training_in_two.py, started as on two computers."""
    folder = tmp_path_factory.mktemp("two")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "processor_has_bf16", lambda: False)
        in_two.train_plainly(folder / "one", stop=10)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    command += ["--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}", "--local-addr=127.0.0.1"]
    env = {**os.environ, "PYTHONPATH": str(Path(training.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    settings = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True, "env": env}
    nodes = [subprocess.Popen([*command, in_two.__file__, folder], **settings) for _ in range(2)]
    try:
        printed = "".join([node.communicate(timeout=200)[0] for node in nodes])
    finally:
        for node in nodes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
    return folder, printed, [json.loads((folder / f"{number}.json").read_text()) for number in (0, 1)]


def assert_equal(found, expected):
    """One and two processes: to 1e-5, for a sum over two halves rounds otherwise than the whole."""
    assert numpy.allclose(found["weights"], expected["weights"], rtol=0, atol=1e-5)
    assert numpy.allclose(found["logits"], expected["logits"], rtol=0, atol=1e-5)
    assert found["history"].keys() == expected["history"].keys()
    for name, values in expected["history"].items():
        assert found["history"][name] == pytest.approx(values, abs=1e-5), name


def test_two_processes_train_as_one_does(two):
    """Wrong code: reviews counted twice or left out, a mean of unequal halves, replicas that drift apart."""
    _, printed, (first, second) = two
    expected = in_two.as_json(*in_two.train_plainly())
    assert len(expected["history"]["step_loss"]) == 54 and 1 in expected["history"]["step_reviews"]
    assert_equal(first["whole"], expected)
    assert first["whole"] == second["whole"]  # the replicas are equal to the bit
    assert printed.count("epoch 9/9: train loss") == 1


def test_one_process_stops_all_and_errors_reach_all(two):
    _, printed, found = two
    for process in found:
        assert process["stopped"] == process["stopped again"] == "KeyboardInterrupt "
        assert "ValueError" in process["refused"] and "another epochs" in process["refused"]
        assert "RuntimeError" in process["diverged"] and "smaller learning rate" in process["diverged"]
    assert printed.count("Stopped after step") == 2


def test_a_checkpoint_of_two_processes_is_read_by_one_and_the_reverse(two, capsys):
    folder, _, (first, second) = two
    assert_equal(in_two.as_json(*in_two.train_plainly(folder / "two")), first["whole"])
    assert "Going on after step" in capsys.readouterr().out
    assert_equal(first["went on"], first["whole"])
    assert first["to the bit"] and second["to the bit"]  # two go on as two
