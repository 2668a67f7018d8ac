"""What `start.py progress` does: how far a learner has come, and, when the course is done, a page to print.

python -m tools.progress PAGE      the page goes to the file PAGE

The answers that were kept in outputs/ are checked again here. The figures are those of the learner's own copies.
"""

import html
import importlib
import platform
import sys
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path

from helpers.exercises.answers import check_again
from helpers.exercises.engine import CORRECT, Progress, tasks_of
from tools import copies
from tools.notebooks import ROOT, figures_of, notebooks, read, title_and_question, write

COURSE = ("01", "02", "03", "04", "05")  # what must be done for the page; the others go further
PACKAGES = ("torch", "transformers", "datasets", "scikit-learn", "numpy")

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 45rem; margin: 2rem auto; padding: 0 1rem }}
body {{ color: #222; background: #fff }}
table {{ border-collapse: collapse; width: 100%; margin-bottom: 1.5rem }}
th, td {{ text-align: left; padding: 0.2rem 0.5rem; border-bottom: 1px solid #bbb; overflow-wrap: anywhere }}
td:last-child, th:last-child {{ text-align: right }}
.name {{ border-bottom: 1px solid #222; display: inline-block; width: 60% }}
@media print {{ body {{ margin: 0; max-width: none }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>Name: <span class="name">&nbsp;</span></p>
<p>All exercises and questions of notebooks 01 to 05 are answered rightly. The answers were checked again on {date}.</p>
<h2>Exercises and questions</h2>
<table><tr><th scope="col">Notebook</th><th scope="col">Right</th></tr>
{done}
</table>
<h2>Measured on this computer</h2>
{figures}
<h2>With</h2>
<p>{versions}</p>
</body>
</html>
"""


def progress_of_all():
    """Return {number: (title, Progress)}, with all kept answers checked again."""
    found = {}
    for path in notebooks():
        number = path.name[:2]
        tasks = tasks_of(importlib.import_module(f"helpers.exercises.nb{number}"))
        check_again(f"nb{number}", tasks)
        found[number] = title_and_question(read(path))[0], Progress(tasks, number)
    return found


def right(progress):
    """Return how many of a notebook's tasks are answered rightly, and of how many."""
    return sum(task.state == CORRECT for task in progress.tasks.values()), len(progress.tasks)


def measured():
    """Return {number: {name: value}} of what the learner's own copies measured when they were run and saved last."""
    found = {}
    for path in notebooks():
        try:
            found[path.name[:2]] = figures_of(read(copies.MINE / path.name))
        except (OSError, ValueError, KeyError):  # not begun, or not a notebook any more
            found[path.name[:2]] = {}
    return found


def page(found, figures):
    """Return the page to print: what is done, the learner's own figures, versions and date."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    rows = [
        f"<tr><td>{html.escape(title)}</td><td>{{}} of {{}}</td></tr>".format(*right(p)) for title, p in found.values()
    ]
    tables = []
    for number, values in figures.items():
        lines = [
            f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{shown(v)}</td></tr>" for name, v in values.items()
        ]
        body = f"<table>{''.join(lines)}</table>" if lines else "<p>This copy was not run to its end and saved.</p>"
        if lines or number in COURSE:
            tables.append(f"<h3>{html.escape(found[number][0])}</h3>\n{body}")
    versions = [f"the course {project['version']}", f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in PACKAGES]
    return PAGE.format(
        title=html.escape(project["description"].partition(":")[0]),
        date=date.today().isoformat(),
        done="\n".join(rows),
        figures="\n".join(tables),
        versions=html.escape(f"{', '.join(versions)}, on {platform.system()}"),
    )


def shown(value):
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:,.3f}"
        if isinstance(value, float)
        else html.escape(str(value))
    )


def main(path):
    print("Checking the answers that you gave in your notebooks once more.", flush=True)
    found = progress_of_all()
    width = max(len(title) for title, _ in found.values())
    for title, progress in found.values():
        done, total = right(progress)
        print(f"{title:{width}}  {done:2} of {total:2}   to read out: {progress.code()}")
    left = [number for number in COURSE if number in found and right(found[number][1])[0] < right(found[number][1])[1]]
    if left:
        print(
            f"When {', '.join(left)} {'is' if len(left) == 1 else 'are'} done too, this command writes a page to print."
        )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, page(found, measured()))
    print(f"All of the course is done. Your page to print, with your own figures: {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
