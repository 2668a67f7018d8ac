"""The commands of start.py: what they are called with, and who does the work. Standard library alone."""

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path

from tools import ground
from tools.doctor import classroom_line, doctor
from tools.ground import COMMAND, ROOT, VENV, Problem, call, environment, hand_over, module, notebooks
from tools.lab import open_jupyterlab
from tools.make_pack import write_zip
from tools.pack import go_on_from_a_copy, pack_around, this_computer
from tools.setup import make_venv, one_at_a_time, set_up

OWN = ["finetune", "classify", "try"]
NAMES = [*OWN, "test", "run", "doctor", "pack", "zip", "refresh", "slides", "solutions", "site", "progress"]
OWN_FOLDERS = "my_course notebooks helpers tools tests workshop site .ci .git .github .devcontainer".split()


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Problem(f"{message}; `{COMMAND} --help` lists the commands.")


def main(arguments):
    everything = arguments
    arguments, pack = take_pack(arguments)
    command, options = read_arguments(arguments)
    if pack_around():
        return go_on_from_a_copy(pack_around(), everything, pack)
    if command == "test":
        return run_tests(options, pack)
    if command in OWN:
        return own_texts(command, options, pack)
    if command == "run":
        return run_notebooks(options.numbers, options.out, pack)
    if command == "refresh":
        return refresh_lock() if options.lock else refresh(options.numbers, options.tables, pack)
    if command == "site":
        out = output_folder(options.out, "runs/site")
        set_up(pack)
        return hand_over(module("tools.site", out))
    if command in ("slides", "solutions"):
        return make_for_instructors(command, options, pack)
    if command == "progress":
        set_up(pack)
        return hand_over(module("tools.progress", ROOT / "runs" / "progress.html"))
    if command == "pack":
        return make_pack(options, pack)
    if command == "zip":
        return write_zip()
    if command == "doctor":
        return 0 if (classroom_line() if options.room else doctor(pack)) else 1
    return open_jupyterlab(options.port, not options.no_browser, pack)


def take_pack(arguments):
    """Return the arguments without --from DIR, and the folder DIR (None when no pack is named)."""
    rest, pack, following = [], None, iter(arguments)
    for argument in following:
        if argument == "--from" or argument.startswith("--from="):
            pack = argument[7:] or next(following, "")
            if not pack or pack.startswith("-"):
                raise Problem("--from needs the folder of a pack, for example a USB stick.")
        else:
            rest.append(argument)
    return rest, pack and Path(os.path.abspath(pack))


def read_arguments(arguments):
    """Return the command's name and its options."""
    parser = Parser(add_help=False)
    command = arguments[0] if arguments and not arguments[0].startswith("-") else "lab"
    if command == "test":
        return command, arguments[1:]
    if command == "lab":
        parser.add_argument("--no-browser", action="store_true")
        parser.add_argument("--port", type=int)
    elif command not in NAMES:
        raise Problem(f"There is no command {command!r}: choose {', '.join(NAMES)}, or none to open JupyterLab.")
    if command in OWN:
        add_own_options(parser, command)
    if command in ("run", "refresh", "slides", "solutions"):
        parser.add_argument("numbers", nargs="*")
    if command in ("run", "slides", "solutions", "site"):
        parser.add_argument("--out")
    if command == "slides":
        parser.add_argument("--plan")
    if command == "doctor":
        parser.add_argument("--room", action="store_true")
    if command == "refresh":
        parser.add_argument("--tables", action="store_true")
        parser.add_argument("--lock", action="store_true")
    if command == "pack":
        parser.add_argument("folder")
        parser.add_argument("--platform", action="append", choices=["linux", "macos", "windows"])
        pythons = [f"3.{minor}" for minor in range(ground.OLDEST[1], ground.NEWEST[1] + 1)]
        parser.add_argument("--python", action="append", choices=pythons)
        parser.add_argument("--track", choices=ground.TRACKS)
    options = parser.parse_args(arguments if command == "lab" else arguments[1:])
    if getattr(options, "port", None) is not None and not 0 < options.port < 65536:
        raise Problem(f"--port {options.port} is no port: choose a number from 1024 to 65535.")
    return command, options


def add_own_options(parser, command):
    """Add the options of the commands for people's own texts; what is left out, tools/own.py chooses."""
    parser.add_argument("file" if command == "finetune" else "folder")
    if command == "classify":
        parser.add_argument("file")
    if command == "try":
        parser.add_argument("--port", type=int)
        parser.add_argument("--no-browser", dest="browser", action="store_false")
        return
    parser.add_argument("--out", required=True)
    parser.add_argument("--text")
    if command == "finetune":
        parser.add_argument("--label")
        parser.add_argument("--model")
        parser.add_argument("--keep", choices=["last", "best"])
        parser.add_argument("--learning-rate", type=float)
        for name in ("--epochs", "--max-tokens", "--seed"):
            parser.add_argument(name, type=int)


# ------------------------------------------------------------------------------------------------------ what each does


