"""What an instructor needs, made from the notebooks and their exercises: the guide's tables, slides, solutions.

    workshop.py slides OUT NOTEBOOK…       one HTML file for each notebook, which shows itself in any browser
    workshop.py solutions OUT NOTEBOOK…    the notebooks with their exercises answered

The tables and links in `workshop/*.md` are written by `start.py refresh --tables` (`fill_tables` in notebooks.py).
"""

import html
import importlib
import json
import math
import re
import sys
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nbconvert.filters import markdown2html  # noqa: E402

from helpers.exercises.engine import Exercise, Quiz, tasks_of, told  # noqa: E402
from helpers.exercises.solve import solved  # noqa: E402
from tools import notebooks as tools  # noqa: E402

# ------------------------------------------------------------------------- the plan: what is taught when, and how

# The sections that an instructor shows live when there is time for them; the others are left as reading.
LIVE = {
    "01": (1, 2, 4, 5, 6, 9, 11),
    "02": (1, 4, 6, 7, 10, 12, 13),
    "03": (1, 3, 4, 5, 9, 10, 11),
    "04": (2, 3, 4, 5, 6, 8, 9),
    "05": (2, 3, 4, 5, 6, 7, 8, 10, 11),
}

TALK, BREAK, TEACH, TASKS = "talk", "break", "teach", "tasks"
TALKING = 1.5  # a section with its prediction, votes and questions takes so much longer than reading it: an estimate

# A timetable is the time of its start and its blocks. Talk and breaks have their minutes here, and behind them the
# notebooks that compute meanwhile. The minutes of all other blocks are computed from the notebooks: (TEACH, notebook,
# sections) and (TASKS, notebook, exercises), where "quiz" means all of its questions.
TIMETABLES = {
    "half a day": [
        "09:00",
        (TALK, "Welcome, and the five questions of `learners.md`", 15, "01"),
        (TEACH, "01", (1, 2, 5, 6)),
        (TASKS, "01", ("choose", "quiz")),
        (TEACH, "02", (1, 6, 12)),
        (BREAK, "Break", 15, "03"),
        (TEACH, "03", (3, 4, 5, 9, 10, 11)),
        (TASKS, "03", ("training_step",)),
        (TEACH, "04", (2, 3, 4)),
        (TASKS, "04", ("best_epoch",)),
        (BREAK, "Break", 10, "05"),
        (TEACH, "05", (2, 4, 5, 11)),
        (TASKS, "05", ("mislabelled",)),
        (TALK, "What to read at home; `survey-after.md`", 10),
    ],
    "one day": [
        "09:30",
        (TALK, "Welcome, and the five questions of `learners.md`", 15, "01"),
        (TEACH, "01", LIVE["01"]),
        (TASKS, "01", ("choose", "freeze_lowest")),
        (BREAK, "Break", 15, "02"),
        (TEACH, "02", LIVE["02"]),
        (TASKS, "02", ("pad_left", "make_batches")),
        (TEACH, "03", (1, 3, 4, 5)),
        (BREAK, "Lunch", 60, "03"),
        (TEACH, "03", (9, 10, 11)),
        (TASKS, "03", ("training_step", "fine_tune")),
        (BREAK, "Break", 15, "04"),
        (TEACH, "04", LIVE["04"]),
        (TASKS, "04", ("best_epoch", "EarlyStopping")),
        (BREAK, "Break", 15, "05"),
        (TEACH, "05", LIVE["05"]),
        (TASKS, "05", ("best_threshold", "mislabelled")),
        (TALK, "What to read at home; `survey-after.md`", 15),
    ],
    "two half-days, the first": [
        "09:00",
        (TALK, "Welcome, and the five questions of `learners.md`", 15, "01"),
        (TEACH, "01", LIVE["01"]),
        (TASKS, "01", ("choose", "freeze_lowest", "quiz")),
        (BREAK, "Break", 15, "02", "03"),
        (TEACH, "02", LIVE["02"]),
        (TASKS, "02", ("pad_left", "make_batches")),
        (BREAK, "Break", 10),
        (TEACH, "03", LIVE["03"]),
        (TASKS, "03", ("training_step",)),
        (TALK, "For the time in between: `fine_tune` of 03, and the sections left as reading", 5),
    ],
    "two half-days, the second": [
        "09:00",
        (TALK, "What was unclear; somebody shows a repaired `fine_tune`", 15, "04"),
        (TEACH, "04", LIVE["04"]),
        (TASKS, "04", ("best_epoch", "EarlyStopping")),
        (BREAK, "Break", 15, "05"),
        (TEACH, "05", LIVE["05"]),
        (TASKS, "05", ("best_threshold", "mislabelled")),
        (TALK, "Own reviews: the end of notebook 05 says how to load them", 20),
        (TALK, "What to read at home; `survey-after.md`", 10),
    ],
}


