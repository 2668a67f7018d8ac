"""helpers.models: the packaged BERT, its head, freezing; saving, which costs no file of anybody's; classifying."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pandas
import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModel, BertConfig, BertForSequenceClassification

from helpers.batches import encode, make_loader
from helpers.careful import attention, saved_models
from helpers.careful.influence import why
from helpers.models import (
    QuickDropout,
    classify,
    freeze,
    load_classifier,
    load_tokenizer,
    open_classifier,
    packaged_model,
    save_classifier,
    saved_facts,
)
from helpers.track import LAPTOP, Track, set_seed
from helpers.training import predict_logits

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


def a_bert(classes=2):
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8}
    return BertForSequenceClassification(BertConfig(num_labels=classes, **sizes))


@pytest.fixture
def tiny():
    return a_bert()


@pytest.mark.parametrize("amx", [False, True])
def test_attention_has_32_bits_inside_where_16_are_slow(monkeypatch, amx):
    """Wrong code: a mask that is lost, 16 bits in, inside or out where they shouldn't be, the way of Intel's AMX."""
    monkeypatch.setattr(attention, "has_amx", lambda: amx)
    torch.manual_seed(0)
    model = load_classifier()
    look = model.bert.encoder.layer[0].attention.self
    tokens, mask = torch.randn(2, 40, 384), torch.ones(2, 1, 1, 40, dtype=torch.bool)
    mask[1, ..., 25:] = False
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        seen = look(tokens, mask)[0]
        made = look.query(tokens), look.key(tokens), look.value(tokens)
    # What 16 bits have made of them, exactly.
    query, key, value = (numbers.unflatten(-1, (12, -1)).transpose(1, 2).double() for numbers in made)
    shares = (query @ key.transpose(-1, -2) / 32**0.5).masked_fill(~mask, -torch.inf).softmax(dim=-1)
    exact = (shares @ value).transpose(1, 2).flatten(2)
    assert seen.dtype == torch.bfloat16
    wrong = (seen != exact.bfloat16()).double().mean()
    assert wrong > 0.05 if amx else wrong < 0.01  # only the last step rounds, or others do too
    torch.testing.assert_close(seen.double(), exact, rtol=0.02, atol=0.02)
    with torch.no_grad():  # without 16 bits it is the library's
        ours = look(tokens, mask)[0]
        model.set_attn_implementation("sdpa")
        assert torch.equal(look(tokens, mask)[0], ours)


def test_the_classifier_is_the_packaged_bert_with_a_new_head():
    set_seed(0)
    first = load_classifier(num_labels=3)
    set_seed(1)
    second = load_classifier(num_labels=3)
    set_seed(0)
    assert torch.equal(first.classifier.weight, load_classifier(num_labels=3).classifier.weight)
    assert first.classifier.weight.shape == (3, 384)
    assert len(first.bert.encoder.layer) == 6
    assert not first.training
    same = {name: torch.equal(a, b) for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True)}
    assert not same["classifier.weight"]  # the head comes from torch's seed
    assert all(equal for name, equal in same.items() if not name.startswith("classifier"))  # the rest from the file


def test_without_pretraining_the_network_is_the_same_but_its_weights_are_random():
    set_seed(0)
    trained, random = load_classifier(), load_classifier(pretrained=False)
    assert [p.shape for p in trained.parameters()] == [p.shape for p in random.parameters()]
    weight = "bert.encoder.layer.3.output.dense.weight"
    assert not torch.allclose(trained.get_parameter(weight), random.get_parameter(weight), atol=1e-3)


@pytest.mark.parametrize("frozen, embeddings_train, first_training", [(0, True, 0), (1, False, 1), (3, False, 3)])
def test_freezing_stops_the_lowest_layers_and_the_embeddings(tiny, frozen, embeddings_train, first_training):
    freeze(tiny, 3)
    freeze(tiny, frozen)  # and frees what an earlier call froze
    assert all(p.requires_grad == embeddings_train for p in tiny.bert.embeddings.parameters())
    for number, layer in enumerate(tiny.bert.encoder.layer):
        assert all(p.requires_grad == (number >= first_training) for p in layer.parameters())
    assert all(p.requires_grad for p in tiny.classifier.parameters())


@pytest.mark.parametrize("wrong", [-1, 4])
def test_freezing_layers_that_do_not_exist_is_refused(tiny, wrong):
    with pytest.raises(ValueError, match="3 layers"):
        freeze(tiny, wrong)


def test_a_saved_classifier_comes_back_with_the_same_answers_and_facts(tiny, tokenizer, tmp_path):
    folder = save_classifier(tiny, tokenizer, tmp_path / "model", accuracy=0.5)
    again = load_classifier(folder)
    ids = torch.tensor([[2, 5, 3]])
    assert torch.equal(tiny.eval()(ids).logits, again(ids).logits)
    assert saved_facts(folder) == {"accuracy": 0.5}
    assert load_tokenizer(folder)("good film")["input_ids"] == tokenizer("good film")["input_ids"]
    assert {file.suffix for file in folder.iterdir()} <= {".safetensors", ".json", ".txt"}  # nothing pickled
    for title in ("# Één", "# Two"):  # pages travel with it, and a folder that holds them is a model of ours
        save_classifier(tiny, tokenizer, folder, pages={"README.md": title, "report.html": "<p>"})
        assert (folder / "README.md").read_text(encoding="utf-8") == title


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def full(tiny, tokenizer, tmp_path, monkeypatch):
    """A folder to work in, with much in it that is not to be replaced."""
    home, course = tmp_path / "home", tmp_path / "home" / "course"
    save_classifier(tiny, tokenizer, course / "ours", run=1)
    for copy in ("model_and_more", "model_and_link", "notes"):
        shutil.copytree(course / "ours", course / copy)
    files = ["docs/thesis.docx", "model_and_more/more/thesis.docx", "notes/notes.txt", "theirs/config.json", "file"]
    for name in [*files, "list/course.json", "drive/course.json"]:
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text("[1]")  # course.json: of some other course
    for link, leads_to in (("model_and_link/README.md", "file"), ("link", "ours"), ("dangling", "nowhere")):
        (course / link).symlink_to(course / leads_to)
    ismount = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "drive" or ismount(path))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(course)
    return tmp_path


@pytest.mark.parametrize(
    "place, reason",
    {
        "docs": "thesis.docx",
        "docs/": "thesis.docx",
        "model_and_more": "holds more",
        "model_and_link": "holds README.md",
        "notes": "holds notes.txt",
        "list": "not saved by save_classifier",
        "../course/theirs": "not saved by save_classifier",
        "file": "is a file",
        "link": "is a link",
        "link/": "is a link",
        "dangling": "is a link",
        "drive": "a whole drive",
        ".": "other things live in it",
        "..": "other things live in it",
        "ours/..": "other things live in it",
        "/": "other things live in it",
    }.items(),
)
def test_what_is_no_saved_model_is_never_replaced(full, tokenizer, place, reason):
    """Wrong code: any folder is replaced. "docs" deleted a thesis, ".." emptied the course."""
    before = content(full)
    with pytest.raises(ValueError, match=f"No model is saved to .*{reason}.*choose the name of a new folder"):
        save_classifier(a_bert(), tokenizer, place)
    assert content(full) == before


@pytest.mark.parametrize("place", ["ours", "ours/", "empty", "with_finder", "new/er/one", "../course/ours"])
def test_a_saved_model_an_empty_folder_or_nothing_is_replaced(full, tokenizer, place):
    for name in ("empty", "with_finder"):
        Path(name).mkdir()
    Path("with_finder/.DS_Store").write_text("of the Finder", encoding="utf-8")
    Path("ours/README.md").write_text("the model card of notebook 05", encoding="utf-8")
    save_classifier(a_bert(), tokenizer, place, run=2)
    assert saved_facts(place) == {"run": 2}
    assert not {"README.md", ".DS_Store"} & set(os.listdir(place))  # the card told of the model before
    load_classifier(place), load_tokenizer(place)
    assert not [path for path in full.rglob("*") if "-" in path.name]  # nothing is left beside it


def whole(folder):
    """Which of the versions that STOPPED writes is whole in a folder, or None."""
    texts = {(folder / name).read_text() for name in ("config.json", saved_models.FACTS) if (folder / name).is_file()}
    return json.loads(texts.pop())["version"] if len(texts) == 1 and len(os.listdir(folder)) == 2 else None


STOPPED = """
import os, signal, sys
from pathlib import Path
from helpers.careful import saved_models
from helpers.careful.influence import why

