"""Exercises of notebook 02, tokenization."""

from helpers.exercises import Quiz, exercise, nb01, progress_of

# Exercise 1: greedy longest match that gives up a character and not a word

_PIECES = ["a", "great", "gr", "g", "film", "un", "##a", "##able", "##at", "##ab", "##le", "##watch", "able", "watch"]
_VOCABULARY = {piece: place for place, piece in enumerate(_PIECES)}


@exercise(
    title="An emoji shouldn't cost a word",
    minutes=7,
    cases={
        "'great🙂'": ("great🙂", _VOCABULARY),
        "'unwatxable'": ("unwatxable", _VOCABULARY),
        "'🙂able'": ("🙂able", _VOCABULARY),
        "'unwatchable' with everything known": ("unwatchable", {**_VOCABULARY, "##ch": 90}),
        "'film'": ("film", _VOCABULARY),
        "'??'": ("??", _VOCABULARY),
    },
    time_limit=2,  # seconds; a loop that forgets to move `start` on fills the memory with `[UNK]`
    hints=[
        "Compare with `longest_match` in section 4: the condition of the inner loop is the same. Which of its lines "
        "gives the word up?",
        "Where nothing fits, two things must happen. One adds to `pieces`, the other to `start`.",
        "Append `[UNK]`, and move `start` on by one character.",
    ],
    praise="This is how tokenizers without a rule of all or nothing behave. BERT was trained with that rule, so keep "
    "to it for BERT.",
)
def forgiving_match(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        mark = "##" if start > 0 else ""
        end = len(word)
        while end > start and mark + word[start:end] not in vocabulary:
            end -= 1
        if end == start:  # nothing fits here
            pieces.append("[UNK]")
            start += 1
        else:
            pieces.append(mark + word[start:end])
            start = end
    return pieces


@forgiving_match.mistake(replace={'pieces.append("[UNK]")': 'return ["[UNK]"]'})
def gives_up_the_word():
    """The whole word is still given up. Where nothing fits, append one `[UNK]`, and go on with the next character."""


@forgiving_match.mistake(without='pieces.append("[UNK]")')
def drops_the_unknown():
    """Characters that fit nowhere vanish without a trace. Append `[UNK]` for each, so that the model can see that
    something was there."""


@forgiving_match.mistake(replace={"start += 1": "break"})
def stops_at_the_unknown():
    """Your function stops at the first character that fits nowhere, so the rest of the word is lost. Go on after it."""


@forgiving_match.mistake(replace={"mark + ": ""})
def forgets_the_mark():
    """Pieces inside the word are looked up without `##`. Only the piece that begins with the word's first character
    has no mark."""


@forgiving_match.mistake
def takes_the_shortest(word, vocabulary):
    """You take the *shortest* piece that fits. Begin with the whole rest of the word, and make it shorter until it
    fits."""
    pieces, start = [], 0
    while start < len(word):
        mark = "##" if start > 0 else ""
        ends = [end for end in range(start + 1, len(word) + 1) if mark + word[start:end] in vocabulary]
        pieces.append(mark + word[start : ends[0]] if ends else "[UNK]")
        start = ends[0] if ends else start + 1
    return pieces


# Exercise 2: padding on the left, and its mask


@exercise(
    title="Padding on the left, and its attention mask",
    minutes=8,
    cases={
        "rows of 3, 1 and 2 ids": ([[101, 7, 102], [5], [8, 9]], 0),
        "padding with id 50256": ([[11, 12], [13, 14, 15, 16]], 50256),
        "a real token with the padding's id": ([[50256, 12, 50256], [13]], 50256),
        "rows of equal length": ([[1, 2], [3, 4]], 0),
    },
    hints=[
        "Start from `pad_by_hand` in section 12. Then swap the two halves of each row.",
        "A row lacks `longest - len(row)` tokens. `[pad_token_id] * 3` is a list with three of them; lists are joined "
        "with `+`.",
    ],
    praise="The same with `tokenizer.padding_side = 'left'`. BERT wants its padding on the right.",
)
def pad_left(rows, pad_token_id):
    longest = max(len(row) for row in rows)
    ids = [[pad_token_id] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return ids, mask


_IDS, _MASK = "[pad_token_id] * (longest - len(row)) + row", "[0] * (longest - len(row)) + [1] * len(row)"
_MASK_ON_THE_RIGHT = "[1] * len(row) + [0] * (longest - len(row))"


@pad_left.mistake(replace={_IDS: "row + [pad_token_id] * (longest - len(row))", _MASK: _MASK_ON_THE_RIGHT})
def pads_on_the_right():
    """The padding stands on the right. Put it in front of the row, in the ids and in the mask."""


@pad_left.mistake(replace={_MASK: _MASK_ON_THE_RIGHT})
def mask_on_the_right():
    """The ids are padded on the left, but the zeros of the mask stand on the right, so they hide real words."""


@pad_left.mistake(replace={_MASK: "[1] * (longest - len(row)) + [0] * len(row)"})
def mask_inverted():
    """The mask is upside down: 1 means a real token, 0 means padding."""


@pad_left.mistake(replace={_MASK: "[1] * longest"})
def mask_all_ones():
    """The mask is 1 everywhere, so it hides nothing: the model would read the padding."""


@pad_left.mistake(replace={"[pad_token_id]": "[0]"})
def pads_with_zero():
    """You pad with 0. That is BERT's padding id, but other models have another one: use `pad_token_id`."""


@pad_left.mistake(
    replace={
        _MASK: "int(token != pad_token_id) for token in row",
        "for row in rows]\n    return": "for row in ids]\n    return",
    }
)
def mask_from_the_ids():
    """You read the mask off the ids, so a real token that happens to have the padding's id is hidden too (in GPT-2 the
    token for the end of a text is often used for padding). Use the lengths of the rows."""


# Exercise 3: head and tail, of any size


@exercise(
    title="Head and tail, of any size",
    minutes=7,
    cases={
        "10 ids, head 2, tail 3": (list(range(10)), 2, 3),
        "10 ids, head 4, tail 0": (list(range(10)), 4, 0),
        "10 ids, head 0, tail 4": (list(range(10)), 0, 4),
        "5 ids, head 2, tail 3 (it fits)": (list(range(5)), 2, 3),
        "4 ids, head 3, tail 3 (it fits)": (list(range(4)), 3, 3),
        "700 ids, head 128, tail 382": (list(range(700)), 128, 382),
    },
    hints=[
        "First ask whether the list fits as it is: `if len(ids) <= head + tail:`.",
        "The first `head` ids are `ids[:head]`. The last `tail` ids start at place `len(ids) - tail`.",
    ],
    praise="With 128 and 382 this is the cut of Sun et al.: 510 ids, and place for `[CLS]` and `[SEP]`.",
)
def head_and_tail(ids, head, tail):
    if len(ids) <= head + tail:
        return ids
    return ids[:head] + ids[len(ids) - tail :]


@head_and_tail.mistake(replace={"len(ids) - tail :": "-tail:"})
def minus_zero():
    """With `tail` 0, your slice `ids[-0:]` is the whole list. Write `ids[len(ids) - tail:]`."""


@head_and_tail.mistake
def doubles_short_ones(ids, head, tail):
    """A list that already fits gets its middle twice. Return it as it is if `len(ids) <= head + tail`."""
    return ids[:head] + ids[max(len(ids) - tail, 0) :]


@head_and_tail.mistake
def head_alone(ids, head, tail):
    """You keep the first `head + tail` tokens. The tail is the *last* `tail` tokens."""
    return ids[: head + tail]


@head_and_tail.mistake
def tail_alone(ids, head, tail):
    """You keep the last `head + tail` tokens. The head is the *first* `head` tokens."""
    return ids[max(len(ids) - head - tail, 0) :]


@head_and_tail.mistake(replace={"ids[:head] + ids[len(ids) - tail :]": "ids[head : len(ids) - tail]"})
def throws_away_the_ends():
    """You keep the middle, and throw away just what should stay."""


# Exercise 4: fewer padded tokens


def _padded_tokens(lengths, batches):
    return sum(len(batch) * max(lengths[place] for place in batch) for batch in batches)


def _cut(order, batch_size):
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _check_batches(answer):
    """Any batches will do that waste no more than sorted ones, shortest first or longest first. More batches than
    needed will do where nothing is padded and no two of them could be one.
    """
    for lengths, batch_size in [
        ([30, 40, 500, 480, 35, 510], 2),
        ([120, 80, 300, 60, 220, 90, 410, 75, 130, 500], 3),
        ([7, 7, 7, 7], 4),
    ]:
        batches = [[int(place) for place in batch] for batch in answer(list(lengths), batch_size)]
        places = sorted(place for batch in batches for place in batch)
        given = list(range(len(lengths)))
        if places == sorted(lengths) and places != given:
            return lengths_not_places
        if any(len(batch) > batch_size for batch in batches):
            return too_many_in_a_batch
        if len(places) < len(lengths) and len(set(places)) == len(places):
            return drops_the_rest
        if places != given:
            return f"For the lengths {lengths}: each of the places 0 to {len(lengths) - 1} must come exactly once."
        tokens, batches = _padded_tokens(lengths, batches), [batch for batch in batches if batch]
        needed = -(len(given) // -batch_size)
        if tokens == sum(lengths):  # nothing is padded: as many batches as each length needs
            needed = sum(-(lengths.count(length) // -batch_size) for length in set(lengths))
        if len(batches) > needed:
            return one_each
        ascending = sorted(given, key=lambda place: lengths[place])
        orders = [_cut(order, batch_size) for order in (ascending, ascending[::-1])]  # longest first is as good an idea
        possible, enough = sorted(_padded_tokens(lengths, order) for order in orders)
        if tokens > enough and batches == _cut(given, batch_size):
            return as_they_come
        if tokens > max(enough, _padded_tokens(lengths, _cut(given, batch_size))):
            return pairs_short_with_long
        if tokens > enough:
            detail = f"For the lengths {lengths} in batches of {batch_size} your batches take {tokens} tokens, padding"
            return f"{detail} included. {possible} are possible."
    return None


@exercise(
    title="Fewer padded tokens",
    check=_check_batches,
    hints=[
        "Reviews of similar length are neighbours once they are sorted by length.",
        "You need the *places* in that order: `sorted(range(len(lengths)), key=...)`.",
        "The key gives the length at a place: `key=lambda place: lengths[place]`.",
    ],
    praise="This is what `make_loader` does for predictions, and within groups for training.",
)
def make_batches(lengths, batch_size):
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


_SORTED = "sorted(range(len(lengths)), key=lambda place: lengths[place])"


@make_batches.mistake(replace={_SORTED: "list(range(len(lengths)))"})
def as_they_come():
    """The reviews are still in the order in which they came. Sort the places by the length of the review."""


@make_batches.mistake(replace={_SORTED: "sorted(lengths)"})
def lengths_not_places():
    """Your batches hold lengths. They should hold places: sort `range(len(lengths))` by the length at each place."""


@make_batches.mistake(replace={"len(order), batch_size)]": "len(order) - batch_size + 1, batch_size)]"})
def drops_the_rest():
    """Some reviews are in no batch. The last batch may hold fewer reviews than the others."""


@make_batches.mistake
def one_each(lengths, batch_size):
    """One review in each batch needs no padding, but the computer then works on one review at a time. Put reviews
    together as long as the batch size allows it."""
    return [[place] for place in range(len(lengths))]


@make_batches.mistake
def too_many_in_a_batch(lengths, batch_size):
    """There are batches with more than `batch_size` reviews."""
    return [sorted(range(len(lengths)), key=lambda place: lengths[place])]


@make_batches.mistake
def pairs_short_with_long(lengths, batch_size):
    """You put short reviews beside long ones, which needs the *most* padding. Put neighbours in the sorted order
    together."""
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    mixed = [place for pair in zip(order, order[::-1], strict=True) for place in pair][: len(order)]
    return [mixed[start : start + batch_size] for start in range(0, len(mixed), batch_size)]


quiz_1 = Quiz(
    """
    You classify reviews one at a time, without padding, and forget the attention mask. What happens?
    a) The predictions are wrong, and no error is raised.
       ✗ That happens when there is padding. A single review without padding has nothing to hide.
    b) Nothing: the predictions are right.
       ✓ Right: without a mask the model takes every token for real, and here every token is.
    c) The model raises an error.
       ✗ The mask may be left out; every token then counts as real.
    d) The model reads the special tokens as words.
       ✗ The mask doesn't hide special tokens. They are real tokens with the mask 1.
    """
)

quiz_2 = Quiz(
    """
    Which of these does BERT's tokenizer turn into `[UNK]`?
    a) A misspelt word such as `awsome`.
       ✗ It becomes two pieces, `aw` and `##some`. Nothing is lost.
    b) A rare name such as `Schwarzenegger`.
       ✗ It becomes three pieces. Long names cost tokens, but they are not unknown.
    c) A word with an accent such as `naïve`.
       ✗ The accent goes, and `naive` is in the vocabulary.
    d) A word with an emoji at its end.
       ✓ Right: an emoji that is not in the vocabulary takes the whole word with it.
    """
)

quiz_3 = Quiz(
    """
    A tutorial of 2020 calls `tokenizer(texts, pad_to_max_length=True, max_length=256)`. What does transformers 5
    do?
    a) It pads to 256 tokens, with a warning that this name is old.
       ✗ It did so for some years. The argument is gone now.
    b) It raises a TypeError, as Python does for an unknown argument.
       ✗ One would wish so. But the tokenizer accepts any argument.
    c) It pads nothing and says nothing.
       ✓ Right: unknown arguments are ignored. Today's name is `padding='max_length'`.
    d) It pads each batch to its longest text.
       ✗ That is `padding=True`, and nobody asked for it.
    """
)

quiz_4 = Quiz(
    """
    Your texts are tweets of 10 to 60 tokens, and your code pads all of them to 256. What saves most of the time?
    a) Padding each batch to its own longest tweet.
       ✓ Right: no row is longer than 60 then. Grouping similar lengths saves some more, but far less.
    b) Cutting the tweets to 128 tokens.
       ✗ No tweet is cut by that, and every row still holds 68 or more tokens of padding.
    c) Leaving out the attention mask.
       ✗ The padding is still computed, and now it also changes the result.
    d) Sorting all tweets by length and still padding to 256.
       ✗ The order doesn't matter as long as every row is padded to 256.
    """
)

again_1 = nb01.quiz_2.again()
again_2 = nb01.quiz_4.again()

progress = progress_of(__name__)
