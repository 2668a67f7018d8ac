"""Reading people's own reviews: .csv, .jsonl and .parquet files. `helpers.data.load_reviews` calls it.

Real files come in several encodings, with missing cells, stray quotes and typing errors in labels. The result is either
right, or one sentence that names the file, the row and the cure. Nothing is left out without being counted and said.
"""

import codecs
import csv
import json
import math
import numbers
import os
import re
import stat
import unicodedata
from collections import Counter, defaultdict
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pandas
import pyarrow
from pyarrow import parquet

FEWEST_OF_A_CLASS = 3  # one each for training, validation and test
MOST_BYTES = 2 << 30  # in memory a file takes seven times its size
OTHER_COLUMN = "or name another column with text=… or label=…"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half an emoji: no tokenizer and no UTF-8 file can take it
FOREIGN = {  # how files begin that people take for one of ours, and what they are
    b"\x1f\x8b": "packed with gzip",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"(\xb5/\xfd": "packed with zstd",
    b"7z\xbc\xaf": "packed with 7-Zip",
    b"Rar!": "packed with RAR",
    b"PK\x03\x04": "an Excel table or another ZIP file",
    b"\xd0\xcf\x11\xe0": "an old Excel table",
    b"%PDF": "a PDF",
    b"{\\rtf": "a text document",
    b"SQLite format 3": "a database",
    b"\x89PNG": "a picture",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML file",
    b"PAR1": "a Parquet file",
}
# Labels that may stand for a missing one. Only their author knows.
MISSING = set("|none|null|nil|nan|na|n/a|#n/a|<na>|inf|+inf|-inf|infinity|-infinity|∞|-∞|-|--|–|—|?|.|...".split("|"))


