#!/usr/bin/env python3
"""Sets the course up and runs it.

  python3 start.py                       set up, check this computer, open JupyterLab on your own copies in my_course
      --no-browser                       serve JupyterLab, but open no browser
      --port N                           serve it on port N
  python3 start.py finetune FILE         train on your own texts (.csv, .jsonl, .parquet)
      --out DIR                          the folder for the model, its card and its report
      --text NAME --label NAME           the columns (default: text and label)
      --epochs N --learning-rate X --max-tokens N --keep last|best --seed N --model DIR    (default: chosen, and told)
  python3 start.py classify DIR FILE     label the rows of a .csv with the model in DIR
      --out FILE                         the .csv to write
      --text NAME                        the column to read (default: the one that the model was trained on)
  python3 start.py try DIR               a page on this computer: type a text, see its class and the words that mattered
      --no-browser, --port N             open no browser; serve it on port N
  python3 start.py test [-k NAME ...]    run every test, and every notebook on a few dozen reviews (the quick track)
      --claims                           the notebooks alone, at full size: what they claim is measured (laptop track)
      --all                              both, and the tests that take long; other arguments go on to pytest
  python3 start.py run [01 03 ...]       run notebooks without a browser, print minutes and results
      --out DIR                          save the executed notebooks and summary.json in DIR
  python3 start.py progress              say how far you have come; when 01 to 05 are done, write a page to print
  python3 start.py site                  build a site to read, with search, in runs/site (no network, nothing is run)
      --out DIR                          build it in DIR
  python3 start.py doctor                say what would go wrong on this computer, and how to mend it
      --room                             one line to read out: ready, with a check word, or what is missing
  python3 start.py pack DIR              for rooms: the course, its wheels and their checksums in one folder
      --platform NAME                    for linux, macos or windows; may be given again (default: like this computer)
      --python 3.13                      for this Python; may be given again (default: the one that runs start.py)
      --track laptop                     the track of everybody in the room, unless COURSE_TRACK says otherwise
  python3 start.py zip                   the course in one file, for notebooks that are opened alone, in Colab say
  python3 start.py refresh [01 03 ...]   for authors: run notebooks, write their outputs back, fill README's tables
      --tables                           write tables, setup cells and badges, and run nothing
      --lock                             write the lock (every package, every hash) anew from requirements.txt
  python3 start.py slides [01 03 ...]    for instructors: make slides from the notebooks, in runs/slides
      --plan "half a day"                of what is taught in that timetable (workshop/timetables.toml), in its order
  python3 start.py solutions [01 ...]    for instructors: make notebooks with every exercise answered, in solutions
      --out DIR                          make them in DIR

Every command takes --from DIR: the set-up then comes from the pack in DIR, checked first, without any network.
`doctor --from DIR` checks every file of the pack. Started inside a pack (python3 DIR/course/start.py), start.py copies
the course to the folder bert-finetuning-course in your home folder and goes on there with that pack.

The first use makes a virtual environment in .venv (or in the folder that the environment variable COURSE_VENV names).
"""
# The door. It checks the Python and hands over to tools/, which is written for Python 3.11 and newer. This file alone
# must parse on older ones (2.7, too), so that they can say that they are too old. Standard library alone.

import os
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
OLDEST, NEWEST = (3, 11), (3, 14)  # the Pythons that every package in requirements.txt is built for
PYTHONS = "3.%d to 3.%d" % (OLDEST[1], NEWEST[1])


def installed(name):
    """Is there a program of this name? (shutil.which, for old Pythons.)"""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return any(os.path.isfile(os.path.join(folder, name + end)) for folder in folders for end in ("", ".exe"))


def python_problem(version, bits, system, processor):
    """Return what is wrong with a Python for this course, or None."""
    if not OLDEST <= version <= NEWEST:
        others = ["python3.%d" % minor for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
        others = [name for name in others if installed(name)]
        return "Python %d.%d is too %s for this course, which needs Python %s: %s." % (
            version[0],
            version[1],
            "old" if version < OLDEST else "new",
            PYTHONS,
            "run `%s start.py`" % others[0] if others else "install one of those and run start.py with it",
        )
    if bits != 64:
        return "This Python has %d bits, but torch needs 64: install a 64-bit Python %s." % (bits, PYTHONS)
    if system == "Darwin" and processor == "x86_64":
        return (
            "This Python is for Intel Macs, which torch no longer supports: on a Mac with an Apple chip install "
            "Python for Apple silicon; on an Intel Mac use Colab (README.md says how)."
        )
    return None


def main():
    arguments = sys.argv[1:]
    if arguments[:1] != ["test"] and ("-h" in arguments or "--help" in arguments):
        print(__doc__)
        return
    # Learners put files beside this one: their random.py or platform.py must not be taken for Python's own.
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != ROOT]
    import platform

    bits = 64 if sys.maxsize > 2**32 else 32
    problem = python_problem(tuple(sys.version_info[:2]), bits, platform.system(), platform.machine())
    if problem:
        sys.exit(problem)
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    sys.dont_write_bytecode = True  # this may be a stick
    for name in ("helpers", "tools"):  # from this folder, and nothing else is
        spec = PathFinder.find_spec(name, [ROOT])
        if spec is None:
            sys.exit("start.py alone is not the course: fetch all of it, and run the start.py beside its folders.")
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    from tools import commands, ground

    ground.as_program(commands.main, arguments)


if __name__ == "__main__":
    main()
