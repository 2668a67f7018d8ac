"""What `start.py` does with notebooks: run them, write their outputs back, and fill what is generated.

    notebooks.py run OUT NOTEBOOK…      execute, save the executed copies and summary.json in OUT
    notebooks.py refresh [NOTEBOOK…]    execute on the laptop track, write the outputs back, then write README's tables,
                                        the setup cells and the badges
    notebooks.py kernel                 start a kernel as JupyterLab would; print where it runs and on which track
    notebooks.py kernel offline         the same, and load model and reviews there with the network blocked

It runs with the Python of .venv, because it needs nbclient. Learners don't need it.
"""

import base64
import copy
import hashlib
import html
import json
import os
import platform
import re
import shutil
import signal
import sys
import threading
import time
import tomllib
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import speed  # noqa: E402

README = ROOT / "README.md"
MINUTES = ROOT / "tools" / "results" / "notebook_minutes.json"
PICTURE = ROOT / "tools" / "results" / "picture.png"
FIGURES = "application/vnd.course.figures+json"  # written by helpers.plots.measured
COLAB = "https://colab.research.google.com"
COLAB_GPU = {"accelerator": "GPU", "colab": {"gpuType": "T4"}}  # metadata that makes Colab lend a notebook a GPU
ENCRYPTED = {"transport_encryption": "auto"}  # else each kernel warns that it talks in plain text


# ---------------------------------------------------------------------------------------------- executing


