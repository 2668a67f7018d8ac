"""Tracks: the same notebooks, with sizes that fit the computer they run on.

A notebook never asks which track it is on. It asks the track for its sizes.
"""

import random
from dataclasses import dataclass, fields, is_dataclass, replace

from helpers.careful.computer import output_folder, track_and_device  # noqa: F401, both are asked for here

# The sizes of each notebook. The defaults are those of the laptop track; below them stands what differs on the others.


@dataclass(frozen=True)
class Transfer:
    """Notebook 01: four learners on short Rotten Tomatoes sentences."""

    words: int = 20  # longer sentences are left out, so that many trainings fit into minutes
    sentences: tuple = (6000, 2500)  # for training and validation, of which about half are short
    labels: tuple = (50, 200, 800)
    epochs: tuple = (16, 4, 2)  # one for each number of labels: fewer sentences, more epochs
    trainings: tuple = (3, 2, 2)  # fine-tunings, for each number of labels
    rates: tuple = (2e-5, 1e-4, 3e-4, 1e-3)  # tried for fine-tuning; for random weights the last two
    rate_draws: tuple = (1, 2, 2, 1)  # fine-tunings that try each rate
    random_epochs: int = 3  # with random weights
    draws: int = 5  # of the two cheap learners
    pool: int = 1600  # sentences that are drawn from
    choosing: int = 300  # sentences to choose by; the others are to compare on

    gpu = {"words": 100, "labels": (100, 600, 3600), "pool": 5000}
    quick = {"sentences": (200, 120), "labels": (8, 16, 24), "epochs": (2, 1, 1), "trainings": (1, 1, 1), "draws": 2}
    quick |= {"rates": (1e-4, 3e-4), "rate_draws": (1, 1), "random_epochs": 1, "pool": 48, "choosing": 16}


@dataclass(frozen=True)
class Tokenization:
    """Notebook 02: the pass of the model that shows what padding costs in seconds."""

    timed_reviews: int = 48
    timed_tokens: int = 512

    gpu = {"timed_reviews": 128}
    quick = {"timed_reviews": 16, "timed_tokens": 128}


@dataclass(frozen=True)
class Training:
    """Notebook 03: the sanity checks and the comparison of the two loops. (Its careful training: see Track.)"""

    small: int = 640
    small_tokens: int = 64
    memorise_epochs: int = 20
    check_rate: float = 2e-4
    rate_too_high: float = 3e-3

    quick = {"small": 32, "small_tokens": 24, "memorise_epochs": 3}


@dataclass(frozen=True)
class Overfitting:
    """Notebook 04: several settings, each trained short and long (on short Rotten Tomatoes sentences)."""

    tokens: int = 20  # longer sentences are left out, so that many trainings fit into minutes
    train: int = 144
    validation: int = 200
    epochs: int = 8  # of a long training
    short_epochs: int = 4
    rate: float = 1.5e-4
    more: int = 288  # sentences of the setting "more labels": in short_epochs as many steps as a long training
    seeds: tuple = (0, 1, 2)

    gpu = {"tokens": 64, "train": 192, "validation": 1000, "epochs": 10, "short_epochs": 5, "rate": 8e-5, "more": 384}
    gpu |= {"seeds": (0, 1, 2, 3, 4)}
    quick = {"train": 16, "validation": 24, "epochs": 2, "short_epochs": 1, "more": 32, "seeds": (0, 1)}


@dataclass(frozen=True)
class Evaluation:
    """Notebook 05: sentences from another site, and the small training that shows what leaks do."""

    other_domain: int = 500
    occluded: int = 40  # of these, sentences of which words are left out
    leak_train: int = 200
    leak_pool: int = 400
    leak_epochs: int = 5
    most_labels: int = 25_000  # IMDb reviews for word counts, as far as they are not in another split

    gpu = {"leak_epochs": 10}
    quick = {"other_domain": 24, "occluded": 4, "leak_train": 16, "leak_pool": 24, "leak_epochs": 2, "most_labels": 200}


@dataclass(frozen=True)
class OwnTexts:
    """Notebook 06: one careful training on a file of short texts, and small ones that choose and compare."""

    most: int = 100_000  # texts of each split
    epochs: int = 3
    trial: int = 96  # training texts of the small trainings
    trial_epochs: int = 3
    weight_epochs: int = 5
    few: tuple = (8, 16, 32)  # labels of each class
    few_steps: int = 72  # of a fine-tuning with few labels; with 24 it was cut short at the most labels
    pair_steps: int = 24
    few_draws: tuple = (2, 2, 1)  # of what is trained with so many labels
    weight_seeds: int = 2  # trainings with class weights, and as many without

    gpu = {"few_draws": (5, 5, 3), "weight_seeds": 5}
    quick = {"most": 200, "epochs": 1, "trial": 40, "trial_epochs": 1, "weight_epochs": 2}
    quick |= {"few": (1, 2, 3), "few_steps": 2, "pair_steps": 2, "few_draws": (1, 1, 1)}
    quick |= {"weight_seeds": 1}


