"""Folders that hold a trained model: nothing of anybody else's is replaced, and at any moment one model is whole."""

import contextlib
import errno
import json
import os
import re
import shutil
import uuid
from pathlib import Path

from helpers.careful import hub

FACTS = "course.json"  # written last: a model is whole if it is there
FILES = {"config.json", "model.safetensors", FACTS, "README.md", "report.html"}  # README.md: notebook 05's model card
FILES |= {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"}
DESKTOP_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}  # file managers leave them everywhere


def replace(folder, write):
    """Let write(new) fill a new folder beside `folder`, then put it in the place of what is there.

    Raises ValueError if `folder` holds anything but a saved model, and OSError if the new one can't be written or
    moved there; then it says where the models are. A kill leaves each model whole, under its name or beside it.
    """
    place = place_for_a_model(folder)
    new, old = (place.with_name(f"{place.name}.{age}-{uuid.uuid4().hex[:8]}") for age in ("new", "old"))
    try:
        new.mkdir(parents=True)
        write(new)
    except BaseException as problem:
        shutil.rmtree(new, ignore_errors=True)
        if not isinstance(problem, Exception):  # the stop button
            raise
        # safetensors and tokenizers have exceptions of their own for what the disk says
        full = getattr(problem, "errno", None) == errno.ENOSPC or "os error 28" in str(problem).lower()
        reason = "the disk is full" if full else problem
        raise OSError(f"No model is saved to {folder} ({reason}). What was there before is as it was.") from problem
    try:
        if place.exists():
            os.rename(place, old)
        os.rename(new, place)
    except BaseException as problem:
        if old.exists() and not place.exists():
            with contextlib.suppress(OSError):
                os.rename(old, place)
        if not isinstance(problem, OSError):
            raise
        before = f" and the one before in {old}" if old.exists() else ""
        raise OSError(
            f"The new model can't take the place of {folder} ({problem.strerror}): it is whole in {new}{before}. "
            "Close the programs that use the folder, then rename the new one."
        ) from problem
    with contextlib.suppress(OSError):  # an old one that can't be deleted is told below
        for name in FILES | DESKTOP_FILES:
            (old / name).unlink(missing_ok=True)
        old.rmdir()
    left = ", ".join(path.name for path in _left_beside(place))
    if left:
        print(f"Saves that were stopped have left {left} beside {folder}: delete what you don't need.")


def tell_of_a_stopped_save(folder):
    """Raise FileNotFoundError if `folder` is gone, but a save that was stopped has left its model beside it."""
    if not folder.exists():
        for left in _left_beside(folder.resolve()):  # a new one comes before an old one
            if read_json(left / FACTS) is not None:
                raise FileNotFoundError(
                    f"No model is in {folder}, because saving was stopped at its last step. The model is whole in "
                    f"{left}: rename that folder to {folder.name}."
                )


def bert_folder(folder):
    """Return `folder` as a Path, after making sure that a model of BERT's type is in it."""
    folder = Path(folder)
    tell_of_a_stopped_save(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"No saved model is in {folder}: its config.json is missing. Check the folder's name.")
    config = read_json(folder / "config.json")
    if config is None:
        raise ValueError(f"The config.json in {folder} is damaged: save the model again.")
    kind = config.get("model_type")
    if kind != "bert":  # a folder can bring code of its own for other types
        raise ValueError(f"The model in {folder} is of the type {kind!r}, but the course loads BERT's type alone.")
    return folder


def outputs_of(folder):
    """Return how many outputs the trained head in `folder` has, or None where no head is saved."""
    import safetensors

    try:
        with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
            return file.get_slice("classifier.weight").get_shape()[0] if "classifier.weight" in file.keys() else None
    except OSError:
        raise FileNotFoundError(f"No saved model is in {folder}: its model.safetensors is missing.") from None
    except safetensors.SafetensorError as problem:
        raise ValueError(f"The model.safetensors in {folder} is damaged ({problem}): save the model again.") from None


def must_be_trained(folder):
    """Raise ValueError where the model in `folder` has no trained head."""
    if outputs_of(folder) is None:
        raise ValueError(f"The model in {folder} has no trained head, so it can't classify: train and save it first.")


