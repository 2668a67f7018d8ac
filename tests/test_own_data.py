"""People's own files: what was written comes back, and what can't be read ends in one sentence."""

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pandas
import pyarrow
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from scipy.stats import binomtest

from helpers.careful.own_data import FOREIGN, read_reviews
from helpers.data import load_reviews

SUFFIXES = [".csv", ".jsonl", ".parquet"]
KEEPS_TIME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)  # Cs: lone surrogates, which no file can hold
# Three rows of each class, so that whatever is drawn, three splits can be made.
ENOUGH = [(f"text {place} of {name}", name) for name in ("bad", "good") for place in range(3)]


def write(path, reviews, *, encoding="utf-8", delimiter=",", ensure_ascii=False):
    """Write (text, label) pairs as a person's program would."""
    path = Path(path)
    if path.suffix == ".csv":
        with open(path, "w", encoding=encoding, newline="") as file:
            writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writerows([("text", "label"), *reviews])
    elif path.suffix == ".jsonl":
        lines = [json.dumps({"label": label, "text": text}, ensure_ascii=ensure_ascii) for text, label in reviews]
        path.write_bytes("".join(line + "\n" for line in lines).encode(encoding))
    else:
        table = {"text": [text for text, _ in reviews], "label": [label for _, label in reviews]}
        parquet.write_table(pyarrow.table(table), path)
    return path


def expected(reviews):
    """Return {text: label} of the rows that count: those with a text that has not come before."""
    kept = {}
    for text, label in reviews:
        if text.strip():
            kept.setdefault(text, label)
    return kept


def check_sentence(message, path):
    """One sentence: names the file, is one line, isn't a dump, ends with a full stop."""
    assert path.name in message
    assert "\n" not in message and "\r" not in message
    assert message.endswith(".") and len(message) < 700, message


@given(
    drawn=st.lists(st.tuples(TEXT, st.sampled_from(["bad", "good"])), max_size=8),
    suffix=st.sampled_from(SUFFIXES),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    delimiter=st.sampled_from(",;\t"),
    ensure_ascii=st.booleans(),
)
@KEEPS_TIME
def test_what_was_written_comes_back(drawn, suffix, encoding, delimiter, ensure_ascii):
    reviews = drawn + ENOUGH
    with tempfile.TemporaryDirectory() as folder:
        path = write(
            Path(folder) / f"my{suffix}", reviews, encoding=encoding, delimiter=delimiter, ensure_ascii=ensure_ascii
        )
        table, names = read_reviews(path)
    assert names == ["bad", "good"]
    found = dict(zip(table["text"], (names[label] for label in table["label"]), strict=True))
    assert found == expected(reviews)
    assert len(found) == len(table)


WINDOWS_LETTERS = bytes(set(range(256)) - {0x81, 0x8D, 0x8F, 0x90, 0x9D}).decode("cp1252")


@given(drawn=st.lists(st.tuples(st.text(WINDOWS_LETTERS, max_size=20), st.sampled_from(["bad", "good"])), max_size=5))
@KEEPS_TIME
def test_windows_encoding(drawn):
    reviews = [("à vous", "good"), *ENOUGH, *drawn]  # à before a space is never UTF-8
    with tempfile.TemporaryDirectory() as folder:
        table, names = read_reviews(write(Path(folder) / "my.csv", reviews, encoding="cp1252"))
    assert dict(zip(table["text"], (names[label] for label in table["label"]), strict=True)) == expected(reviews)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(suffix=st.sampled_from(SUFFIXES), content=st.binary(max_size=300), lines=st.lists(JSON, max_size=5))
