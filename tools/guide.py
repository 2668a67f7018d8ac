"""The tables and links in the pages for instructors, made from the notebooks, their exercises and `timetables.toml`."""

import functools
import html
import importlib
import math
import re
import tomllib
from urllib.parse import quote

from helpers.exercises.engine import Exercise, Quiz, tasks_of, told
from tools.notebooks import ROOT, figures_of, notebooks, read, table, title_and_question, with_tables
from tools.speed import read_results

WORKSHOP = ROOT / "workshop"
PREDICT = "*Predict first:*"
A_VOTE = 6  # minutes: a room that is asked more often than this stops thinking
TALKING = 1.5  # a section with its prediction, votes and questions takes so much longer than reading it: an estimate


def plan():
    """Return what timetables.toml says: {"live": {number: sections}, "timetables": {name: {start, blocks}}}."""
    return tomllib.loads((WORKSHOP / "timetables.toml").read_text(encoding="utf-8"))


def minutes_of(block):
    """How long a block takes: as stated for talk and breaks, otherwise computed, and rounded up to 5 minutes."""
    if "minutes" in block:
        return block["minutes"]
    if "teach" in block:
        minutes = TALKING * sum(section_of(block["teach"], section)[1] for section in block["sections"])
    else:
        names, known = block["names"], tasks(block["exercises"])
        minutes = sum(
            task.minutes for name, task in known.items() if name in names or "quiz" in names and isinstance(task, Quiz)
        )
    return 5 * math.ceil(minutes / 5)


# --------------------------------------------------------------------------------------------- what notebooks say


def notebook_path(number):
    (path,) = (path for path in notebooks() if path.name.startswith(number))
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


@functools.cache
def sections_of(number):
    return sections_in(read(notebook_path(number)))


def sections_in(notebook):
    """{number of the section: (heading, minutes to read and try)}, of the sections that are numbered.

    A notebook says how many minutes it takes to read and try. They are dealt out to its sections by length, where a
    line of code counts as much as five words. Exercises that stand inside a section are left out.
    """
    length, headings, here = {}, {}, None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if here:
                length[here] += 5 * len(cell.source.splitlines())
            continue
        for level, heading, body in parts(cell):
            if level in (1, 2) or heading.startswith(("Exercise", "Think", "Optional")):
                here = section_number(level, heading)
                if here:
                    headings[here], length[here] = heading, 0
            if here:
                length[here] += len(body.split())
    reading, whole = reading_minutes(notebook), sum(length.values())
    return {section: (headings[section], reading * words / whole) for section, words in length.items()}


def predictions_of(number):
    """{section: how many predictions stand in it}"""
    found, here = {}, None
    for cell in read(notebook_path(number)).cells:
        for level, heading, body in parts(cell) if cell.cell_type == "markdown" else ():
            here = section_number(level, heading) if level in (1, 2) else here
            # On a slide all questions of one text are asked together.
            found[here] = found.get(here, 0) + bool(re.search(rf"^{re.escape(PREDICT)}", body, re.MULTILINE))
    return found


def inside_sections(number):
    """{exercise: its section}, of the exercises that stand inside a section and not at the end of the notebook"""
    found, here = {}, None
    for cell in read(notebook_path(number)).cells:
        if cell.cell_type == "code":
            name = re.match(r"# exercise: (\w+)", cell.source)
            found |= {name[1]: here} if name and here and not name[1].startswith("quiz") else {}
            continue
        for level, heading, _ in parts(cell):
            here = section_number(level, heading) if level in (1, 2) else here
    return found


