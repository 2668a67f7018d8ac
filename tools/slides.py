"""Makes slides from the notebooks: HTML files which show themselves in any browser and fetch nothing.

    python -m tools.slides OUT NOTEBOOK…           one file for each notebook
    python -m tools.slides OUT --plan "one day"    one file with what is taught in that timetable, in its order

nbconvert's own slides need reveal.js, which is fetched when they are shown; its Markdown is used.
"""

import html
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from string import Template

from nbconvert.filters import markdown2html

from helpers.exercises.engine import Quiz
from tools import guide
from tools.ground import Problem, as_program
from tools.notebooks import pictures_of, read, tagged, title_and_question, write

PAGE = Path(__file__).with_name("slides.html")
SOURCE = "The pictures and their figures are those of one run on a laptop. Yours may differ."
NO_SLIDES = ("Exercises", "What you measured")  # what stands there is for the one who does it
# Columns and lines of an answer that can still be read from the back of a room; what stands in columns may be wider.
WIDE, WIDEST, LONGEST = 64, 84, 14


@dataclass
class Slide:
    name: str  # what a screen reader calls it
    content: str  # HTML
    section: int | None = None  # of the notebook; None before the first and after the last
    notes: str = ""  # for the speaker, in Markdown

    def __str__(self):
        notes = f'\n<aside class="notes">{rendered(self.notes)}</aside>' if self.notes else ""
        return f'<section tabindex="-1" aria-label="{html.escape(self.name)}">\n{self.content}{notes}\n</section>'


def deck(path):
    """Return the slides of a notebook."""
    notebook, number = read(path), path.name[:2]
    title, question = title_and_question(notebook)
    notes, skipped = guide.notes(number), guide.skipped_predictions(number)
    slides = [Slide(title, f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(question)}</p>\n" + small(SOURCE))]
    slides[0].notes = notes.get(None, "")
    aims = rendered(a_list(notebook.cells[1]))
    slides.append(Slide("Aims", f"<h2>After this notebook you will be able to</h2>\n{aims}"))
    heading, section, asked, nth = title, None, "", 0
    for place, cell in enumerate(notebook.cells[1:], start=1):
        if cell.cell_type == "code":
            pictures, answer = pictures_of(cell), asked and printed(cell)
            if answer and not pictures:
                content = f'<h2>{inline(heading)}</h2>\n<div class="small asked">{asked}</div>\n{answer}'
                slides.append(Slide(f"{plain(heading)}, answer", content, section, seen_below(notebook, place)))
            for alt, picture in pictures:
                content = picture_slide(heading, alt, picture)
                slides.append(Slide(f"{plain(heading)}, picture", content, section, seen_below(notebook, place)))
            asked = "" if answer or pictures else asked
            continue
        for level, here, body in guide.parts(cell):
            heading, new, said = here if level else heading, "", ""
            if level in (1, 2):
                section, nth = guide.section_number(level, heading), 0
                said = notes.get(section, "") if section else ""
            predict = predictions(body, cell.metadata.get("slide"))
            if predict:
                asked, nth = predict, nth + 1
                if (section, nth) in skipped:
                    said = f"*Skip this question when the room is large.*\n\n{said}"
            if level and heading == "Recap":
                new = f"<h2>Recap</h2>\n{rendered(a_list(cell))}"
            elif level and heading == "Quiz":
                slides += quiz_slides(number)
            elif level and heading == "Think":
                new = f"<h2>Think</h2>\n{rendered(body.partition('<details>')[0])}"
            elif level and heading not in NO_SLIDES:
                new = f"<h2>{inline(heading)}</h2>\n{rendered(first_words(body))}{boxed(predict)}"
            elif predict:
                new = f"<h2>{inline(heading)}</h2>\n{boxed(predict)}"
            if new:
                name = plain(heading) if level else f"{plain(heading)}, prediction"
                slides.append(Slide(name, new, section, said))
    return slides


def seen_below(notebook, place):
    """The sentence that the notebook says to an output, for the speaker; empty where a new heading follows."""
    following = notebook.cells[place + 1] if place + 1 < len(notebook.cells) else None
    said = following is not None and following.cell_type == "markdown" and not following.source.startswith("#")
    return first_words(following.source) if said else ""


def plan_deck(name):
    """Return the slides of a timetable: what is taught, in order, and a slide for each exercise, talk and break."""
    timetable, slides, begun = guide.plan()["timetables"][name], [], set()
    passed = 0
    for block in timetable["blocks"]:
        passed += guide.minutes_of(block)
        until = small(f"Until {guide.clock(timetable['start'], passed)}")
        number = block.get("teach") or block.get("exercises")
        if "teach" in block:
            whole = deck(guide.notebook_path(number))
            slides += whole[: number not in begun]
            slides += [slide for slide in whole[1:] if slide.section in block["sections"]]
            begun.add(number)
        elif "exercises" in block:
            slides.append(exercises_slide(number, block["names"], until))
            slides += quiz_slides(number) if "quiz" in block["names"] else []
        else:
            said = block.get("talk") or block["break"]
            computing = [
                f"<p>Meanwhile compute {n}: <em>Run</em>, <em>Run All Cells</em>.</p>" for n in computed(block)
            ]
            slides.append(Slide(plain(said), "\n".join([f"<h2>{inline(said)}</h2>", *computing, until])))
    return slides


def computed(block):
    return [title_and_question(read(guide.notebook_path(number)))[0] for number in block.get("computing", [])]


def exercises_slide(number, names, until):
    chosen = {name: task for name, task in guide.tasks(number).items() if name in names}
    lines = [f"- {task.title} (`{name}`, {task.minutes} minutes)" for name, task in chosen.items()]
    notes, heading = guide.notes(number), f"Exercises of notebook {number}"
    content = f"<h2>{heading}</h2>\n{rendered(chr(10).join(lines))}\n{until}"
    return Slide(heading, content, notes="\n\n".join(notes[name] for name in chosen if name in notes))


def page(title, slides):
    """Return slides as one HTML page that needs nothing else."""
    template = Template(PAGE.read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), slides="\n".join(map(str, slides)))


