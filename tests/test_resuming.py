"""Stopped runs go on to the same result to the bit; broken files are refused; no room and no rights stop nothing."""

import contextlib
import hashlib
import itertools
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import time
import warnings
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from training_to_kill import fingerprint, loader, stop_at, tiny_bert, train_and_tell, train_tiny
from transformers import BertConfig

from helpers import training
from helpers.careful import resuming
from helpers.careful.resuming import list_checkpoints, load_checkpoint
from helpers.training import EarlyStopping

STEPS_AN_EPOCH = 6
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny matrices are slower on many threads, and other tests share the processor."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def uninterrupted(one_thread):
    return fingerprint(*train_tiny())


@pytest.fixture
def save_each_step(monkeypatch):
    monkeypatch.setattr(resuming, "SAVE_EVERY_SECONDS", 0)
    monkeypatch.setattr(resuming, "BYTES_A_SECOND", float("inf"))


# Killed processes


@pytest.fixture(scope="module")
def runs():
    """Train in a new process, forked from one that has imported torch and done nothing with it."""
    if not hasattr(os, "fork"):
        pytest.skip("this system can't fork a process")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training_to_kill"])

    def run(folder, *, kill_after=None, die=None):
        """Return the result of the training, or None where it was killed."""
        result = folder.with_name(folder.name + ".json")
        result.unlink(missing_ok=True)
        process = context.Process(target=train_and_tell, args=(folder, result, die))
        process.start()
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), "the training failed of itself"
        return json.loads(result.read_text()) if process.exitcode == 0 else None

    with pytest.MonkeyPatch.context() as patch:  # where the new processes find this folder's modules
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        yield run


def as_json(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(runs, tmp_path, uninterrupted, kills):
    """Each kill hits a process that writes a checkpoint after each step; then the same call goes on."""
    assert runs(tmp_path / "warms up") == as_json(uninterrupted)
    started = time.perf_counter()
    assert runs(tmp_path / "never killed") == as_json(uninterrupted)
    whole = time.perf_counter() - started
    random_times = random.Random(kills)
    hits = 0
    for attempt in itertools.count():
        folder = tmp_path / f"killed {attempt}"
        result = runs(folder, kill_after=random_times.uniform(0, whole))
        hits += result is None
        assert runs(folder) == as_json(uninterrupted)
        if hits == kills:
            break


@pytest.mark.parametrize(("call", "count"), [*itertools.product(["write", "fsync", "rename", "unlink"], [1, 9])])
def test_killed_while_writing(runs, tmp_path, uninterrupted, call, count):
    """In the middle of the file, before it is on the disk, before it has its name, before older ones are deleted."""
    folder = tmp_path / "run"
    assert runs(folder, die=[call, count]) is None
    if call != "unlink":  # before that, an old file is emptied
        assert all(map(load_checkpoint, list_checkpoints(folder)))  # what has a checkpoint's name is whole
    assert (call, count) == ("unlink", 9) or len(list_checkpoints(folder)) >= min(count - 1, 2)
    assert runs(folder) == as_json(uninterrupted)
    assert len(list_checkpoints(folder)) in (2, 3)
    assert {*folder.iterdir()} == {*list_checkpoints(folder), folder / ".lock"}  # what was half-written takes no room


# Stopped inside one process


def stop_button():
    signal.raise_signal(signal.SIGINT)


def raise_interrupt():
    raise KeyboardInterrupt


def stopped_at(passes, action=stop_button, *, model=None, folder=None, **settings):
    """Train, and stop in the middle of a forward pass. Returns the model."""
    model = model or tiny_bert()
    hook = stop_at(model, passes, action)
    with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
        train_tiny(folder, model=model, **settings)
    hook.remove()
    return model


@pytest.mark.parametrize("passes", [1, 4, 6, 9])
def test_the_stop_button_waits_for_the_end_of_the_step(tmp_path, capsys, uninterrupted, passes):
    usual = signal.getsignal(signal.SIGINT)
    model = stopped_at(passes, folder=tmp_path)
    steps = passes if passes <= STEPS_AN_EPOCH else passes - 3  # between the epochs are three batches of validation
    assert f"Stopped after step {steps}. The model is as that step left it." in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is usual
    assert not model.training and all(p.grad is None for p in model.parameters())
    saved = load_checkpoint(list_checkpoints(tmp_path)[-1])
    assert all(torch.equal(saved["model"][name], tensor) for name, tensor in model.state_dict().items())
    assert saved["history"]["step_loss"] == uninterrupted[1]["step_loss"][:steps]
    assert fingerprint(*train_tiny(tmp_path, model=model)) == uninterrupted  # the cell again, in the same kernel


@pytest.mark.parametrize("passes", [1, 4, 12])
@pytest.mark.parametrize("stop", [raise_interrupt, lambda: 1 / 0])
def test_an_error_in_the_middle_of_a_step(tmp_path, uninterrupted, passes, stop):
    """Dropout of the broken step has been drawn."""
    stopped_at(passes, stop, folder=tmp_path)
    assert fingerprint(*train_tiny(tmp_path)) == uninterrupted


def test_gradients_of_a_broken_step_are_not_added_to_the_next(tmp_path, uninterrupted):
    model = tiny_bert()
    hook = model.bert.encoder.layer[0].output.dense.weight.register_hook(lambda gradient: raise_interrupt())
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path, model=model)
    hook.remove()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert fingerprint(*train_tiny(tmp_path, model=model)) == uninterrupted


