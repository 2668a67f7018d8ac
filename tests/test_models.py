"""helpers.models: the packaged BERT, its head, freezing, saving."""

import os

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from helpers.models import QuickDropout, freeze, load_classifier, load_tokenizer, save_classifier, saved_facts
from helpers.track import set_seed


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64
    )
    return BertForSequenceClassification(config)


def parameters_of(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_the_classifier_is_the_packaged_bert_with_a_new_head():
    set_seed(0)
    first = load_classifier(num_labels=3)
    set_seed(1)
    second = load_classifier(num_labels=3)
    assert first.classifier.weight.shape == (3, 384)
    assert len(first.bert.encoder.layer) == 6
    assert not first.training
    same = {name: torch.equal(a, b) for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True)}
    assert not same["classifier.weight"]  # the head comes from torch's seed
    assert all(equal for name, equal in same.items() if not name.startswith("classifier"))  # the rest from the file


def test_the_same_seed_gives_the_same_head():
    heads = []
    for _ in range(2):
        set_seed(7)
        heads.append(load_classifier().classifier.weight)
    assert torch.equal(*heads)


def test_without_pretraining_the_network_is_the_same_but_its_weights_are_random():
    set_seed(0)
    trained, random = load_classifier(), load_classifier(pretrained=False)
    assert [p.shape for p in trained.parameters()] == [p.shape for p in random.parameters()]
    weight = "bert.encoder.layer.3.output.dense.weight"
    assert not torch.allclose(trained.get_parameter(weight), random.get_parameter(weight), atol=1e-3)


def test_dropout_is_set_where_asked_and_never_on_attention():
    model = load_classifier(dropout=0.3)
    layer = model.bert.encoder.layer[0]
    assert layer.output.dropout.p == layer.attention.output.dropout.p == model.dropout.p == 0.3
    assert layer.attention.self.dropout.p == 0.0
    assert load_classifier().dropout.p == 0.1


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


def test_a_failed_save_leaves_the_earlier_model_whole(tiny, tokenizer, tmp_path, monkeypatch):
    folder = save_classifier(tiny, tokenizer, tmp_path / "model", run=1)
    before = parameters_of(load_classifier(folder))

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokenizer, "save_pretrained", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_classifier(tiny, tokenizer, folder, run=2)
    assert saved_facts(folder) == {"run": 1}
    assert all(torch.equal(before[name], p) for name, p in load_classifier(folder).named_parameters())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]  # nothing half-written is left


def test_a_folder_without_a_model_is_refused_and_has_no_facts(tmp_path):
    assert saved_facts(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="No saved model"):
        load_classifier(tmp_path)


def test_a_pickled_model_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config.save_pretrained(tmp_path / "model")
    torch.save({"weight": Bomb()}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(OSError, match="model.safetensors"):
        load_classifier(tmp_path / "model")
    assert not (tmp_path / "exploded").exists()


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


def test_quick_dropout_follows_the_seed_and_draws_anew_each_time():
    layer, ones = QuickDropout(0.3), torch.ones(1001)
    torch.manual_seed(5)
    first, second = layer(ones), layer(ones)
    torch.manual_seed(5)
    assert torch.equal(layer(ones), first) and not torch.equal(first, second)


def test_quick_dropout_is_off_in_eval_mode_and_knows_the_ends_of_the_rates():
    ones = torch.ones(100)
    assert torch.equal(QuickDropout(0.9).eval()(ones), ones)
    assert torch.equal(QuickDropout(0.0)(ones), ones)
    assert torch.equal(QuickDropout(1.0)(ones), torch.zeros(100))


def test_a_classifier_has_quick_dropout_everywhere_and_the_same_weights_names():
    model = load_classifier(dropout=0.2)
    rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert all(type(m) is QuickDropout for m in model.modules() if isinstance(m, torch.nn.Dropout))
    assert rates.count(0.2) == 2 + 2 * len(model.bert.encoder.layer)  # embeddings, head, two in each layer
    assert not any("dropout" in name for name in model.state_dict())