def minutes_of(block):
    """How long a block takes: as stated for talk and breaks, otherwise computed, and rounded up to 5 minutes."""
    kind, what, *rest = block
    if kind in (TALK, BREAK):
        return rest[0]
    if kind == TEACH:
        minutes = TALKING * sum(section_of(what, section)[1] for section in rest[0])
    else:
        minutes = sum(task.minutes for name, task in tasks(what).items() if name in rest[0] or name[:4] in rest[0])
    return 5 * math.ceil(minutes / 5)


# --------------------------------------------------------------------------------------------- what notebooks say


def notebook_path(number):
    (path,) = (path for path in tools.notebooks() if path.name.startswith(number))
    return path


def tasks(number):
    """{name: Exercise or Quiz} of a notebook."""
    return tasks_of(importlib.import_module(f"helpers.exercises.nb{number}"))


def parts(cell):
    """Split a text cell at its headings: [(level, heading, what stands below it)]. Level 0 is text without heading."""
    pieces = re.split(r"^(#{1,6}) +(.+)$", cell.source, flags=re.MULTILINE)
    found = [(0, "", pieces[0].strip())] if pieces[0].strip() else []
    return found + [
        (len(marks), heading.strip(), body.strip())
        for marks, heading, body in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True)
    ]


def sections_of(number):
    """{number of the section: (heading, minutes to read and try)}, of the sections that are numbered.

    A notebook says how many minutes it takes to read and try. They are dealt out to its sections by length, where a
    line of code counts as much as five words. Exercises that stand inside a section are left out.
    """
    notebook = tools.read(notebook_path(number))
    length, headings, here = {}, {}, None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if here:
                length[here] += 5 * len(cell.source.splitlines())
            continue
        for level, heading, body in parts(cell):
            if level in (1, 2) or heading.startswith(("Exercise", "Think")):
                found = re.match(r"(\d+)\. ", heading)
                here = int(found[1]) if found and level == 2 else None
                if here:
                    headings[here], length[here] = heading, 0
            if here:
                length[here] += len(body.split())
    reading, whole = reading_minutes(notebook), sum(length.values())
    return {section: (headings[section], reading * words / whole) for section, words in length.items()}


def section_of(number, section):
    """(heading, minutes) of one section. ValueError where a notebook has none of that number."""
    sections = sections_of(number)
    if section not in sections:
        raise ValueError(f"Notebook {number} has no section {section}, which workshop/ speaks of.")
    return sections[section]


def reading_minutes(notebook):
    """The minutes that a notebook itself gives for reading and trying."""
    stated = re.search(r"about (\d+) minutes\s+to\s+read\s+and\s+try", notebook.cells[1].source)
    if not stated:
        title, _ = tools.title_and_question(notebook)
        raise ValueError(f"{title}: its second cell must say 'about N minutes to read and try'.")
    return int(stated[1])


def computing_minutes(number):
    """The minutes that a notebook computed on the laptop track, as measured by `start.py refresh`."""
    return json.loads(tools.MINUTES.read_text(encoding="utf-8"))["laptop"]["minutes"][number]


def figures_of(number):
    """The figures that the committed run of a notebook measured."""
    figures = {}
    for cell in tools.code_cells(tools.read(notebook_path(number))):
        for output in cell.outputs:
            figures.update(output.get("data", {}).get(tools.FIGURES, {}))
    return figures


