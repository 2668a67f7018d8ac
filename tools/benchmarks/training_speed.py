#!/usr/bin/env python3
"""How fast is the course's training loop, against what people use and against the processor?

    python tools/benchmarks/training_speed.py                 all contenders, three seeds; half an hour on two cores
    python tools/benchmarks/training_speed.py --hide-16-bits  the same as on an ordinary laptop (32 bits, AVX2 alone)
    python tools/benchmarks/training_speed.py --device cuda   the same on a GPU

(with the Python of .venv: `.venv/bin/python`, on Windows `.venv\\Scripts\\python`). Each training runs in a process of
its own, and the contenders take turns, so that a slow minute of the computer hits all of them. All train the packaged
BERT on the same IMDb reviews, cut to the same number of tokens, with the same seeds, epochs and learning rate:

    article         the 2023 recipe with today's names: padded to the limit, batches of 32 in random order, AdamW with
                    eps 1e-8, clipping at 1.0, fp32, dropout as BERT ships
    trainer         Hugging Face's Trainer as it comes: padded to the longest of the batch, batches of 16
    trainer-tuned   the same with similar lengths together, fused AdamW and no attention dropout
    trainer-tuned-16  the same in 16 bits (bf16=True); left out where the processor can't multiply such numbers
    course          helpers.training.train with helpers.batches, batches of 16, in 16 bits where the processor can
    course-fp32     the same in 32 bits, to be held against the loops in 32 bits; left out where `course` is that

The results go to tools/results/training_speed_DEVICE.json (training_speed_avx2.json with --hide-16-bits), from which
`python3 start.py refresh --tables` writes README's tables.
"""

import argparse
import contextlib
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # for the children, which run this file by its path
os.environ.setdefault("COURSE_TRACK", "laptop")  # the packaged model and reviews; the Hub is never asked
os.environ["TOKENIZERS_PARALLELISM"] = "false"

CONTENDERS = ["article", "trainer", "trainer-tuned", "trainer-tuned-16", "course", "course-fp32"]
NEED_16_BITS = ("trainer-tuned-16", "course-fp32")  # elsewhere the first can't run, and the second is the course itself
AS_A_LAPTOP = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
CEILING_SECONDS = 4  # at most, for each precision
HELD_OUT_SEED = 0  # the same reviews for everybody


# ------------------------------------------------------------------------------------- one training, in its own process


def one_training(options):
    """Train as one contender and return what was measured."""
    import torch

    from helpers import training
    from helpers.batches import encode, make_loader
    from helpers.data import load_reviews
    from helpers.models import load_tokenizer
    from helpers.track import set_seed

    reviews = load_reviews("imdb", n_train=options.reviews, n_validation=0, n_test=options.held_out, seed=HELD_OUT_SEED)
    tokenizer = load_tokenizer()
    ids = {name: encode(reviews[name]["text"], tokenizer, max_tokens=options.tokens) for name in ("train", "test")}
    labels = {name: list(reviews[name]["label"]) for name in ("train", "test")}
    if options.contender == "course-fp32":
        in_32_bits = contextlib.nullcontext, torch.amp.GradScaler("cpu", enabled=False)
        training.mixed_precision = lambda device: in_32_bits

    ceilings = [ceiling(options.device)]
    set_seed(options.seed)
    contend = {"article": article, "course": course, "course-fp32": course}.get(options.contender, trainer)
    model, seconds = contend(ids["train"], labels["train"], tokenizer, options)
    memory = peak_megabytes(options.device)
    ceilings.append(ceiling(options.device))

    held_out = make_loader(ids["test"], labels["test"], tokenizer, batch_size=32, shuffle=False)
    _, accuracy = training.loss_and_accuracy(model.to(options.device), held_out)
    useful = useful_operations([len(review) for review in ids["train"]]) * options.epochs / seconds
    return {
        "seconds": seconds,
        "reviews_per_second": options.reviews * options.epochs / seconds,
        "seconds_per_epoch": seconds / options.epochs,
        "peak_megabytes": memory,
        "accuracy": accuracy,
        **{f"fraction_of_{kind}": useful / statistics.mean(c[kind] for c in ceilings) for kind in ceilings[0]},
        "ceilings": ceilings,
        "threads": torch.get_num_threads(),
    }


def shipped_bert(device):
    """Return the packaged BERT with dropout as it ships, and without any of the course's own changes."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from helpers.models import packaged_model

    model = AutoModelForSequenceClassification.from_pretrained(packaged_model(), num_labels=2, dtype=torch.float32)
    return model.to(device)


def article(ids, labels, tokenizer, options):
    import torch
    from torch.utils.data import DataLoader, RandomSampler, TensorDataset

    input_ids = torch.tensor([review + [0] * (options.tokens - len(review)) for review in ids])
    mask = torch.tensor([[1] * len(review) + [0] * (options.tokens - len(review)) for review in ids])
    data = TensorDataset(input_ids, mask, torch.tensor(labels))
    loader = DataLoader(data, sampler=RandomSampler(data), batch_size=32)
    model = shipped_bert(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, eps=1e-8)
    started = time.perf_counter()
    for _epoch in range(options.epochs):
        for batch in loader:
            model.train()
            batch = [tensor.to(options.device) for tensor in batch]
            loss = model(input_ids=batch[0], attention_mask=batch[1], labels=batch[2]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return model, finished(started, options.device)


def trainer(ids, labels, tokenizer, options):
    import transformers

    model = shipped_bert(options.device)
    settings = {}
    if options.contender.startswith("trainer-tuned"):
        for layer in model.bert.encoder.layer:
            layer.attention.self.dropout.p = 0.0
        settings = {"train_sampling_strategy": "group_by_length", "optim": "adamw_torch_fused"}
        settings["bf16"] = options.contender.endswith("-16")
    rows = [{"input_ids": review, "labels": label} for review, label in zip(ids, labels, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=16,
            num_train_epochs=options.epochs,
            learning_rate=options.learning_rate,
            seed=options.seed,
            use_cpu=options.device == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **settings,
        )
        loop = transformers.Trainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)
        started = time.perf_counter()
        loop.train()
        return model, finished(started, options.device)


def course(ids, labels, tokenizer, options):
    from helpers.batches import make_loader
    from helpers.models import load_classifier, packaged_model
    from helpers.training import train

    loader = make_loader(ids, labels, tokenizer, batch_size=16, shuffle=True, seed=options.seed)
    model = load_classifier(packaged_model()).to(options.device)
    started = time.perf_counter()
    train(
        model,
        loader,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        seed=options.seed,
        progress=False,
    )
    return model, finished(started, options.device)


# ----------------------------------------------------------------------------------------------------- measuring


def finished(started, device):
    """Return the seconds since `started`, once a GPU has done all that it was given."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter() - started


