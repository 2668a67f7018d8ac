"""From texts to padded batches. Built by hand in notebook 02, used from notebook 03 on."""

import torch
from torch.utils.data import DataLoader, Sampler

from helpers.careful.checks import check_encoding, check_for_batches, class_numbers

KEEP = ("head", "tail", "head+tail")


def encode(texts, tokenizer, *, max_tokens, keep="head+tail"):
    """Return one list of token ids per text, [CLS] first and [SEP] last, none longer than `max_tokens`.

    keep decides which tokens of a longer text stay: its "head", its "tail", or "head+tail", a quarter of them from the
    head and the rest from the tail (Sun et al. 2019, https://arxiv.org/abs/1905.05583, found this best on IMDb).
    max_tokens is from 3 to what the tokenizer's model can hold (512).
    """
    check_encoding(texts, tokenizer, max_tokens, keep, KEEP)
    budget = max_tokens - 2  # without [CLS] and [SEP]
    head = {"head": budget, "tail": 0, "head+tail": budget // 4}[keep]
    tail = budget - head

    texts = list(texts)
    if not texts:
        return []
    encoded = []
    # Split special tokens: a review that holds the text "[SEP]" must not end there.
    for ids in tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]:
        if len(ids) > budget:
            ids = ids[:head] + ids[len(ids) - tail :]
        encoded.append([tokenizer.cls_token_id, *ids, tokenizer.sep_token_id])
    return encoded


def make_loader(input_ids, labels, tokenizer, *, batch_size, shuffle, seed=0):
    """Return a DataLoader whose batches hold reviews of similar length, padded to the longest of the batch.

    input_ids  from `encode`;  labels  one class per review, a whole number from 0
    shuffle    True for training: another order every epoch, decided by `seed` and the number of the epoch

    A batch is a dict of tensors: input_ids and attention_mask [reviews, tokens], labels [reviews], and index
    [reviews], the place of each review in `input_ids`. Every review comes exactly once an epoch.
    """
    check_for_batches(input_ids, labels, batch_size, seed)
    reviews = [
        {"input_ids": ids, "label": label, "index": index}
        for index, (ids, label) in enumerate(zip(input_ids, class_numbers(labels), strict=True))
    ]
    return DataLoader(
        reviews,
        batch_sampler=SimilarLengths([len(ids) for ids in input_ids], batch_size, shuffle=shuffle, seed=seed),
        collate_fn=lambda batch: pad(batch, tokenizer.pad_token_id),
        generator=torch.Generator(),  # its own, so that loading a batch never disturbs dropout
        pin_memory=torch.cuda.is_available(),  # copies to a GPU can then overlap with computing
    )


def loader_for(texts, labels, tokenizer, track, *, max_tokens=None, shuffle=False, seed=0):
    """Encode `texts` and make their loader, with the track's sizes or another `max_tokens`. Notebook 03 builds it."""
    ids = encode(texts, tokenizer, max_tokens=track.max_tokens if max_tokens is None else max_tokens)
    return make_loader(ids, labels, tokenizer, batch_size=track.batch_size, shuffle=shuffle, seed=seed)


def pad(reviews, pad_token_id):
    """Return one batch: reviews padded on the right to the longest of them, with the mask that hides the padding."""
    longest = max(len(review["input_ids"]) for review in reviews)
    padding = [longest - len(review["input_ids"]) for review in reviews]
    ids = [review["input_ids"] + [pad_token_id] * extra for review, extra in zip(reviews, padding, strict=True)]
    mask = [[1] * (longest - extra) + [0] * extra for extra in padding]
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(mask),
        "labels": torch.tensor([review["label"] for review in reviews]),
        "index": torch.tensor([review["index"] for review in reviews]),
    }


class SimilarLengths(Sampler):
    """Yield lists of places (a batch each) so that reviews of similar length come together.

    With shuffle, all places are shuffled, cut into groups of `GROUP` batches, sorted by length within each group, and
    the batches of the epoch are shuffled again: little padding, yet another mixture every epoch. The order is decided
    by the seed and `epoch`, which counts up by itself; `train` sets it, so that a stopped run can go on.
    """

    GROUP = 16  # batches sorted together: more pads less, fewer mixes better

    def __init__(self, lengths, batch_size, *, shuffle, seed=0):
        self.lengths, self.batch_size, self.shuffle, self.seed = lengths, batch_size, shuffle, seed
        self.epoch = 0

    def __len__(self):
        return -(-len(self.lengths) // self.batch_size)  # rounded up

    def __iter__(self):
        places = list(range(len(self.lengths)))
        if not self.shuffle:
            return iter(self._cut(sorted(places, key=lambda place: self.lengths[place], reverse=True)))
        random = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        self.epoch += 1
        places = torch.randperm(len(places), generator=random).tolist()
        group = self.GROUP * self.batch_size
        batches = []
        for start in range(0, len(places), group):
            batches += self._cut(sorted(places[start : start + group], key=lambda place: self.lengths[place]))
        order = torch.randperm(len(batches), generator=random).tolist()
        return iter([batches[i] for i in order])

    def _cut(self, places):
        return [places[i : i + self.batch_size] for i in range(0, len(places), self.batch_size)]
