"""Makes slides from the notebooks: one HTML file for each, which shows itself in any browser and fetches nothing.

    python -m tools.slides OUT NOTEBOOK…

nbconvert's own slides need reveal.js, which is fetched when they are shown; its Markdown is used.
"""

import html
import re
import sys
from pathlib import Path
from string import Template

from nbconvert.filters import markdown2html

from helpers.exercises.engine import Quiz
from tools.guide import parts, tasks
from tools.notebooks import pictures_of, read, title_and_question, write

PAGE = Path(__file__).with_name("slides.html")
SOURCE = "The pictures and their figures are those of one run on a laptop. Yours may differ."
NO_SLIDES = ("Exercises", "What you measured")  # what stands there is for the one who does it


def deck(path):
    """Return the slides of a notebook as [(what it is called, its HTML)]."""
    notebook, number = read(path), path.name[:2]
    title, question = title_and_question(notebook)
    slides = [(title, f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(question)}</p>\n" + small(SOURCE))]
    slides.append(("Aims", "<h2>After this notebook you will be able to</h2>\n" + rendered(a_list(notebook.cells[1]))))
    heading = title
    for cell in notebook.cells[1:]:
        if cell.cell_type == "code":
            for alt, picture in pictures_of(cell):
                slides.append((f"{plain(heading)}, picture", picture_slide(heading, alt, picture)))
            continue
        for level, here, body in parts(cell):
            heading = here if level else heading
            predict = predictions(body, cell.metadata.get("slide"))
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


def slides_page(path):
    """Return a notebook's slides as one HTML page that needs nothing else."""
    slides = [
        f'<section tabindex="-1" aria-label="{html.escape(name)}">\n{content}\n</section>'
        for name, content in deck(path)
    ]
    title, _ = title_and_question(read(path))
    return Template(PAGE.read_text(encoding="utf-8")).substitute(title=html.escape(title), slides="\n".join(slides))


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


def predictions(body, alone=None):
    """The question that learners commit to, as a box. `alone` takes its place where it needs what stands around it."""
    found = [words for words in paragraphs(body) if words.startswith("*Predict first:*")]
    found = [f"*Predict first:* {alone}"] if found and alone else found
    return "".join(f'\n<div class="predict">{rendered(words)}</div>' for words in found)


def picture_slide(heading, alt, picture):
    caption = f'<figcaption aria-hidden="true">{alt}</figcaption>'  # the same words as the alternative text
    return f'<h2>{inline(heading)}</h2>\n<figure>\n<img alt="{alt}" src="{picture}">\n{caption}\n</figure>'


def questions(number):
    quiz = [task for task in tasks(number).values() if isinstance(task, Quiz)]
    return enumerate(quiz, start=1)


def quiz_slide(number, quiz):
    options = "\n".join(f"<li>{inline(text)}</li>" for text in quiz.options.values())
    return f'<h2>Question {number}</h2>\n{rendered(quiz.question)}\n<ol class="options">\n{options}\n</ol>'


def make(out, paths):
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        write(out / f"{path.stem}.html", slides_page(path))
    print(f"Slides: {out}. Open a file in a browser; the arrow keys turn the pages, and printing gives one a page.")


if __name__ == "__main__":
    make(Path(sys.argv[1]), list(map(Path, sys.argv[2:])))
