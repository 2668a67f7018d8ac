"""People's own files: what was written comes back, and what can't be read ends in one sentence."""

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from helpers.careful.own_data import read_reviews
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


@given(
    drawn=st.lists(
        st.sampled_from(
            [("", "good"), (" \n", "bad"), ("a film", ""), ("two\nlines", " "), ('a "quoted" film', "good")]
        ),
        max_size=8,
    )
)
@KEEPS_TIME
def test_rows_left_out_are_counted_and_named(drawn):
    import contextlib
    import io

    output = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(output):
        read_reviews(write(Path(folder) / "my.csv", drawn + ENOUGH))
    no_text = [row for row, (text, _) in enumerate(drawn, start=2) if not text.strip()]
    no_label = [row for row, (text, label) in enumerate(drawn, start=2) if text.strip() and not label.strip()]
    for rows, reason in ((no_text, "they have no text"), (no_label, "they have no label")):
        shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
        assert (f"{reason}: {len(rows)} (row {shown})." in output.getvalue()) == bool(rows)


def test_missing_cells_in_every_format(tmp_path, capsys):
    rows = [(None, "bad"), ("no label", None), ("", "good"), *ENOUGH]
    for suffix in (".jsonl", ".parquet"):
        table, _ = read_reviews(write(tmp_path / f"my{suffix}", rows))
        assert len(table) == 6
        printed = capsys.readouterr().out
        assert "no text: 2 (row 1, 3)" in printed and "no label: 1 (row 2)" in printed
    (tmp_path / "short.csv").write_text(
        "text,label\n\nonly a text\n,\n" + "".join(f"{text},{label}\n" for text, label in ENOUGH)
    )
    table, _ = read_reviews(tmp_path / "short.csv")
    printed = capsys.readouterr().out
    assert len(table) == 6 and "no text: 2 (row 2, 4)" in printed and "no label: 1 (row 3)" in printed


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


def test_decimal_labels(tmp_path):
    labels = pyarrow.array([0, 1] * 3).cast(pyarrow.decimal128(21, 2))  # as databases export them: 0.00 and 1.00
    parquet.write_table(
        pyarrow.table({"text": [f"film {n}" for n in range(6)], "label": labels}), tmp_path / "a.parquet"
    )
    assert read_reviews(tmp_path / "a.parquet")[1] == ["0", "1"]


def test_repeated_texts(tmp_path, capsys):
    reviews = [*ENOUGH, (ENOUGH[0][0], "bad"), (ENOUGH[1][0], "good")]
    data = load_reviews(write(tmp_path / "my.csv", reviews), n_train=2, n_validation=2, n_test=2)
    texts = [text for split in data.values() for text in split["text"]]
    assert sorted(texts) == sorted(text for text, _ in ENOUGH)
    printed = capsys.readouterr().out
    assert "repeat an earlier text: 1 (row 8)" in printed
    assert "with another label (please look): 1 (row 9)" in printed


@pytest.mark.parametrize(
    ("content", "row", "words"),
    [
        (b"", 1, "no columns are named 'text'"),
        (b"text,label\n", "1 to the last", "no row has both"),
        (b"review,label\na,1\n", 1, "['review', 'label']"),
        (b"a fine film,1\na bad film,0\n", 1, "no columns are named 'text'"),
        (b"text,text,label\na,b,1\n", 1, "2 columns are named 'text'"),
        ("text,label\na,1\n".encode("utf-16-le"), 1, "UTF-8"),  # no mark
        (b"text,label\ngood, really good,1\n", 2, "3 cells"),
        (b'text,label\na,1\n"never closed,1\nb,0\n', 3, "double quote"),
        (b'text,label\na,1\n"a "quoted" word",1\n', 3, "double quote"),
        (b"text,label\nfine,1\ngood,1\nbest,1\n", "1 to the last", "all labels are"),
        (b"text,label\na,1\nb,1\nc,1\nd,0\n", 5, "'0' has fewer than 3"),
        (b"text,label\na,1\nb,1\nc,1\na,0\nb,0\nc,0\n", 5, "'0' has fewer than 3"),  # the same texts
        (b"text,label\na,yes\nb,no\nc,Yes\nd,yes\n", 2, "'yes' is almost 'Yes' (row 4)"),
        ("text,label\né,1\n🎬,0\n".encode() + b"\xe9t\xe9,1\n", 4, "not UTF-8"),  # Windows letters in a UTF-8 file
        (b"text,label\n\xe9t\xe9,1\n\x81,0\n", "1 or later", "UTF-8"),  # 0x81 is no letter in Windows-1252 either
    ],
)
def test_sentences_for_csv(tmp_path, content, row, words):
    path = tmp_path / "my.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError) as problem:
        read_reviews(path)
    check_sentence(str(problem.value), path)
    assert f"row {row}" in str(problem.value) and words in str(problem.value)