def execute(path):
    """Run one notebook from top to bottom. Returns the executed notebook and what became of it.

    What became of it: status ("ok", "failed" or "stopped"), minutes, figures, and error (one line, None when ok).
    A failing cell ends the notebook; the cells after it have no outputs.
    """
    notebook = read(path)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=None,  # the learner decides when to stop
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        coalesce_streams=True,
        record_timing=False,
        config=Config(KernelManager=ENCRYPTED),
    )
    result = {"notebook": path.name, "status": "ok", "minutes": 0.0, "figures": {}, "error": None}
    number, total = 0, len(code_cells(notebook))
    started = time.monotonic()
    try:
        with progress(path.stem, total) as at_cell, client.setup_kernel():
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type == "code":
                    number += 1
                    at_cell(number)
                    client.execute_cell(cell, index)
    except CellExecutionError as error:
        problem = f"{error.ename}: {error.evalue}"
        result.update(status="failed", error=f"cell {number} of {total}: {' '.join(problem.split())[:300]}")
    except DeadKernelError:
        problem = "the kernel died; most often the computer ran out of memory"
        result.update(status="failed", error=f"cell {number} of {total}: {problem}")
    except KeyboardInterrupt:
        result.update(status="stopped", error=f"cell {number} of {total}: interrupted")
    except Exception as error:  # the kernel did not start, say: the other notebooks still get their turn
        result.update(status="failed", error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    result["minutes"] = round((time.monotonic() - started) / 60, 2)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            result["figures"].update(output.get("data", {}).get(FIGURES, {}))
    return notebook, result


@contextmanager
def progress(name, total):
    """Show which cell runs and for how long: one moving line on a terminal, one line for each cell in a log."""
    state = {"cell": 0}
    started = time.monotonic()
    finished = threading.Event()
    moving = sys.stdout.isatty()

    def show():
        seconds = int(time.monotonic() - started)
        text = f"{name}  cell {state['cell']}/{total}  {seconds // 60}:{seconds % 60:02}"
        print(f"\r{text} " if moving else text, end="" if moving else "\n", flush=True)

    def tick():
        while not finished.wait(1):
            show()

    def at_cell(number):
        state["cell"] = number
        show()

    if moving:
        threading.Thread(target=tick, daemon=True).start()
    try:
        yield at_cell
    finally:
        finished.set()
        if moving:
            print()


def run(out, paths):
    """Run notebooks, save them executed in `out` with a summary.json. Returns False when one did not run to its end."""
    out.mkdir(parents=True, exist_ok=True)
    track = track_name()
    summary = {}
    for path in paths:
        notebook, result = execute(path)
        write(out / path.name, nbformat.writes(notebook) + "\n")
        summary[path.name[:2]] = {**result, "track": track}
        write(out / "summary.json", json.dumps(summary, indent=1) + "\n")
        if result["error"]:
            print(f"{path.stem} {result['status']}: {result['error']}", flush=True)
        if result["status"] == "stopped":
            break
    print_summary(summary, track)
    print(f"Executed notebooks and summary.json: {out}")
    return all(entry["status"] == "ok" for entry in summary.values())


def print_summary(summary, track):
    """Print the table of minutes and headline results."""
    width = max(len(entry["notebook"]) for entry in summary.values())
    print(f"\n{'notebook':{width}}  status   minutes  ({track} track)")
    for entry in summary.values():
        print(f"{entry['notebook']:{width}}  {entry['status']:7}  {entry['minutes']:7.1f}")
        for name, value in entry["figures"].items():
            print(f"    {name.replace('_', ' '):34}{f'{value:,}' if isinstance(value, int) else f'{value:,.3f}':>12}")


def track_name():
    """Return the name of the track that the notebooks will run on; a wrong COURSE_TRACK ends in its own sentence."""
    from helpers.track import current_track

    try:
        return current_track().name
    except ValueError as problem:
        sys.exit(str(problem))


# ----------------------------------------------------------------------------- outputs that stand in the repository


def refresh(paths):
    """Run notebooks on the laptop track, write their outputs back, and keep the minutes for the README's table."""
    os.environ["COURSE_TRACK"] = "laptop"
    everything_ok = True
    for path in paths:
        executed, result = execute(path)
        if result["status"] != "ok":
            print(f"{path.stem} {result['status']}, not written back: {result['error']}", flush=True)
            everything_ok = False
            if result["status"] == "stopped":
                break
            continue
        notebook = read(path)  # again: its prose may have been edited meanwhile
        if code_hash(notebook) != code_hash(executed):
            print(f"{path.stem}: its code was changed while it ran, so nothing is written back: run refresh again.")
            everything_ok = False
            continue
        for cell, ran in zip(code_cells(notebook), code_cells(executed), strict=True):
            cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
        write(path, nbformat.writes(tidy(notebook)) + "\n")
        keep_minutes(path, result["minutes"])
        print(f"{path.stem}: outputs written back, {result['minutes']:.1f} minutes", flush=True)
    fill_tables()
    return everything_ok


def code_hash(notebook):
    """Return a hash of a notebook's code cells: outputs made by other code are out of date.

    The setup cell does not count: it is generated, and says the same wherever the course was fetched from.
    """
    sources = [cell.source for cell in code_cells(notebook) if not is_setup(cell)]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def tidy(notebook):
    """Take out of an executed notebook what belongs to one machine or one moment, and note what made its outputs."""
    notebook.metadata = {
        **COLAB_GPU,
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "course": {"outputs_of": code_hash(notebook)},
    }
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in ("tags", "jupyter", "slideshow")}
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = without_machine_paths(output.text)
            for kind, value in output.get("data", {}).items():
                if kind.startswith("text/"):
                    output.data[kind] = without_machine_paths(value)
    return nbformat.from_dict(notebook)


def without_machine_paths(text):
    """Shorten this machine's folders: paths in the course become relative, the home folder becomes ~."""
    for folder, short in ((Path(sys.prefix), ".venv"), (ROOT, "."), (Path.home(), "~")):
        text = text.replace(f"{folder}{os.sep}", "" if short == "." else short + os.sep).replace(str(folder), short)
    return text


def keep_minutes(path, minutes):
    """Note in results/ how long a notebook took on the laptop track, and on what machine."""
    results = json.loads(MINUTES.read_text(encoding="utf-8")) if MINUTES.exists() else {}
    laptop = results.setdefault("laptop", {"minutes": {}})
    laptop.update(machine=machine(), date=date.today().isoformat())
    laptop["minutes"][path.name[:2]] = minutes
    laptop["minutes"] = dict(sorted(laptop["minutes"].items()))
    MINUTES.parent.mkdir(exist_ok=True)
    write(MINUTES, json.dumps(results, indent=1) + "\n")


