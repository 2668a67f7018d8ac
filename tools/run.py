"""Runs notebooks without a browser, saves the executed copies, and says what they measured.

python -m tools.run OUT NOTEBOOK…      the copies and summary.json go to the folder OUT
"""

import json
import os
import re
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

from helpers.track import current_track
from tools.notebooks import KERNELS, code_cells, figures_of, read, save, without_outputs, write


def execute(path):
    """Run one notebook from top to bottom. Returns the executed notebook and what became of it.

    What became of it: status ("ok", "failed" or "stopped"), minutes, figures, and error (one line, None when ok).
    A failing cell ends the notebook; the cells after it have no outputs.
    """
    notebook = read(path)
    for cell in code_cells(notebook):
        without_outputs(cell)
    client = NotebookClient(
        notebook,
        timeout=None,  # the learner decides when to stop
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        coalesce_streams=True,
        record_timing=False,
        config=Config(KernelManager=KERNELS),
    )
    os.environ["COURSE_FRESH"] = "1"  # kernels inherit it: nobody has answered anything yet
    number, total = 0, len(code_cells(notebook))
    status, error = "ok", None
    started = time.monotonic()
    try:
        # Not client.execute(): on Ctrl-C that shuts the kernel down and goes on, without a word.
        with progress(path.stem, total) as at_cell, client.setup_kernel():
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type == "code":
                    number += 1
                    at_cell(number)
                    client.execute_cell(cell, index)
    except KeyboardInterrupt:
        status, error = "stopped", f"cell {number} of {total}: interrupted"
    except CellExecutionError as problem:
        status, error = "failed", f"cell {number} of {total}: {in_a_line(f'{problem.ename}: {problem.evalue}')}"
    except DeadKernelError:
        why = "the kernel died; most often the computer ran out of memory"
        status, error = "failed", f"cell {number} of {total}: {why}"
    except Exception as problem:  # the kernel did not start, say: the other notebooks still get their turn
        status, error = "failed", in_a_line(f"{type(problem).__name__}: {problem}")
    minutes = round((time.monotonic() - started) / 60, 2)
    result = {"notebook": path.name, "status": status, "minutes": minutes, "figures": figures_of(notebook)}
    return notebook, {**result, "error": error}


def in_a_line(text):
    return " ".join(text.split())[:300]


@contextmanager
def progress(name, total):
    """Show which cell runs and for how long: one moving line on a terminal, one line for each cell in a log."""
    running = 0
    started = time.monotonic()
    finished = threading.Event()
    moving = sys.stdout.isatty()

    def show():
        seconds = int(time.monotonic() - started)
        text = f"{name}  cell {running}/{total}  {seconds // 60}:{seconds % 60:02}"
        print(f"\r{text} " if moving else text, end="" if moving else "\n", flush=True)

    def tick():
        while not finished.wait(1):
            show()

    def at_cell(number):
        nonlocal running
        running = number
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
    try:
        track = current_track(ask_the_hub=False).name
    except ValueError as problem:  # a wrong COURSE_TRACK
        sys.exit(str(problem))
    out.mkdir(parents=True, exist_ok=True)
    summary = {}
    for path in paths:
        notebook, result = execute(path)
        save(notebook, out / path.name)
        said = re.search(r"^Track: (\w+)", "".join(text_of(cell) for cell in code_cells(notebook)), re.MULTILINE)
        track = said[1] if said else track  # it asks the Hub, and may then have to do without
        summary[path.name[:2]] = {**result, "track": track}
        write(out / "summary.json", json.dumps(summary, indent=1) + "\n")
        if result["error"]:
            print(f"{path.stem} {result['status']}: {result['error']}", flush=True)
        if result["status"] == "stopped":
            break
    print_summary(summary, track)
    print(f"Executed notebooks and summary.json: {out}")
    return all(entry["status"] == "ok" for entry in summary.values())


def text_of(cell):
    """Return what a cell has printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


def print_summary(summary, track):
    """Print the table of minutes and headline results."""
    width = max(len(entry["notebook"]) for entry in summary.values())
    print(f"\n{'notebook':{width}}  status   minutes  ({track} track)")
    for entry in summary.values():
        print(f"{entry['notebook']:{width}}  {entry['status']:7}  {entry['minutes']:7.1f}")
        for name, value in entry["figures"].items():
            print(f"    {name.replace('_', ' '):34}{f'{value:,}' if isinstance(value, int) else f'{value:,.3f}':>12}")


def stop_like_ctrl_c():
    """Let `kill` do what Ctrl-C does: what has been run so far is kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


if __name__ == "__main__":
    stop_like_ctrl_c()
    out, *paths = map(Path, sys.argv[1:])
    sys.exit(0 if run(out, paths) else 1)
