"""How does training time grow with the number of reviews, and with the number of tokens?

    .venv/bin/python -m tools.benchmarks.growth     about three minutes on two cores

Each size is trained on several times, the sizes in turns. Long IMDb reviews are taken, so that each one fills its
tokens. The results go to results/growth.json, from which `python3 start.py refresh --tables` writes README's table.
"""

import datetime
import json
import os
import statistics

from helpers.batches import encode, make_loader
from helpers.data import load_reviews
from helpers.models import load_classifier, load_tokenizer
from helpers.training import train
from tools.notebooks import ROOT, machine, write

REVIEWS, AT_TOKENS = (64, 128, 256), 128  # 1, 2 and 4 times as many
TOKENS, AT_REVIEWS = (64, 128, 256, 512), 64
TURNS = 3


def main(out=ROOT / "tools" / "results" / "growth.json", reviews=REVIEWS, tokens=TOKENS, turns=TURNS):
    tokenizer = load_tokenizer()
    texts = load_reviews("imdb", n_train=4000, n_validation=0, n_test=0)["train"]["text"]
    long = [ids for ids in encode(texts, tokenizer, max_tokens=max(tokens)) if len(ids) == max(tokens)]
    model = load_classifier()

    def seconds(count, length):
        ids = [review[:length] for review in long[:count]]
        loader = make_loader(ids, [0, 1] * (count // 2), tokenizer, batch_size=16, shuffle=True)
        return sum(train(model, loader, epochs=1, progress=False).seconds)

    sizes = [("reviews", count, AT_TOKENS) for count in reviews]
    sizes += [("tokens", AT_REVIEWS, length) for length in tokens]
    seconds(reviews[0], tokens[0])  # the first training of a process is slower
    times = {size: [] for size in sizes}
    for _ in range(turns):
        for size in sizes:
            times[size].append(seconds(*size[1:]))
    results = {"machine": machine(), "date": datetime.date.today().isoformat(), "sizes": []}
    for (what, count, length), found in times.items():
        row = {"grows": what, "reviews": count, "tokens": length, "seconds": statistics.median(found), "all": found}
        results["sizes"].append(row)
        print(f"{count:4} reviews of {length:3} tokens: {row['seconds']:6.2f} s")
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("COURSE_TRACK", "laptop")
    main()