def in_words(name):
    """`takes_the_last` or `TakesTheLast` as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()


# --------------------------------------------------------------------------------------- tables and links of the guide


def table(rows):
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def clock(start, minutes):
    hours, rest = divmod(60 * int(start[:2]) + int(start[3:]) + minutes, 60)
    return f"{hours:02}:{rest:02}"


def timetable(name):
    """A timetable as Markdown: clock times, minutes, what is done."""
    start, *blocks = TIMETABLES[name]
    rows, passed = [["From", "Minutes", "What"], ["---", "---:", "---"]], 0
    for block in blocks:
        minutes = minutes_of(block)
        rows.append([clock(start, passed), minutes, what_is_done(block)])
        passed += minutes
    rows.append([clock(start, passed), "", f"End, after {passed // 60} h {passed % 60:02} min, breaks included"])
    return table(rows)


def what_is_done(block):
    kind, what, *rest = block
    if kind in (TALK, BREAK):
        started = " and ".join(f"{number} ({computing_minutes(number):.1f} minutes)" for number in rest[1:])
        return f"{what}. Meanwhile compute: {started}" if started else what
    if kind == TASKS:
        names = ["the quiz" if name == "quiz" else f"`{name}`" for name in rest[0]]
        return f"Exercises of {what}: {', '.join(names)}"
    title, _ = tools.title_and_question(tools.read(notebook_path(what)))
    return f"**{title}**, sections {', '.join(map(str, rest[0]))}"


def sections_table(number):
    """Minutes of a notebook and its sections, and what its committed run measured."""
    rows = [["Section", "Minutes to read", "Minutes live"], ["---", "---:", "---:"]]
    for section, (heading, minutes) in sections_of(number).items():
        rows.append([heading, f"{minutes:.0f}", f"{TALKING * minutes:.0f}" if section in LIVE[number] else "reading"])
    reading = reading_minutes(tools.read(notebook_path(number)))
    exercises, quiz = (
        sum(task.minutes for task in tasks(number).values() if isinstance(task, kind)) for kind in (Exercise, Quiz)
    )
    shown = []
    for name, value in figures_of(number).items():
        shown.append(f"{name.replace('_', ' ')} {f'{value:,}' if isinstance(value, int) else f'{value:.3g}'}")
    return (
        f"{reading} minutes to read and try, {computing_minutes(number):.1f} to compute, {exercises} for all exercises "
        f"and {quiz} for the quiz.\n\nThe committed run measured: {', '.join(shown)}.\n\n{table(rows)}"
    )


def exercises_list(number):
    """Every exercise with its minutes and, folded, the likely wrong answers with what the check says to each."""
    blocks = []
    for name, task in tasks(number).items():
        if isinstance(task, Exercise):
            lines = [f"- *{in_words(mistake.__name__)}*: {told(mistake)}" for mistake in task.mistakes]
            heading = f"<strong>{html.escape(task.title)}</strong> (<code>{name}</code>, {task.minutes} minutes)"
            summary = f"<summary>{heading}: {len(lines)} likely wrong answers</summary>"
            blocks.append("\n".join(["<details>" + summary, "", *lines, "", "</details>"]))
    quiz = {name: task for name, task in tasks(number).items() if isinstance(task, Quiz)}
    right = ", ".join(f"{name.removeprefix('quiz_')} **{task.right}**" for name, task in quiz.items())
    blocks.append(f"Right answers of the quiz: {right}.")
    return "\n\n".join(blocks)


def guide_tables():
    """{name of a marker: the function that makes what stands there}"""
    made = {f"timetable {name}": lambda name=name: timetable(name) for name in TIMETABLES}
    for path in tools.notebooks():
        number = path.name[:2]
        made[f"sections {number}"] = lambda number=number: sections_table(number)
        made[f"exercises {number}"] = lambda number=number: exercises_list(number)
    return made


def anchor(heading):
    """The fragment by which JupyterLab, nbviewer and nbconvert find a heading."""
    return quote(heading.replace("`", "").replace("*", "").replace(" ", "-"), safe="-._~!'?:,;")


def with_links(text):
    """Point every link like [03, section 9](…) at that section of that notebook. ValueError where there is none."""

    def link(match):
        number, section = match[1], int(match[2])
        heading, _ = section_of(number, section)
        return f"[{number}, section {section}](../notebooks/{notebook_path(number).name}#{anchor(heading)})"

    return re.sub(r"\[(\d\d), section (\d+)\]\([^)]*\)", link, text)


def filled():
    """{path: text} of every page in workshop/, with its tables and links made anew."""
    pages = sorted((tools.ROOT / "workshop").glob("*.md"))
    return {path: with_links(tools.with_tables(path.read_text(encoding="utf-8"), guide_tables())) for path in pages}


# ------------------------------------------------------------------------------------------------------- solutions


def with_solutions(path):
    """Return a notebook with every exercise answered; those cells have no outputs until they are run."""
    notebook = solved(tools.read(path))
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            cell.outputs, cell.execution_count = [], None
    del notebook.metadata["course"]  # the hash of the code that the outputs were made by
    return notebook


# ---------------------------------------------------------------------------------------------------------- slides

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
html {{ font: 2.4vmin/1.35 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1a1a1a; background: #fff; }}
body {{ margin: 0; }}
section {{ box-sizing: border-box; height: 100vh; padding: 5vh 7vw 9vh; display: flex; flex-direction: column;
  justify-content: center; overflow: hidden; break-after: page; }}
section:focus {{ outline: none; }}
.shown section {{ display: none; }}
.shown section.now {{ display: flex; }}
h1 {{ font-size: 2.6em; line-height: 1.15; margin: 0 0 0.5em; color: #00507d; }}
h2 {{ font-size: 1.9em; line-height: 1.2; margin: 0 0 0.5em; color: #00507d; }}
p, li {{ font-size: 1.6em; margin: 0 0 0.5em; max-width: 48em; }}
ul, ol {{ margin: 0; padding-left: 2em; }}
ol.options {{ list-style: lower-alpha; }}
.predict p {{ margin: 0; }}
.predict {{ border-left: 0.3em solid #d55e00; padding: 0.2em 0 0.2em 0.8em; margin-top: 0.8em; }}
.small {{ font-size: 1em; color: #555; }}
code {{ font-family: "DejaVu Sans Mono", Consolas, Menlo, monospace; font-size: 0.9em; background: #f0f0f0;
  padding: 0 0.2em; }}
figure {{ margin: 0; min-height: 0; flex: 1; display: flex; flex-direction: column; align-items: center; }}
figure img {{ min-height: 0; width: 100%; object-fit: contain; flex: 1; }}
figcaption {{ font-size: 1.25em; margin-top: 0.6em; text-align: center; max-width: 60em; }}
#place {{ position: fixed; right: 2vw; bottom: 2vh; color: #555; font-size: 0.9em; }}
@media print {{
  @page {{ size: 297mm 167mm; margin: 0; }}
  html {{ font-size: 4mm; }}
  section, .shown section {{ display: flex; height: 167mm; padding: 8mm 20mm 15mm; }}
  #place {{ display: none; }}
}}
</style>
</head>
<body>
<main>
{slides}
</main>
<div id="place" role="status"></div>
<script>
const slides = [...document.querySelectorAll("section")];
let now = 0;
function show(number, focus) {{
  now = Math.max(0, Math.min(slides.length - 1, number));
  slides.forEach((slide, i) => slide.classList.toggle("now", i === now));
  document.getElementById("place").textContent = (now + 1) + " of " + slides.length;
  history.replaceState(null, "", "#" + (now + 1));
  if (focus) slides[now].focus();
}}
const steps = {{ ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1,
  Home: -Infinity, End: Infinity }};
addEventListener("keydown", event => {{
  if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  show(now + (event.key === " " && event.shiftKey ? -1 : steps[event.key]), true);
}});
addEventListener("hashchange", () => show(Number(location.hash.slice(1)) - 1 || 0, true));
document.body.classList.add("shown");
show(Number(location.hash.slice(1)) - 1 || 0, false);
</script>
</body>
</html>
"""
NO_SLIDES = ("Exercises", "What you measured")  # what stands there is for the one who does it