def machine():
    """Describe this machine in a line: cores, processor, memory, system."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = re.findall(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8"))
        processor = names[0] if names else processor
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB, "
    return f"{os.cpu_count()} cores ({processor}), {memory}{platform.system()}, Python {platform.python_version()}"


# ------------------------------------------------------------------------------------------------ README's tables


def minutes_table():
    """Return the README's table of notebooks, their questions and their measured minutes."""
    results = json.loads(MINUTES.read_text(encoding="utf-8")) if MINUTES.exists() else {}
    tracks = list(results)
    in_colab = [""] if any(badge(path) for path in notebooks()) else []  # a column only where there are badges
    rows = [
        ["Notebook", "The question it answers", *(f"Minutes, {track} track" for track in tracks), *in_colab],
        ["---"] * 2 + ["---:"] * len(tracks) + ["---"] * len(in_colab),
    ]
    for path in notebooks():
        title, question = title_and_question(read(path))
        measured = [results[track]["minutes"].get(path.name[:2]) for track in tracks]
        minutes = ["" if m is None else f"{m:.1f}" for m in measured]
        rows.append([f"[{title}](notebooks/{path.name})", question, *minutes, *(badge(path) for _ in in_colab)])
    where = "; ".join(f"{track} track: {results[track]['machine']}" for track in tracks)
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{table}\n\nMeasured on: {where}." if where else table


def title_and_question(notebook):
    """Return the heading of a notebook's first cell, and the question that follows **The question:** below it."""
    heading, _, rest = notebook.cells[0].source.partition("\n")
    question = re.search(r"\*\*The question:\*\*\s+(.+?\?)\s*$", rest, re.DOTALL | re.MULTILINE)
    question = " ".join(question[1].split()) if question else ""
    return heading.removeprefix("# ").strip(), question[:1].upper() + question[1:]


def readme_picture():
    """Return alt text and PNG bytes of the picture made by the cell with the tag readme-picture; None without one."""
    for path in notebooks():
        for cell in code_cells(read(path)):
            if "readme-picture" in cell.metadata.get("tags", []):
                for output in cell.outputs:
                    shown = re.search(
                        r'<img alt="([^"]*)" src="data:image/png;base64,([^"]+)"',
                        output.get("data", {}).get("text/html", ""),
                    )
                    if shown:
                        return html.unescape(shown[1]), base64.b64decode(shown[2])
    return None


def picture_table():
    """Return README's picture, in Markdown."""
    picture = readme_picture()
    return f"![{picture[0]}]({PICTURE.relative_to(ROOT).as_posix()})" if picture else ""


TABLES = {"minutes": minutes_table, "picture": picture_table, "speed": speed.table, "growth": speed.growth}


def with_tables(text, tables=TABLES):
    """Return the text of a page, the README's say, with every generated table made anew."""
    for name, table in tables.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
        pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
        if pattern.search(text):
            body = table()
            body = f"{body}\n" if body else ""
            text = pattern.sub(lambda match, body=body: match[1] + body + match[2], text)
    return text


def fill_tables():
    """Write all that is generated without running a notebook.

    These are the README's tables and its picture, those of the pages in workshop/, and what is written from the
    course's address: setup cells and badges.
    """
    for path in notebooks():
        notebook = read(path)
        if with_address(notebook, path) != notebook:
            write(path, nbformat.writes(with_address(notebook, path)) + "\n")
    picture = readme_picture()
    if picture:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_bytes(picture[1])
    write(README, with_tables(README.read_text(encoding="utf-8")))
    from tools import workshop  # which imports this module

    try:
        pages = workshop.filled()
    except ValueError as problem:
        sys.exit(f"The pages in workshop/ stay as they are. {problem}")
    for page, text in pages.items():
        write(page, text)


# ---------------------------------------------------------------- what is written from the course's public address