def read_reviews(path, *, text_column="text", label_column="label"):
    """Return (reviews, class_names): a pandas DataFrame with columns text and label, and the name of each label.

    path                        a .csv (a header row; commas, semicolons or tabs), .jsonl or .parquet file
    text_column, label_column   the names of its columns

    Labels may be numbers or words, two classes or more. They become 0, 1, 2 … in the order of `class_names`: numbers
    by size, words by the alphabet. So 0 and 1 stay 0 and 1, negative becomes 0 and positive 1. Texts are not changed.
    Rows that have no text, no label, or the text of an earlier row are left out. What is printed counts them.
    Raises ValueError with one sentence that says what to mend and where; the header of a .csv counts as row 1.
    """
    path = _file(path)
    for name in (text_column, label_column):
        if not isinstance(name, str) or text_column == label_column:
            what = f"text={text_column!r:.80} and label={label_column!r:.80} are not the names of two columns"
            raise _problem(path, 1, what, "name them as they stand there")
    read_rows = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}[path.suffix.lower()]
    class_of = {}  # text -> name of its class
    name_of = {}  # label as it stands in the file -> name of its class
    first_row = {}  # name of a class -> number of its first row
    left_out = defaultdict(list)  # reason -> numbers of rows
    row = 0
    try:
        for row, text, label in read_rows(path, text_column, label_column):
            key = type(label), str(label)  # 1 and True are equal, but not the same label
            if key not in name_of:
                name_of[key] = _class_name(path, row, label)
                first_row.setdefault(name_of[key], row)
            if not _has_text(path, row, text):
                left_out["they have no text"].append(row)
            elif name_of[key] is None:
                left_out["they have no label"].append(row)
            elif text not in class_of:
                class_of[text] = name_of[key]
            elif class_of[text] == name_of[key]:
                left_out["they repeat an earlier text"].append(row)
            else:
                left_out["they repeat an earlier text with another label (please look)"].append(row)
    except (csv.Error, UnicodeDecodeError) as problem:
        raise _cannot_be_read(path, row, problem) from None
    except OSError as problem:
        raise _unreadable(path, problem) from None

    first_row.pop(None, None)
    numeric = all(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", name) for name in first_row)
    class_names = sorted(first_row, key=Decimal if numeric else str)
    size = Counter(class_of.values())
    counts = [f"{place} = {_short(name)} ({size[name]:,})" for place, name in enumerate(class_names[:20])]
    print(f"{path.name}: {len(class_of):,} reviews of {len(class_names)} classes: {', '.join(counts)}.")
    for reason, rows in left_out.items():
        some = ", ".join(map(str, rows[:5])) + ", …" * (len(rows) > 5)
        print(f"Left out because {reason}: {len(rows):,} (row {some}).")
    _check_classes(path, class_names, size, first_row)
    number = {name: place for place, name in enumerate(class_names)}
    return pandas.DataFrame({"text": list(class_of), "label": [number[n] for n in class_of.values()]}), class_names


def warn_of_wide_intervals(sizes):
    """Say how uncertain an accuracy around 50% is on the smallest of `sizes` (Wilson's interval of notebook 05)."""
    z = 1.96
    enough = round(z * z * (1 / (2 * 0.05) ** 2 - 1))  # texts for ±5 points
    small = {name: size for name, size in sizes.items() if 0 < size < enough}
    if small:
        points = 100 * z / (2 * math.sqrt(min(small.values()) + z * z))
        splits = " and ".join(f"{name} ({size:,} texts)" for name, size in small.items())
        print(
            f"Careful: {splits} can't settle small differences: an accuracy is uncertain there by up to "
            f"±{points:.0f} points. An interval of ten points, ±5, takes about {enough} texts."
        )


def _file(source):
    """Return `source` as the path of a file that may be one of ours. Raises ValueError that says what it is instead."""
    if not isinstance(source, (str, os.PathLike)):
        cure = "save it, as with table.to_csv('mine.csv', index=False), and give its path"
        raise ValueError(f"source is of the type {type(source).__name__}, but a file is read: {cure}.")
    path = Path(source)
    if re.match(r"[A-Za-z0-9+.-]{2,}://", str(source)):
        raise ValueError(f"{path.name} is an address on the web: download the file, and give the path of your copy.")
    if path.suffix.lower() not in (".csv", ".jsonl", ".parquet"):
        cure = "check the name, or save your table as one of these (in Excel: Save as, CSV UTF-8)"
        raise ValueError(f"{str(path)!r} is not imdb, rotten_tomatoes, or a .csv, .jsonl or .parquet file: {cure}.")
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise OSError("it is a folder" if path.is_dir() else "it is a pipe or a device, not a file")
        if not 0 < about.st_size <= MOST_BYTES:
            raise OSError(f"it holds {about.st_size:,} bytes; from 1 to {MOST_BYTES:,} can be read")
        with open(path, "rb") as file:
            start = file.read(4096)
    except (OSError, ValueError) as problem:  # ValueError: a name with a zero byte
        raise _unreadable(path, problem) from None
    kind = next((what for mark, what in FOREIGN.items() if start.lstrip().lower().startswith(mark.lower())), None)
    if path.suffix.lower() == ".parquet":
        kind = None if kind == "a Parquet file" else kind
    elif not kind and start.count(0) > len(start) / 2:  # of UTF-16, at most half are zero
        kind = "not made of letters"
    if kind:
        cure = "unpack it, or save your table as CSV UTF-8 in the program that made it"
        raise ValueError(f"{path.name} is {kind}, whatever its name says: {cure}.")
    return path


def _csv_rows(path, text_column, label_column):
    """Yield (row, text, label) from a CSV file; a missing cell is None."""
    csv.field_size_limit(2**31 - 1)  # characters a cell; by itself Python stops at 131,072
    several_lines, labels = [], set()
    with open(path, encoding=_encoding(path), newline="") as file:
        delimiter, header = _header(path, file, text_column, label_column)
        text_at, label_at = header.index(text_column), header.index(label_column)
        for row, cells in enumerate(csv.reader(file, delimiter=delimiter, strict=True), start=1):
            if any(cells[len(header) :]):
                raise _too_many_cells(path, row, cells, header)
            several_lines += [(row, at, cell) for at, cell in enumerate(cells) if "\n" in cell or "\r" in cell]
            cells += [None] * (len(header) - len(cells))
            if row > 1:
                labels.add(cells[label_at])
                yield row, cells[text_at], cells[label_at]
    for row, at, cell in several_lines:
        if _holds_rows(cell, at, label_at, len(header), delimiter, labels - {None, ""}):
            cure = "close or delete that quote, or save the table as .jsonl if this is one text"
            raise _problem(path, row, "a double quote swallows the rows after it, as it seems", cure)


def _header(path, file, *wanted):
    """Return the delimiter of an open CSV file and the names of its columns, among which those are that are wanted."""
    found = {}
    for delimiter in "\t;,":  # Excel writes semicolons where the comma is the decimal sign
        file.seek(0)
        found[delimiter] = [name.strip("\ufeff \t") for name in next(csv.reader(file, delimiter=delimiter), [])]
    delimiter = max(found, key=lambda one: (all(name in found[one] for name in wanted), len(found[one])))
    header = found[delimiter]
    _check_columns(path, header, *wanted)
    file.seek(0)
    return delimiter, header


def rows_without_labels(path, text_column):
    """Yield (header, how) of a .csv file, then (cells, text) of each row; text is None where there is none.

    how   how such a file is written again: {"delimiter": …, "encoding": …}
    The file is read row by row, so its size doesn't matter. Raises ValueError as `read_reviews` does.
    """
    path, row = _file(path), 1
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path.name} is not a .csv file, and no others are read here: save the table as CSV UTF-8.")
    csv.field_size_limit(2**31 - 1)
    try:
        encoding = _encoding(path)
        with open(path, encoding=encoding, newline="") as file:
            delimiter, header = _header(path, file, text_column)
            plain = encoding == "utf-8-sig" and not path.open("rb").read(3) == codecs.BOM_UTF8
            # UTF-8 stays as it is; in place of what else Excel writes comes UTF-8 with the mark by which it knows it.
            between = delimiter if len(header) > 1 else ","  # one column has nothing between its cells
            yield header, {"delimiter": between, "encoding": "utf-8" if plain else "utf-8-sig"}
            text_at = header.index(text_column)
            for row, cells in enumerate(csv.reader(file, delimiter=delimiter, strict=True), start=1):
                if row == 1 or not cells:  # the header; an empty line
                    continue
                if any(cells[len(header) :]):
                    raise _too_many_cells(path, row, cells, header)
                cells = (cells + [""] * len(header))[: len(header)]
                yield cells, cells[text_at] if _has_text(path, row, cells[text_at]) else None
    except (csv.Error, UnicodeDecodeError) as problem:
        raise _cannot_be_read(path, row, problem) from None
    except OSError as problem:
        raise _unreadable(path, problem) from None


