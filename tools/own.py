"""Your own texts, without a notebook: train a model on a labelled file, and let it label another.

python -m tools.own COMMAND OPTIONS     OPTIONS is JSON; tools/commands.py has read and named them
"""

import csv
import html
import itertools
import json
import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import IPython.display
import matplotlib

matplotlib.use("Agg")  # pictures for a page, and no window

from helpers.batches import loader_for  # noqa: E402
from helpers.careful import own_data, saved_models  # noqa: E402
from helpers.careful.names import in_markdown  # noqa: E402
from helpers.careful.progress import progress_bar  # noqa: E402
from helpers.careful.resuming import list_checkpoints  # noqa: E402
from helpers.data import load_reviews  # noqa: E402
from helpers.models import classify as classify_texts  # noqa: E402
from helpers.models import load_classifier, load_tokenizer, open_classifier, save_classifier, saved_facts  # noqa: E402
from helpers.report import model_card, report  # noqa: E402
from helpers.track import current_track, set_seed  # noqa: E402
from helpers.training import EarlyStopping, train  # noqa: E402
from tools import own_page  # noqa: E402
from tools.ground import COMMAND, Problem, as_program  # noqa: E402

# How many steps a training has by default. Measured with 400 texts, of which 280 train (18 steps an epoch), on at least
# 1,000 texts that no training saw; right in percent, after 3 / 6 / 12 epochs:
#   foods (12 classes), seed 0: 66 / 84 / 91, seeds 1 and 2: 88 and 87 after 12. The best were the last in all of these
#   film sentences (2 classes), seed 1: 69 / 69 / 69, seed 2: 77 / 74 / 74, seed 0: 75 / 73 after 6 / 12. The weights of
#   the lowest validation loss (from epoch 2 or 3) had 69 / 69 / 69, 77 / 76 / 74 and 71 / 71
# Too few steps can cost a lot, too many cost minutes, and no way of choosing the weights wins in all seeds.
STEPS = 200
ROWS_AT_ONCE = 256  # of a file that is classified
# What the helpers advise to those who call them from a notebook, and how it is said on a command line.
IN_A_COMMAND = {
    "name yours with text=… and label=…": "name yours with --text and --label",
    "or name another column with text=… or label=…": "or name another column with --text or --label",
    "give `train` another checkpoint_dir, or delete that folder to begin again": (
        "run the command as you did before to go on, or delete that folder to begin again"
    ),
    "give `train` another checkpoint_dir": "name another folder with --out",
    "encode the reviews with max_tokens=": "train again with --max-tokens ",
    "Make the model anew and train it": "Delete the unfinished training, and train",
}
STYLE = """body { font: 16px/1.5 system-ui, sans-serif; color: #000; max-width: 60rem; margin: 2rem auto }
body { padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #999 }
.said { white-space: pre-wrap; overflow-wrap: anywhere } .shown { overflow-x: auto }"""


