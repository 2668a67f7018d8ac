"""Tracks: the same notebooks, with sizes that fit the computer they run on.

A notebook never asks which track it is on. It asks the track for its sizes.
"""

import os
import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Track:
    """Everything that decides how long a notebook takes, in one place."""

    name: str = "laptop"  # "laptop", "gpu" or "quick"
    device: str = "cpu"  # "cpu", "cuda" or "mps"
    use_hub: bool = False  # ask the Hub for bert-base-uncased and the whole of IMDb?
    claims: bool = True  # is there enough data to assert what the notebooks claim about learning?

    # The careful training of notebook 03, measured again on the holdout in notebook 05 (IMDb reviews).
    imdb_train: int | None = 1000  # None: all that there are
    imdb_validation: int = 500
    imdb_test: int | None = 1000
    max_tokens: int = 128
    batch_size: int = 16
    epochs: int = 3
    learning_rate: float = 1e-4

    # Notebook 02: the pass of the model that shows what padding costs in seconds.
    nb02_timed_reviews: int = 48
    nb02_timed_tokens: int = 512

    # Notebook 01: four learners on the Rotten Tomatoes sentences, then two of them on whole IMDb reviews.
    nb01_labels: tuple = (50, 200, 800)
    nb01_epochs: tuple = (8, 4, 2)  # one for each number of labels: fewer sentences, more epochs
    nb01_trainings: tuple = (2, 1, 1)  # of each network, for each number of labels
    nb01_draws: int = 5  # of the two cheap learners
    nb01_pool: int = 1600  # sentences that are drawn from
    nb01_more_labels: int = 6000  # for word counts alone
    nb01_validation: int = 1000
    nb01_imdb_labels: int = 1000

    # Notebook 03: the sanity checks and the comparison of the two loops.
    nb03_small: int = 640
    nb03_small_tokens: int = 64
    nb03_memorise_epochs: int = 20
    nb03_check_rate: float = 2e-4

    # Notebook 04: one long training, then many small ones that are compared (Rotten Tomatoes sentences).
    nb04_tokens: int = 20  # longer sentences are left out, so that many trainings fit into minutes
    nb04_train: int = 200
    nb04_validation: int = 200
    nb04_epochs: int = 8
    nb04_rate: float = 1.5e-4
    nb04_few: int = 144  # training sentences of each of the small trainings
    nb04_few_epochs: int = 4
    nb04_more: int = 432  # training sentences of the setting "more labels"
    nb04_frozen: int = 4  # layers, in the setting "frozen layers"
    nb04_seeds: tuple = (0, 1, 2)

    # Notebook 05: sentences from another site, and the small training that shows what leaks do.
    nb05_other_domain: int = 500
    nb05_leak_train: int = 64
    nb05_leak_pool: int = 200
    nb05_leak_epochs: int = 5
    nb05_own_reviews: int = 200  # of each of three classes, as an example of the learner's own data
    nb05_own_tokens: int = 32

    @property
    def sentiment_recipe(self):
        """How notebook 03 trains its model: saved beside the model, so that notebook 05 knows it again."""
        names = ("imdb_train", "imdb_validation", "imdb_test", "max_tokens", "epochs", "learning_rate")
        recipe = {"track": self.name, **{name: getattr(self, name) for name in names}, "seed": 0}
        if self.use_hub:  # there it depends on the Hub which model is trained, and on which reviews
            from helpers import data, models

            recipe["bert_from_the_hub"] = models.bert_from_the_hub() is not None
            recipe["imdb_from_the_hub"] = data.imdb_from_the_hub() is not None
        return recipe

    def __str__(self):
        places = {"cpu": "the processor (no GPU)", "cuda": "an NVIDIA GPU", "mps": "an Apple GPU"}
        return f"Track: {self.name}. Computing on {places[self.device]}."


LAPTOP = Track()

GPU = Track(
    name="gpu",
    use_hub=True,
    imdb_train=None,
    imdb_validation=2_500,
    imdb_test=None,
    max_tokens=256,
    batch_size=32,
    learning_rate=2e-5,
    nb01_labels=(100, 600, 3600),
    nb01_pool=5000,
    nb01_imdb_labels=5000,
    nb02_timed_reviews=128,
    nb04_tokens=64,
    nb04_validation=1_000,
    nb04_epochs=15,
    nb04_rate=8e-5,
    nb04_few=200,
    nb04_few_epochs=6,
    nb04_more=600,
    nb04_frozen=8,
    nb04_seeds=(0, 1, 2, 3, 4),
)

# A few dozen reviews: proves that every cell runs, and claims nothing about learning.
QUICK = Track(
    name="quick",
    claims=False,
    imdb_train=32,
    imdb_validation=24,
    imdb_test=40,
    max_tokens=32,
    batch_size=8,
    epochs=2,
    nb01_labels=(8, 16, 24),
    nb01_epochs=(2, 1, 1),
    nb01_trainings=(1, 1, 1),
    nb01_draws=2,
    nb01_pool=48,
    nb01_more_labels=96,
    nb01_validation=40,
    nb01_imdb_labels=32,
    nb02_timed_reviews=16,
    nb02_timed_tokens=128,
    nb03_small=32,
    nb03_small_tokens=24,
    nb03_memorise_epochs=3,
    nb04_train=16,
    nb04_validation=24,
    nb04_epochs=3,
    nb04_few=16,
    nb04_few_epochs=2,
    nb04_more=32,
    nb04_seeds=(0, 1),
    nb05_other_domain=24,
    nb05_leak_train=16,
    nb05_leak_pool=24,
    nb05_leak_epochs=2,
    nb05_own_reviews=30,
    nb05_own_tokens=24,
)


def current_track():
    """Return the Track of this computer: `gpu` with CUDA or MPS, otherwise `laptop`.

    The environment variable COURSE_TRACK (laptop, gpu or quick) overrides the choice.
    Raises ValueError when it names no track, or asks for a GPU where there is none.
    """
    wanted = os.environ.get("COURSE_TRACK", "").strip().lower()
    if wanted == "laptop":
        return LAPTOP
    if wanted == "quick":
        return QUICK
    if wanted not in ("", "gpu"):
        raise ValueError(
            f"COURSE_TRACK is {wanted!r}, but the tracks are laptop, gpu and quick: set it to one of them."
        )

    import torch  # here, not above, so that `import helpers` stays instant

    for device, found in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if found:
            return Track(**{**vars(GPU), "device": device})
    if wanted == "gpu":
        raise ValueError("COURSE_TRACK asks for a GPU, but torch finds none here: unset it, or choose laptop.")
    return LAPTOP


def output_folder():
    """Return the folder for trained models and checkpoints, made if it is missing.

    It is `outputs/` beside `helpers/`, or wherever the environment variable COURSE_OUTPUT points (Google Drive, say).
    """
    folder = Path(os.environ.get("COURSE_OUTPUT") or Path(__file__).resolve().parent.parent / "outputs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
