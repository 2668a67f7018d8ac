"""What `start.py site` does: a site to read, from the committed notebooks, workshop/ and README. Nothing is executed.

python -m tools.site OUT      the pages go to the folder OUT

Sphinx builds it with site/conf.py; a warning is a fault. What learners are to find out stays folded or away: quiz
questions open option by option, exercises come with their hints and without solutions.
"""

import html
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

import nbformat
from sphinx.cmd.build import build_main

from helpers.exercises.engine import Quiz, as_html
from helpers.exercises.solve import exercise_name
from tools.address import address, badge
from tools.copies import without_outputs
from tools.ground import Problem, as_program
from tools.guide import tasks
from tools.notebooks import FIGURES, ROOT, notebooks, read, save, tagged, title_and_question, write

FIRST = ["learners", "glossary", "instructor-guide", "preflight"]  # of workshop/; its other pages follow
CODE = re.compile(r"(```.*?```|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$)", re.DOTALL)  # in which nothing is linked


def slug(heading):
    """Return the fragment by which a heading is found; the same for its words and for JupyterLab's fragment of it."""
    return re.sub(r"[^a-z0-9]+", "-", unquote(heading).lower()).strip("-")


def workshop_pages():
    names = [path.stem for path in sorted((ROOT / "workshop").glob("*.md"))]
    return sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


# ---------------------------------------------------------------------------------------------------------- the words


def glossary():
    """Return {term, in small letters: what it means}."""
    found = {}
    for line in (ROOT / "workshop" / "glossary.md").read_text(encoding="utf-8").splitlines():
        entry = re.match(r"- ((?:\*\*[^*]+\*\*(?:, )?)+): (.+?)(?: \[\d\d, section \d+\]\(.*)?$", line)
        for name in re.findall(r"\*\*([^*]+)\*\*", entry[1]) if entry else []:
            found[name.lower()] = re.sub(r"[`*]", "", entry[2])
    return found


def term(words, terms, to_glossary):
    """Return a term as a link to the glossary, with what it means shown on hover."""
    meaning = terms[" ".join(words.lower().split())]
    place = f"{to_glossary}#term-{slug(' '.join(words.split()))}"
    return f'<a class="term" href="{place}" title="{html.escape(meaning)}">{words}</a>'


def linked(text, folder, terms):
    """Return Markdown with its terms linked to the glossary, and its links leading to pages of the site.

    folder   that of the page: notebooks, workshop or "."
    """
    to_glossary = os.path.relpath("workshop/glossary.html", folder)

    def bold(match):
        known = " ".join(match[1].lower().split()) in terms
        return f"**{term(match[1], terms, to_glossary)}**" if known else match[0]

    def link(match):
        words, target = match[1], match[2]
        if re.match(r"https?://|#", target):
            return match[0]
        path, _, fragment = target.partition("#")
        place = Path(os.path.normpath(Path(folder, path)))
        if place.name == "glossary.md" and unquote(fragment).replace("-", " ").lower() in terms:
            meaning = terms[unquote(fragment).replace("-", " ").lower()]
            here = f"{to_glossary}#term-{slug(fragment)}"
            return f'<a class="term" href="{here}" title="{html.escape(meaning)}">{words}</a>'
        if place == Path("README.md"):
            return f"[{words}]({os.path.relpath('index.md', folder)})"
        if place.suffix == ".html" and (ROOT / place).exists():  # a page as it is, the handout
            return f'<a href="{html.escape(path)}">{words}</a>'
        on_the_site = place.suffix in (".ipynb", ".md") and len(place.parts) == 2 or place.suffix == ".png"
        if on_the_site and (ROOT / place).exists():
            return f"[{words}]({path}{'#' + slug(fragment) if fragment else ''})"
        repository, branch = address()
        return f"[{words}]({repository}/blob/{branch}/{place.as_posix()})" if "github.com" in repository else words

    parts = CODE.split(text)
    for number in range(0, len(parts), 2):
        if folder == "notebooks":
            parts[number] = re.sub(r"\*\*(.+?)\*\*", bold, parts[number], flags=re.DOTALL)
    return re.sub(r"\[((?:[^\[\]]|`[^`]*`)*)\]\(([^)\s]+)\)", link, "".join(parts))


# ------------------------------------------------------------------------------------------------------------ the pages


def quiz_cell(quiz):
    """Return a question as text: each option opens, and explains itself."""
    options = []
    for letter, option in quiz.options.items():
        verdict = "✓ Right." if letter == quiz.right else "✗ No."
        why = re.sub(r"^(Right|Yes|No)[.:] ", "", quiz.why[letter])
        reply = f"<p><strong>{verdict}</strong> {as_html(why)}</p>"
        options.append(f"<details><summary>{letter}) {as_html(option)}</summary>{reply}</details>")
    return f'<div class="quiz"><p><strong>{as_html(quiz.question)}</strong></p>{"".join(options)}</div>'


