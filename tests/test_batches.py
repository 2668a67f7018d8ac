"""encode and make_loader: what they give, and that notebook 02 builds the same by hand."""

import ast
import json
import math
import string
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import numpy
import pandas
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.batches import KEEP, SimilarLengths, encode, loader_for, make_loader, pad
from helpers.models import load_tokenizer

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "02_tokenization.ipynb"
PAD = SimpleNamespace(pad_token_id=0)  # all that make_loader asks of a tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture(scope="module")
def by_hand(tokenizer):
    """The functions that notebook 02 builds, with nothing else of the notebook run."""
    cells = [c for c in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    names = {"torch": torch, "string": string, "unicodedata": unicodedata, "vocabulary": tokenizer.get_vocab()}
    for cell in cells:
        if "exercise" not in cell["metadata"].get("tags", []):
            functions = [node for node in ast.parse("".join(cell["source"])).body if isinstance(node, ast.FunctionDef)]
            exec(compile(ast.Module(functions, type_ignores=[]), str(NOTEBOOK), "exec"), names)
    return SimpleNamespace(**names)


def reviews(count, *, seed=0, longest=60):
    """Lists of ids with many different lengths; no two lists are equal."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=random).tolist()
    return [[1000 + place, *range(1, length)] for place, length in enumerate(lengths)]


def order(loader):
    return [batch["index"].tolist() for batch in loader]


def wasted(batches):
    """The share of padding."""
    return 1 - sum(b["attention_mask"].sum().item() for b in batches) / sum(b["input_ids"].numel() for b in batches)


# encode


SENTENCE = "one two three four five six seven eight nine ten"  # ten tokens


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ({"keep": "head"}, "[CLS] one two three four five six seven eight [SEP]"),
        ({"keep": "tail"}, "[CLS] three four five six seven eight nine ten [SEP]"),
        ({}, "[CLS] one two five six seven eight nine ten [SEP]"),  # a quarter of 8 is 2
    ],
)
def test_a_long_text_keeps_the_part_asked_for(tokenizer, keep, kept):
    (ids,) = encode([SENTENCE], tokenizer, max_tokens=10, **keep)
    assert tokenizer.convert_ids_to_tokens(ids) == kept.split()


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize("max_tokens", [12, 13, 512])
def test_a_text_that_fits_is_left_whole(tokenizer, keep, max_tokens):
    assert encode([SENTENCE], tokenizer, max_tokens=max_tokens, keep=keep) == tokenizer([SENTENCE])["input_ids"]


@pytest.mark.parametrize("keep", KEEP)
def test_the_smallest_limit_leaves_one_token(tokenizer, keep):
    (ids,) = encode([SENTENCE], tokenizer, max_tokens=3, keep=keep)
    assert tokenizer.decode(ids) == {"head": "[CLS] one [SEP]"}.get(keep, "[CLS] ten [SEP]")


def test_lists_come_back_in_the_order_of_the_texts(tokenizer):
    texts = [SENTENCE, "", "one", "ten " * 600]
    together = encode(texts, tokenizer, max_tokens=8)
    assert together == [encode([text], tokenizer, max_tokens=8)[0] for text in texts]
    assert [len(ids) for ids in together] == [8, 2, 3, 8]
    assert encode([], tokenizer, max_tokens=8) == []


def test_special_tokens_that_stand_in_a_text_are_read_as_text(tokenizer):
    (ids,) = encode(["good [SEP] bad [PAD]"], tokenizer, max_tokens=64)
    assert ids.count(tokenizer.sep_token_id) == 1 and tokenizer.pad_token_id not in ids
    assert tokenizer.tokenize("[SEP]") == ["[SEP]"]  # the tokenizer itself is as before


def test_a_tokenizer_that_was_told_to_cut_and_pad_changes_nothing(tokenizer):
    plain = encode([SENTENCE, "one"], tokenizer, max_tokens=64)
    used = load_tokenizer()
    used([SENTENCE, "one"], padding="max_length", truncation=True, max_length=4)
    assert encode([SENTENCE, "one"], used, max_tokens=64) == plain


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"texts": SENTENCE, "max_tokens": 8}, r"write \[text\]"),
        *(
            ({"texts": [SENTENCE], "max_tokens": tokens}, "whole number, 3 or more")
            for tokens in (2, -5, 8.0, "8", True)
        ),
        ({"texts": [SENTENCE], "max_tokens": 513}, "max_tokens is 513.*places for 512: use 512 or fewer"),
        ({"texts": [SENTENCE], "max_tokens": 8, "keep": "middle"}, r"'middle'.*head, tail, head\+tail"),
    ],
)
def test_encode_says_what_to_mend(tokenizer, settings, words):
    with pytest.raises(ValueError, match=words):
        encode(tokenizer=tokenizer, **settings)


# make_loader: one batch


def test_a_batch_is_padded_to_its_longest_review_and_masked():
    loader = make_loader([[5, 6], [7, 8, 9, 10], [11]], [0, 1, 1], PAD, batch_size=3, shuffle=False)
    (batch,) = loader
    assert batch["index"].tolist() == [1, 0, 2]
    assert batch["input_ids"].tolist() == [[7, 8, 9, 10], [5, 6, 0, 0], [11, 0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]
    assert batch["labels"].tolist() == [1, 0, 1]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_the_tokenizer_decides_what_padding_is_and_the_mask_comes_from_the_lengths():
    loader = make_loader([[99, 5], [6]], [0, 1], SimpleNamespace(pad_token_id=99), batch_size=2, shuffle=False)
    (batch,) = loader
    assert batch["input_ids"].tolist() == [[99, 5], [6, 99]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]  # a real token that looks like padding isn't hidden


# make_loader: one epoch


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (7, 8), (8, 8), (9, 8), (300, 8), (300, 1), (129, 8)])
def test_every_review_comes_exactly_once_with_its_own_ids_and_label(count, batch_size, shuffle):
    ids, labels = reviews(count), [place % 2 for place in range(count)]
    loader = make_loader(ids, labels, PAD, batch_size=batch_size, shuffle=shuffle)
    for _epoch in range(2):
        seen = []
        batches = list(loader)
        for batch in batches:
            assert 1 <= len(batch["index"]) <= batch_size
            for place, row, mask, label in zip(
                *(batch[k].tolist() for k in ("index", "input_ids", "attention_mask", "labels")), strict=True
            ):
                assert [token for token, real in zip(row, mask, strict=True) if real] == ids[place]
                assert label == labels[place]
                seen.append(place)
        assert sorted(seen) == list(range(count))
        assert len(batches) == len(loader) == -(-count // batch_size)


def test_each_epoch_has_other_batches_and_the_seed_decides_which():
    def epochs(seed):
        loader = make_loader(reviews(64), [0] * 64, PAD, batch_size=8, shuffle=True, seed=seed)
        return [order(loader) for _ in range(3)]

    first, second, third = epochs(0)
    mixtures = [{frozenset(batch) for batch in epoch} for epoch in (first, second, third)]
    assert mixtures[0] != mixtures[1] != mixtures[2] != mixtures[0]  # other companions, not only another order
    assert epochs(0) == [first, second, third]
    assert epochs(1)[0] != first
    assert epochs(1)[0] not in (second, third)  # seed 1 isn't seed 0 one epoch later


def test_short_and_long_batches_are_mixed_while_training():
    loader = make_loader(reviews(128), [0] * 128, PAD, batch_size=8, shuffle=True)
    lengths = [batch["input_ids"].shape[1] for batch in loader]
    assert lengths != sorted(lengths) and lengths != sorted(lengths, reverse=True)


def test_loading_batches_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    list(make_loader(reviews(40), [0] * 40, PAD, batch_size=8, shuffle=True))
    assert torch.equal(torch.rand(4), expected)


def test_for_predictions_the_order_is_always_the_same_longest_first():
    ids = reviews(50)
    loader = make_loader(ids, [0] * 50, PAD, batch_size=8, shuffle=False)
    places = sum(order(loader), [])
    assert order(loader) == order(loader)
    lengths = [len(ids[place]) for place in places]
    assert lengths == sorted(lengths, reverse=True)  # so that a lack of memory shows in the first batch
    predictions = torch.empty(50)  # what predict_logits does: the index brings each result home
    for batch in loader:
        predictions[batch["index"]] = batch["input_ids"][:, 0].float()
    assert predictions.tolist() == [float(row[0]) for row in ids]


# make_loader: what padding costs


def test_similar_lengths_together_waste_far_less():
    ids = reviews(512)
    labels = [0] * len(ids)
    plain = [
        pad([{"input_ids": row, "label": 0, "index": 0} for row in ids[start : start + 8]], 0)
        for start in range(0, 512, 8)
    ]
    while_training = wasted(list(make_loader(ids, labels, PAD, batch_size=8, shuffle=True)))
    for_predictions = wasted(list(make_loader(ids, labels, PAD, batch_size=8, shuffle=False)))
    assert for_predictions < while_training < wasted(plain) / 4


def test_in_a_long_list_lengths_are_sorted_within_groups_alone():
    """Or each epoch would bring nearly the same reviews together again."""
    count, size = 4096, 8
    sampler = SimilarLengths(list(range(count)), size, shuffle=True)
    spread = [max(batch) - min(batch) for batch in sampler]
    assert sum(spread) / len(spread) > 10 * size  # sorted as a whole, it would be size - 1


# make_loader: errors

NO_CLASSES = [-100, -1, 0.9, math.nan, math.inf, "good", "1", None, True, numpy.True_, torch.tensor(False), [0], [0, 1]]


@pytest.mark.parametrize(
    ("ids", "labels", "batch_size", "words"),
    [
        ([[1], [2]], [0], 8, "2 reviews but 1 labels"),
        ([], [], 8, "no reviews"),
        *(([[1]], [0], size, "batch_size is .* whole number, 1 or more") for size in (0, -1, 8.0, "8", True)),
        *(([[1], [2]], [0, label], 8, "Label 1 is .* number the classes from 0") for label in NO_CLASSES),
        (["a text", "another"], [0, 1], 8, "get them from encode"),
        ([[1], []], [0, 1], 8, "get them from encode"),
    ],
)
def test_make_loader_says_what_to_mend(ids, labels, batch_size, words):
    with pytest.raises(ValueError, match=words):
        make_loader(ids, labels, PAD, batch_size=batch_size, shuffle=True)


def test_loader_for_encodes_and_has_the_sizes_of_the_track(tokenizer):
    track = SimpleNamespace(max_tokens=8, batch_size=3)
    texts = [" ".join(["fun"] * length) for length in (1, 9, 4, 6, 20, 2, 3)]
    for max_tokens, limit in ((None, 8), (5, 5)):
        loader = loader_for(texts, [0, 1] * 3 + [0], tokenizer, track, max_tokens=max_tokens, shuffle=True, seed=4)
        ids = encode(texts, tokenizer, max_tokens=limit)
        same = make_loader(ids, [0, 1] * 3 + [0], tokenizer, batch_size=3, shuffle=True, seed=4)
        for batch, expected in zip(loader, same, strict=True):
            assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert next(iter(loader_for(texts, [0] * 7, tokenizer, track)))["index"][0] == 1  # not shuffled: longest first
    with pytest.raises(ValueError, match="max_tokens"):
        loader_for(texts, [0] * 7, tokenizer, track, max_tokens=0)


def test_classes_may_come_from_any_library():
    for labels in (numpy.array([0, 2]), numpy.array([0.0, 2.0]), torch.tensor([0, 2]), pandas.Series([0, 2], [7, 9])):
        (batch,) = make_loader([[1], [2]], labels, PAD, batch_size=2, shuffle=False)
        assert batch["labels"].tolist() == [0, 2] and batch["labels"].dtype == torch.int64


# The same by hand: the functions of notebook 02

TEXTS = [
    "Unwatchable? Hardly: a Café-noir delight!!",
    "",
    "good\x96bad\x85ugly\u200b and\tso\u3000on\n\n10/10 <br />",
    "ΟΔΟΣ Σ İstanbul ǅ ﬁlm ½ 映画館 한국어 great🙂 ♥ [SEP] [UNK]",
    "no" * 50 + " " + "no" * 51,
    "a really long one " * 200,
]


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize("max_tokens", [3, 8, 128, 512])
def test_encode_by_hand_equals_the_helper(tokenizer, by_hand, keep, max_tokens):
    tokens = [by_hand.tokenize_by_hand(text) for text in TEXTS]
    assert by_hand.encode_by_hand(tokens, max_tokens, keep) == encode(
        TEXTS, tokenizer, max_tokens=max_tokens, keep=keep
    )


def test_pad_by_hand_equals_the_helper(by_hand):
    rows = reviews(20)
    ids, mask = by_hand.pad_by_hand(rows)
    helper = pad([{"input_ids": row, "label": 0, "index": 0} for row in rows], 0)
    assert torch.equal(ids, helper["input_ids"]) and torch.equal(mask, helper["attention_mask"])


# Scripts that have hardly changed for years, so that Python and the tokenizer agree on what each character is.
RANGES = "\t\x7e \x80\u024f \u0300\u036f ΑΩ αω Ая \u2010\u2027 \u4e00\u4e80 \U0001f600\U0001f640".split(" ")
CHARACTERS = st.one_of([st.characters(min_codepoint=ord(first), max_codepoint=ord(last)) for first, last in RANGES])


@settings(max_examples=300, deadline=None)
@given(st.text(CHARACTERS, max_size=30))
@example("e\u0301 É \u0300")
@example("\x1c\x85\xa0\xad")
def test_wordpiece_by_hand_cuts_any_text_like_the_library(by_hand, tokenizer, text):
    library = tokenizer([text], add_special_tokens=False, split_special_tokens=True)["input_ids"][0]
    assert by_hand.tokenize_by_hand(text) == tokenizer.convert_ids_to_tokens(library)