def _holds_rows(cell, at, label_at, columns, delimiter, labels):
    """Does a line of this cell read as the end of a row (or its start, where the labels stand before it)?

    A digit beside the delimiter may belong to a number (a mark of 2,0 or 1,000 people): then most lines must look so.
    """
    one, other = re.escape(delimiter), f"[^{re.escape(delimiter)}]*"
    lines = re.split("\r\n|\r|\n", cell)
    if label_at < at:
        lines, row = lines[1:], f"(?:{other}{one}){{{label_at}}}({other}){one}(.?)"
    else:
        lines, row = lines[:-1], f".*?(.?){one}({other})(?:{one}{other}){{{columns - 1 - label_at}}}$"
    beside, label = (2, 1) if label_at < at else (1, 2)
    found = [match[beside] for line in lines if (match := re.match(row, line)) and match[label] in labels]
    return not all(map(str.isdigit, found)) or len(list(filter(None, lines))) < 2 * len(found)


def _jsonl_rows(path, text_column, label_column):
    """Yield (row, text, label) from a file with one JSON object a line; the first line is row 1."""
    columns = {}
    with open(path, encoding=_encoding(path)) as file:
        for row, line in enumerate(file, start=1):
            try:
                review = json.loads(line, object_pairs_hook=_object) if line.strip() else {}
            except (ValueError, RecursionError):
                review = None
            if not isinstance(review, dict):
                cure = 'write one a line, as in {"text": "Good.", "label": 1}'
                raise _problem(path, row, f"{_short(line.strip())} is not a JSON object", cure)
            columns |= dict.fromkeys(review)
            yield row, review.get(text_column), review.get(label_column)
    _check_columns(path, list(columns), text_column, label_column)


def _object(pairs):
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def _parquet_rows(path, text_column, label_column):
    """Yield (row, text, label) from a Parquet file; the first row is row 1."""
    row = 0
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names, text_column, label_column)
            for batch in file.iter_batches(batch_size=1000, columns=[text_column, label_column]):
                for review in batch.to_pylist():
                    row += 1
                    yield row, review[text_column], review[label_column]
    except (pyarrow.ArrowException, UnicodeDecodeError) as problem:
        raise _problem(path, row + 1, f"not valid Parquet ({_short(problem)})", "write the file anew") from None