def deck(path):
    """Return the slides of a notebook as [(what it is called, its HTML)]."""
    notebook, number = tools.read(path), path.name[:2]
    title, question = tools.title_and_question(notebook)
    slides = [(title, f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(question)}</p>\n" + small(SOURCE))]
    slides.append(("Aims", "<h2>After this notebook you will be able to</h2>\n" + rendered(a_list(notebook.cells[1]))))
    heading = title
    for cell in notebook.cells[1:]:
        if cell.cell_type == "code":
            for alt, picture in pictures(cell):
                slides.append((f"{plain(heading)}, picture", picture_slide(heading, alt, picture)))
            continue
        for level, here, body in parts(cell):
            heading = here if level else heading
            predict = predictions(body)
            if level and heading == "Recap":
                slides.append((heading, f"<h2>Recap</h2>\n{rendered(a_list(cell))}"))
            elif level and heading == "Quiz":
                slides += [(f"Quiz {task}", quiz_slide(task, quiz)) for task, quiz in questions(number)]
            elif level and heading == "Think":
                slides.append((heading, f"<h2>Think</h2>\n{rendered(body.partition('<details>')[0])}"))
            elif level and heading not in NO_SLIDES:
                slides.append((plain(heading), f"<h2>{inline(heading)}</h2>\n{rendered(first_words(body))}{predict}"))
            elif predict:
                slides.append((f"{plain(heading)}, prediction", f"<h2>{inline(heading)}</h2>\n{predict}"))
    return slides


SOURCE = "The pictures and their figures are those of one run on a laptop. Yours may differ."


def slides_page(path):
    """Return a notebook's slides as one HTML page that needs nothing else."""
    slides = [
        f'<section tabindex="-1" aria-label="{html.escape(name)}">\n{content}\n</section>'
        for name, content in deck(path)
    ]
    title, _ = tools.title_and_question(tools.read(path))
    return PAGE.format(title=html.escape(title), slides="\n".join(slides))


def rendered(markdown):
    """Markdown as HTML. Links keep their words only: a slide has nothing to follow."""
    return markdown2html(re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown)).strip()