def slides_page(path):
    title, _ = title_and_question(read(path))
    return page(title, deck(path))


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
                if words and sentence.endswith(":"):  # it needs what follows
                    break
                words = f"{words} {sentence}".strip()
                if len(words) >= enough:
                    break
            return re.sub(":$", ".", words)  # the list that would follow is not on the slide
    return ""


def predictions(body, alone=None):
    """The question that learners commit to, as HTML. `alone` takes its place where it needs what stands around it."""
    found = [words.removeprefix(guide.PREDICT).strip() for words in paragraphs(body) if words.startswith(guide.PREDICT)]
    return rendered("\n\n".join([alone] if found and alone else found))


def boxed(predict):
    words = predict.replace("<p>", "<p><em>Predict first:</em> ")
    return f'\n<div class="predict">{words}</div>' if predict else ""


def printed(cell):
    """What a code cell printed, lines and tables, as HTML that fits on a slide. Empty where it is no answer.

    `"slide": false` in the cell's metadata says that it is none (a count of minutes, say).
    """
    if tagged(cell, "exercise") or tagged(cell, "quiz") or cell.metadata.get("slide") is False:
        return ""
    shown, lines_left = [], LONGEST
    for output in cell.outputs:
        markup = output.get("data", {}).get("text/html", "")
        if markup.startswith("<table>"):
            rows = output.data["text/plain"].splitlines()
            width = sum(max(map(len, column)) + 3 for column in zip(*(row.split(" | ") for row in rows), strict=False))
            shown.append((markup, width, 1.5 * len(rows)))
            lines_left = max(2, lines_left - 3 * len(rows) // 2)
        elif output.get("name") == "stdout" and lines_left > 0:
            lines = [line for long in output.text.splitlines() for line in wrapped(long)]
            lines = lines[: lines_left - 1] + ["…"] if len(lines) > lines_left else lines
            shown.append((f"<pre>{html.escape(chr(10).join(lines))}</pre>", max(map(len, lines)), len(lines)))
            lines_left -= len(lines)
    if not shown:
        return ""
    width, height = max(width for _, width, _ in shown), sum(height for *_, height in shown)
    size = min(1.5, 74 / max(width, 1), 16 / height)  # both screens that the tests look at have room for so much
    if all(markup.startswith("<table>") for markup, *_ in shown):  # cells of two lines, where one would be too small
        size = max(size, min(1, 8 / height))
    content = "\n".join(markup for markup, *_ in shown)
    return f'<div class="answer" style="font-size: {size:.2f}em">\n{content}\n</div>'


def picture_slide(heading, alt, picture):
    caption = f'<figcaption aria-hidden="true">{alt}</figcaption>'  # the same words as the alternative text
    return f'<h2>{inline(heading)}</h2>\n<figure>\n<img alt="{alt}" src="{picture}">\n{caption}\n</figure>'


def wrapped(line):
    in_columns = "  " in line.strip()
    return textwrap.wrap(line, WIDEST if in_columns else WIDE, drop_whitespace=False) or [""]


def quiz_slides(number):
    quiz = [task for task in guide.tasks(number).values() if isinstance(task, Quiz)]
    return [Slide(f"Quiz {task}", quiz_slide(task, question)) for task, question in enumerate(quiz, start=1)]


def quiz_slide(number, quiz):
    options = "\n".join(f"<li>{inline(text)}</li>" for text in quiz.options.values())
    return f'<h2>Question {number}</h2>\n{rendered(quiz.question)}\n<ol class="options">\n{options}\n</ol>'


def make(out, paths, plan=None):
    """Write a file for each notebook, or one for a timetable. Raises Problem when there is no such timetable."""
    out.mkdir(parents=True, exist_ok=True)
    known = guide.plan()["timetables"]
    if plan and plan not in known:
        raise Problem(f"There is no timetable {plan!r}: choose {', '.join(map(repr, known))}.")
    if plan:
        name = re.sub(r"\W+", "-", plan)
        write(out / f"{name}.html", page(plan.capitalize(), plan_deck(plan)))
    for path in paths:
        write(out / f"{path.stem}.html", slides_page(path))
    print(
        f"Slides: {out}. Open a file in a browser. Arrow keys, clicks and swipes turn the pages, S opens a window with "
        "notes for the speaker, N shows them on the slide, and printing gives one slide a page."
    )


def main(out, *rest):
    if rest[:1] == ("--plan",):
        make(Path(out), [], rest[1])
    else:
        make(Path(out), list(map(Path, rest)))


if __name__ == "__main__":
    as_program(main, *sys.argv[1:])
