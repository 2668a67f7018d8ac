"""The example file of notebook 06, and cells of it that no other test runs."""

import contextlib
import csv
import hashlib
import io
import re
from pathlib import Path

import numpy
import pytest
import torch
from training_to_kill import loader, tiny_bert

from helpers.batches import pad
from helpers.careful import foods
from helpers.exercises import nb06
from helpers.metrics import class_scores, confusion_matrix
from helpers.track import QUICK, set_seed
from helpers.training import loss_of, train
from tools import notebooks as tools

ROOT = Path(__file__).parent.parent
NOTEBOOK = tools.read(ROOT / "notebooks" / "06_your_own_texts.ipynb")
CELLS = {cell.id.removeprefix("nb06-"): cell.source for cell in NOTEBOOK.cells}


def run(*cells, **names):
    """Run cells of notebook 06 with these names defined. Returns all names after them."""
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            exec(CELLS[cell], names)
    return names


def test_the_foods_are_those_that_readme_speaks_of():
    with open(foods.foods_file(), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["text"] for row in rows}) == 2443
    sizes = numpy.unique([row["label"] for row in rows], return_counts=True)[1]
    assert len(sizes) == 12 and sizes.min() == 60 and sizes.max() == 432
    assert foods.SHA256 in (ROOT / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(foods.FOODS.read_bytes()).hexdigest() == foods.SHA256


def test_other_foods_are_refused_and_other_line_ends_are_not(monkeypatch, tmp_path):
    copied = tmp_path / "foods.csv"
    monkeypatch.setattr(foods, "FOODS", copied)
    with pytest.raises(RuntimeError, match="missing: fetch the course"):
        foods.foods_file()
    text = (ROOT / "notebooks" / "foods.csv").read_text(encoding="utf-8")
    copied.write_bytes(text.replace("\n", "\r\n").encode())
    assert foods.foods_file() == copied
    copied.write_text(text.replace("beef", "veal", 1), encoding="utf-8")
    with pytest.raises(RuntimeError, match="changed"):
        foods.foods_file()


def test_the_line_to_change_is_one_line():
    # Would catch a second cell that speaks of the foods' file, and so fails or lies with a file of one's own.
    named = {name: source for name, source in CELLS.items() if "foods" in source and "def " not in source}
    code = {cell.id.removeprefix("nb06-") for cell in NOTEBOOK.cells if cell.cell_type == "code"}
    assert [line for line in CELLS["003"].splitlines() if line.startswith("SOURCE =")]
    for name in code & set(named) - {"003"}:
        lines = [line for line in CELLS[name].splitlines() if "foods" in line]
        assert all("if track.claims and SOURCE == foods_file()" in line for line in lines), name


def test_the_loop_by_hand_does_what_train_does():
    # Would catch another schedule, a step before the clipping, and a mode left behind.
    fit = run("024")["fit"]
    by_hand, by_train, loads = tiny_bert(), tiny_bert(), (loader(22), loader(22))
    seen = []
    set_seed(5)
    batches = [batch for _ in range(3) for batch in loads[0]]
    fit(by_hand, batches, loss_of, rate=1e-3, look_every=len(loads[0]), look=lambda model: seen.append(1))
    train(by_train, loads[1], epochs=3, learning_rate=1e-3, seed=5, progress=False)
    pairs = zip(by_hand.state_dict().values(), by_train.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert len(seen) == 3 and not by_hand.training


def test_weights_of_one_are_no_weights_and_rare_classes_count_more():
    names = {"trial": {"label": [0] * 9 + [1]}, "classes": ["a", "b"], "numpy": numpy, "torch": torch, "track": QUICK}
    names["trial"] = type("Part", (dict,), {"__len__": lambda self: 10})(names["trial"])
    cells = run("026", **names)
    assert cells["settings"]["class weights"] == pytest.approx(nb06.class_weights.answer([0] * 9 + [1], 2))
    (batch, *_), model = loader(22, shuffle=False), tiny_bert().eval()
    plain = loss_of(model, batch)
    assert cells["loss_with"](numpy.ones(2))(model, batch).item() == pytest.approx(plain.item())
    assert cells["loss_with"](numpy.array([1, 9]))(model, batch).item() != pytest.approx(plain.item(), rel=1e-4)


def test_the_difference_in_macro_f1_is_paired_and_has_its_sign():
    random = numpy.random.default_rng(1)
    truth = random.integers(3, size=300)
    wrong = (truth + 1) % 3
    ours, theirs = numpy.where(random.random((2, 300)) < [[0.9], [0.6]], truth, wrong)
    names = dict(numpy=numpy, truth=truth, macro_f1=lambda said, truth: macro_f1(said, truth, 3))
    difference = run("029", **names)["difference_in_macro_f1"]
    gain, low, high = difference(ours, theirs)
    assert low < gain < high and low > 0.2 and difference(theirs, ours)[0] == -gain
    assert difference(ours, ours) == (0, 0, 0)  # unpaired, it would have a width


def macro_f1(said, truth, classes):
    return class_scores(confusion_matrix(truth, said, classes=classes))[2].mean()


def test_macro_f1_is_the_mean_over_the_classes_also_where_there_are_two():
    # Would catch the F1 of class 1, which `evaluate` gives by itself for two classes.
    random, function = numpy.random.default_rng(0), CELLS["014"].split("word_counts =")[0]
    for classes in (2, 4):
        names = {"numpy": numpy, "classes": range(classes)}
        exec(function, names)
        truth, said = random.integers(classes, size=(2, 50))
        assert names["scores_of"](said, truth)["f1"] == pytest.approx(macro_f1(said, truth, classes))


def test_macro_f1_of_the_exercise_is_that_of_the_notebook():
    random = numpy.random.default_rng(0)
    truth, said = random.integers(4, size=(2, 50))
    assert nb06.macro_f1.answer(list(truth), list(said), 4) == pytest.approx(macro_f1(said, truth, 4))


def test_pairs_are_half_of_one_class_and_no_text_meets_itself(monkeypatch):
    labels = [0] * 5 + [1] * 3 + [2] * 2
    part = {"text": [str(place) for place in range(10)], "label": labels}
    tokenizer = type("Tokenizer", (), {"pad_token_id": 0})
    import helpers.batches

    monkeypatch.setattr(helpers.batches, "encode", lambda texts, *_, **__: [[1, 100 + int(text), 2] for text in texts])
    make = run("033", numpy=numpy, tokenizer=tokenizer, max_tokens=8)["pair_batches"]
    for batch in make(part, 20, seed=0, pairs=6):
        left, right = (ids[:, 1] - 100 for ids in batch["input_ids"].chunk(2))
        same, again = batch["labels"].chunk(2)
        assert (left != right).all() and same.tolist() == again.tolist() == [0, 1] * 3
        assert [int(labels[a] == labels[b]) for a, b in zip(left, right, strict=True)] == same.tolist()
    alone = make({"text": ["0", "1"], "label": [0, 1]}, 1, seed=0, pairs=4)  # a class with one text
    assert len(alone) == 1


def test_the_pair_loss_asks_for_1_and_0_and_padding_does_not_count():
    cells = run("031", torch=torch)
    rows = [[1, 7, 8, 2], [1, 9, 2], [1, 7, 8, 2], [1, 9, 2]]
    model = tiny_bert().eval()

    def loss(same, extra=0):
        reviews = [{"input_ids": row, "label": same, "index": 0} for row in rows]
        batch = pad(reviews, 0)
        for name in ("input_ids", "attention_mask"):
            batch[name] = torch.nn.functional.pad(batch[name], (0, extra))
        return cells["pair_loss"](model, batch).item()

    assert loss(1) == pytest.approx(0, abs=1e-6) and loss(0) == pytest.approx(1, abs=1e-6)  # each text with itself
    assert loss(0, extra=5) == pytest.approx(loss(0), abs=1e-6)


def test_pairs_and_their_loss_are_those_of_the_setfit_library(monkeypatch):
    # setfit is no part of the course (it brings eight packages more); where it is installed, this compares with it.
    # Run with setfit 1.2.0. It also pairs each text with itself, which the notebook says and leaves out.
    sampler, losses = pytest.importorskip("setfit.sampler"), pytest.importorskip("sentence_transformers.losses")
    names, labels = [str(place) for place in range(12)], [0] * 5 + [1] * 4 + [2] * 3
    theirs = sampler.ContrastiveDataset(names, labels, multilabel=False)
    pairs = [(int(pair["sentence_1"]), int(pair["sentence_2"]), int(pair["label"])) for pair in theirs]
    assert len(pairs) == len(theirs) == 94  # 47 of two classes, and those of one class repeated until they are 47
    with_itself = {pair for pair in pairs if pair[0] == pair[1]}
    assert len(with_itself) == 12

    import helpers.batches

    monkeypatch.setattr(helpers.batches, "encode", lambda texts, *_, **__: [[1, 100 + int(text), 2] for text in texts])
    tokenizer = type("Tokenizer", (), {"pad_token_id": 0})
    make = run("033", numpy=numpy, tokenizer=tokenizer, max_tokens=8)["pair_batches"]
    (batch,) = make({"text": names, "label": labels}, 1, seed=0, pairs=len(pairs))
    assert batch["labels"].chunk(2)[0].sum() == sum(same for *_, same in pairs) == 47
    kinds = []
    for batch in make({"text": names, "label": labels}, 40, seed=0, pairs=len(pairs)):
        left, right = (batch["input_ids"][:, 1] - 100).chunk(2)
        kinds += zip(left.tolist(), right.tolist(), batch["labels"].chunk(2)[0].tolist(), strict=True)
    ours, theirs = ({(min(a, b), max(a, b), same) for a, b, same in some} for some in (kinds, pairs))
    assert ours == theirs - with_itself and len(ours) == 66  # all that there are

    cells = run("031", torch=torch)
    model = tiny_bert().eval()
    rows = [[1, 7, 8, 2], [1, 9, 2], [1, 3, 4, 5, 2], [1, 6, 8, 2]]
    batch = pad([{"input_ids": row, "label": i % 2, "index": i} for i, row in enumerate(rows)], 0)
    left, right = cells["vectors_of"](model, batch).chunk(2)
    target = batch["labels"].chunk(2)[0].float()
    their_loss = losses.CosineSimilarityLoss(torch.nn.Identity()).compute_loss_from_embeddings
    assert cells["pair_loss"](model, batch).item() == pytest.approx(
        their_loss([3 * left, right], target).item(), abs=1e-6
    )


def test_doubtful_labels_by_hand_are_those_of_the_exercise():
    doubtful = run("039", numpy=numpy)["doubtful"]
    random = numpy.random.default_rng(0)
    for _ in range(20):
        labels = numpy.r_[0, 1, 2, random.integers(3, size=40)]
        probabilities = random.dirichlet(numpy.ones(3), size=43)
        found = doubtful(labels, probabilities)
        assert sorted(found) == nb06.doubtful.answer(labels.tolist(), probabilities.tolist())
    own = probabilities[numpy.arange(43), labels]
    margins = (probabilities.max(axis=1) - own)[found]
    assert (numpy.diff(margins) <= 0).all() and len(found) > 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_file_that_the_course_never_saw_goes_all_the_way(tmp_path):
    """Semicolons, Windows-1252, an unnamed index column, 400 rows, three classes whose names hold accents."""
    import nbformat
    from nbclient import NotebookClient

    random = numpy.random.default_rng(0)
    words = {"Küche & Bad": "Tisch Löffel Herd", "Büro": "Stift Papier Akte", "Straße nach Süden": "Auto Weg Brücke"}
    rows = [";text;label"]
    for number in range(400):
        label = list(words)[number % 10 % 3]
        text = " ".join(random.permutation([*words[label].split(), *"der die das und aber nur".split(), str(number)]))
        rows.append(f"{number};{text};{label}")
    mine = tmp_path / "mine.csv"
    mine.write_bytes("\r\n".join(rows).encode("cp1252"))
    changed = nbformat.from_dict(NOTEBOOK)
    for cell in changed.cells:
        if cell.id == "nb06-003":
            cell.source = re.sub(r"SOURCE = .*", f"SOURCE = {str(mine)!r}", cell.source)
    NotebookClient(changed, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    shown = "".join(str(cell.get("outputs", "")) for cell in changed.cells)
    assert "Straße nach Süden" in shown and "read as Windows-1252" in shown
    assert tools.figures_of(changed)["classes"] == 3