def inline(markdown):
    """One line of Markdown as HTML. A number at its start is part of the words, and no list."""
    return rendered(re.sub(r"^(\d+)\.", r"\1\.", markdown)).removeprefix("<p>").removesuffix("</p>")


def plain(markdown):
    return re.sub(r"[`*]", "", markdown)


def small(text):
    return f'<p class="small">{text}</p>'


def a_list(cell):
    """The first list in a text cell, as Markdown."""
    return re.search(r"^- .*?(?=\n\n|\Z)", cell.source, re.MULTILINE | re.DOTALL)[0]


def paragraphs(body):
    return [" ".join(paragraph.split()) for paragraph in body.split("\n\n")]


def first_words(body, enough=60):
    """The first sentence below a heading; one more where it is very short."""
    for paragraph in paragraphs(body):
        if paragraph[:1].isalnum() or paragraph[:1] in "`*$[" and not paragraph.startswith("*Predict"):
            words = ""
            for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z*`(])", paragraph):
                sentence = re.sub(r": [^:]*\$.*", ".", sentence)  # a formula needs more than a slide can do
                words = f"{words} {sentence}".strip()
                if len(words) >= enough:
                    break
            return re.sub(":$", ".", words)  # the list that would follow is not on the slide
    return ""


def predictions(body):
    """The question that learners commit to, as a box."""
    found = [words for words in paragraphs(body) if words.startswith("*Predict first:*")]
    return "".join(f'\n<div class="predict">{rendered(words)}</div>' for words in found)


def pictures(cell):
    """[(what a picture shows, in words; its data)] of a cell's outputs."""
    shown = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
    return re.findall(r'<img alt="([^"]*)" src="(data:image/png;base64,[^"]+)"', shown)


def picture_slide(heading, alt, picture):
    caption = f'<figcaption aria-hidden="true">{alt}</figcaption>'  # the same words as the alternative text
    return f'<h2>{inline(heading)}</h2>\n<figure>\n<img alt="{alt}" src="{picture}">\n{caption}\n</figure>'


def questions(number):
    quiz = [task for task in tasks(number).values() if isinstance(task, Quiz)]
    return enumerate(quiz, start=1)


def quiz_slide(number, quiz):
    options = "\n".join(f"<li>{inline(text)}</li>" for text in quiz.options.values())
    return f'<h2>Question {number}</h2>\n{rendered(quiz.question)}\n<ol class="options">\n{options}\n</ol>'


# -------------------------------------------------------------------------------------------------------- commands


def main(command, out, *paths):
    out, paths = Path(out), [Path(path) for path in paths]
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if command == "slides":
            tools.write(out / f"{path.stem}.html", slides_page(path))
        else:
            tools.write(out / path.name, tools.nbformat.writes(with_solutions(path)) + "\n")
    if command == "slides":
        print(f"Slides: {out}. Open a file in a browser; the arrow keys turn the pages, and printing gives one a page.")
    else:
        print(
            f"Notebooks with solutions: {out}. They run where the folder `helpers` is beside theirs, as in the course."
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