def check_outputs(folder, trained, num_labels):
    """Raise ValueError where another number of classes is wanted than the trained head in `folder` has."""
    if num_labels is not None and trained not in (None, num_labels):
        raise ValueError(
            f"The model in {folder} has {trained} classes, not {num_labels}: leave num_labels out to use it, or "
            f"start anew with load_classifier(num_labels={num_labels})."
        )


def read_tokenizer(folder):
    """Return the tokenizer in `folder`. Raises ValueError, with the cure, where it is none of BERT's or damaged."""
    from transformers import BertTokenizer

    cure = "copy the tokenizer files of that model into it, or save the model again with save_classifier"
    try:
        name = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("tokenizer_class")
        tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as problem:  # whatever the libraries raise about a missing or damaged file
        raise ValueError(f"The tokenizer in {folder} can't be read ({problem}): {cure}.") from problem
    if name not in (None, "BertTokenizer", "BertTokenizerFast"):
        raise ValueError(f"The tokenizer in {folder} is a {name}, but the course reads BERT's alone: {cure}.")
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # every word would be [UNK]
        raise ValueError(f"The tokenizer in {folder} knows no words: {cure}.")
    return tokenizer


def read_weights(network, folder, config):
    """Return a `network` (a class of transformers) with the weights of `folder`. A missing head is new."""
    import torch

    model, found = network.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    lost = sorted(name for name in found["missing_keys"] if not name.startswith("classifier."))
    if lost:
        raise ValueError(f"The model.safetensors in {folder} lacks {len(lost)} of BERT's weights ({lost[0]} first).")
    for numbers in (*model.parameters(), *model.buffers()):
        numbers.data = numbers.data.clone()  # into memory: Windows can't replace a file that is mapped
    return model


def name_classes(model, class_names):
    """Give the outputs of the model their names."""
    names = [class_names] if isinstance(class_names, str) else [str(name).strip() for name in class_names]
    count = model.config.num_labels
    if len(names) != count or len(set(names)) != count or "" in names:
        raise ValueError(f"class_names is {class_names!r}, but this model needs {count} different names, one each.")
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: number for number, name in enumerate(names)}


def read_json(path):
    """Return the dict in a JSON file, or None where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def place_for_a_model(folder):
    """Return the whole path of `folder` if nothing is there, or an empty folder, or a saved model of the course."""
    place, here, reason = Path(folder).resolve(), Path.cwd(), None
    if Path(folder).is_symlink():
        reason = "it is a link, not a folder"
    elif place in (here, *here.parents, Path(os.path.expanduser("~"))):
        reason = "other things live in it"
    elif os.path.ismount(place):
        reason = "it is a whole drive"
    elif place.is_dir():
        names = {file.name for file in place.iterdir()} - DESKTOP_FILES
        plain = {file.name for file in place.iterdir() if file.is_file() and not file.is_symlink()}
        strangers = sorted(names - (FILES & plain))
        if strangers:
            reason = f"it holds {strangers[0]}, which is no part of a saved model"
        elif names and read_json(place / FACTS) is None:
            reason = "what it holds was not saved by save_classifier"
    elif place.exists():
        reason = "it is a file"
    if reason:
        raise ValueError(f"No model is saved to {folder}, because {reason}: choose the name of a new folder.")
    return place


def _left_beside(place):
    """Return the folders that saves to `place` were writing, or had moved away, when they were stopped."""
    pattern = re.compile(re.escape(place.name) + r"\.(new|old)-[0-9a-f]{8}")
    with contextlib.suppress(OSError):
        return sorted(path for path in place.parent.iterdir() if pattern.fullmatch(path.name))
    return []


def sentiment_recipe(track):
    """Return how notebook 03 trains its model: saved beside the model, so that notebook 05 knows it again."""
    names = ("imdb_train", "imdb_validation", "imdb_test", "max_tokens", "epochs", "learning_rate")
    recipe = {"track": track.name, **{name: getattr(track, name) for name in names}, "seed": 0}
    if track.use_hub:  # there it depends on the Hub which model is trained, and on which reviews
        recipe["bert_from_the_hub"] = hub.bert_from_the_hub() is not None
        recipe["imdb_from_the_hub"] = hub.imdb_from_the_hub() is not None
    return recipe