def has_16_bits(device):
    """Can this processor, or the GPU, multiply 16-bit numbers by itself? Elsewhere one such product takes a second."""
    from helpers.training import processor_has_bf16

    return device == "cuda" or processor_has_bf16()


def ceiling(device):
    """Return how many operations a second this computer reaches in products of matrices and nothing else, by precision.

    The shapes are those of the feed-forward part of a layer with 16 reviews of 256 tokens. The best of several tries.
    """
    import torch

    found = {}
    for kind, dtype in (("ceiling_32_bits", torch.float32), ("ceiling_16_bits", torch.bfloat16)):
        if dtype == torch.bfloat16 and not has_16_bits(device):
            continue
        a = torch.randn(4096, 384, device=device, dtype=dtype)
        b = torch.randn(384, 1536, device=device, dtype=dtype)
        rates, begun = [], time.perf_counter()
        while len(rates) < 12 and (not rates or time.perf_counter() - begun < CEILING_SECONDS):
            started = time.perf_counter()
            for _ in range(10):
                a @ b
            rates.append(10 * 2 * 4096 * 384 * 1536 / finished(started, device))
        found[kind] = max(rates)
    return found


def useful_operations(lengths):
    """Return the operations of one epoch on reviews of these lengths: forward and backward, without any padding, and
    in the last layer without the tokens that the head doesn't read.

    A product of n x a with a x b numbers takes 2nab operations forward, and twice as many backward: 6nab.
    """
    from transformers import AutoConfig

    from helpers.models import packaged_model

    config = AutoConfig.from_pretrained(packaged_model())
    width, middle, lower = config.hidden_size, config.intermediate_size, config.num_hidden_layers - 1
    total = 0
    for tokens in lengths:
        layer = tokens * (4 * width * width + 2 * width * middle) + 2 * tokens * tokens * width
        last = (2 * tokens + 2) * width * width + 2 * width * middle + 2 * tokens * width
        total += 6 * (lower * layer + last + width * width + 2 * width)  # and pooler and head
    return float(total)


def peak_megabytes(device):
    """Return the most memory that this process (or the GPU, for it) has held."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


# ------------------------------------------------------------------------------------------------- all the trainings


def all_trainings(options):
    """Run every contender once for each seed, in turns, and write the results after each training."""
    from tools.notebooks import machine, write

    if options.device == "cuda":
        import torch

        described = f"{torch.cuda.get_device_name(0)}; {machine()}"
    else:
        described = machine()
    if not has_16_bits(options.device):
        options.contenders = [name for name in options.contenders if name not in NEED_16_BITS]
    what = "avx2" if options.hide_16_bits else options.device
    out = options.out or ROOT / "tools" / "results" / f"training_speed_{what}.json"
    results = {
        "machine": described,
        "date": datetime.date.today().isoformat(),
        "settings": {name: getattr(options, name) for name in SETTINGS},
        "trainings": {name: [] for name in options.contenders},
    }
    for seed in range(options.seeds):
        for name in options.contenders[seed:] + options.contenders[:seed]:  # another one begins each round
            command = [sys.executable, __file__, "--contender", name, "--seed", str(seed), "--device", options.device]
            for setting in SETTINGS:
                command += [f"--{setting.replace('_', '-')}", str(getattr(options, setting))]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(f"The contender {name} failed with seed {seed}; what it said stands above.")
            measured = json.loads(done.stdout.splitlines()[-1])
            results["trainings"][name].append({"seed": seed, **measured})
            print(
                f"seed {seed}  {name:14} {measured['reviews_per_second']:7.1f} reviews a second, "
                f"{measured['peak_megabytes']:6.0f} MB, accuracy {measured['accuracy']:.3f}, "
                f"{measured['fraction_of_ceiling_32_bits']:.0%} of the 32-bit ceiling",
                flush=True,
            )
            out.parent.mkdir(parents=True, exist_ok=True)
            write(out, json.dumps(results, indent=1) + "\n")
    print(f"Written to {out}.")


SETTINGS = ["reviews", "held_out", "tokens", "epochs", "learning_rate"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--hide-16-bits", action="store_true", help="measure as an ordinary laptop does")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--reviews", type=int, default=640)
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--contender", choices=CONTENDERS, help="one training in this very process (used by the script)"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.hide_16_bits:  # for the trainings, which are processes of their own, and for has_16_bits here
        os.environ.update(AS_A_LAPTOP)
    if options.contender:
        print(json.dumps(one_training(options)))
    else:
        all_trainings(options)


if __name__ == "__main__":
    main()