place, version, kill_at = Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3])
steps = 0

def count(event, arguments):
    global steps
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") and str(place) in str(arguments[0]):
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

def write(folder):
    for name in ("config.json", saved_models.FACTS):
        (folder / name).write_text('{"version": %s}' % version)

sys.addaudithook(count)
saved_models.replace(place, write)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("before", [True, False])
def test_a_kill_at_any_moment_leaves_a_whole_model_where_a_sentence_says(run, tmp_path, before):
    """Each run is killed before another of its steps on the disk, until one comes to its end."""
    told = 0
    for step in range(1, 100):
        place = tmp_path / str(step) / "model"
        place.parent.mkdir()

        def save(version, kill_at=0, place=place):
            return run([sys.executable, "-c", STOPPED, place, version, kill_at], cwd=ROOT)

        if before:
            assert save(1).returncode == 0
        killed = save(2, step)
        if place.exists():
            assert whole(place) in (1, 2)
        else:
            left = {path: whole(path) for path in place.parent.iterdir()}
            if any(left.values()):
                for ask in (saved_facts, load_classifier, load_tokenizer):
                    with pytest.raises(FileNotFoundError, match="saving was stopped.*rename that folder") as sentence:
                        ask(place)
                told += 1
                assert any(whole(path) == 2 and f"in {path}: rename" in str(sentence.value) for path in left)
            else:
                assert not before and saved_facts(place) is None
        if killed.returncode == 0:
            break
        after = save(3)  # and the next save is none the worse for it
        assert after.returncode == 0 and whole(place) == 3
        leftovers = sorted(path.name for path in place.parent.iterdir() if path != place)
        assert all(name in after.stdout for name in leftovers) and ("delete" in after.stdout) == bool(leftovers)
    assert step > 8 and whole(place) == 2 and os.listdir(place.parent) == ["model"]
    assert told >= 1


