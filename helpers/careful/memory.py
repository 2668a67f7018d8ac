"""A GPU's memory: how much goes through the model at once, and what happens where that was too much."""

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size


def tokens_that_fit(model):
    """Return how many tokens, padding included, may go through the model at once; a careful estimate.

    A training step on a GPU keeps about 40 numbers of 2 bytes for each token, layer and unit of width; gradients and
    AdamW's two means take 12 bytes a parameter. What is free now decides; of an Apple GPU, what its system recommends,
    and there all numbers have 4 bytes. Off the GPU there is no limit.
    """
    if model.device.type == "cuda":
        unused = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)  # torch keeps it
        free = torch.cuda.mem_get_info(model.device)[0] + unused
    elif model.device.type == "mps":
        free = (torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()) / 2
    else:
        return 2**40
    free = 0.8 * free - 12 * model.num_parameters()
    bytes_per_token = 2 * 40 * model.config.num_hidden_layers * model.config.hidden_size
    return max(1, int(free / bytes_per_token))


def in_parts_that_fit(do_part, model, share, reviews, tokens, tokens_at_once):
    """Call do_part(part) for each part of a batch. Return the sum of what it returns and the new `tokens_at_once`.

    do_part          adds a part's gradient to the parameters and returns its share of the loss, a float. It is a
                     function of its own, so that nothing keeps its memory where it fails
    share            what this process computes of the batch, {name: tensor}
    reviews, tokens  of the whole batch
    tokens_at_once   reviews times tokens that go through the model together

    Where the GPU's memory turns out to be too small even so, the batch is tried again in smaller parts.
    """
    while True:
        size = max(1, min(reviews, tokens_at_once // tokens))  # reviews in a part
        try:
            total = 0.0
            for start in range(0, len(share["labels"]), size):
                total += do_part({name: tensor[start : start + size] for name, tensor in share.items()})
            return total, tokens_at_once
        except RuntimeError as problem:
            if not (should_reduce_batch_size(problem) or "out of memory" in str(problem)):
                raise
        tokens_at_once = _less(size, tokens)  # here, where the failed attempt's memory is free again
        model.zero_grad()


def _less(size, tokens):
    """Return half of the tokens that were too many, and say so; raise RuntimeError where half a review is left."""
    if size == 1:
        raise RuntimeError(
            f"The GPU's memory can't hold one review of {tokens} tokens: close other programs that use the GPU "
            "(other notebooks, say), or lower max_tokens."
        )
    print(
        f"The GPU's memory is too small for {size} reviews of {tokens} tokens at once. From here on {size // 2} go "
        "through together and their gradients are added up: slower, with the same result."
    )
    clear_device_cache(garbage_collection=True)
    return size // 2 * tokens
