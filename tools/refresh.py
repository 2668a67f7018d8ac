"""For authors: run notebooks on the laptop track and write their outputs back; make anew all that is generated.

    python -m tools.refresh [NOTEBOOK…]     without a notebook nothing is run

Generated are the notebooks' setup cells, badges and GPU minutes, README's tables and picture, the tables and
links in workshop/.
"""

import base64
import html
import json
import os
import re
import sys
from pathlib import Path

import nbformat

from helpers.careful.computer import processor_has_bf16
from tools import guide, speed
from tools.address import badge, with_address
from tools.notebooks import (
    ROOT,
    code_cells,
    code_hash,
    machine,
    notebooks,
    pictures_of,
    read,
    save,
    table,
    tagged,
    title_and_question,
    with_tables,
    write,
)
from tools.run import execute, stop_like_ctrl_c

PICTURE = "tools/results/picture.png"
COLAB_GPU = {"accelerator": "GPU", "colab": {"gpuType": "T4"}}  # metadata that makes Colab lend a notebook a GPU


# ----------------------------------------------------------------------------------------------- outputs of notebooks


def refresh(paths):
    """Run notebooks, write their outputs back, and keep the minutes. Returns False when one was not written back."""
    os.environ["COURSE_TRACK"] = "laptop"
    all_written = True
    for path in paths:
        executed, result = execute(path)
        notebook = read(path)  # again: its prose may have been edited meanwhile
        if result["status"] != "ok":
            problem = f"{result['status']}, not written back: {result['error']}"
        elif code_hash(notebook) != code_hash(executed):
            problem = "its code was changed while it ran, so nothing is written back: run refresh again."
        else:
            problem, said = None, f"outputs written back, {result['minutes']:.1f} minutes"
            for cell, ran in zip(code_cells(notebook), code_cells(executed), strict=True):
                cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
            save(tidy(notebook), path)
            keep_minutes(path, result["minutes"])
        print(f"{path.stem}: {problem or said}", flush=True)
        all_written = all_written and not problem
        if result["status"] == "stopped":
            break
    return all_written


def tidy(notebook):
    """Take out of an executed notebook what belongs to one machine or one moment, and note what made its outputs."""
    notebook.metadata = {
        **COLAB_GPU,
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "course": {"outputs_of": code_hash(notebook)},
    }
    for cell in notebook.cells:
        kept = ("tags", "jupyter", "slideshow", "slide")
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in kept}
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
    """Note how long a notebook took on the laptop track, and on what machine."""
    results = speed.read_results("notebook_minutes")
    laptop = results.setdefault("laptop", {"minutes": {}, "machines": {}})
    described = machine()
    if not processor_has_bf16() and "hidden" not in described:
        described += ", without 16-bit products"
    for name, value in (("minutes", minutes), ("machines", described)):
        laptop[name] = dict(sorted({**laptop[name], path.name[:2]: value}.items()))
    speed.RESULTS.mkdir(exist_ok=True)
    write(speed.RESULTS / "notebook_minutes.json", json.dumps(results, indent=1) + "\n")


# -------------------------------------------------------------------------------------------------- what is generated


def stale():
    """Return {path: what must stand there, text or bytes} of all generated files that say something else today.

    Raises ValueError where one can't be made: an address that is none, a section that workshop/ speaks of and isn't.
    """
    readme, shown = ROOT / "README.md", readme_picture()
    made = {readme: with_tables(readme.read_text(encoding="utf-8"), TABLES), **guide.pages()}
    if shown:
        made[ROOT / PICTURE] = shown[1]
    other = {path: content for path, content in made.items() if not path.exists() or in_file(path, content) != content}
    for path in notebooks():
        notebook = read(path)
        made = with_gpu_minutes(with_address(notebook, path), path)
        if made != notebook:
            other[path] = nbformat.writes(made) + "\n"
    return other


def in_file(path, like):
    return path.read_bytes() if isinstance(like, bytes) else path.read_text(encoding="utf-8")


def fill():
    """Write all that is generated without running a notebook."""
    for path, content in stale().items():
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write(path, content)


def with_gpu_minutes(notebook, path):
    """Return the notebook with a sentence on a GPU's minutes after those of a laptop, in its second cell."""
    gpu = speed.read_results("notebook_minutes").get("gpu", {"minutes": {}})
    minutes = " to ".join(
        map(str, gpu["minutes"].get(path.name[:2], []))
    )  # least and most; one number where they agree
    said = minutes and f"\n\n**On a GPU:** about {minutes} min of computing ({gpu['machine']})."
    for cell in notebook.cells[1:2]:
        cell.source = re.sub(r"\n\n\*\*On a GPU:\*\*.*", "", cell.source)
        cell.source = re.sub(r"(\*\*Time:\*\*.*?)(?=\n\n|$)", rf"\1{said}", cell.source, count=1, flags=re.DOTALL)
    return notebook


def minutes_table():
    """Return README's table of notebooks, their questions and their measured minutes."""
    results = speed.read_results("notebook_minutes")
    tracks, paths = list(results), notebooks()
    in_colab = [""] if any(map(badge, paths)) else []  # a column only where there are badges
    rows = [
        ["Notebook", "The question it answers", *(f"Minutes, {track} track" for track in tracks), *in_colab],
        ["---"] * 2 + ["---:"] * len(tracks) + ["---"] * len(in_colab),
    ]
    for path in paths:
        title, question = title_and_question(read(path))
        measured = [results[track]["minutes"].get(path.name[:2], "") for track in tracks]
        minutes = [m and f"{m:.1f}" if not isinstance(m, list) else " to ".join(map(str, m)) for m in measured]
        rows.append([f"[{title}](notebooks/{path.name})", question, *minutes, *(badge(path) for _ in in_colab)])
    where = []
    for track in tracks:
        machines = results[track].get("machines", {})
        for one in dict.fromkeys(machines.values()):
            where.append(f"{', '.join(number for number in machines if machines[number] == one)}: {one}")
        where += [f"{track} track: {results[track]['machine']}"] if "machine" in results[track] else []
    return f"{table(rows)}\n\nMeasured on: {'; '.join(where)}." if where else table(rows)


def readme_picture():
    """Return alt text and PNG bytes of the picture made by the cell with the tag readme-picture; None without one."""
    for path in notebooks():
        for cell in code_cells(read(path)):
            for alt, data in pictures_of(cell) if tagged(cell, "readme-picture") else []:
                return html.unescape(alt), base64.b64decode(data.partition(",")[2])
    return None


def picture_table():
    shown = readme_picture()
    return f"![{shown[0]}]({PICTURE})" if shown else ""


TABLES = {"minutes": minutes_table, "picture": picture_table, "speed": speed.table, "growth": speed.growth}


def main(paths):
    stop_like_ctrl_c()
    all_written = refresh(paths)
    try:
        fill()
    except ValueError as problem:
        sys.exit(f"No table, setup cell or badge was written. {problem}")
    return 0 if all_written else 1


if __name__ == "__main__":
    sys.exit(main(list(map(Path, sys.argv[1:]))))
