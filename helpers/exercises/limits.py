"""Run a learner's code so that nothing it does can hurt the notebook: it may throw, print, exit, or never end.

What remains, because only a process for each check could help, and a check should cost nothing:
- a call that stays inside C code which looks for no signals (`sum(range(10**12))`) runs to its end. On Windows, where
  there is no alarm, that holds for a slow regular expression and for `10**10**9` too: restart the kernel then;
- a crash in C code (a wrong pointer through `ctypes`), and names bound before the check (`from os import _exit`);
- threads that an answer started go on; what it did to files, to other processes and to classes stays done.
"""

import builtins
import contextlib
import ctypes
import gc
import io
import os
import random
import signal
import sys
import threading
import time

MEMORY = 4 * 2**30  # bytes that an answer may take beyond what the notebook has


class TimeIsUp(SystemExit):
    """Raised inside code that ran too long. A SystemExit, because `except Exception` does not catch those."""


class _Start(io.StringIO):
    """Keeps the start of what is printed and drops the rest, so that an endless print cannot fill the memory."""

    def write(self, text):
        if self.tell() < 1000:
            super().write(text[:1000])
        return len(text)

    def close(self):  # an answer may close sys.stdout
        pass


def run_limited(function, seconds):
    """Run `function()` for at most `seconds`; return its value, its exception (or None), and what it printed.

    The stop button works as always: KeyboardInterrupt comes out of this function, and the code is stopped.
    """
    has_alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    run = _with_alarm if has_alarm else _in_a_thread
    printed = _Start()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), _kept_dice(), _kept_python():
        with _no_exits(), _limited_memory():
            value, error = run(function, seconds)
    return value, error, printed.getvalue()


# Time


def _with_alarm(function, seconds):
    """Run in this thread, on Linux and macOS: the alarm raises TimeIsUp, even inside a regular expression.

    A little later the alarm comes again, and then many times, for code that catches everything: one will hit between
    two `try`. What is thrown on the way out (a lock that is not held, say) doesn't hide that the time was up.
    """
    own, rang, pressed = sys._getframe(), [], []
    set_alarm, set_handler = signal.setitimer, signal.signal  # bound here: an answer may patch them

    def time_is_up(signum, frame):
        if frame is not own:
            rang.append(TimeIsUp())
            if len(rang) == 1:
                set_alarm(signal.ITIMER_REAL, 0.1, 0.0002)
            raise rang[-1]

    def stop_button(signum, frame):
        pressed.append(True)
        set_alarm(signal.ITIMER_REAL, 0.0001)

    value, error = None, None
    handlers = [set_handler(signal.SIGALRM, time_is_up), set_handler(signal.SIGINT, stop_button)]
    before = set_alarm(signal.ITIMER_REAL, seconds)  # somebody else's alarm, pytest's for example
    started = time.monotonic()
    try:
        value = function()
    except BaseException as problem:
        error = problem
    finally:
        set_alarm(signal.ITIMER_REAL, 0)
        set_handler(signal.SIGALRM, handlers[0])
        set_handler(signal.SIGINT, handlers[1])
        if before[0]:
            set_alarm(signal.ITIMER_REAL, max(0.01, before[0] - time.monotonic() + started), before[1])
    if pressed:
        raise KeyboardInterrupt
    return value, rang[0] if rang else error


def _in_a_thread(function, seconds):
    """Run in a thread of its own, where there is no alarm: on Windows, or when this is not the main thread.

    When the time is up, Python raises TimeIsUp at the thread's next line. A single call that stays inside C code (a
    long `time.sleep`, say) has no next line: then the thread is left behind, and goes when the kernel goes.
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
    thread.start()
    try:
        end = time.monotonic() + seconds
        while not done.is_set() and time.monotonic() < end:
            done.wait(0.1)  # short waits, because Windows cannot interrupt a long one
    finally:
        for _ in range(4):  # again, for code that catches everything once
            if not done.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeIsUp))
                done.wait(0.25)
    return box["value"], box["error"]


# Exits, memory, and Python itself


@contextlib.contextmanager
def _no_exits():
    """Nothing may end the kernel: `os._exit`, `os.kill` and the like raise an error in an answer."""

    def refusal(name):
        def refused(*args, **kwargs):
            raise RuntimeError(f"`{name}` is refused in an answer: it can end the kernel")

        return refused

    places = {os: ["_exit", "abort", "kill", "killpg", "execv", "execve"], signal: ["raise_signal", "pthread_kill"]}
    places[sys] = ["setrecursionlimit"]  # without a limit, endless recursion crashes Python
    if hasattr(builtins, "get_ipython"):  # in Jupyter `exit()` and `quit()` ask this object to end the kernel
        places[builtins.get_ipython()] = ["ask_exit"]
    real = [(place, n, getattr(place, n)) for place, names in places.items() for n in names if hasattr(place, n)]
    for place, name, _ in real:
        setattr(place, name, refusal(name))
    try:
        yield
    finally:
        for place, name, function in real:
            setattr(place, name, function)


@contextlib.contextmanager
def _limited_memory():
    """On Linux, an answer that takes more than MEMORY gets a MemoryError, before the computer runs out of it."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    with open("/proc/self/status", encoding="ascii") as status:
        used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = [limit for limit in (soft, hard, used + MEMORY) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextlib.contextmanager
def _kept_python():
    """Put back what an answer has patched: functions of the modules that checks use, and a few settings."""
    _, torch = _libraries()
    names = (
        "builtins copy gc math os random signal sys time numpy numpy.random torch torch.nn.functional torch.nn.utils"
    )
    names = [name for name in sys.modules if name in names.split() or name.startswith("helpers.")]
    functions = [
        (vars(sys.modules[name]), {n: v for n, v in vars(sys.modules[name]).items() if callable(v) or type(v) is float})
        for name in names
    ]
    functions += [(sys.modules, dict(sys.modules)), (os.environ, dict(os.environ))]
    folder, interval, limit, collects = os.getcwd(), sys.getswitchinterval(), sys.getrecursionlimit(), gc.isenabled()
    gradients = torch and (torch.is_grad_enabled(), torch.get_default_dtype())
    try:
        yield
    finally:
        for place, values in functions:
            for name, value in values.items():
                if place.get(name) is not value:
                    place[name] = value
        os.chdir(folder)
        sys.setswitchinterval(interval)
        sys.setrecursionlimit(limit)
        (gc.enable if collects else gc.disable)()
        if torch:
            torch.set_grad_enabled(gradients[0])
            torch.set_default_dtype(gradients[1])


# Dice


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
