"""What the Hub holds for notebook 07, in small: folders with a GPT-2 and a VGG-16 whose weights are random."""

import json

import torch
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel

VGG_STAGES, VGG_WIDTH = [(4, 4), (4, 6), (6, 6, 6), (8, 8, 8), (8, 8, 8)], 16
# Of these the small vocabulary makes whole words.
TEXTS = ["the film is not good but kind music, a bad story and the actors are wonderful"] * 3


def save_gpt2(folder):
    """As OpenAI's: files of the same names, the weights without a head of their own, and a mask among them."""
    folder.mkdir()
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(TEXTS, vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1024}', encoding="utf-8")
    torch.manual_seed(0)
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "n_embd": 24, "n_layer": 2, "n_head": 4}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    model.transformer.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights["h.0.attn.bias"] = torch.ones(1, 1, 1024, 1024).tril()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["GPT2LMHeadModel"]}), encoding="utf-8")
    return model.eval()


def save_vgg16(folder):
    """As timm's: torchvision's numbers for the convolutions, and those on top kept as convolutions too."""
    folder.mkdir()
    torch.manual_seed(0)
    shapes, channels, place = {}, 3, 0
    for stage in VGG_STAGES:
        for channels_out in stage:
            shapes[f"features.{place}"] = (channels_out, channels, 3, 3)
            channels, place = channels_out, place + 2
        place += 1
    shapes["pre_logits.fc1"] = (VGG_WIDTH, channels, 7, 7)
    shapes["pre_logits.fc2"] = (VGG_WIDTH, VGG_WIDTH, 1, 1)
    shapes["head.fc"] = (1000, VGG_WIDTH)
    weights = {}
    for name, shape in shapes.items():
        inputs = torch.Size(shape[1:]).numel()
        weights[f"{name}.weight"] = torch.randn(shape) * (2 / inputs) ** 0.5
        weights[f"{name}.bias"] = torch.randn(shape[0]) / 10
    save_file(weights, folder / "model.safetensors")
    return weights
