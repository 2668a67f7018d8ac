"""A GPU that isn't there: tensors that were sent to "cuda" stay on the processor, and behave as if they were not.

Two tensors of different devices in one operation raise, as on a real one; so does `.numpy()` of one on the GPU, and so
do numbers of 64 bits there, which Apple's GPUs lack. What a real GPU computes, and how fast, this can't show.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader

HERE, THERE = torch.device("cpu"), torch.device("cuda", 0)
SETTERS = ("data", "grad")
FROM_ANYWHERE = (
    "copy_",
    "__deepcopy__",
    "load_state_dict",
    "__setstate__",
    "_has_compatible_shallow_copy_type",
    "is_same_size",
)


def is_cuda(value):
    return isinstance(value, (str, torch.device)) and str(value).startswith("cuda")


def is_device(value):
    return isinstance(value, torch.device) or (isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda"))


def tensors_in(values):
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def there(tensor):
    return getattr(tensor, "on_the_gpu", False)


class Gpu(TorchFunctionMode):
    """While it is entered, a tensor's attribute `on_the_gpu` says where it is."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        owner = getattr(getattr(function, "__self__", None), "__name__", "")  # of a getter or setter
        if name in ("_parse_to", "device"):  # .to() of a module, torch.device(): they only read
            return function(*args, **kwargs)
        if name == "__get__":
            return self.look(owner, function, args[0])
        if name == "__set__" and owner in SETTERS:
            function(*args)
            args[0].on_the_gpu = there(args[1]) if args[1] is not None else there(args[0])
            return None
        if name in ("numpy", "__array__") and there(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        given = tensors_in((args, kwargs))
        asked = [value for value in (*args, *kwargs.values()) if is_device(value)]
        if name == "cpu":
            asked = [HERE]
        if name == "cuda":
            function, args, kwargs, asked = torch.Tensor.to, (args[0], HERE), {}, [THERE]
        if name not in FROM_ANYWHERE and not asked:
            self.compare(name, args, given)
        args, kwargs = tree_map(lambda value: HERE if is_cuda(value) else value, (args, kwargs))
        made = function(*args, **kwargs)
        on_the_gpu = is_cuda(asked[0]) if asked else any(map(there, given[:1] if name in FROM_ANYWHERE else given))
        if asked and given and isinstance(made, torch.Tensor) and made is given[0] and there(made) != on_the_gpu:
            made = made.clone()  # a copy, as between two memories
        for tensor in tensors_in(made):
            # The one number of a loss scaler may have them: Apple's GPUs get none.
            if on_the_gpu and tensor.dtype == torch.float64 and tensor.dim():
                raise TypeError(f"Cannot convert a MPS Tensor to float64 dtype, in {name}.")
            tensor.on_the_gpu = on_the_gpu
        return made

    def look(self, owner, function, tensor):
        value = function(tensor)
        if there(tensor):
            if owner == "device":
                return THERE
            if owner == "is_cuda":
                return True
            for found in tensors_in(value):
                found.on_the_gpu = True
        return value

    def compare(self, name, args, given):
        if name in ("__getitem__", "__setitem__") and there(args[0]):  # a processor's numbers may pick
            given = tensors_in((args[0], args[2:]))
        places = {there(tensor) for tensor in given if tensor.dim()}
        if len(places) == 2:
            raise RuntimeError(f"Expected all tensors to be on the same device, in {name}: cuda:0 and cpu!")


def enter():
    """Let this process have a GPU of Colab's kind, which multiplies fp16 and not bf16, so that losses are scaled."""
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_capability = lambda *_: (7, 5)
    torch.cuda.mem_get_info = lambda *_: (15e9, 16e9)
    torch.cuda.memory_reserved = torch.cuda.memory_allocated = lambda *_: 0
    torch.cuda.get_rng_state, torch.cuda.set_rng_state = torch.get_rng_state, torch.set_rng_state
    make = DataLoader.__init__
    DataLoader.__init__ = lambda self, *args, pin_memory=False, **named: make(self, *args, **named)
    Gpu().__enter__()
