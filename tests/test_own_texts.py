"""Your own texts on the command line: from a file to a model in a folder, to another file's answers, and to a page."""

import csv
import inspect
import json
import os
import re
import sys
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pandas
import pytest
import torch
from transformers import BertConfig, BertModel

from helpers import training
from helpers.models import load_classifier, load_tokenizer, saved_facts
from helpers.track import QUICK
from tools import commands, own, own_page
from tools.ground import Problem

ROOT = Path(__file__).resolve().parent.parent
ANIMALS = "cat dog horse bird fish mouse lion wolf bear frog snake whale".split()  # one for each class


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a BERT so small that it learns a word's class in seconds."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(**sizes, initializer_range=0.2)).save_pretrained(folder)
    load_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own, "current_track", lambda: QUICK)


def rows_of(names, count, *, start=0):
    """Texts in which one word decides the class, and their classes."""
    places = [number % len(names) for number in range(start, start + count)]
    return [f"{ANIMALS[place]}, Nº {start + n}" for n, place in enumerate(places)], [names[p] for p in places]


def write(path, columns, **how):
    """Write columns ({name: values}) as CSV; returns the path."""
    pandas.DataFrame(columns).to_csv(path, **{"index": False, **how})
    return path


def finetune(file, out, tiny, **options):
    settings = {"epochs": 5, "learning_rate": 1e-2, "model": str(tiny), **options}
    own.main("finetune", {"file": str(file), "out": str(out), **settings})


@pytest.fixture(scope="module")
def model(tiny, tmp_path_factory):
    """A folder with a model for two classes, one of whose names needs care on a page."""
    folder = tmp_path_factory.mktemp("model")
    texts, labels = rows_of(["<b>no & yes", "ja"], 90)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "current_track", lambda: QUICK)
        finetune(
            write(folder / "my.csv", {"body": texts, "topic": labels}),
            folder / "a model",
            tiny,
            text="body",
            label="topic",
        )
    return folder / "a model"


EXCEL = {"sep": ";", "encoding": "cp1252", "index": True}  # with a column of numbers that has no name
FILES = {
    "three classes, as Excel writes them": (["sehr gut", "größer", "naïve, déjà vu"], 400, EXCEL),
    "twelve classes that are numbers": ([str(number) for number in range(1, 13)], 360, {}),
    "two classes, tabs": (["ja", "nein, danke"], 90, {"sep": "\t", "encoding": "utf-16"}),
}


ANSWER = "import sys, json; from tools import own; [own.main('classify', one) for one in json.loads(sys.argv[1])]"