@pytest.mark.parametrize(
    ("content", "row", "words"),
    [
        (b'{"text": "a", "label": 1}\n[1, 2]\n', 2, "not a JSON object"),
        (b'{"text": "a", "label": 1}\n{"text": "b", "lab', 2, "not a JSON object"),
        (b"[" * 100_000, 1, "not a JSON object"),
        (b'{"text": 5, "label": 1}\n', 1, "the text '5'"),
        (b'{"text": NaN, "label": 1}\n{"label": 1}\n', "1 to the last", "no row has both a text and a label"),
        (b'{"text": "a", "label": [1]}\n', 1, "the label '[1]'"),
        (b'{"text": "a \\ud83d", "label": 1}\n', 1, "\\ud83d"),  # half an emoji
        (b'{"text": "a", "label": %b}\n' % (b"1" * 5000), 1, "not a JSON object"),
        (b'{"review": "a", "label": 1}\n', 1, "no columns are named 'text'"),
    ],
)
def test_sentences_for_jsonl(tmp_path, content, row, words):
    path = tmp_path / "my.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError) as problem:
        read_reviews(path)
    check_sentence(str(problem.value), path)
    assert f"row {row}" in str(problem.value) and words in str(problem.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"text": [1, 2], "label": [0, 1]}, "the text '1'"),
        ({"text": [["a"], ["b"]], "label": [0, 1]}, "the text"),
        ({"text": ["a", "b"], "label": [[0], [1]]}, "the label '[0]'"),
        ({"words": ["a", "b"], "label": [0, 1]}, "['words', 'label']"),
        ({"text": pyarrow.array([b"a", b"\xff\xfe"]).cast("string", safe=False), "label": [0, 1]}, "not valid Parquet"),
    ],
)
def test_sentences_for_parquet(tmp_path, table, words):
    path = tmp_path / "my.parquet"
    parquet.write_table(pyarrow.table(table), path)
    with pytest.raises(ValueError) as problem:
        read_reviews(path)
    check_sentence(str(problem.value), path)
    assert "row 1" in str(problem.value) and words in str(problem.value)


def test_what_is_no_such_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "missing.csv", tmp_path / "folder.csv", tmp_path / "my.xlsx", Path("imdbb")):
        with pytest.raises(ValueError) as problem:
            read_reviews(path)
        check_sentence(str(problem.value), path)


def test_columns_by_name(tmp_path):
    parquet.write_table(
        pyarrow.table({"the.review": [text for text, _ in ENOUGH], "stars": [1, 1, 1, 5, 5, 5]}),
        tmp_path / "my.parquet",
    )
    data = load_reviews(tmp_path / "my.parquet", text="the.review", label="stars", n_train=2, n_validation=2, n_test=2)
    assert data["train"].features["label"].names == ["1", "5"]


def test_a_very_long_text_and_special_letters(tmp_path):
    texts = ["long " * 400_000, "a\0b", "a\0c", "שלום, עולם", "🎬🏳️‍🌈", "two\r\nlines", "\u2028", "x\u0085y"]
    reviews = [(text, "good") for text in texts] + ENOUGH
    for suffix in SUFFIXES:
        data = load_reviews(write(tmp_path / f"my{suffix}", reviews), n_train=8, n_validation=3, n_test=2)
        found = [text for split in data.values() for text in split["text"]]
        assert sorted(found) == sorted(expected(reviews)), suffix


@given(sizes=st.lists(st.integers(20, 60), min_size=2, max_size=4), seed=st.integers(0, 3))
@settings(KEEPS_TIME, max_examples=20)
def test_every_split_holds_every_class(sizes, seed):
    """From twenty reviews of a class on, a tenth for validation and a tenth for test hold some of it."""
    with tempfile.TemporaryDirectory() as folder:
        reviews = [
            (f"film {n} of {name}", name) for name, size in zip("abcd", sizes, strict=False) for n in range(size)
        ]
        data = load_reviews(write(Path(folder) / "my.csv", reviews), seed=seed)
    for split in data.values():
        assert set(split["label"]) == set(range(len(sizes)))


def test_a_handful_of_reviews_fills_every_split_or_is_refused(tmp_path):
    data = load_reviews(write(tmp_path / "six.csv", ENOUGH))
    assert {name: len(split) for name, split in data.items()} == {"train": 4, "validation": 1, "test": 1}
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
