"""The benchmarks run, count rightly, and README's tables say what they measured. No time is asserted."""

import json
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers import models, training
from helpers.models import load_classifier
from helpers.training import processor_has_bf16
from tools import speed
from tools.benchmarks import growth, training_speed


@pytest.mark.slow
@pytest.mark.parametrize("laptop, seeds", [(False, 2), (True, 1)])
def test_loops_train_in_turns_and_are_measured(tmp_path, run, laptop, seeds):
    out, contenders = tmp_path / "speed.json", ["trainer-tuned-16", "course"]
    command = [sys.executable, training_speed.__file__, "--contenders", *contenders, "--seeds", seeds, "--out", out]
    command += ["--reviews", "16", "--held-out", "8", "--tokens", "12", *(["--hide-16-bits"] if laptop else [])]
    done = run(command)
    assert done.returncode == 0, done.stderr
    with_16_bits = processor_has_bf16() and not laptop
    if not with_16_bits:
        contenders.remove("trainer-tuned-16")
    lines = [line.split()[:3] for line in done.stdout.splitlines() if line.startswith("seed")]
    turns = [contenders[seed % 2 :] + contenders[: seed % 2] for seed in range(seeds)]
    assert lines == [["seed", str(seed), name] for seed in range(seeds) for name in turns[seed]]
    results = json.loads(out.read_text(encoding="utf-8"))
    assert results["settings"] == {"reviews": 16, "held_out": 8, "tokens": 12, "epochs": 1, "learning_rate": 1e-4}
    for name in contenders:
        for measured in results["trainings"][name]:
            assert measured["reviews_per_second"] == pytest.approx(16 / measured["seconds"])
            assert measured["peak_megabytes"] > 100 and 0 <= measured["accuracy"] <= 1
            assert 0 < measured["fraction_of_ceiling_32_bits"] < 10
            assert ("fraction_of_ceiling_16_bits" in measured) == with_16_bits
    table = speed.speed_of_device(results)
    assert table.count("\n| ") == 1 + len(contenders)  # the line below the header, and a row for each
    assert table.count("(–)") == (0 if with_16_bits else len(contenders))


def test_no_16_bit_product_is_tried_where_one_takes_a_second(monkeypatch):
    def refuse(*shape, dtype, **more):
        assert dtype != torch.bfloat16, "a 16-bit product was about to be measured"
        return torch.ones(*shape, dtype=dtype, **more)

    monkeypatch.setattr(torch, "randn", refuse)
    monkeypatch.setattr(training, "processor_has_bf16", lambda: False)
    assert list(training_speed.ceiling("cpu")) == ["ceiling_32_bits"]


def test_the_operations_are_those_of_the_network_without_padding():
    """Against torch's own counter, on the course's network with attention as plain products (which it counts)."""
    model = load_classifier()

    def plain(query, key, value, attn_mask=None, dropout_p=0.0, **_):
        return (query @ key.transpose(-1, -2) + torch.zeros_like(attn_mask, dtype=query.dtype)).softmax(-1) @ value

    def counted(tokens):
        batch = torch.ones(1, tokens, dtype=torch.long)
        with FlopCounterMode(display=False) as counter, pytest.MonkeyPatch.context() as patch:
            patch.setattr(models, "scaled_dot_product_attention", plain)
            patch.setattr(torch.nn.functional, "scaled_dot_product_attention", plain)
            model(input_ids=batch, attention_mask=batch).logits.sum().backward()
        return counter.get_total_flops()

    assert training_speed.useful_operations([30]) == pytest.approx(counted(30), rel=1e-3)
    together = training_speed.useful_operations([30, 200])
    assert together == pytest.approx(counted(30) + counted(200), rel=1e-3)  # padded it would be twice that of 200


@pytest.mark.slow
def test_growth_is_measured_at_every_size(tmp_path, monkeypatch):
    out = tmp_path / "growth.json"
    growth.main(out, reviews=(4, 8), tokens=(8, 16), turns=2)
    sizes = json.loads(out.read_text())["sizes"]
    assert [(size["grows"], size["reviews"], size["tokens"]) for size in sizes] == [
        ("reviews", 4, 128),
        ("reviews", 8, 128),
        ("tokens", 64, 8),
        ("tokens", 64, 16),
    ]
    assert all(len(size["all"]) == 2 and size["seconds"] > 0 for size in sizes)
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    said = speed.growth()
    assert "- Training time against the number of reviews (each with 128 tokens; 4 reviews = 1): 4: 1.00, 8: " in said


def test_the_table_says_medians_ranges_and_ratios():
    def trained(reviews_per_second, accuracy, memory):
        return {
            "reviews_per_second": reviews_per_second,
            "seconds_per_epoch": 600 / reviews_per_second,
            "peak_megabytes": memory,
            "accuracy": accuracy,
            "fraction_of_ceiling_32_bits": 0.5,
            "fraction_of_ceiling_16_bits": 0.25,
        }

    results = {
        "machine": "a machine",
        "date": "2026-11-25",
        "settings": {"reviews": 600, "held_out": 1000, "tokens": 256, "epochs": 1, "learning_rate": 0.0001},
        "trainings": {
            "article": [trained(4, 0.70, 2000), trained(5, 0.74, 2100), trained(9, 0.75, 1900)],
            "course": [trained(15, 0.78, 900), trained(20, 0.76, 1000), trained(16, 0.77, 950)],
        },
    }
    article, course = speed.speed_of_device(results).splitlines()[2:4]
    assert article == "| article | 5.0 (4.0 to 9.0) | 3.20 | 120 | 2,100 | 73.0% (70.0% to 75.0%) | 0.50 (0.25) |"
    assert course == "| course | 16.0 (15.0 to 20.0) | 1.00 | 38 | 1,000 | 77.0% (76.0% to 78.0%) | 0.50 (0.25) |"
    results["trainings"] = {name: runs[:1] for name, runs in results["trainings"].items()}
    article = speed.speed_of_device(results).splitlines()[2]
    assert article == "| article | 4.0 (4.0 to 4.0) | 3.75 | 150 | 2,000 | – | 0.50 (0.25) |"  # one seed: no accuracy
