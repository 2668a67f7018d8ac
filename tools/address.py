"""What is written from the course's public address, which stands in pyproject.toml alone: setup cells and badges."""

import copy
import re
import tomllib

from tools.ground import FOLDER
from tools.notebooks import ROOT, code_cells, tagged

COLAB = "https://colab.research.google.com"
SETUP = """\
import os
{imports[0]}import sys
{imports[1]}from importlib.util import find_spec

for place in ("..", "."):  # the course's folder: the last one found comes first
    if os.path.isdir(f"{{place}}/helpers"):
        sys.path.insert(0, os.path.abspath(place))
if not find_spec("helpers"):{otherwise}
from helpers.track import current_track, set_seed

track = current_track()
print(track)"""
UNPACK = """  # this notebook was opened alone, in Colab say
    colab = "{folder}/tools/colab.py"  # the last file of the zip
    for path in ("{folder}.zip", "/content/{folder}.zip"):
        if not os.path.exists(colab) and zipfile.is_zipfile(path):
            zipfile.ZipFile(path).extractall()
    if not os.path.exists(colab):
        raise ModuleNotFoundError(
            "Drag {folder}.zip (`python3 start.py zip` makes it) into "
            "Colab's Files panel, wait until it is there, then run this cell again."
        )
    runpy.run_path(colab, {{"NOTEBOOK": "{number}"}}, "__main__")  # installs what is missing"""
FETCH = """  # this notebook was opened alone, in Colab say: fetch the course around it
    fetch = "git clone --quiet --depth=1 --branch={branch} {repository}"
    if not os.path.isdir("{folder}"):
        git = subprocess.getstatusoutput(f"{{fetch}} unfinished-{{os.getpid()}}")
        if git[0]:
            raise RuntimeError(
                f"The course was not fetched: check the network and run the cell again. {{git[1]}}"
            )
        os.rename(f"unfinished-{{os.getpid()}}", "{folder}")
    colab = "{folder}/tools/colab.py"  # installs what is missing
    runpy.run_path(colab, {{"NOTEBOOK": "{number}"}}, "__main__")"""


def address():
    """Return (repository, branch); the repository is empty while the course has no public home. ValueError if wrong."""
    course = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]
    repository, branch = course["repository"], course["branch"]
    # A shell reads both. No other characters are needed where anybody may fetch from.
    if repository and not re.fullmatch(r"(https|file)://[\w./:~+-]+", repository):
        raise ValueError(
            f"The repository in pyproject.toml is {repository!r}: give its whole public address, as in "
            "https://github.com/NAME/COURSE."
        )
    if not re.fullmatch(r"[\w./+][\w./+-]*", branch):
        raise ValueError(f"The branch in pyproject.toml is {branch!r}: give the name of one that exists, main say.")
    return repository, branch


def setup_source(number):
    """Return the source of the setup cell, the same for all notebooks but for their number: "06", say."""
    repository, branch = address()
    if not repository:
        otherwise = UNPACK.format(folder=FOLDER, number=number)
        return SETUP.format(imports=("import runpy\n", "import zipfile\n"), otherwise=otherwise)
    otherwise = FETCH.format(repository=repository, branch=branch, folder=FOLDER, number=number)
    return SETUP.format(imports=("import runpy\nimport subprocess\n", ""), otherwise=otherwise)


def badge(path):
    """Return the badge that opens a notebook in Colab, in Markdown; "" unless the repository is on GitHub."""
    repository, branch = address()
    name = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", repository)
    if not name:
        return ""
    place = f"{COLAB}/github/{name[1]}/blob/{branch}/notebooks/{path.name}"
    return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({place})"


def with_address(notebook, path):
    """Return a copy of a notebook with its setup cell made anew, and the badge below its title if there is one."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells[:1]:
        if cell.cell_type == "markdown":
            title, *rest = re.sub(r"\n\n\[!\[Open in Colab\].*", "", cell.source).split("\n")
            cell.source = "\n".join([title, *(["", badge(path)] if badge(path) else []), *rest])
    for cell in code_cells(notebook):
        if tagged(cell, "setup"):
            cell.source = setup_source(path.name[:2])
            cell.metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}  # folded, in JupyterLab and Colab
    return notebook
