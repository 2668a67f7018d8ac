"""What every tool here does with files: read and write notebooks, and say what stands in them."""

import hashlib
import json
import os
import platform
import re
from pathlib import Path

import nbformat

from tools.ground import ROOT, write

FIGURES = "application/vnd.course.figures+json"  # written by helpers.plots.measured
KERNELS = {"transport_encryption": "auto"}  # else each kernel warns that it talks in plain text


def notebooks():
    """Return the paths of the course's notebooks, in order."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def save(notebook, path):
    write(path, nbformat.writes(notebook) + "\n")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(cell, tag):
    return tag in cell.metadata.get("tags", [])


def without_outputs(cell):
    cell.outputs, cell.execution_count = [], None


def code_hash(notebook):
    """Return a hash of a notebook's code cells: outputs made by other code are out of date.

    The setup cell does not count: it is generated, and says the same wherever the course was fetched from.
    """
    sources = [cell.source for cell in code_cells(notebook) if not tagged(cell, "setup")]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def title_and_question(notebook):
    """Return the heading of a notebook's first cell, and the question that follows **The question:** below it."""
    heading, _, rest = notebook.cells[0].source.partition("\n")
    question = re.search(r"\*\*The question:\*\*\s+(.+?\?)\s*$", rest, re.DOTALL | re.MULTILINE)
    question = " ".join(question[1].split()) if question else ""
    return heading.removeprefix("# ").strip(), question[:1].upper() + question[1:]


def figures_of(notebook):
    """Return {name: value} of what a run of the notebook measured."""
    figures = {}
    for cell in code_cells(notebook):
        for output in cell.outputs:
            figures.update(output.get("data", {}).get(FIGURES, {}))
    return figures


def pictures_of(cell):
    """Return [(what a picture shows, in words, as HTML; its data)] of a code cell's outputs."""
    shown = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
    return re.findall(r'<img alt="([^"]*)" src="(data:image/png;base64,[^"]+)"', shown)


def table(rows):
    """Return rows of words as a table in Markdown."""
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def with_tables(text, tables):
    """Return the text of a page with what stands between its markers made anew: tables is {name: function}."""
    for name, make in tables.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
        pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
        if pattern.search(text):
            body = make()
            body = f"{body}\n" if body else ""
            text = pattern.sub(lambda match, body=body: match[1] + body + match[2], text)
    return text


def machine():
    """Describe this machine in a line: cores, processor, memory, system, and what of the processor is hidden."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = re.findall(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8"))
        processor = names[0] if names else processor
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB, "
    hidden = ", its 16-bit products and AVX-512 hidden" if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2" else ""
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({processor}), {memory}{system}{hidden}"