@settings(KEEPS_TIME, max_examples=120)
def test_garbage_ends_in_a_result_or_a_sentence(suffix, content, lines):
    end_in_a_result_or_a_sentence(suffix, content)
    end_in_a_result_or_a_sentence(suffix, b"text,label\n" + content)
    values = [json.dumps(value).encode() for value in lines]
    end_in_a_result_or_a_sentence(".jsonl", b"\n".join(values))
    end_in_a_result_or_a_sentence(".jsonl", b"".join(b'{"text": %b, "label": %b}\n' % (v, v) for v in values))


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
@settings(KEEPS_TIME, max_examples=100)
def test_a_damaged_file_ends_in_a_result_or_a_sentence(suffix, data):
    with tempfile.TemporaryDirectory() as folder:
        content = bytearray(write(Path(folder) / f"my{suffix}", [("Ça va, “vu” 🎬", "good"), *ENOUGH]).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    end_in_a_result_or_a_sentence(suffix, bytes(content[: data.draw(st.integers(0, len(content)))]))
    end_in_a_result_or_a_sentence(suffix, bytes(content))


def end_in_a_result_or_a_sentence(suffix, content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mine{suffix}"
        path.write_bytes(content)
        try:
            table, names = read_reviews(path)
        except ValueError as problem:
            check_sentence(str(problem), path)
        else:
            assert set(table["label"]) == set(range(len(names))) and len(names) >= 2
            assert (table["label"].value_counts() >= 3).all()


# Files of every kind, and what must come of each: the number of its reviews, or words of the sentence that refuses it

ROWS = "".join(f"film {n},{n % 2}\n" for n in range(6))
PLAIN = "text,label\n" + ROWS
FIRST = "label,text\n" + "".join(f"{n % 2},film {n}\n" for n in range(6))
SIX = [(f"film {n}", n % 2) for n in range(6)]
LINES = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in SIX)


def table(**columns):
    """A Parquet file as bytes; columns that aren't named are those of SIX."""
    texts, labels = zip(*SIX, strict=True)
    with io.BytesIO() as file:
        parquet.write_table(pyarrow.table({"text": pyarrow.array(texts), "label": labels, **columns}), file)
        return file.getvalue()


def zipped():
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("my.csv", PLAIN)
        return file.getvalue()


CSV = {
    "plain": (PLAIN, 6),
    "Windows' line ends": (PLAIN.replace("\n", "\r\n"), 6),
    "an old Mac's line ends": (PLAIN.replace("\n", "\r"), 6),
    "mixed line ends": (PLAIN.replace("\n", "\r\n", 3), 6),
    "no last line end": (PLAIN.strip(), 6),
    "a mark": ("\ufeff" + PLAIN, 6),
    "two marks": ("\ufeff\ufeff" + PLAIN, 6),
    "UTF-16": (PLAIN.encode("utf-16"), 6),
    "UTF-16 from the other end": (b"\xfe\xff" + PLAIN.encode("utf-16-be"), 6),
    "UTF-16 without mark": (PLAIN.encode("utf-16-le"), "row 1: no columns are named 'text'.*UTF-8"),
    "UTF-32": (PLAIN.encode("utf-32"), "not made of letters"),
    "Windows-1252": (PLAIN.replace("film", "très").encode("cp1252"), 6),
    "Windows-1252 in UTF-8": (PLAIN.encode() + "é,1\n".encode() + b"\xe9t\xe9,1\n", "row 9 .*a byte is not UTF-8"),
    "no letter of Windows-1252": (PLAIN.encode() + b"\xe9t\xe9,1\n\x81,0\n", "row 1 or later.*UTF-8"),
    "semicolons": (PLAIN.replace(",", ";"), 6),
    "tabs": (PLAIN.replace(",", "\t"), 6),
    "bars": (PLAIN.replace(",", "|"), "no columns are named 'text', among .*text.label"),
    "Excel's hint": ("sep=;\n" + PLAIN.replace(",", ";"), "no columns are named 'text'"),
    "blank lines": (PLAIN.replace("\n", "\n\n"), 6),
    "empty rows at the end": (PLAIN + ",\n,\n" * 3, 6),
    "commas at line ends": (PLAIN.replace("\n", ",\n"), 6),
    "spaces in the header": (" text ,\tlabel\n" + ROWS, 6),
    "spaces behind labels": (PLAIN.replace("\n", "  \n").replace("label  ", "label"), 6),
    "an index without a name": (",text,label\n" + "".join(f"{n},film {n},{n % 2}\n" for n in range(6)), 6),
    "label first": (FIRST, 6),
    "other columns twice": ("x,x,text,label\n" + "".join(f"1,2,film {n},{n % 2}\n" for n in range(6)), 6),
    "a zero byte in a text": (PLAIN + "a\0b,1\n", 7),
    "a very long text": (PLAIN + "long " * 400_000 + ",1\n", 7),
    "quotes in a text": (PLAIN + '"He said ""no"", twice",1\na 5" disc,0\n', 8),
    "line breaks in texts": (PLAIN + '"One, two,\n\nand 1,\r\nsee 2,0\n1\n0,5 of 5.",1\n', 7),
    "line breaks in texts after labels": (FIRST + '1,"One,\n1,000 people\n1.\n"\n', 7),
    "a text again": (PLAIN + "film 0,0\n", 6),
    "a text again with another label": (PLAIN + "film 0,1\n", 6),
    "labels 1.0": (PLAIN.replace("1\n", "1.0\n"), 6),
    "labels as words": (PLAIN.replace("1\n", "sehr gut\n").replace("0\n", "schlecht\n"), 6),
    "labels in other letters": (PLAIN.replace("1\n", "👍\n").replace("0\n", "سيئ\n"), 6),
    "long numbers": (PLAIN.replace("1\n", "9007199254740993\n").replace("0\n", "9007199254740992\n"), 6),
    "empty": ("", "can't be read .*it holds 0 bytes"),
    "blank": (" \n \n", "no columns are named 'text'"),
    "a header alone": ("text,label\n", "row 1 to the last: no row has both"),
    "no header": (ROWS, "row 1: no columns are named 'text', among"),
    "other names": ("review,label\n" + ROWS, r"'text', among .*'review', 'label'"),
    "text twice": ("text,text,label\na,b,1\n", "2 columns are named 'text'"),
    "label twice": ("text,label,label\na,1,1\n", "2 columns are named 'label'"),
    "text without quotes": (PLAIN + "good, really good,1\n", "row 8: 3 cells, not 2; put the text into double quotes"),
    "a quote never closed": (PLAIN + '"never closed,1\nb,0\n', "row 8 or later.*double quote"),
    "quotes within quotes": (PLAIN + '"a "quoted" word",1\n', "row 8 or later.*double quote"),
    "a quote that swallows a row": (PLAIN + '"one,1\ntwo",0\nthree,1\n', "row 8: a double quote swallows"),
    "a quote in another column": (
        "a," + PLAIN.replace("\nfilm", "\nt,film") + '"t,a,1\nu",b,0\n',
        "row 8: a double quote",
    ),
    "a quote before a label": (FIRST + '0,"g\n1,h"\n', "row 8: a double quote swallows"),
    "a quote in a label": (PLAIN + 'a,"1\nb,0"\n', "row 8: the class '1.*b,0' has fewer than 3"),
    "one class": ("text,label\na,1\nb,1\nc,1\n", "row 1 to the last: all labels are '1'"),
    "a class of two": (PLAIN + "a,2\nb,2\n", "row 8: the class '2' has fewer than 3 different texts"),
    "a class of one text": (PLAIN + "a,2\na,2\na,2\n", "row 8: the class '2' has fewer than 3 different texts"),
    "a label of half stars": (PLAIN + "a,0.5\nb,0.5\nc,0.5\n", 9),
}
ALMOST = "1:+1|1:01|1:1e0|1:１|1:١|1:1,0|1:true|0:-0|0:false|0:0,00|good:Good|good:\u200bgood|good:goo\u00add|"
ALMOST += "good:good\ufeff|ﬁne:fine|very\xa0good:very\u2009good|Straße:STRASSE|❤:❤\ufe0f"
for one, other in (pair.split(":") for pair in ALMOST.split("|")):
    more = "".join(f'"{label} {n}","{label}"\n' for label in (one, other) for n in range(3))
    CSV[f"{one!a} and {other!a}"] = PLAIN + more, r"row \d+: the label .* is almost .*\(row \d+\); write both the same"
for word in "None null NaN nan n/a N/A NA #N/A <NA> inf -inf Infinity ∞ - -- – ? . … \u200b".split():
    more = "".join(f"{n},{word}\n" for n in range(3))
    CSV[f"label {word!a}"] = PLAIN + more, "row 8: the label .* may stand for a missing one"
JSONL = {
    "plain": (LINES, 6),
    "Windows' line ends": (LINES.replace("\n", "\r\n"), 6),
    "an old Mac's line ends": (LINES.replace("\n", "\r"), 6),
    "a mark": ("\ufeff" + LINES, 6),
    "UTF-16": (LINES.encode("utf-16"), 6),
    "blank lines": ("\n" + LINES.replace("\n", "\n\n"), 6),
    "other columns": (LINES.replace("{", '{"id": [1, {"a": null}], '), 6),
    "true and false": (LINES.replace(": 1", ": true").replace(": 0", ": false"), 6),
    "rows without label": (LINES + '{"text": "a", "label": null}\n{"text": "b", "label": NaN}\n{"text": "c"}\n', 6),
    "empty": ("", "it holds 0 bytes"),
    "blank": ("\n\n", "no columns are named 'text'"),
    "a list": (json.dumps([{"text": "a", "label": 1}]), "row 1: .* is not a JSON object; write one a line"),
    "on several lines": (json.dumps({"text": "a", "label": 1}, indent=1), "row 1: '{' is not a JSON object"),
    "a name twice": (LINES + '{"text": "a", "text": "b", "label": 1}\n', "row 7: .* is not a JSON object"),
    "cut short": (LINES + '{"text": "b", "lab', "row 7: .* is not a JSON object"),
    "too deep": ("[" * 100_000, "row 1: .* is not a JSON object"),
    "digits without end": ('{"text": "a", "label": ' + "1" * 5000 + "}", "row 1: .* is not a JSON object"),
    "a number as text": (LINES + '{"text": 5, "label": 1}\n', "row 7: the text '5' is not made of letters"),
    "a list as label": (LINES + '{"text": "a", "label": [1]}\n', "row 7: the label .* is no word or number"),
    "half an emoji": (LINES + '{"text": "a \\ud83d", "label": 1}\n', r"row 7: the text .*ud83d"),
    "half an emoji as label": (LINES + '{"text": "a", "label": "\\ud83d"}\n', r"row 7: the label .*ud83d"),
    "true and 1": (LINES + '{"text": "a", "label": true}\n' * 3, "'True' is almost '1'"),
    "infinity": (
        LINES + "".join(f'{{"text": "{n}", "label": 1e999}}\n' for n in range(3)),
        "'inf' may stand for a missing",
    ),
    "other names": ('{"review": "a", "label": 1}\n', "no columns are named 'text'"),
    "a CSV": (PLAIN, "row 1: 'text,label' is not a JSON object"),
}
PARQUET = {
    "plain": (table(), 6),
    "long strings": (table(text=pyarrow.array([text for text, _ in SIX], pyarrow.large_string())), 6),
    "categories": (table(label=pyarrow.array(list("ababab")).dictionary_encode()), 6),
    "decimal labels": (table(label=pyarrow.array([0, 1] * 3).cast(pyarrow.decimal128(21, 2))), 6),
    "nested other columns": (table(more=[[{"a": 1}]] * 6), 6),
    "missing cells": (table(text=["", None, *"abcdef"], label=[1, 1, *[0, 1] * 3]), 6),
    "no rows": (table(text=pyarrow.array([], "string"), label=pyarrow.array([], "int8")), "no row has both"),
    "numbers as texts": (table(text=[1, 2, 3, 4, 5, 6]), "row 1: the text '1' is not made of letters"),
    "bytes as texts": (table(text=[b"a"] * 6), "row 1: the text .* is not made of letters"),
    "lists as texts": (table(text=[["a"]] * 6), "row 1: the text"),
    "lists as labels": (table(label=[[0]] * 6), "row 1: the label '.0.' is no word or number"),
    "no such column": (table(text=[["a"]] * 6).replace(b"text", b"tex_"), "no columns are named 'text'"),
    "broken letters": (table(text=pyarrow.array([b"\xff"] * 6).cast("string", safe=False)), "not valid Parquet"),
    "cut short": (table()[:-9], "row 1: not valid Parquet"),
    "its end alone": (b"PAR1", "row 1: not valid Parquet"),
    "empty": ("", "it holds 0 bytes"),
    "a CSV": (PLAIN, "row 1: not valid Parquet"),
}
CASES = {
    f"{name}{suffix}": (suffix, *case)
    for suffix, cases in zip(SUFFIXES, (CSV, JSONL, PARQUET), strict=True)
    for name, case in cases.items()
}
PACKED = {
    "gzip": gzip.compress(PLAIN.encode()),
    "bzip2": bz2.compress(PLAIN.encode()),
    "xz": lzma.compress(PLAIN.encode()),
}
PACKED |= {"ZIP": zipped(), "Parquet": table()} | {
    what: b"\n " + mark + b"\x00 and more" for mark, what in FOREIGN.items()
}
for suffix in SUFFIXES:
    for what, content in PACKED.items():
        if "Parquet" not in what or suffix != ".parquet":
            CASES[f"{what}{suffix}"] = suffix, content, f"is .*{what}.*, whatever its name says: unpack it, or save"
    CASES[f"zeros{suffix}"] = (
        suffix,
        bytes(10_000),
        "not valid Parquet" if suffix == ".parquet" else "not made of letters",
    )


@pytest.mark.parametrize(("suffix", "content", "outcome"), CASES.values(), ids=CASES)
def test_every_file_gives_its_reviews_or_one_sentence(tmp_path, suffix, content, outcome):
    path = tmp_path / f"my thesis{suffix.upper()}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if isinstance(outcome, int):
        reviews, names = read_reviews(path)
        assert len(reviews) == outcome and set(reviews["label"]) == set(range(len(names)))
        assert (reviews["label"][:6] > 0).tolist() == [False, True] * 3
        return
    with pytest.raises(ValueError, match=outcome) as problem:
        read_reviews(path)
    check_sentence(str(problem.value), path)


def odd_paths(folder):
    """Yield what people and programs hand over in the place of a file, and words of the sentence."""
    (folder / "folder.csv").mkdir()
    os.mkfifo(folder / "pipe.csv")
    (folder / "zero.jsonl").symlink_to("/dev/zero")
    (folder / "circle.csv").symlink_to("circle.csv")
    with open(folder / "huge.csv", "wb") as file:
        file.truncate(100 << 30)
    yield from ((folder / "folder.csv", "it is a folder"), (folder / "pipe.csv", "a pipe or a device"))
    yield from ((folder / "zero.jsonl", "a pipe or a device"), (folder / "huge.csv", "bytes; from 1 to"))
    yield from (
        (folder / name, "can't be read") for name in ("circle.csv", "missing.csv", "a\0b.csv", "a" * 300 + ".csv")
    )
    for path in ("", "IMDB", "my.xlsx", "my.csv.gz", folder):
        yield path, "is not imdb, rotten_tomatoes, or a"
    yield "https://example.org/my.csv", "an address on the web: download"
    for source in (None, 3, ["my.csv"], pandas.DataFrame({"text": ["a"], "label": [1]})):
        yield source, f"source is of the type {type(source).__name__}"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices are files on Unix alone")
def test_what_is_no_file_is_told_at_once(tmp_path):
    for source, words in odd_paths(tmp_path):
        with pytest.raises(ValueError, match=words) as problem:
            load_reviews(source)
        assert str(problem.value).endswith(".") and "\n" not in str(problem.value)


@pytest.mark.parametrize("columns", [{"text": "label"}, {"text": 0}, {"label": None}, {"text": ["text"]}])
def test_columns_are_named(tmp_path, columns):
    for suffix in SUFFIXES:
        with pytest.raises(ValueError, match="are not the names of two columns"):
            load_reviews(write(tmp_path / f"my{suffix}", ENOUGH), **columns)


@given(
    order=st.permutations(["text", "label", "note"]),
    wide=st.booleans(),
    delimiter=st.sampled_from(",;\t"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    labels=st.sampled_from(["01", ["bad", "good", "so so"]]),
    quotes=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2), st.booleans()), min_size=1, max_size=4),
)
@example(["text", "label", "note"], False, ",", "\n", "01", [(4, 0, True), (37, 0, False)])  # 40 rows became 7 reviews
@KEEPS_TIME
def test_stray_quotes_never_swallow_rows_in_silence(order, wide, delimiter, line_end, labels, quotes):
    order = [name for name in order if wide or name != "note"]
    rows = [order] + [
        [{"text": f"film {n}", "label": labels[n % len(labels)], "note": "x y"}[name] for name in order]
        for n in range(40)
    ]
    for row, column, before in quotes:
        cell = rows[row][column % len(order)]
        rows[row][column % len(order)] = f'"{cell}' if before else f'{cell}"'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "my.csv"
        path.write_text(line_end.join(delimiter.join(row) for row in rows), encoding="utf-8", newline="")
        try:
            with contextlib.redirect_stdout(io.StringIO()) as said:
                reviews, _ = read_reviews(path)
        except ValueError as problem:
            check_sentence(str(problem), path)
        else:
            assert len(reviews) + sum(map(int, re.findall(r": (\d+) \(row", said.getvalue()))) == 40


