"""Several GPUs or computers: which process this is, and sums over all of them. Used by `helpers.training`."""

import os

import torch
from accelerate import PartialState
from accelerate.utils import reduce


def all_processes(model):
    """Return accelerate's PartialState: which of how many processes this one is. Alone, it is the first of one.

    Under `torchrun` or `accelerate launch` it connects them, and the model goes to this process's own GPU.
    """
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    processes = PartialState(cpu=several and model.device.type == "cpu")
    if processes.num_processes > 1:
        model.to(processes.device)
    return processes


def add_up(loss, parameters, processes):
    """Put the sum over all processes in the place of each gradient, and return the sum of their losses.

    All gradients and the loss travel as one vector: 4 bytes a parameter, and 4 more.
    """
    if processes.num_processes == 1:
        return loss
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]  # None: a share without a review
    vector = torch.cat([*(part.flatten() for part in parts), torch.tensor([loss], device=processes.device)])
    *sums, loss = reduce(vector, "sum").split([*(part.numel() for part in parts), 1])
    for parameter, total in zip(parameters, sums, strict=True):
        parameter.grad = total.view_as(parameter)
    return loss.item()