def finetune(
    file,
    out,
    *,
    text="text",
    label="label",
    model=None,
    epochs=None,
    learning_rate=None,
    max_tokens=None,
    keep="last",
    seed=0,
):
    """Train a model on a labelled file, measure it, and put it with its report and its card into the folder `out`.

    model          a folder with another BERT to start from
    max_tokens, learning_rate     None: those of the track
    epochs         None: what `epochs_for` chooses
    keep           the weights to keep: "last", or "best": those of the epoch with the lowest validation loss, and stop
                   when that has not fallen for two epochs. The last are the default: by what stands above at STEPS
                   neither is right more often, and a small validation split chooses by luck. "best" saves minutes
    """
    place, track = saved_models.place_for_a_model(out), current_track()
    if saved_facts(place) is not None:
        raise Problem(
            f"A finished model is in {out} already: name another folder with --out, or delete that one first."
        )
    if learning_rate is not None and not 0 < learning_rate < 1:
        raise Problem(f"--learning-rate {learning_rate} can't train: take a number between 0 and 1, 1e-4 say.")
    reviews = load_reviews(file, text=text, label=label, seed=seed)
    classes = reviews["train"].features["label"].names
    max_tokens = track.max_tokens if max_tokens is None else max_tokens
    learning_rate = track.learning_rate if learning_rate is None else learning_rate
    epochs = epochs_for(len(reviews["train"]), track.batch_size) if epochs is None else epochs
    sizes = ", ".join(f"{len(split):,} for {name}" for name, split in reviews.items())
    print(f"Texts: {sizes}. Settings: --epochs {epochs} --learning-rate {learning_rate:g}", end=" ")
    print(f"--max-tokens {max_tokens} --keep {keep} --seed {seed}.", flush=True)

    set_seed(seed)
    tokenizer, trained = load_tokenizer(model), load_classifier(new_head_for(model), num_labels=len(classes))
    loaders = {
        name: loader_for(
            *(reviews[name][column] for column in ("text", "label")),
            tokenizer,
            track,
            max_tokens=max_tokens,
            shuffle=name == "train",
            seed=seed,
        )
        for name in ("train", "validation")
    }
    unfinished = place.with_name(place.name + ".training")
    stopping = EarlyStopping(patience=2) if keep == "best" else None
    history = train(
        trained,
        *loaders.values(),
        epochs=epochs,
        learning_rate=learning_rate,
        early_stopping=stopping,
        checkpoint_dir=unfinished,
        seed=seed,
    )

    page = Page(f"Report on {place.name}")
    with page:
        history.plot()
        figures = report(trained, tokenizer, reviews, max_tokens=max_tokens, batch_size=track.batch_size)
    about = f"Made from {in_markdown(Path(file).name)}, column {in_markdown(text)}, by `start.py finetune`."
    settings = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": track.batch_size}
    settings |= {"keep": keep, "seed": seed}
    about += f" Settings: {', '.join(f'{name} {value}' for name, value in settings.items())}."
    facts = {"max_tokens": max_tokens, "file": Path(file).name, "text_column": text, "label_column": label, **settings}
    if figures["temperature_helped"]:
        facts["temperature"] = figures["temperature"]
    card = model_card(figures, title=in_markdown(place.name), about=about)
    pages = {"README.md": card, "report.html": page.html()}
    save_classifier(trained, tokenizer, place, class_names=classes, pages=pages, **facts)
    delete_checkpoints(unfinished)
    tell(figures, out)


