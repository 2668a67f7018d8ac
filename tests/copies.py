"""Copies to try things out on."""

import os
import shutil
import stat
from pathlib import Path

MADE = ".git .venv* .*cache .hypothesis .ipynb_checkpoints __pycache__ outputs runs solutions my_course".split()


def copy(source, target, *ignore):
    """Copy a file or folder without what is made there, and return its place.

    The copy can be written to, also where the original is not: a course on a read-only disk.
    """
    if Path(source).is_file():
        return Path(shutil.copyfile(source, Path(target, Path(source).name) if Path(target).is_dir() else target))
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*MADE, *ignore), copy_function=shutil.copyfile)
    for folder, _, _ in os.walk(target):
        os.chmod(folder, os.stat(folder).st_mode | stat.S_IRWXU)
    return Path(target)