@pytest.mark.parametrize("stop", [stop_button, raise_interrupt])
def test_the_stop_button_acts_at_once_in_validation(tmp_path, capsys, uninterrupted, stop):
    model = stopped_at(STEPS_AN_EPOCH + 2, stop, folder=tmp_path)  # the second of three batches
    assert "Stopped after step 6." in capsys.readouterr().out
    saved = load_checkpoint(list_checkpoints(tmp_path)[-1])
    assert saved["history"]["train_loss"] == saved["history"]["validation_loss"] == []
    assert fingerprint(*train_tiny(tmp_path, model=model)) == uninterrupted


def test_the_stop_button_without_a_folder(capsys):
    assert not stopped_at(3).training
    assert "Stopped after step 3. The model is as that step left it. With a checkpoint_dir" in capsys.readouterr().out


NOTEBOOK = """
import sys, time
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from training_to_kill import *

def slow():
    print("go", flush=True)
    time.sleep(3)

model = tiny_bert()
stop_at(model, 4, slow)
"""


@pytest.mark.slow
def test_the_stop_button_of_a_notebook(tmp_path):
    """A real kernel: interrupted while it trains, then the same cell runs again."""
    jupyter_client = pytest.importorskip("jupyter_client")
    manager, client = jupyter_client.manager.start_new_kernel(kernel_name="python3")

    def run(code):
        texts = []

        def collect(message):
            texts.append(message["content"].get("text") or message["content"].get("ename") or "")
            if texts[-1].startswith("go"):
                manager.interrupt_kernel()

        client.execute_interactive(code, output_hook=collect, timeout=120)
        return "".join(texts)

    try:
        run(NOTEBOOK.format(root=str(ROOT)))
        cell = f"result = fingerprint(*train_tiny({str(tmp_path)!r}, model=model))"
        text = run(cell)
        assert "Stopped after step 4." in text and "KeyboardInterrupt" in text
        assert "Going on after step 4" in run(cell)
        assert run("print(result == fingerprint(*train_tiny()))") == "True\n"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_an_object_of_ones_own_that_stops_early_goes_on_too(tmp_path):
    class Patient:  # the names are the learner's
        def __init__(self):
            self.losses, self.kept = [], None

        def update(self, loss, model):
            self.losses.append(loss)
            if loss == min(self.losses):
                self.kept = model.state_dict()  # not even copied
            return len(self.losses) == 3

        def restore(self, model):
            pass

    expected = train_tiny(stopping=Patient())
    stopped_at(STEPS_AN_EPOCH + 3 + 2, raise_interrupt, folder=tmp_path, stopping=Patient())
    model, patient, history = train_tiny(tmp_path, stopping=Patient())
    assert patient.losses == expected[1].losses and history.step_loss == expected[2].step_loss


def test_a_finished_training_is_loaded_and_not_repeated(tmp_path, uninterrupted):
    train_tiny(tmp_path)
    model = tiny_bert()
    stop_at(model, 1, raise_interrupt)
    assert fingerprint(*train_tiny(tmp_path, model=model)) == uninterrupted


