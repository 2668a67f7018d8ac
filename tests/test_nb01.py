"""What notebook 01 says about the model and about freezing."""

import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from helpers.data import load_reviews
from helpers.exercises import nb01
from helpers.models import freeze, packaged_model
from helpers.track import GPU, LAPTOP, QUICK


def test_only_the_head_is_newly_initialized():
    _, report = AutoModelForSequenceClassification.from_pretrained(
        packaged_model(), num_labels=2, local_files_only=True, output_loading_info=True
    )
    assert set(report["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert not report["unexpected_keys"] and not report["mismatched_keys"]


def test_the_models_makers_list_no_set_of_reviews_with_their_sentiment():
    listed = json.loads((packaged_model() / "data_config.json").read_text(encoding="utf-8"))
    names = [source["name"].lower() for source in listed]
    assert len(names) == 290
    for word in ("imdb", "rotten", "sst", "sentiment", "movie_review", "yelp", "amazon_review"):
        assert not [name for name in names if word in name], word


@pytest.mark.parametrize("track", [LAPTOP, GPU, QUICK], ids=lambda track: track.name)
def test_the_sizes_of_a_track_fit_together(track):
    """The gpu track's are run by nobody here."""
    sizes = track.transfer
    assert len(sizes.labels) == len(sizes.epochs) == len(sizes.trainings) == 3
    assert sizes.labels[-1] <= sizes.pool and list(sizes.labels) == sorted(sizes.labels)
    assert len(sizes.rates) >= 2 and list(sizes.rates) == sorted(sizes.rates)  # the last two are for random weights
    assert len(sizes.rate_draws) == len(sizes.rates)
    n_train, n_validation = sizes.sentences
    loaded = load_reviews("rotten_tomatoes", n_train=n_train, n_validation=n_validation, n_test=0, seed=0)
    short = {name: sum(len(text.split()) <= sizes.words for text in part["text"]) for name, part in loaded.items()}
    assert short["train"] > sizes.pool and short["validation"] > 2 * sizes.choosing  # or a draw points at nothing


@pytest.mark.parametrize("track", [LAPTOP, GPU], ids=lambda track: track.name)
def test_the_fewest_labels_get_steps_enough(track):
    """Wrong sizes: one number of epochs for all, so that few labels get few steps and look worse than they are."""
    sizes = track.transfer
    for labels, epochs in zip(sizes.labels, sizes.epochs, strict=True):
        assert epochs * -(-labels // track.batch_size) >= 50


@pytest.mark.parametrize("k", range(5))
def test_exercise_4_freezes_what_load_classifier_freezes(k):
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16)
    torch.manual_seed(0)
    by_hand, by_helper = BertForSequenceClassification(config), BertForSequenceClassification(config)
    nb01.freeze_lowest.answer(by_hand, k)
    freeze(by_helper, k)
    frozen = [
        [name for name, weight in model.named_parameters() if not weight.requires_grad]
        for model in (by_hand, by_helper)
    ]
    assert frozen[0] == frozen[1]
    assert bool(frozen[0]) == (k > 0)