def _encoding(path):
    """Return the encoding of a text file: UTF-16 by its mark, UTF-8 where every byte fits, otherwise Windows-1252."""
    decoder, lines, only_ascii = codecs.getincrementaldecoder("utf-8")(), 1, True
    with open(path, "rb") as file:
        if file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        try:
            while block := file.read(1 << 20):
                only_ascii &= decoder.decode(block).isascii()
                lines += block.count(b"\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as problem:
            right = problem.object[: problem.start]
            if not only_ascii or not right.isascii():  # é or emoji were right up to here: it is UTF-8 with a fault
                row = f"{lines + right.count(10)} (in lines)"
                raise _problem(path, row, "a byte is not UTF-8", "save the file as UTF-8") from None
            print(f"{path.name} is not UTF-8: read as Windows-1252. If letters look wrong, save it as UTF-8.")
            return "cp1252"
    return "utf-8-sig"  # with or without a mark at its start


def _check_columns(path, columns, *wanted):
    for name in wanted:
        if columns.count(name) != 1:
            what = f"{columns.count(name) or 'no'} columns are named {name!r}, among {_short(columns)}"
            raise _problem(path, 1, what, "name yours with text=… and label=…, and save the file as UTF-8")


def _has_text(path, row, text):
    if text is None or text != text:  # NaN differs from itself
        return False
    if not isinstance(text, str) or LONE_SURROGATE.search(text):
        raise _problem(path, row, f"the text {_short(text)} is not made of letters", f"mend it, {OTHER_COLUMN}")
    return text.strip() != ""


def _class_name(path, row, label):
    """Return a label as the name of its class, the same for 1, 1.0 and "1 "; None where it is missing."""
    if label is None or label != label:
        return None
    name = unicodedata.normalize("NFC", str(label)).strip()
    if not isinstance(label, (str, numbers.Number)) or LONE_SURROGATE.search(name):
        raise _problem(path, row, f"the label {_short(label)} is no word or number", f"mend it, {OTHER_COLUMN}")
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", name) or None  # pandas writes 1 as 1.0 where the column has empty cells


def _check_classes(path, class_names, size, first_row):
    """Raise ValueError where training, validation and test can't be made of these classes."""
    same = {}
    for name in class_names:
        twin = same.setdefault(_as_read(name), name)
        if twin != name:
            what = f"the label {_short(name)} is almost {_short(twin)} (row {first_row[twin]})"
            raise _problem(path, first_row[name], what, "write both the same way, or one as another word")
        if _as_read(name) in MISSING:
            what = f"the label {_short(name)} may stand for a missing one"
            raise _problem(path, first_row[name], what, "empty its cell if so, or write another word")
    if len(class_names) < 2:
        what = f"all labels are {_short(class_names[0])}" if size else "no row has both a text and a label"
        raise _problem(path, "1 to the last", what, f"add what is missing, {OTHER_COLUMN}")
    rarest = min(class_names, key=lambda name: size[name])
    if size[rarest] < FEWEST_OF_A_CLASS:
        what = f"the class {_short(rarest)} has fewer than {FEWEST_OF_A_CLASS} different texts"
        raise _problem(path, first_row[rarest], what, f"add some, delete its rows, {OTHER_COLUMN}")


def _as_read(name):
    """Return a label as people read it: Good as good, 01 and +1 and True as 1, without what can't be seen."""
    name = unicodedata.normalize("NFKC", name).casefold()
    unseen = ("Cc", "Cf", "Zs", "Zl", "Zp")
    name = "".join(letter for letter in name if unicodedata.category(letter) not in unseen and letter != "\ufe0f")
    name = {"true": "1", "false": "0"}.get(name, name)
    try:
        number = Decimal(name.replace(",", "."))
    except InvalidOperation:
        return name
    return number if number.is_finite() else name


def _short(value):
    return repr(str(value)[:80])


def _problem(path, row, what, cure):
    return ValueError(f"{path.name}, row {row}: {what}; {cure}.")


def _too_many_cells(path, row, cells, header):
    return _problem(path, row, f"{len(cells)} cells, not {len(header)}", "put the text into double quotes")


def _cannot_be_read(path, row, problem):
    cure = "close every double quote, and save the file as UTF-8"
    return _problem(path, f"{row + 1} or later", f"it can't be read ({problem})", cure)


def _unreadable(path, problem):
    return ValueError(f"{path.name} can't be read ({_short(problem)}): check its name, or save it anew.")