def test_seconds_of_an_epoch_include_those_before_the_stop(tmp_path):
    model = tiny_bert()
    stop_at(model, 3, lambda: time.sleep(0.3))
    stopped_at(4, folder=tmp_path, model=model)
    time.sleep(0.5)
    assert 0.3 < train_tiny(tmp_path)[2].seconds[0]


def test_large_checkpoints_are_written_more_seldom(tmp_path, save_each_step, monkeypatch):
    """BERT-base's every three minutes, on a Google Drive, would be 9 GB in a training of 20 minutes."""
    monkeypatch.setattr(resuming, "BYTES_A_SECOND", 1)
    train_tiny(tmp_path, epochs=1)
    numbers = [int(path.name.split("-")[1]) for path in list_checkpoints(tmp_path)]
    assert max(numbers) == 2  # after the first step, which told how large it is, and at the end of the epoch


def test_the_last_two_and_the_best_are_kept_and_nothing_of_others_goes(tmp_path, save_each_step):
    (tmp_path / "unfinished").mkdir()
    theirs = {tmp_path / name: "years" for name in ("unfinished/thesis.txt", "saved-notes.txt")}
    for path, text in theirs.items():
        path.write_text(text)
    best_weights = train_tiny(tmp_path)[0].state_dict()  # early stopping has put them back
    oldest, *_, newest = paths = list_checkpoints(tmp_path)
    assert [("-best-" in path.name) for path in paths] == [True, False, False]
    assert {*tmp_path.iterdir()} == {*paths, tmp_path / ".lock", tmp_path / "unfinished", tmp_path / "saved-notes.txt"}
    assert {path: path.read_text() for path in theirs} == theirs
    assert all(torch.equal(tensor, best_weights[name]) for name, tensor in load_checkpoint(oldest)["model"].items())
    losses = load_checkpoint(newest)["history"]["validation_loss"]
    assert load_checkpoint(oldest)["history"]["validation_loss"][-1] == min(losses) != losses[-1]


def test_a_deleted_checkpoint_takes_no_room_in_a_trash(tmp_path, save_each_step):
    """Google Drive keeps what is deleted, and counts it. Here a second name keeps it."""

    def also_in_the_trash(history, model):
        if len(history.seconds) == 1:
            os.link(list_checkpoints(tmp_path)[-1], tmp_path / "trash")

    train_tiny(tmp_path, epochs=2, on_epoch=also_in_the_trash)
    assert (tmp_path / "trash").stat().st_nlink == 1 and (tmp_path / "trash").stat().st_size == 0


# Files


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, one_thread):
    """A folder with two checkpoints, after steps 6 and 8."""
    folder = tmp_path_factory.mktemp("stopped")
    stopped_at(STEPS_AN_EPOCH + 3 + 2, folder=folder)
    return folder