def hints_cell(task):
    """Return an exercise's hints, each folded by itself."""
    hints = [
        f"<details><summary>Hint {number}</summary><p>{as_html(hint)}</p></details>"
        for number, hint in enumerate(task.hints, 1)
    ]
    return f'<div class="hints">{"".join(hints)}</div>'


def run_buttons(path):
    """Return what leads from a page to a notebook that runs: a download and, where the course has a home, Colab."""
    buttons = [f'<a class="run" href="../download/{path.name}" download>Download this notebook</a>']
    colab = re.search(r"\]\((https://[^)]+)\)$", badge(path))
    if colab:
        buttons.append(f'<a class="run" href="{colab[1]}">Open in Colab</a>')
    return f'<p class="runs">{" ".join(buttons)}</p>'


def page_of(path, terms):
    """Return a notebook as it is read: outputs as committed, exercises with hints, questions that open."""
    notebook, cells, known = read(path), [], tasks(path.name[:2])
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            source = re.sub(r"\n\n\[!\[Open in Colab\].*", "", cell.source)
            if number == 0:
                title, _, rest = source.partition("\n")
                source = f"{title}\n\n{run_buttons(path)}\n{rest}"
            cell.source = linked(source, "notebooks", terms)
        elif tagged(cell, "setup"):
            cell.metadata["tags"] = ["hide-input"]
        elif tagged(cell, "exercise") or "ex.progress()" in cell.source:
            cell.outputs = []
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(FIGURES, None)  # for programs
        task = known.get(exercise_name(cell.source)) if tagged(cell, "exercise") else None
        if isinstance(task, Quiz):
            cell = nbformat.v4.new_markdown_cell(quiz_cell(task), id=cell.id)
        cells.append(cell)
        if task and not isinstance(task, Quiz):
            cells.append(nbformat.v4.new_markdown_cell(hints_cell(task)))
    notebook.cells = cells
    return notebook


def index(terms):
    """Return the first page, which is README's beginning, and the page with the rest of README."""
    first, rest = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Three tracks", 1)
    contents = [
        ("The notebooks", [f"notebooks/{path.stem}" for path in notebooks()]),
        ("For you and for a room", [f"workshop/{name}" for name in workshop_pages()]),
        ("About", ["about"]),
    ]
    for caption, pages in contents:
        first += "\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(pages) + "\n```\n"
    return linked(first, ".", terms), linked(f"# About this course\n\n## Three tracks{rest}", ".", terms)


def write_sources(folder):
    """Write what Sphinx builds the site from: folder/pages, and folder/extra, which goes into the site as it is."""
    terms = glossary()
    pages, extra = folder / "pages", folder / "extra"
    for place in ("notebooks", "workshop", "tools/results", "../extra/download", "../extra/workshop"):
        (pages / place).mkdir(parents=True)
    for path in (ROOT / "workshop").glob("*.html"):
        shutil.copy(path, extra / "workshop")
    for path in notebooks():
        save(page_of(path, terms), pages / "notebooks" / path.name)
        write(extra / "download" / path.name, json.dumps(without_outputs(path), indent=1))
    for name in workshop_pages():
        text = linked((ROOT / "workshop" / f"{name}.md").read_text(encoding="utf-8"), "workshop", terms)
        if name == "glossary":
            text = re.sub(r"^- ((?:\*\*[^*]+\*\*(?:, )?)+):", with_targets, text, flags=re.MULTILINE)
        write(pages / "workshop" / f"{name}.md", text)
    first, about = index(terms)
    write(pages / "index.md", first)
    write(pages / "about.md", about)
    for picture in (pages / "tools" / "results", extra):  # README shows it, and so do previews of links
        shutil.copy(ROOT / "tools" / "results" / "picture.png", picture)


def with_targets(match):
    targets = [f'<span id="term-{slug(name)}"></span>' for name in re.findall(r"\*\*([^*]+)\*\*", match[1])]
    return f"- {''.join(targets)}{match[1]}:"


def questions():
    """Return {page: the question it answers}: what previews of links say."""
    return {f"notebooks/{path.stem}": title_and_question(read(path))[1] for path in notebooks()}


def build(out):
    """Build the site in the folder `out`. Returns False when Sphinx warned of something."""
    with tempfile.TemporaryDirectory() as folder:
        write_sources(Path(folder))
        settings = [f"-Dhtml_extra_path={folder}/extra", f"-c{ROOT / 'site'}", f"-d{folder}/doctrees"]
        return build_main(["-q", "-W", "--keep-going", "-bhtml", *settings, f"{folder}/pages", str(out)]) == 0


def main(out):
    ours = out / ".course-site"  # marks the folder from the start, so that a build that was stopped can be repeated
    if any(out.iterdir()) and not ours.exists():
        raise Problem(f"{out} holds files that are not of this site: name an empty folder, or a new one, with --out.")
    ours.touch()
    if not build(out):
        sys.exit("The site has faults, which stand above.")
    print(f"The site: {out / 'index.html'}. It needs no network and no server.")


if __name__ == "__main__":
    as_program(main, Path(sys.argv[1]))