@pytest.mark.skipif(os.name == "nt", reason="processes at once that rename the same folder: tried on POSIX")
def test_two_processes_that_save_at_once_leave_no_half_model(tmp_path):
    code = (
        STOPPED.replace("saved_models.replace(place, write)", "")
        + """
for _ in range(60):
    try:
        saved_models.replace(place, write)
    except (OSError, ValueError) as problem:
        print(problem)
"""
    )
    place = tmp_path / "model"
    both = [subprocess.Popen([sys.executable, "-c", code, place, version, "0"], cwd=ROOT) for version in "12"]
    assert [process.wait(60) for process in both] == [0, 0]
    found = {path.name: whole(path) for path in tmp_path.iterdir()}
    assert found["model"] in (1, 2)
    assert all(found.values())  # what could not take the place is whole beside it


@pytest.mark.parametrize("failing", [{1}, {2}, {2, 3}])
def test_a_folder_that_cannot_be_moved_costs_no_model(tmp_path, tiny, tokenizer, monkeypatch, failing):
    """Wrong code: after a failed rename the new model is deleted, or the old one isn't put back."""
    folder = save_classifier(tiny, tokenizer, tmp_path / "model", run=1)
    rename, calls = os.rename, []

    def in_use(*paths):
        calls.append(paths)
        if len(calls) in failing:
            raise PermissionError(13, "The process cannot access the file because it is being used", *paths)
        rename(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", in_use)
        with pytest.raises(OSError, match="can't take the place of .*whole in ") as problem:
            save_classifier(tiny, tokenizer, folder, run=2)
    facts = {str(path): json.loads((path / "course.json").read_text())["run"] for path in tmp_path.iterdir()}
    assert sorted(facts.values()) == [1, 2]
    assert all(place in str(problem.value) for place in facts)
    assert failing == {2, 3} or facts[str(folder)] == 1


def test_an_old_model_that_cannot_be_deleted_is_told(tmp_path, tiny, tokenizer, monkeypatch, capsys):
    folder = save_classifier(tiny, tokenizer, tmp_path / "model", run=1)

    def in_use(path, **_):
        raise PermissionError(13, "in use")

    for run_number in (2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", in_use)
            save_classifier(tiny, tokenizer, folder, run=run_number)
        assert saved_facts(folder) == {"run": run_number}
        said = capsys.readouterr().out
        assert all(path.name in said for path in tmp_path.iterdir()) and len(os.listdir(tmp_path)) == run_number


@pytest.mark.parametrize(
    "problem, said",
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        ("a limit", "File too large"),
        (KeyboardInterrupt(), None),
    ],
)
def test_a_failed_save_leaves_the_earlier_model_whole(tiny, tokenizer, tmp_path, monkeypatch, problem, said):
    folder = save_classifier(tiny, tokenizer, tmp_path / "model", run=1)
    before = content(tmp_path)

    def disk_full(unfinished):
        assert not (unfinished / "course.json").exists()  # it says that all the rest is there
        raise problem

    if problem == "a limit":  # the system itself refuses to write, as it does when a disk is full
        resource = pytest.importorskip("resource")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    else:
        monkeypatch.setattr(tokenizer, "save_pretrained", disk_full)
    try:
        with pytest.raises(OSError if said else KeyboardInterrupt, match=said and f"{said}.*as it was"):
            save_classifier(tiny, tokenizer, folder, run=2)
    finally:
        if problem == "a limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(tmp_path) == before  # nothing half-written is left


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux alone says which files are mapped")
def test_weights_are_read_into_memory(tiny, tokenizer, tmp_path):
    """Wrong code: they stay mapped, so that Windows can't replace the file while a notebook holds the model."""
    model = load_classifier(save_classifier(tiny, tokenizer, tmp_path / "model"))
    packaged = load_classifier()
    assert ".safetensors" not in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert model.num_labels == packaged.num_labels == 2


def test_number_and_names_of_the_classes_come_from_the_folder(tokenizer, tmp_path):
    names = ["schlecht", "geht so", "größer 😀"]
    folder = save_classifier(a_bert(classes=3), tokenizer, tmp_path / "model", class_names=names, max_tokens=9)
    model = load_classifier(folder)
    assert model.config.id2label == dict(enumerate(names))
    assert model.config.label2id == {name: number for number, name in enumerate(names)}
    assert saved_facts(folder) == {"max_tokens": 9}
    again = save_classifier(load_classifier(folder, num_labels=3), tokenizer, tmp_path / "again")  # they stay
    assert load_classifier(again).config.id2label == dict(enumerate(names))
    assert load_classifier(again).config.architectures == ["BertForSequenceClassification"]  # not the course's own
    twelve = [f"class {number}" for number in range(12)]  # config.json has 10 before 2
    folder = save_classifier(a_bert(classes=12), tokenizer, tmp_path / "twelve", class_names=twelve)
    assert open_classifier(folder).class_names == twelve
    folder = tmp_path / "model"
    with pytest.raises(ValueError, match=r"has 3 classes, not 2: leave num_labels out.*load_classifier\(num_labels=2"):
        load_classifier(folder, num_labels=2)
    assert load_classifier(folder, num_labels=4, pretrained=False).num_labels == 4
    assert load_classifier(packaged_model(), num_labels=5).num_labels == 5  # no trained head: a new one

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["id2label"], config["label2id"]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_classifier(folder).num_labels == 3  # as many as the head has


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", " "], ["a", "b", "c"], "ab", [1, "1"]])
def test_class_names_must_fit(tiny, tokenizer, tmp_path, names):
    with pytest.raises(ValueError, match="2 different names"):
        save_classifier(tiny, tokenizer, tmp_path / "model", class_names=names)
    assert not os.listdir(tmp_path)


def test_the_track_is_handed_in():
    nowhere = Track(**{**vars(LAPTOP), "device": "meta"})
    assert load_classifier(track=nowhere).device.type == "meta"


TEXTS = ["a good film", "bad " * 300, "", "fine, I [SEP] guess", "bad " * 299 + "good"] * 9


@pytest.fixture
def saved(tokenizer, tmp_path):
    model, facts = a_bert(classes=3), {"max_tokens": 16, "temperature": 2.0}
    with torch.no_grad():
        model.classifier.weight.mul_(20)  # far from even
    return save_classifier(model, tokenizer, tmp_path / "m", class_names=["x", "y", "z"], **facts)


def test_classify_gives_each_text_its_class_and_confidence_in_order(saved, tokenizer):
    table = classify(saved, TEXTS)
    ids = encode(TEXTS, tokenizer, max_tokens=16)
    loader = make_loader(ids, [0] * len(TEXTS), tokenizer, batch_size=7, shuffle=False)
    logits = predict_logits(load_classifier(saved), loader) / 2
    shares = numpy.exp(logits) / numpy.exp(logits).sum(axis=1, keepdims=True)
    assert list(table.columns) == ["text", "label", "confidence"] and list(table["text"]) == TEXTS
    assert list(table["label"]) == ["xyz"[number] for number in shares.argmax(axis=1)]
    assert numpy.allclose(table["confidence"], shares.max(axis=1), atol=1e-5)
    assert table["confidence"][0] != table["confidence"][1]
    assert classify(saved, pandas.Series(TEXTS, index=range(50, 95))).equals(table)
    assert classify(saved, iter(TEXTS)).equals(table)

    opened = open_classifier(saved)  # once, for many questions
    shutil.rmtree(saved)
    assert classify(opened, TEXTS).equals(table) and opened.class_names == ["x", "y", "z"]
    assert numpy.allclose(opened.probabilities(TEXTS), shares, atol=1e-5)


def test_why_leaves_out_words_of_a_short_text_and_runs_of_words_of_a_long_one(saved):
    opened = open_classifier(saved)
    label, confidence, pieces, effects = why(opened, "a good  film")
    rest, whole = (opened.probabilities([text])[0] for text in ("a film", "a good film"))
    place = opened.class_names.index(label)
    assert confidence == whole[place] == whole.max() and pieces == ["a", "good", "film"]
    odds = [numpy.log(shares[place] / (1 - shares[place])) for shares in (whole, rest)]
    assert effects[1] == pytest.approx(odds[0] - odds[1], abs=1e-4)
    _, _, pieces, effects = why(opened, " ".join(map(str, range(125))))
    assert [piece.count(" ") for piece in pieces] == [2] * 41 + [1] and len(effects) == 42
    assert why(opened, "")[2:] == ([], [])


def test_classify_takes_no_text_at_all_but_not_one_text_a_table_or_a_gap(saved):
    nothing = classify(saved, [])
    assert nothing.shape == (0, 3) and nothing["confidence"].dtype == float
    with pytest.raises(ValueError, match=r"write \[text\] instead"):
        classify(saved, "a good film")
    with pytest.raises(ValueError, match="its column of texts"):
        classify(saved, pandas.DataFrame({"text": ["a good film"]}))
    with pytest.raises(ValueError, match="Number 1 of the texts is nan"):
        classify(saved, ["a good film", float("nan")])
    with pytest.raises(ValueError, match="no trained head"):
        classify(packaged_model(), ["a good film"])


# Folders that are not what they seem


def change(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **entries}), encoding="utf-8")