def epochs_for(texts, batch_size):
    """Return how many epochs to train by default: as many as make STEPS steps, from 3 to 20. A model learns by steps,
    and few texts make few steps an epoch. (Notebook 03's training takes 190.)
    """
    steps_an_epoch = -(-texts // batch_size)  # rounded up
    return min(max(3, -(-STEPS // steps_an_epoch)), 20)


def new_head_for(model):
    """Return `model`, a folder or None, if a new head can be put on it."""
    if model is not None and saved_models.outputs_of(saved_models.bert_folder(model)) is not None:
        raise Problem(f"The model in {model} is trained for classes of its own already: name a BERT without a head.")
    return model


def delete_checkpoints(folder):
    """Delete what `train` has kept in `folder` to go on from, and the folder if nothing else is in it."""
    with suppress(OSError):
        for path in [*list_checkpoints(folder), folder / ".lock"]:
            path.unlink(missing_ok=True)
        folder.rmdir()


def tell(figures, out):
    """Say the result in a few lines, and what comes next."""
    scores = figures["scores"]
    print(
        f"\nRight on {scores['accuracy']:.1%} of {scores['reviews']:,} test texts that training never saw "
        f"(95% interval {scores['accuracy_low']:.1%} to {scores['accuracy_high']:.1%}); {figures['baseline']}: "
        f"{figures['baseline_accuracy']:.1%}; always the most frequent class: {figures['always_the_same']:.1%}."
    )
    classes = figures["classes"]
    whose = "Mean F1 over the classes" if len(classes) > 2 else f"F1 of {classes[1]!r}"  # as `evaluate` has it
    print(f"{whose}: {scores['f1']:.3f} ({scores['f1_low']:.3f} to {scores['f1_high']:.3f}).")
    print(f"In {out}: the model, its card README.md, and report.html with all figures (it quotes some of your texts).")
    print(f'Next: {COMMAND} try "{out}", or {COMMAND} classify "{out}" new.csv --out answers.csv')


class Page:
    """Within `with`, what is printed and displayed goes here instead of the screen, in order; `html` is the page."""

    def __init__(self, title):
        self.title, self.parts = title, []

    def __enter__(self):
        self.before = sys.stdout, IPython.display.display
        sys.stdout, IPython.display.display = self, self.display

    def __exit__(self, *_):
        sys.stdout, IPython.display.display = self.before

    def display(self, data, raw=True):
        self.parts.append(("shown", data["text/html"]))

    def write(self, text):
        if not self.parts or self.parts[-1][0] != "said":
            self.parts.append(("said", ""))
        self.parts[-1] = "said", self.parts[-1][1] + html.escape(text)

    def flush(self):
        pass

    def html(self):
        """Return the page: it needs no other file."""
        title = html.escape(self.title)
        head = f'<meta charset="utf-8"><link rel="icon" href="data:,"><title>{title}</title><style>{STYLE}</style>'
        body = [f'<div class="{kind}">{part}</div>' for kind, part in self.parts]
        lines = ["<!doctype html>", f'<html lang="en"><head>{head}</head>', f"<body><h1>{title}</h1>", *body]
        return "\n".join([*lines, "</body></html>", ""])


def classify(folder, file, out, *, text=None):
    """Write the rows of a .csv file to another one, with two more columns: label and confidence.

    text   the column to read; None: the one that the model was trained on

    Row by row, so its size doesn't matter; what is written has its name once it is whole.
    """
    if os.path.lexists(out):
        mine = os.path.exists(file) and os.path.exists(out) and os.path.samefile(file, out)
        what = "the file that is to be classified" if mine else "there already"
        raise Problem(f"{out} is {what}, and nothing is overwritten: name a new file with --out.")
    opened = open_classifier(folder)
    rows = own_data.rows_without_labels(file, text or opened.facts.get("text_column", "text"))
    header, how = next(rows)
    more = [f"{name} of the model" if name in header else name for name in ("label", "confidence")]
    counts, unfinished = Counter(), Path(f"{out}.unfinished")
    try:
        written = open(unfinished, "x", encoding=how["encoding"], newline="")  # "x": only where no such file is
    except FileExistsError:
        raise Problem(f"{unfinished} is there, perhaps of a run that was stopped: delete it, and try again.") from None
    try:
        with written, progress_bar(unit=" texts") as bar:
            table = csv.writer(written, delimiter=how["delimiter"])
            table.writerow(header + more)
            while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
                answers = classify_texts(opened, [text for _, text in some if text is not None])
                answers = iter(zip(answers["label"], answers["confidence"], strict=True))
                for cells, text in some:
                    label, confidence = ("", None) if text is None else next(answers)
                    counts[label] += 1
                    table.writerow([*cells, label, "" if text is None else f"{confidence:.4f}"])
                bar.update(len(some))
        os.replace(unfinished, out)
    finally:
        unfinished.unlink(missing_ok=True)
    empty = counts.pop("", 0)
    print(f"{out}: {counts.total():,} texts, columns {more[0]} and {more[1]}.")
    print("\n".join(f"{count:>9,}  {label}" for label, count in counts.most_common()))
    if empty:
        print(f"Rows without a text, left without an answer: {empty:,}.")


def main(command, options):
    """Do the command. What the helpers say to those who call them in a notebook is said for a command line."""
    commands = {"finetune": finetune, "classify": classify, "try": own_page.serve}
    try:
        commands[command](**options)
    except (ValueError, RuntimeError, OSError) as problem:
        if isinstance(problem, OSError) and problem.strerror:
            raise Problem(f"{problem.filename} can't be read or written ({problem.strerror}).") from problem
        sentence = str(problem)
        for said, here in IN_A_COMMAND.items():
            sentence = sentence.replace(said, here)
        if command == "classify":  # its rows have no labels
            sentence = sentence.replace("--text and --label", "--text")
        raise Problem(sentence) from problem


if __name__ == "__main__":
    as_program(main, sys.argv[1], json.loads(sys.argv[2]))