def skipped_predictions(number, sections=None, minutes=None):
    """The predictions that a large room leaves out, as {(section, which of its predictions)}.

    Votes take time: one in six minutes at most. The first of each section comes before the second of any, and sections
    at which the guide says "stop and ask" before others. Without sections: of those that are taught live.
    """
    sections = plan()["live"].get(number, []) if sections is None else sections
    minutes = TALKING * sum(section_of(number, section)[1] for section in sections) if minutes is None else minutes
    here = {section: asked for section, asked in predictions_of(number).items() if section in sections}
    spoken_of = notes(number)
    in_order = sorted((n, s not in spoken_of, s) for s, asked in here.items() for n in range(1, asked + 1))
    return {(section, nth) for nth, _, section in in_order[int(minutes // A_VOTE) :]}


def notes(number):
    """{section or name of an exercise: what this guide says to it}; None: to the whole notebook. As Markdown."""
    guide = (WORKSHOP / "instructor-guide.md").read_text(encoding="utf-8")
    chapter = re.search(rf"^## {number} · .*?(?=^## |\Z)", guide, re.MULTILINE | re.DOTALL)
    chapter = re.sub(r"<!-- table: .*?<!-- end of table -->", "", chapter[0] if chapter else "", flags=re.DOTALL)
    found = {None: "\n\n".join(re.findall(r"^\*\*(?:The one|Somebody|When late).*(?:\n.+)*", chapter, re.MULTILINE))}
    for words in re.findall(r"^- (.+(?:\n  .+)*)", chapter, re.MULTILINE):
        words, sections = " ".join(words.split()), re.match(r"Sections? ([\d, and]+)", words)
        exercise = re.match(r"`(\w+)`: ", words)
        for about in map(int, re.findall(r"\d+", sections[1])) if sections else [exercise[1]] if exercise else ():
            found[about] = f"{found[about]}\n\n{words}" if about in found else words
    return found


def section_number(level, heading):
    found = re.match(r"(\d+)\. ", heading)
    return int(found[1]) if found and level == 2 else None


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
        title, _ = title_and_question(notebook)
        raise ValueError(f"{title}: its second cell must say 'about N minutes to read and try'.")
    return int(stated[1])


def computing_minutes(number):
    """The minutes that a notebook computed on the laptop track, as measured by `start.py refresh`."""
    return read_results("notebook_minutes")["laptop"]["minutes"][number]


def in_words(name):
    """`takes_the_last` or `TakesTheLast` as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()


# --------------------------------------------------------------------------------------- tables and links of the guide


def clock(start, minutes):
    hours, rest = divmod(60 * int(start[:2]) + int(start[3:]) + minutes, 60)
    return f"{hours:02}:{rest:02}"


def timetable(name):
    """A timetable as Markdown: clock times, minutes, what is done."""
    start, doors, blocks = (plan()["timetables"][name][key] for key in ("start", "doors", "blocks"))
    passed, computed = 0, {number for block in [doors, *blocks] for number in block.get("computing", [])}
    rows = [["From", "Minutes", "What"], ["---", "---:", "---"]]
    opening = what_is_done({"talk": f"Doors open. {doors['what']}", **doors})
    rows.append([clock(start, -doors["minutes"]), doors["minutes"], opening])
    for block in blocks:
        not_run = "teach" in block and block["teach"] not in computed
        rows.append([clock(start, passed), minutes_of(block), what_is_done(block) + "; it is not run" * not_run])
        passed += minutes_of(block)
    rows.append([clock(start, passed), "", f"End, after {passed // 60} h {passed % 60:02} min, breaks included"])
    return table(rows)


def what_is_done(block):
    if "exercises" in block:
        names = ["the quiz" if name == "quiz" else f"`{name}`" for name in block["names"]]
        return f"Exercises of {block['exercises']}: {', '.join(names)}"
    if "teach" in block:
        title, _ = title_and_question(read(notebook_path(block["teach"])))
        sections, asked = block["sections"], predictions_of(block["teach"])
        predictions = sum(asked.get(section, 0) for section in sections)
        words = f"**{title}**, section{'s' * (len(sections) > 1)} {', '.join(map(str, sections))}; "
        words += f"{predictions} prediction{'s' * (predictions != 1)}"
        skipped = in_sections(skipped_predictions(block["teach"], sections, minutes_of(block)))
        return f"{words}, *skip when large* {skipped}" if skipped else words
    computing = [f"{number} ({computing_minutes(number):.1f} minutes)" for number in block.get("computing", [])]
    said = block.get("talk") or block["break"]
    return f"{said}. Meanwhile compute: {' and '.join(computing)}" if computing else said


def in_sections(predictions):
    """{(section, which of its predictions)} in words. Of each section the last ones are named, never one between."""
    first = {}
    for section, nth in sorted(predictions, reverse=True):
        first[section] = nth
    ordinals = {1: "", 2: " from the second on", 3: " from the third on"}
    return ", ".join(f"those of {s}{ordinals.get(first[s], f' from number {first[s]} on')}" for s in sorted(first))


def sections_table(number):
    """Minutes of a notebook and its sections, and what its committed run measured."""
    rows = [["Section", "Minutes to read", "Minutes live"], ["---", "---:", "---:"]]
    live = plan()["live"].get(number, [])
    for section, (heading, minutes) in sections_of(number).items():
        rows.append([heading, f"{minutes:.0f}", f"{TALKING * minutes:.0f}" if section in live else "reading"])
    reading = reading_minutes(read(notebook_path(number)))
    exercises, quiz = (
        sum(task.minutes for task in tasks(number).values() if isinstance(task, kind)) for kind in (Exercise, Quiz)
    )
    shown = []
    for name, value in figures_of(read(notebook_path(number))).items():
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
    right = ", ".join(f"{name.removeprefix('quiz_').replace('_', ' ')} **{task.right}**" for name, task in quiz.items())
    blocks.append(f"Right answers of the quiz: {right}.")
    return "\n\n".join(blocks)


def guide_tables():
    """{name of a marker: the function that makes what stands there}"""
    made = {f"timetable {name}": lambda name=name: timetable(name) for name in plan()["timetables"]}
    for path in notebooks():
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


def pages():
    """{path: text} of every page in workshop/, with its tables and links made anew."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(WORKSHOP.glob("*.md"))}
    tables = guide_tables() if texts else {}
    return {path: with_links(with_tables(text, tables)) for path, text in texts.items()}
