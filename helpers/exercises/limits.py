"""Run a learner's code so that nothing it does can hurt the notebook: it may throw, print, exit, or never end."""

import contextlib
import ctypes
import io
import random
import sys
import threading
import time


class TimeIsUp(SystemExit):
    """Raised inside code that ran too long. A SystemExit, because `except Exception` does not catch those."""


class _Start(io.StringIO):
    """Keeps the start of what is printed and drops the rest, so that an endless print cannot fill the memory."""

    def write(self, text):
        if self.tell() < 1000:
            super().write(text[:1000])
        return len(text)


def run_limited(function, seconds):
    """Run `function()` for at most `seconds`; return its value, its exception (or None), and what it printed.

    The code runs in a thread of its own, because only this works alike in Jupyter, Colab, pytest and on Windows,
    and with answers that cannot be sent to another process (a lambda, a function with its surroundings). When the
    time is up, Python raises TimeIsUp at the thread's next line. A single call that stays inside C code (a long
    `time.sleep`, say) has no next line: then the thread is left behind, and goes when the kernel goes.
    The stop button works as always: KeyboardInterrupt comes out of this function, and the thread is stopped.
    """
    box = {"value": None, "error": TimeIsUp()}
    done = threading.Event()  # not thread.join(): interrupted by the stop button, it takes the thread for ended

    def work():
        try:
            box["value"] = function()
            box["error"] = None
        except BaseException as error:
            box["error"] = error
        finally:
            done.set()

    thread = threading.Thread(target=work, daemon=True)
    printed = _Start()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), _kept_dice():
        thread.start()
        try:
            end = time.monotonic() + seconds
            while not done.is_set() and time.monotonic() < end:
                done.wait(0.1)  # short waits, because Windows cannot interrupt a long one
        finally:
            _stop(thread, done)
    return box["value"], box["error"], printed.getvalue()


def _stop(thread, done):
    for _ in range(4):  # again, for code that catches everything once
        if done.is_set():
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeIsUp))
        done.wait(0.25)


def _libraries():
    """numpy and torch where the notebook has loaded them, else None: this file loads neither."""
    return sys.modules.get("numpy"), sys.modules.get("torch")


def roll_dice(seed=0):
    """Start the random numbers of Python, numpy and torch (on the processor) anew, so that answers are comparable."""
    numpy, torch = _libraries()
    random.seed(seed)
    if numpy:
        numpy.random.seed(seed)
    if torch:
        torch.default_generator.manual_seed(seed)


@contextlib.contextmanager
def _kept_dice():
    """Let the notebook's random numbers go on afterwards as if nothing had run in between."""
    numpy, torch = _libraries()
    saved = random.getstate(), numpy and numpy.random.get_state(), torch and torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(saved[0])
        if numpy:
            numpy.random.set_state(saved[1])
        if torch:
            torch.set_rng_state(saved[2])
