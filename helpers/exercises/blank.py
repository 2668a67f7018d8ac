"""The blank `____`: an object that stands where the learner's answer will go."""


class Blank(float):
    """Put up with whatever a cell does to it, and stay a blank, so that an unanswered cell still runs.

    Calling, indexing, comparing, calculating, looping and reading attributes all give the blank back. Where Python
    insists on a plain value it gets the emptiest one: `bool` False, `int` 0, `len` 1, text "____". It is a float, nan,
    so that numpy, `math` and plots take it as a missing number.
    """

    _only = None

    def __new__(cls, *args, **kwargs):
        if cls._only is None:
            cls._only = super().__new__(cls, "nan")
        return cls._only

    def __repr__(self):
        return "____"

    def __format__(self, form):
        return "____"

    def __getattr__(self, name):
        if name.startswith("_"):  # so that IPython and copy see no special powers here
            raise AttributeError(name)
        return self

    def __iter__(self):
        return iter((self,))

    def __bool__(self):
        return False

    def __len__(self):
        return 1

    def __int__(self):
        return 0

    def __contains__(self, item):
        return False

    def __instancecheck__(self, item):  # isinstance(x, ____)
        return False

    def __setattr__(self, name, value):
        pass

    def __delattr__(self, name):
        pass

    def _stay(self, *args, **kwargs):
        return self

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):  # torch.relu(____), tensor * ____
        return cls._only

    __index__ = __int__
    __hash__ = object.__hash__


for _name in """call getitem setitem delitem enter exit next copy deepcopy array_ufunc array_function
    eq ne lt le gt ge neg pos abs invert round trunc floor ceil
    add sub mul truediv floordiv mod divmod pow matmul lshift rshift and or xor
    radd rsub rmul rtruediv rfloordiv rmod rdivmod rpow rmatmul rlshift rrshift rand ror rxor""".split():
    setattr(Blank, f"__{_name}__", Blank._stay)

____ = Blank()