def run_tests(arguments, pack=None):
    """All tests and notebooks on the quick track; with --claims, the notebooks on the laptop track; with --all, both.

    pytest does it, and compares the outputs of the notebooks' marked cells. It does so in several processes; in one on
    a GPU, and with what takes long.
    """
    rest = [argument for argument in arguments if argument not in ("--claims", "--all")]
    set_up(pack)
    os.chdir(ROOT)
    pytest = [str(ground.venv_python()), "-P", "-m", "pytest", "--nbval-lax", "--nbval-current-env"]
    pytest.append("--nbval-cell-timeout=1800")
    claims = [*pytest, "-o", "testpaths=notebooks", *rest], environment() | {"COURSE_TRACK": "laptop"}
    # Whatever the track of a room is: conftest.py takes none for quick.
    env = {name: value for name, value in environment().items() if name != "COURSE_TRACK" or os.environ.get(name)}
    plain = [*pytest, *rest], env
    claims = side_by_side(*claims, rest, gigabytes=7)  # what 07 takes at most
    if env.get("COURSE_TRACK", "quick") == "quick":
        plain = side_by_side(*plain, rest, gigabytes=3)
    if "--all" in arguments:
        codes = []
        for command, settings in (plain, ([*pytest, "-m", "slow", *rest], env), claims):
            codes.append(call(command, settings))
            if codes[-1] == 2:  # stopped with Ctrl-C
                break
        return max((code for code in codes if code not in (0, 5)), default=min(codes))  # 5: -k chose nothing of these
    return hand_over(*(claims if "--claims" in arguments else plain))


def side_by_side(command, settings, arguments, *, gigabytes):
    """Return the command and settings with which pytest runs its files in several processes, each of so many GB."""
    number = workers(arguments, cores(), memory(), each=gigabytes)
    if number == 1:
        return command, settings
    # conftest.py says which files come first, and which two go together
    together = ["-n", str(number), "--dist=loadfile", "--no-loadscope-reorder"]
    return [*command, *together], {"OMP_NUM_THREADS": str(cores() // number)} | settings


# One test, the first failure, a debugger, what a test prints: that is for one process. So are workers of one's own.
ONE_PROCESS = re.compile(
    r".*::|.*no:xdist|-[qv]*[nsx]|--(?:numprocesses|dist|pdb|trace|exitfirst|maxfail|stepwise|sw|capture|co(?!\w)|coll)"
)


def workers(arguments, cores, gigabytes, each=3):
    """Return how many processes run the tests: one for each core, at most four, each with so many GB and own files."""
    files = [argument for argument in arguments if argument.endswith((".py", ".ipynb")) and argument[0] != "-"]
    if any(map(ONE_PROCESS.match, arguments)):
        return 1
    return max(1, min(cores, 4, gigabytes // each, len(files) or 4))


def cores():
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory():
    """Return this computer's memory in GB; where it doesn't say, on Windows, what four workers need."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**9 if hasattr(os, "sysconf") else 12


def own_texts(command, options, pack=None):
    """Let tools/own.py train on a file of somebody's own, or answer; what was not given, it chooses."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    set_up(pack)
    return hand_over(module("tools.own", command, json.dumps(given)))


def run_notebooks(numbers, out, pack=None):
    paths = chosen_notebooks(numbers)
    out = output_folder(out, f"runs/{time.strftime('%Y-%m-%d_%H%M%S')}")
    set_up(pack)
    return hand_over(module("tools.run", out, *paths))


def make_for_instructors(what, options, pack=None):
    plan = ["--plan", options.plan] if what == "slides" and options.plan else []
    if plan and options.numbers:
        raise Problem("--plan says which notebooks there are: leave their numbers out.")
    paths = plan or chosen_notebooks(options.numbers)
    out = output_folder(options.out, "runs/slides" if what == "slides" else "solutions")
    set_up(pack)
    return hand_over(module(f"tools.{what}", out, *paths))


def refresh(numbers, tables, pack=None):
    paths = [] if tables else chosen_notebooks(numbers)
    set_up(pack)
    return hand_over(module("tools.refresh", *paths))


def refresh_lock():
    """Write the lock anew from requirements.txt, before a set-up needs it."""
    with one_at_a_time() as lock:
        make_venv(lock)
    return hand_over(module("tools.lock", "write"))


def make_pack(options, pack=None):
    """Let tools/make_pack.py make a pack, or go on with one."""
    here = this_computer()
    platforms, pythons = options.platform or [here["platform"]], options.python or [here["python"]]
    targets = dict.fromkeys(f"{name}-{python}" for name in platforms for python in pythons)
    set_up(pack)
    return hand_over(module("tools.make_pack", os.path.abspath(options.folder), options.track or "", *targets))


def output_folder(out, otherwise):
    """Return the folder for what a command makes. Raises Problem when it is the course's own, or can't be written."""
    folder = Path(os.path.realpath(out or ROOT / otherwise))
    own = [VENV, *(ROOT / name for name in OWN_FOLDERS)]
    if same(folder, ROOT) or any(same(place, mine) for place in (folder, *folder.parents) for mine in own):
        raise Problem(f"--out {folder} belongs to the course: name a folder of your own, {ROOT / 'runs' / 'mine'} say.")
    if folder.is_file():
        raise Problem(f"--out {folder} is a file: name a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise Problem(f"{folder} can't be written ({error.strerror}): name another folder with --out.") from None
    return folder


def same(one, other):
    """Are these the same folder, however they are written? (Notebooks and notebooks are, on some systems.)"""
    return one.exists() and other.exists() and one.samefile(other)


def chosen_notebooks(numbers):
    """Return the paths of the notebooks with these numbers ("03" or "3"), of all of them when none is named."""
    known = notebooks()
    wanted = [number.zfill(2) for number in numbers] or sorted(known)
    for number in wanted:
        if number not in known:
            raise Problem(f"There is no notebook {number}: there are {', '.join(sorted(known))}.")
    return [known[number] for number in wanted]
