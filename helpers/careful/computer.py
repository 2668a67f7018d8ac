"""Which track suits this computer: what COURSE_TRACK says, what torch finds here, whether the Hub can be reached.

And what its processor can multiply, and where the course may write.
"""

import os
from pathlib import Path

from helpers.careful import hub


def track_and_device(*, ask_the_hub=True):
    """Return the name of a track, and the device to compute on ("cpu", "cuda" or "mps").

    An Apple GPU is used only where COURSE_TRACK asks for it: nobody has measured the course there yet. Where the Hub
    has no BERT-base to give, the packaged BERT takes its place, and the sizes and rates made for it, on the same GPU.
    """
    wanted = os.environ.get("COURSE_TRACK", "").strip().lower()
    if wanted in ("laptop", "quick"):
        return wanted, "cpu"
    if wanted not in ("", "gpu"):
        raise ValueError(
            f"COURSE_TRACK is {wanted!r}, but the tracks are laptop, gpu and quick: set it to one of them."
        )

    import torch  # here, not above, so that `import helpers` stays instant

    if torch.cuda.is_available():
        device = "cuda"
    elif wanted == "gpu" and torch.backends.mps.is_available():
        device = "mps"
    elif wanted == "gpu":
        raise ValueError("COURSE_TRACK asks for a GPU, but torch finds none here: unset it, or choose laptop.")
    else:
        return "laptop", "cpu"
    from_the_hub = not ask_the_hub or hub.bert_from_the_hub()
    return ("gpu" if from_the_hub else "laptop"), device


def processor_has_bf16():
    """Can this processor multiply 16-bit numbers by itself? (Newer Intel Xeon, AMD from Zen 4 on: twice as fast.)"""
    import torch

    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):  # or the variable ATEN_CPU_CAPABILITY hides it
        return False
    ask = getattr(torch.cpu, "get_capabilities", dict)  # a torch that can't tell: then no
    return any(ask().get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def output_folder():
    """Return the folder for trained models and checkpoints, made if it is missing.

    It is `outputs/` beside `helpers/`, or wherever the environment variable COURSE_OUTPUT points (Google Drive, say).
    Where `helpers` is an installed package, it is `outputs/` in the working folder.
    """
    course = Path(__file__).resolve().parents[2]
    course = course if (course / "pyproject.toml").exists() else Path.cwd()
    folder = Path(os.environ.get("COURSE_OUTPUT") or course / "outputs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