FOLDERS = {  # a file, its length or None for none at all, or changes of its JSON, and what is said
    "no config": ("config.json", None, "config.json is missing"),
    "half a config": ("config.json", 50, "config.json in .* is damaged"),
    "another type": ("config.json", {"model_type": "roberta"}, "'roberta', but the course loads BERT"),
    "no type": ("config.json", {"model_type": None}, "None, but the course loads BERT"),
    "no weights": ("model.safetensors", None, "model.safetensors is missing"),
    "half the weights": ("model.safetensors", 5000, "model.safetensors in .* is damaged"),
    "a layer more": ("config.json", {"num_hidden_layers": 4}, "lacks 16 of BERT's weights"),
    "no tokenizer": ("tokenizer_config.json", None, "can't be read.*copy the tokenizer files"),
    "no words": ("tokenizer.json", None, "(knows no words|can't be read).*copy the tokenizer files"),
    "half the words": ("tokenizer.json", 900, "can't be read.*copy the tokenizer files"),
    "another tokenizer": ("tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer"}, "is a RobertaTokenizer"),
}


@pytest.mark.parametrize("name, spoiled, said", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_without_a_whole_bert_and_its_tokenizer_is_refused(saved, name, spoiled, said):
    """Wrong code: the library fills what is missing with random weights, or with a tokenizer that knows no word."""
    (saved / "vocab.txt").unlink(missing_ok=True)  # by the version of transformers
    if isinstance(spoiled, dict):
        change(saved / name, **spoiled)
    elif spoiled is None:
        (saved / name).unlink()
    else:
        (saved / name).write_bytes((saved / name).read_bytes()[:spoiled])
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        classify(saved, ["a good film"])
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        load_tokenizer(saved) if "token" in name else load_classifier(saved)


def test_no_code_of_a_folder_is_run_and_no_pickle_opened(saved, tmp_path, monkeypatch):
    """Wrong code: Auto classes, which run what a folder's auto_map names after one y."""
    bomb = tmp_path / "exploded"
    (saved / "own_code.py").write_text(f"import pathlib\npathlib.Path({str(bomb)!r}).mkdir()\nclass Own: pass\n")
    own = {"AutoConfig": "own_code.Own", "AutoModelForSequenceClassification": "own_code.Own"}
    change(saved / "config.json", auto_map=own)
    change(saved / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own_code.Own", "own_code.Own"]})
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    assert list(classify(saved, ["good"])["label"]) and not bomb.exists()
    change(saved / "config.json", model_type="own")
    with pytest.raises(ValueError, match="'own', but the course loads BERT"):
        load_tokenizer(saved)

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(bomb),)

    change(saved / "config.json", model_type="bert")
    (saved / "model.safetensors").unlink()
    torch.save({"weight": Bomb()}, saved / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="model.safetensors is missing"):
        load_classifier(saved)
    assert not bomb.exists()


# QuickDropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quick_dropout_zeroes_the_right_share_and_scales_the_rest(rate, dtype):
    torch.manual_seed(0)
    numbers = torch.full((300, 7, 101), 2.0, dtype=dtype, requires_grad=True)
    dropped = QuickDropout(rate)(numbers)
    zeroed = dropped == 0
    n = numbers.numel()
    assert abs(zeroed.float().mean().item() - rate) < 5 * (rate * (1 - rate) / n) ** 0.5
    assert dropped.dtype == dtype
    kept = dropped[~zeroed].float()
    assert torch.allclose(kept, torch.tensor(2 / (1 - rate)), rtol=1e-2 if dtype == torch.bfloat16 else 1e-6)
    dropped.sum().backward()  # the gradient flows where the number stayed, scaled in the same way
    assert torch.equal(numbers.grad == 0, zeroed)


def test_quick_dropout_treats_neighbours_independently():
    """Wrong code: one decision for four places, or bits that two places share."""
    torch.manual_seed(0)
    zeroed = (QuickDropout(0.5)(torch.ones(400_000)) == 0).float()
    for distance in range(1, 9):
        both = (zeroed[distance:] * zeroed[:-distance]).mean().item()
        assert abs(both - 0.25) < 0.005, distance
    for place in range(4):  # each of the four places of a draw has the same rate
        assert abs(zeroed[place::4].mean().item() - 0.5) < 0.01


def test_quick_dropout_follows_the_seed_and_is_off_in_eval_mode():
    layer, ones = QuickDropout(0.3), torch.ones(1001)
    torch.manual_seed(5)
    first, second = layer(ones), layer(ones)
    torch.manual_seed(5)
    assert torch.equal(layer(ones), first) and not torch.equal(first, second)
    assert torch.equal(layer.eval()(ones), ones) and torch.equal(QuickDropout(0.0)(ones), ones)
    assert torch.equal(QuickDropout(1.0)(ones), torch.zeros(1001))


def test_a_classifier_has_quick_dropout_where_asked_and_never_on_attention():
    model = load_classifier(dropout=0.2)
    dropouts = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}
    assert all(type(module) is QuickDropout for module in dropouts.values())
    rates = {name: module.p for name, module in dropouts.items() if "attention.self" not in name}
    assert list(rates.values()) == [0.2] * (
        2 + 2 * len(model.bert.encoder.layer)
    )  # embeddings, head, two in each layer
    assert not any(layer.attention.self.dropout.p for layer in model.bert.encoder.layer)
    assert not any("dropout" in name for name in model.state_dict()) and load_classifier().dropout.p == 0.1