def test_files_go_all_the_way_and_the_names_come_back_in_a_new_process(tiny, run, capsys):
    for file, (names, count, how) in FILES.items():
        texts, labels = rows_of(names, count)
        Path(file).mkdir()
        mine, folder = write(Path(file, "my.csv"), {"body": texts, "topic": labels}, **how), Path(file, "model")
        finetune(mine, folder, tiny, text="body", label="topic")
        said = capsys.readouterr().out
        assert f"{count} reviews of {len(names)} classes" in said and "takes about 380 texts" in said
        assert re.search(r"Right on (9\d|100)\.\d% of \d+ test texts", said), said
        assert ("Mean F1 over the classes: " if len(names) > 2 else "F1 of 'nein, danke': ") in said
        assert {path.name for path in Path(file).iterdir()} == {"my.csv", "model"}  # no checkpoints are left
        facts, page = saved_facts(folder), (folder / "report.html").read_text(encoding="utf-8")
        assert facts["text_column"] == "body" and facts["max_tokens"] == QUICK.max_tokens
        assert page.count("<img alt=") == 3 and "McNemar" in page and "<h1>Report on model</h1>" in page
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert "my.csv" in card and all(name in card for name in names)
        write(Path(file, "new.csv"), {"ID": range(48), "body": rows_of(names, 48, start=1000)[0]}, **how)

    asked = [{"folder": f"{file}/model", "file": f"{file}/new.csv", "out": f"{file}/answers.csv"} for file in FILES]
    done = run(
        [sys.executable, "-c", ANSWER, json.dumps(asked)], timeout=180, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    for file, (names, _, how) in FILES.items():
        texts, labels = rows_of(names, 48, start=1000)
        table = pandas.read_csv(Path(file, "answers.csv"), sep=how.get("sep", ","), dtype=str)
        assert list(table.columns)[-4:] == ["ID", "body", "label", "confidence"] and list(table["body"]) == texts
        assert list(table["label"]) == labels
        assert table["confidence"].astype(float).between(1 / len(names), 1).all()
        assert f"{file}/answers.csv: 48 texts" in done.stdout


def test_a_stopped_training_goes_on_to_the_same_model(tiny, monkeypatch, capsys):
    texts, labels = rows_of(["no", "ja"], 60)
    write("my.csv", {"text": texts, "label": labels})
    finetune("my.csv", "whole", tiny)
    real = training.train_for_an_epoch

    def stopped(run, *arguments):
        if len(run.history.seconds) == 2:
            raise KeyboardInterrupt
        real(run, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "train_for_an_epoch", stopped)
        finetune("my.csv", "model", tiny)
    assert not Path("model").exists()
    with pytest.raises(Problem, match="another epochs.*run the command as you did before to go on"):
        finetune("my.csv", "model", tiny, epochs=6)
    finetune("my.csv", "model", tiny)
    assert "Going on after step 12" in capsys.readouterr().out
    one, other = (load_classifier(folder).state_dict() for folder in ("whole", "model"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not Path("model.training").exists()


@pytest.mark.parametrize(("texts", "epochs"), [(9, 20), (280, 12), (1000, 4), (1067, 3), (25_000, 3)])
def test_few_texts_get_more_epochs(texts, epochs):
    assert own.epochs_for(texts, 16) == epochs


def test_the_best_weights_are_kept_where_that_is_asked_for(tiny, monkeypatch):
    losses = iter([0.5, 0.4, 0.6, 0.7, 0.1])
    monkeypatch.setattr(training, "loss_and_accuracy", lambda *_: (next(losses), 0.5))
    texts, labels = rows_of(["no", "ja"], 30)
    write("my.csv", {"text": texts, "label": labels})
    finetune("my.csv", "model", tiny, keep="best")
    assert list(losses) == [0.1]  # stopped after two epochs without a lower one
    assert saved_facts("model")["keep"] == "best"


def test_a_folder_is_not_deleted_for_what_else_is_in_it(tiny):
    texts, labels = rows_of(["no", "ja"], 30)
    Path("model.training").mkdir()
    Path("model.training/thesis.txt").write_text("mine", encoding="utf-8")
    finetune(write("my.csv", {"text": texts, "label": labels}), "model", tiny, epochs=1)
    assert [path.name for path in Path("model.training").iterdir()] == ["thesis.txt"]


def tree():
    return {path: path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


TWO = {"text": [f"film {n}" for n in range(8)], "label": ["a"] * 6 + ["b"] * 2}


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        (TWO, {"text": "body"}, "no columns are named 'body', among .*text.*label.*name yours with --text and --label"),
        (TWO | {"label": ["a"] * 8}, {}, "all labels are 'a'.*--text or --label"),
        (TWO, {}, "the class 'b' has fewer than 3 different texts"),
        (TWO | {"text": [" "] * 8}, {}, "the class 'a' has fewer than 3 different texts"),
        (TWO | {"label": ["a", "b"] * 4}, {"epochs": 0}, "epochs is 0"),
        (TWO | {"label": ["a", "b"] * 4}, {"learning_rate": 0.0}, "--learning-rate 0.0 can't train"),
        (TWO | {"label": ["a", "b"] * 4}, {"max_tokens": 999}, "use 512 or fewer"),
        (TWO | {"label": ["a", "b"] * 4}, {"out": "docs"}, "docs, because it holds thesis.txt"),
        (TWO | {"label": ["a", "b"] * 4}, {"out": "my.csv"}, "because it is a file"),
        (TWO | {"label": ["a", "b"] * 4}, {"model": "docs"}, "config.json is missing"),
        (TWO, {"file": "none.csv"}, "none.csv can't be read"),
    ],
)
def test_a_file_or_a_setting_that_cannot_train_is_one_sentence_and_leaves_nothing(columns, options, sentence, tiny):
    write("my.csv", columns)
    Path("docs").mkdir()
    Path("docs/thesis.txt").write_text("mine", encoding="utf-8")
    before = tree()
    with pytest.raises(Problem, match=f"(?s){sentence}") as problem:
        finetune(**{"file": "my.csv", "out": "model", "tiny": tiny, **options})
    assert "\n" not in str(problem.value) and tree() == before


def test_the_columns_are_named_whatever_stands_between_them(tiny):
    texts, labels = rows_of(["no", "ja"], 30)
    write("my.csv", {"body": texts, "größe": labels}, sep=";", encoding="cp1252")
    with pytest.raises(Problem, match=r"among .*'body', 'größe'"):
        finetune("my.csv", "model", tiny, text="body")


def test_a_finished_model_is_neither_replaced_nor_the_start_of_another(model, tiny):
    texts, labels = rows_of(["no", "ja"], 30)
    write("my.csv", {"text": texts, "label": labels})
    before = content = (model / "course.json").read_text()
    with pytest.raises(Problem, match="A finished model is in .*--out"):
        finetune("my.csv", model, tiny)
    with pytest.raises(Problem, match="trained for classes of its own"):
        finetune("my.csv", "model", model)
    assert (model / "course.json").read_text() == before == content and not Path("model").exists()


def classify(model, file="new.csv", out="answers.csv", **options):
    own.main("classify", {"folder": str(model), "file": file, "out": out, **options})


def read(path, **how):
    with open(path, newline="", **{"encoding": "utf-8", **how}) as file:
        return list(csv.reader(file))


def test_rows_stay_as_they_are_and_those_without_a_text_get_no_answer(model, monkeypatch, capsys):
    monkeypatch.setattr(own, "ROWS_AT_ONCE", 2)
    rows = [["", "body", "label"], ["7", 'cat,\n"Nº" 7', "é"], ["8", " ", ""]]
    rows += [["9", "dog, Nº 9"], ["10", "cat, Nº 10", "x"]]
    with open("new.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
        file.write("\n")  # an empty line is no row
    classify(model)
    header, *answers = read("answers.csv")
    assert header == ["", "body", "label", "label of the model", "confidence"]
    assert [row[:3] for row in answers] == [row + [""] * (3 - len(row)) for row in rows[1:]]
    assert [row[3] for row in answers] == ["<b>no & yes", "", "ja", "<b>no & yes"] and answers[1][4] == ""
    assert "left without an answer: 1" in capsys.readouterr().out
    classify(model, out="other.csv", text="label")
    assert [row[3] == "" for row in read("other.csv")] == [False, False, True, True, False]
    Path("new.csv").write_text('body\n"cat, dog"\n', encoding="utf-8")  # one column: nothing says what stands between
    classify(model, out="one.csv")
    assert Path("one.csv").read_text(encoding="utf-8").startswith("body,label,confidence")


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("body\ncat\n", {"out": "new.csv"}, "is the file that is to be classified"),
        ("body\ncat\n", {"out": "./new.csv"}, "is the file that is to be classified"),
        ("body\ncat\n", {"out": "mine.txt"}, "mine.txt is there already"),
        ("body\ncat\n", {"out": "."}, "is there already"),
        ("body\ncat\n", {"out": "kept.csv"}, "kept.csv.unfinished is there"),
        ("body\ncat\n", {"out": "nowhere/answers.csv"}, "nowhere.*can't be read or written"),
        ("body\ncat\n", {"file": "mine.txt"}, "mine.txt"),
        ("body\ncat\n", {"model": "nowhere"}, "No saved model is in nowhere"),
        ("review\ncat\n", {}, "no columns are named 'body', among .*review.*name yours with --text, and"),
        ("body,n\n" + "cat,1\n" * 600 + "a, b, c\n", {}, "row 602: 3 cells, not 2"),
        ("body,n\n" + "cat,1\n" * 600 + '"cat,1\n', {}, "close every double quote"),
        ("", {}, "0 bytes"),
    ],
)
def test_what_cannot_be_classified_is_one_sentence_and_nothing_half_written(content, options, sentence, model):
    Path("new.csv").write_text(content, encoding="utf-8")
    Path("mine.txt").write_text("mine", encoding="utf-8")
    Path("kept.csv.unfinished").write_text("mine", encoding="utf-8")
    before = tree()
    with pytest.raises(Problem, match=f"(?s){sentence}"):
        classify(**{"model": model, **options})
    assert tree() == before


# ------------------------------------------------------------------------------------------------------ the commands

COMMANDS = [
    "finetune my.csv --out m",
    "finetune my.csv --text a --label b --out m --model d --epochs 2 --learning-rate 0.5 --max-tokens 9 --keep best",
    "finetune my.csv --out m --seed 1",
    "classify m new.csv --out answers.csv",
    "classify m new.csv --text a --out answers.csv",
    "try m",
    "try m --port 8000 --no-browser",
]


@pytest.mark.parametrize("typed", COMMANDS)
def test_what_is_typed_arrives(typed, monkeypatch):
    handed = []
    monkeypatch.setattr(commands, "set_up", lambda pack: None)
    monkeypatch.setattr(commands, "hand_over", handed.append)
    commands.main(typed.split())
    name, options = handed[0][-2:]
    does = {"finetune": own.finetune, "classify": own.classify, "try": own_page.serve}[name]
    given = inspect.signature(does).bind(**json.loads(options)).arguments
    if name == "try":
        assert given.pop("browser") is ("--no-browser" not in typed)
    assert sorted(map(str, given.values())) == sorted(part for part in typed.split()[1:] if part[:2] != "--")


# --------------------------------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def address(model):
    with own_page.server(model) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{pages.server_port}"
        pages.shutdown()


def ask(address, path="/answer", body=b'{"text": "the cat"}', **headers):
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(address + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read().decode()


def test_the_page_answers_this_computer_alone_and_every_question_in_words(address):
    status, said = ask(address)
    assert (
        status == 200
        and said["label"] == "<b>no & yes"
        and sum(share for _, share in said["shares"]) == pytest.approx(1)
    )
    assert ask(address, Host="evil.example")[0] == 403  # a name of theirs that leads to this computer
    assert ask(address, body=None, path="/", Host="evil.example")[0] == 403
    assert ask(address, Content_Type="text/plain")[0] == 400  # what a page from elsewhere may send without asking
    assert ask(address, path="/other")[0] == 400 and ask(address, path="/etc/passwd", body=None)[0] == 404
    with suppress(urllib.error.URLError):  # it may hang up on a question without an end
        assert ask(address, body=b'{"text": "' + b"x" * 1_000_000 + b'"}')[0] == 400
    for body in (b"{", b'["text"]', b'{"text": 3}', b'{"text": " "}', b"\xff"):
        status, said = ask(address, body=body)
        assert status == 400 and "Traceback" not in said, body[:20]
    assert ask(address)[0] == 200


def test_in_a_browser_a_text_gets_its_class_and_its_words(address, browser):
    page = browser.new_page()
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    page.get_by_label("A text:").fill("the <i>cat</i> was here")
    page.get_by_role("button").click()
    page.locator("#label").wait_for()
    assert page.locator("#label").inner_text() == "<b>no & yes"
    assert page.locator("#words").inner_text() == "the <i>cat</i> was here"
    assert page.locator("#shares tr").count() == 2 and "%" in page.locator("#shares").inner_text()
    assert page.locator("#words span[style]").count() > 0
    page.get_by_label("A text:").fill("")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Type a text first.").wait_for()
    assert not faults and all(url.startswith((address, "data:")) for url in asked)
    page.close()