SETUP = """\
import os
{imports}import sys
from importlib.util import find_spec

sys.path[:0] = [os.path.abspath(place) for place in (".", "..") if os.path.isdir(f"{{place}}/helpers")]
if not find_spec("helpers"):{otherwise}
from helpers.track import current_track, set_seed

track = current_track()
print(track)"""
NO_ADDRESS = """  # this notebook was opened alone
    raise ModuleNotFoundError(
        "This notebook needs the course around it: open it there, or name the course's repository in "
        "pyproject.toml, below [tool.course], run `python3 start.py refresh --tables`, and open the notebook again."
    )"""
FETCH = """  # this notebook was opened alone, in Colab say: fetch the course around it
    fetch = "git clone --quiet --depth=1 --branch={branch} {repository}"
    if not os.path.isdir("{folder}"):
        if (git := subprocess.getstatusoutput(f"{{fetch}} unfinished-{{os.getpid()}}"))[0]:
            raise RuntimeError(f"The course was not fetched: check the network and run the cell again. {{git[1]}}")
        os.rename(f"unfinished-{{os.getpid()}}", "{folder}")
    runpy.run_path("{folder}/tools/colab.py", run_name="__main__")  # installs what is missing"""
FOLDER = "bert-finetuning-course"  # where a notebook that was opened alone puts the course


def address():
    """Return (repository, branch) from pyproject.toml; the repository is empty while the course has no public home."""
    course = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]
    repository, branch = course["repository"], course["branch"]
    # A shell reads both. No other characters are needed where anybody may fetch from.
    if repository and not re.fullmatch(r"(https|file)://[\w./:~+-]+", repository):
        sys.exit(
            f"The repository in pyproject.toml is {repository!r}: give its whole public address, as in "
            "https://github.com/NAME/COURSE."
        )
    if not re.fullmatch(r"[\w./+-]+", branch):
        sys.exit(f"The branch in pyproject.toml is {branch!r}: give the name of one that exists, main say.")
    return repository, branch


def setup_source():
    """Return the source of the setup cell, the same for all notebooks."""
    repository, branch = address()
    if not repository:
        return SETUP.format(imports="", otherwise=NO_ADDRESS)
    otherwise = FETCH.format(repository=repository, branch=branch, folder=FOLDER)
    return SETUP.format(imports="import runpy\nimport subprocess\n", otherwise=otherwise)


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
        if is_setup(cell):
            cell.source = setup_source()
    return notebook


# --------------------------------------------------------------------------------------------------------- files


def notebooks():
    """Return the course's notebooks, in order."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_setup(cell):
    return "setup" in cell.metadata.get("tags", [])


def read(path):
    return nbformat.read(path, as_version=4)


def write(path, text):
    """Write a file by way of a temporary one, so that it is never half there."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    shutil.move(unfinished, path)


# -------------------------------------------------------------------------------------------------------- kernel


OFFLINE = """
sys.path.insert(0, "tests"); import no_network
from helpers.data import load_reviews; from helpers.models import load_classifier, load_tokenizer
load_reviews("rotten_tomatoes", n_train=2, n_validation=2, n_test=2); load_tokenizer(); load_classifier()
"""


def kernel(*how):
    """Print, as JSON, where JupyterLab's kernel runs and which track it chooses there."""
    code = "import sys; from helpers.track import current_track; print(sys.prefix, current_track(), sep='\\n')"
    if "offline" in how:
        code += OFFLINE
    said = {"stdout": "", "error": ""}

    def listen(message):
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            said["stdout"] += content["text"]
        elif message["msg_type"] == "error":
            said["error"] = f"{content['ename']}: {content['evalue']}"

    manager = KernelManager(kernel_name="python3", **ENCRYPTED)
    manager.start_kernel(cwd=str(ROOT))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        client.execute_interactive(code, output_hook=listen, timeout=120)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    prefix, track = (said["stdout"].splitlines() + ["", ""])[:2]
    print(json.dumps({"prefix": prefix, "track": track, "error": said["error"]}))


def main(command, *arguments):
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped by `kill`: keep what has been run so far
    if command == "run":
        out, *paths = map(Path, arguments)
        return 0 if run(out, paths) else 1
    if command == "refresh":
        return 0 if refresh([Path(argument) for argument in arguments]) else 1
    kernel(*arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