# The shortcut of the last layer


@pytest.mark.parametrize("texts, tokens", [(1, 3), (5, 40)])
def test_the_shortcut_gives_the_logits_and_gradients_of_the_whole_network(texts, tokens):
    model = load_classifier(num_labels=3)
    torch.manual_seed(0)
    mask = torch.ones(texts, tokens, dtype=torch.long)
    mask[-1, 2:] = 0
    batch = {"input_ids": torch.randint(1000, 2000, (texts, tokens)), "attention_mask": mask}

    def logits_and_gradients(forward):
        model.zero_grad()
        logits = forward(model, **batch).logits
        logits.square().sum().backward()
        return [logits, *(weight.grad.clone() for weight in model.parameters())]

    short = logits_and_gradients(type(model).forward)
    whole = logits_and_gradients(BertForSequenceClassification.forward)
    for a, b in zip(short, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_who_reads_all_tokens_gets_all_tokens():
    """With the shortcut there, mean pooling over one token would be silently wrong."""
    model = load_classifier()
    batch = {"input_ids": torch.randint(1000, 2000, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}
    plain = AutoModel.from_pretrained(packaged_model())
    with torch.no_grad():
        all_tokens = model.bert(**batch).last_hidden_state
        torch.testing.assert_close(all_tokens, plain(**batch).last_hidden_state)
        assert model(**batch, output_hidden_states=True).hidden_states[-1].shape == (2, 7, 384)
        assert model(**batch, labels=torch.tensor([0, 1])).loss > 0


def test_dropout_also_works_in_the_shortcut():
    model = load_classifier(dropout=0.5).train()
    batch = {"input_ids": torch.randint(1000, 2000, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}
    assert not torch.equal(model(**batch).logits, model(**batch).logits)
    assert torch.equal(model.eval()(**batch).logits, model(**batch).logits)