@pytest.fixture
def copy(stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("left", [0, 1000, -1])
@pytest.mark.parametrize("damaged", [1, 2])
def test_a_file_cut_short_is_refused_and_the_one_before_it_used(copy, capsys, uninterrupted, left, damaged):
    for path in list_checkpoints(copy)[-damaged:]:
        os.truncate(path, left % path.stat().st_size)
    assert fingerprint(*train_tiny(copy)) == uninterrupted
    printed = capsys.readouterr().out
    assert printed.count("is refused") == damaged and ("Going on after step 6" in printed) == (damaged == 1)


def test_one_altered_byte_anywhere_is_noticed(stopped, tmp_path):
    content = list_checkpoints(stopped)[-1].read_bytes()
    places = [0, 7, 8, 9, 200, len(content) - 1, *random.Random(0).sample(range(len(content)), 60)]
    path = tmp_path / list_checkpoints(stopped)[-1].name
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1 << (place % 8)
        path.write_bytes(altered)
        with pytest.raises(ValueError, match="cut short or altered"):
            load_checkpoint(path)


def with_frozen_embeddings():
    model = tiny_bert()
    model.bert.embeddings.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epochs": 7}, "epochs"),
        ({"learning_rate": 1e-4}, "learning_rate"),
        ({"seed": 1}, "seed"),
        ({"weight_decay": 0.0}, "weight_decay"),
        ({"stopping": EarlyStopping(patience=3)}, "patience"),
        ({"model": tiny_bert(num_labels=3)}, "id2label of the model"),
        ({"model": tiny_bert(hidden_dropout_prob=0.2)}, "hidden_dropout_prob of the model"),
        ({"model": tiny_bert(hidden_act="relu")}, "hidden_act of the model"),
        ({"model": with_frozen_embeddings()}, "frozen layers"),
        ({"loaders": (loader(44, seed=1), loader(20, seed=2, shuffle=False))}, "training reviews"),
        ({"loaders": (loader(44), loader(20, seed=3, shuffle=False))}, "validation reviews"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused_and_kept(copy, change, reason):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(ValueError, match=f"another .*{reason}.*another checkpoint_dir"):
        train_tiny(copy, **change)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_pretrained_and_random_weights_are_two_trainings(tmp_path, capsys):
    """Whatever the seed: biases and LayerNorm tell them apart. Would catch a digest of shapes alone."""
    pretrained = train_tiny(epochs=1)[0]  # stands for one: its biases are no longer zero
    kept = deepcopy(pretrained)
    stopped_at(4, folder=tmp_path, model=pretrained)
    with pytest.raises(ValueError, match="another pretrained weights"):
        train_tiny(tmp_path)
    train_tiny(tmp_path, model=kept)
    assert "Going on after step 4" in capsys.readouterr().out


def test_a_model_with_other_random_weights_goes_on_with_the_checkpoints(copy, capsys, uninterrupted):
    """Who forgot `set_seed` before making the model must not lose the training."""
    model = tiny_bert()
    torch.nn.init.normal_(model.classifier.weight)
    assert fingerprint(*train_tiny(copy, model=model)) == uninterrupted
    assert "Going on after step 8" in capsys.readouterr().out


def test_the_same_model_begins_again_in_an_emptied_folder(tmp_path, capsys):
    """Its weights are no longer those of the first time: a new process that brings the first ones is another run."""
    model = tiny_bert()
    train_tiny(tmp_path, model=model, epochs=1)
    shutil.rmtree(tmp_path)
    train_tiny(tmp_path, model=model, epochs=1)
    with pytest.raises(ValueError, match="another pretrained weights"):
        train_tiny(tmp_path, epochs=1)


@pytest.mark.parametrize("newer", ["stopped", "going on"])
def test_settings_that_only_one_version_of_transformers_knows(tmp_path, monkeypatch, capsys, uninterrupted, newer):
    usual = BertConfig.to_dict

    def to_dict_of_a_newer_version(config):
        return {**usual(config), "a_setting_of_tomorrow": 1, "dtype": "another spelling", "transformers_version": "9"}

    with monkeypatch.context() as patch:
        if newer == "stopped":
            patch.setattr(BertConfig, "to_dict", to_dict_of_a_newer_version)
        stopped_at(4, folder=tmp_path)
    if newer == "going on":
        monkeypatch.setattr(BertConfig, "to_dict", to_dict_of_a_newer_version)
    assert fingerprint(*train_tiny(tmp_path)) == uninterrupted
    assert "Going on after step 4" in capsys.readouterr().out


def test_another_trainings_file_among_ours_is_passed_over(copy, tmp_path, capsys, uninterrupted):
    train_tiny(tmp_path / "other", epochs=1)
    newest = list_checkpoints(tmp_path / "other")[-1]
    shutil.copy(newest, copy / newest.name.replace("00001", "00009"))
    assert fingerprint(*train_tiny(copy)) == uninterrupted
    printed = capsys.readouterr().out
    assert "it is of a training with another epochs" in printed and "Going on after step 8" in printed


def test_another_training_into_the_same_folder_is_refused_while_the_first_one_runs(tmp_path, capsys):
    problems = []

    def second(history, model):
        with pytest.raises(ValueError) as problem:
            train_tiny(tmp_path)
        problems.append(str(problem.value))

    train_tiny(tmp_path, epochs=2, on_epoch=second)
    assert len(problems) == 2 and "Another training writes into" in problems[0] and "wait" in problems[0]
    train_tiny(tmp_path, epochs=2)  # the lock is gone
    assert "Going on after step 12" in capsys.readouterr().out


@pytest.mark.parametrize("scaled_at_first", [True, False])
def test_a_checkpoint_goes_on_where_losses_are_scaled_and_where_they_are_not(tmp_path, monkeypatch, scaled_at_first):
    """An fp16 GPU scales, a bf16 GPU doesn't; here the scaler of the processor stands for the first."""
    for scaled, epochs in ((scaled_at_first, 7), (not scaled_at_first, 14)):
        scaler = torch.amp.GradScaler("cpu", enabled=scaled)
        monkeypatch.setattr(training, "mixed_precision", lambda device, it=scaler: (contextlib.nullcontext, it))
        stopped_at(epochs, folder=tmp_path, stopping=EarlyStopping(patience=9))
    scale = load_checkpoint(list_checkpoints(tmp_path)[-1])["scaler"].get("scale", 0)
    assert scale == (0 if scaled_at_first else 65536)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


def test_files_that_are_not_ours_are_refused_and_nothing_is_unpickled(
    copy, tmp_path, monkeypatch, capsys, uninterrupted
):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    (tmp_path / "pickle").write_bytes(pickle.dumps(Bomb()))
    torch.save({"model": Bomb()}, tmp_path / "torch")
    save_file({"weight": torch.zeros(3)}, tmp_path / "plain")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other program", metadata={"format": "pt"})
    (tmp_path / "empty").write_bytes(b"")
    for number, name in enumerate(["pickle", "torch", "plain", "other program", "empty"], start=50):
        content = (tmp_path / name).read_bytes()
        checksum = hashlib.sha256(content).hexdigest()[:16]
        (copy / f"saved-{number:05}-{checksum}.safetensors").write_bytes(content)
    assert fingerprint(*train_tiny(copy)) == uninterrupted
    assert capsys.readouterr().out.count("is refused") == 5
    assert not (tmp_path / "exploded").exists()


# No room, no rights


def warnings_of(action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = action()
    return result, [str(warning.message) for warning in caught if warning.category is RuntimeWarning]


def train_with_trouble(folder, begin, end):
    """Save after each step; `begin` comes in the third step and `end` in the second epoch."""
    model = tiny_bert()
    stop_at(model, 3, begin)
    stop_at(model, STEPS_AN_EPOCH + 3 + 2, end)
    return warnings_of(lambda: fingerprint(*train_tiny(folder, model=model)))


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_an_error_of_the_file_system(tmp_path, monkeypatch, uninterrupted, save_each_step, call):
    """Each of the calls that write fails for a while, as on a full disk."""
    owner, name = {"fsync": (os, "fsync"), "rename": (Path, "rename")}[call]
    usual = getattr(owner, name)

    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    leftovers = []

    def mend():
        leftovers.extend(tmp_path.glob(".course-*"))
        monkeypatch.setattr(owner, name, usual)

    result, warned = train_with_trouble(tmp_path, lambda: monkeypatch.setattr(owner, name, broken), mend)
    assert not leftovers  # they would take room
    assert result == uninterrupted
    assert len(warned) == 1 and "No space left on device" in warned[0] and "saves again" in warned[0]
    assert len(list_checkpoints(tmp_path)) == 3 == len(list(tmp_path.glob("[!.]*")))
    assert load_checkpoint(list_checkpoints(tmp_path)[-1])["history"]["step_loss"] == uninterrupted[1]["step_loss"]


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_folder_or_a_drive_that_vanished(tmp_path, uninterrupted, save_each_step, comes_back):
    drive, away = tmp_path / "drive", tmp_path / "away"
    drive.mkdir()
    vanish = (lambda: drive.rename(away)) if comes_back else (lambda: shutil.rmtree(drive / "run"))
    come_back = (lambda: away.rename(drive)) if comes_back else (lambda: None)
    result, warned = train_with_trouble(drive / "run", vanish, come_back)
    assert result == uninterrupted and len(warned) == comes_back  # a folder is made anew, a drive is not
    assert len(list_checkpoints(drive / "run")) == 3
    newest = load_checkpoint(list_checkpoints(drive / "run")[-1])
    assert newest["history"]["step_loss"] == uninterrupted[1]["step_loss"]


def test_a_folder_that_can_never_be_made(tmp_path, uninterrupted):
    (tmp_path / "file").write_text("in the way")
    result, warned = warnings_of(lambda: fingerprint(*train_tiny(tmp_path / "file" / "run")))
    assert result == uninterrupted and len(warned) == 1