def test_rows_left_out_are_counted_and_named(tmp_path, capsys):
    rows = [
        ("", "good"),
        (" \n", "bad"),
        ("a film", ""),
        *[(" ", "bad")] * 4,
        *ENOUGH,
        ENOUGH[0],
        (ENOUGH[1][0], "good"),
    ]
    for suffix, first in zip(SUFFIXES, (2, 1, 1), strict=True):
        read_reviews(write(tmp_path / f"my{suffix}", rows))
        printed = capsys.readouterr().out
        assert "6 reviews of 2 classes: 0 = 'bad' (3), 1 = 'good' (3)." in printed
        for reason, count, places in (
            ("they have no text", 6, [0, 1, 3, 4, 5]),
            ("they have no label", 1, [2]),
            ("they repeat an earlier text", 1, [13]),
            ("they repeat an earlier text with another label (please look)", 1, [14]),
        ):
            shown = ", ".join(str(place + first) for place in places) + ", …" * (count > 5)
            assert f"Left out because {reason}: {count} (row {shown})." in printed


def test_missing_cells_as_pandas_writes_them(tmp_path, capsys):
    """With an empty cell in the column, pandas writes the labels 0 and 1 as 0.0 and 1.0."""
    table = pandas.DataFrame({"text": [f"film {n}" for n in range(7)], "label": [0, 1, 0, 1, 0, 1, None]})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "a.parquet")
    for suffix in SUFFIXES:
        reviews, names = read_reviews(tmp_path / f"a{suffix}")
        assert names == ["0", "1"] and reviews["label"].tolist() == [0, 1, 0, 1, 0, 1]
        assert f"no label: 1 (row {8 if suffix == '.csv' else 7})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 1], ["0", "1"]),
        ([1, 2, 10], ["1", "2", "10"]),  # by size: the alphabet would put 10 before 2
        ([-1, 1], ["-1", "1"]),
        ([0.5, 1.0, 1.5], ["0.5", "1", "1.5"]),  # half stars
        ([True, False], ["False", "True"]),
        (["positive", "neutral", "negative"], ["negative", "neutral", "positive"]),
        (["جيد", "سيئ"], ["جيد", "سيئ"]),
        ([f"c{n}" for n in range(30)], sorted(f"c{n}" for n in range(30))),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels(tmp_path, labels, names, suffix):
    reviews = [(f"film {n} {label}", label) for label in labels for n in range(3)]
    table, found = read_reviews(write(tmp_path / f"my{suffix}", reviews))
    assert found == names
    assert [found[label] for label in table["label"]] == [str(label).removesuffix(".0") for _, label in reviews]