@dataclass(frozen=True)
class Beyond:
    """Notebook 07: a decoder on the sentences of 01, and a network for pictures."""

    decoder_memory: float = 4.0  # gigabytes; where a computer has less, a stump of the decoder shows how it goes
    decoder_layers: int = 30  # of the packaged one's lowest: all
    asked: int = 60  # sentences that each wording of a prompt is asked, and each rate is chosen by
    compared: int = 200  # sentences that the learners are compared on
    example_draws: int = 2
    labels: int = 128
    epochs: int = 2  # of the decoder; those of BERT give it the steps that few labels need
    bert_epochs: int = 8
    lora_rates: tuple = (1e-3, 1e-4)
    draws: int = 3  # of the cheap learners
    picture_size: int = 96  # points, in height and width
    per_class: tuple = (10, 30, 100)  # pictures to train on
    tested_per_class: int = 100
    picture_steps: int = 24  # on fabric; 18, 36 and 72 gave the same
    tuned_draws: int = 2
    digits: int = 100  # to train on
    digits_tested: int = 400
    digit_steps: tuple = (36, 72)

    gpu = {"asked": 300, "compared": 1000, "labels": 600, "draws": 5}
    quick = {"decoder_layers": 2, "asked": 6, "compared": 16, "labels": 16, "epochs": 1, "draws": 2}
    quick |= {"example_draws": 1, "bert_epochs": 1}
    gpu |= {"picture_size": 224, "per_class": (10, 30, 300), "tested_per_class": 200, "picture_steps": 100}
    quick |= {"picture_size": 32, "per_class": (2, 3, 4), "tested_per_class": 6, "picture_steps": 2, "tuned_draws": 1}
    quick |= {"digits": 30, "digits_tested": 20, "digit_steps": (1, 2)}


@dataclass(frozen=True)
class Machines:
    """Notebook 08: one short training in one process and in two (Rotten Tomatoes sentences)."""

    reviews: int = 796  # the last batch of 16 has 12, so that it must be shared with care
    tokens: int = 32

    quick = {"reviews": 60, "tokens": 24}


@dataclass(frozen=True)
class Track:
    """Everything that decides how long a notebook takes, in one place. The defaults are the laptop track."""

    transfer: Transfer = Transfer()
    tokenization: Tokenization = Tokenization()
    training: Training = Training()
    overfitting: Overfitting = Overfitting()
    evaluation: Evaluation = Evaluation()
    own_texts: OwnTexts = OwnTexts()
    beyond: Beyond = Beyond()
    machines: Machines = Machines()

    name: str = "laptop"  # "laptop", "gpu" or "quick"
    device: str = "cpu"  # "cpu", "cuda" or "mps"
    use_hub: bool = False  # ask the Hub for bert-base-uncased and the whole of IMDb, and for 07's GPT-2 and VGG-16?
    claims: bool = True  # is there enough data to assert what the notebooks claim about learning?

    # The careful training of notebook 03, measured again on the holdout in notebook 05 (IMDb reviews)
    imdb_train: int | None = 1000  # None: all that there are
    imdb_validation: int = 500
    imdb_test: int | None = 1000
    max_tokens: int = 128
    batch_size: int = 16
    epochs: int = 2  # a third gave a higher validation loss, and no more right answers than chance explains
    learning_rate: float = 1e-4

    gpu = {"name": "gpu", "use_hub": True, "imdb_train": None, "imdb_validation": 2500, "imdb_test": None}
    gpu |= {"max_tokens": 256, "batch_size": 32, "epochs": 3, "learning_rate": 2e-5}
    quick = {"name": "quick", "claims": False, "imdb_train": 32, "imdb_validation": 24, "imdb_test": 40}
    quick |= {"max_tokens": 32, "batch_size": 8}

    def __str__(self):
        places = {"cpu": "the processor (no GPU)", "cuda": "an NVIDIA GPU", "mps": "an Apple GPU"}
        return f"Track: {self.name}. Computing on {places[self.device]}."


def _other(name):
    """Return the track "gpu" or "quick": the laptop track with what differs there, in each notebook too."""
    notebooks = {field.name: field.default for field in fields(Track) if is_dataclass(field.default)}
    notebooks = {notebook: replace(sizes, **getattr(sizes, name, {})) for notebook, sizes in notebooks.items()}
    return Track(**notebooks, **getattr(Track, name))


LAPTOP, GPU, QUICK = Track(), _other("gpu"), _other("quick")


def current_track(*, ask_the_hub=True):
    """Return the Track of this computer: `gpu` with CUDA, otherwise `laptop`.

    The environment variable COURSE_TRACK (laptop, gpu or quick) overrides the choice; an Apple GPU needs it. Where
    BERT-base can't be had from the Hub, the GPU gets the laptop track's model, sizes and rates.
    Raises ValueError when COURSE_TRACK names no track, or asks for a GPU where there is none.
    """
    name, device = track_and_device(ask_the_hub=ask_the_hub)
    return replace({"laptop": LAPTOP, "gpu": GPU, "quick": QUICK}[name], device=device)


def set_seed(seed):
    """Restart every random number generator that training uses (Python, NumPy, torch) from `seed`.

    On a CPU the same seed then gives the same numbers to the last bit, whatever ran before in this kernel. (Another
    number of threads, set with torch.set_num_threads, adds in another order and may change the last digits.)
    """
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)  # the CPU and every GPU