def test_a_path_leads_to_a_dataset_whose_columns_were_named(tmp_path):
    texts = ["a\0b", "a\0c", "שלום, עולם", "🎬🏳️‍🌈", "two\r\nlines", "\u2028", "x\u0085y"]
    reviews = [(text, "★★★") for text in texts] + ENOUGH
    for suffix in SUFFIXES:
        path = write(tmp_path / f"my{suffix}", reviews)
        if suffix == ".parquet":
            parquet.write_table(parquet.read_table(path).rename_columns(["the.review", "stars"]), path)
            names = {"text": "the.review", "label": "stars"}
        else:
            names = {}
        data = load_reviews(path, n_train=6, n_validation=3, n_test=3, **names)
        classes = data["train"].features["label"].names
        assert classes == ["bad", "good", "★★★"]
        found = {row["text"]: classes[row["label"]] for split in data.values() for row in split}
        assert len(found) == 12 and found.items() <= expected(reviews).items(), suffix


def test_a_split_too_small_to_conclude_from_is_named_and_packaged_reviews_are_not(tmp_path, capsys):
    path = write(tmp_path / "my.csv", [(f"film {n}", n % 2) for n in range(800)])
    load_reviews(path, n_train=20, n_validation=380, n_test=380)
    load_reviews(path, n_train=20, n_validation=0, n_test=400)
    load_reviews("rotten_tomatoes", n_train=4, n_validation=4, n_test=4)
    assert "Careful" not in capsys.readouterr().out
    load_reviews(path, n_validation=40)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("Careful: validation (40 texts) and test (120 texts) can't settle small differences")
    assert "up to ±15 points" in said and "takes about 380 texts" in said

    def width(texts):  # by the library that knows Wilson's interval
        low, high = binomtest(texts // 2, texts).proportion_ci(method="wilson")
        return 100 * (high - low)

    assert round(width(40) / 2) == 15 and width(382) < 10 < width(378)


def test_a_handful_of_reviews_fills_every_split_or_is_refused(tmp_path):
    data = load_reviews(write(tmp_path / "sixty.csv", [(f"film {n}", n % 2) for n in range(60)]))
    assert [len(split) for split in data.values()] == [42, 9, 9]
    data = load_reviews(write(tmp_path / "six.csv", ENOUGH))
    assert [sorted(split["label"]) for split in data.values()] == [[0, 1]] * 3
    with pytest.raises(ValueError, match="five.csv, row 5: the class 'good' has fewer than 3 different texts"):
        load_reviews(write(tmp_path / "five.csv", ENOUGH[:-1]))


MEMORY = """
import resource, sys
import datasets, pandas, pyarrow.parquet
from helpers.data import load_reviews
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
data = load_reviews(sys.argv[1])
print(sum(map(len, data.values())), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is read from Unix's resource module")
@pytest.mark.parametrize(
    "suffix", [".csv", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".jsonl", ".parquet"))]
)
def test_memory_stays_bounded(tmp_path, suffix):
    """200,000 rows; measured 7 times the size of the text (Python's, pandas' and Arrow's copies)."""
    reviews = [(f"{n} " + "a fine film " * 15, n % 3) for n in range(200_000)]
    path = write(tmp_path / f"my{suffix}", reviews)
    size = sum(len(text) for text, _ in reviews)
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, path],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    rows, peak = map(int, run.stdout.split("\n")[-2].split())
    assert rows == len(reviews)
    assert peak < 12 * size, f"{peak / size:.1f} times the text"
