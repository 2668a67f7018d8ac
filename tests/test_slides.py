"""Slides and solutions: they come from the notebooks, and the slides are readable in a real browser."""

import contextlib
import html
import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.exercises import Quiz
from helpers.exercises.solve import solved
from tools import commands, ground, guide, refresh, slides, solutions
from tools import notebooks as tools

NOTEBOOKS = tools.notebooks()


# -------------------------------------------------------------------------------------------------------- solutions


def differences(blank, answered):
    """The numbers of the cells that differ in anything."""
    assert len(blank.cells) == len(answered.cells)
    return {i for i, pair in enumerate(zip(blank.cells, answered.cells, strict=True)) if pair[0] != pair[1]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_solutions_edition_answers_the_exercises_and_changes_nothing_else(path, tmp_path):
    before = path.read_bytes()
    solutions.make(tmp_path, [path])
    blank, answered = tools.read(path), tools.read(tmp_path / path.name)
    nbformat.validate(answered)
    exercises = {i for i, cell in enumerate(blank.cells) if "exercise" in cell.metadata.get("tags", [])}
    assert exercises and differences(blank, answered) == exercises
    for i in exercises:
        cell = answered.cells[i]
        answer = re.sub(r"^from .*", "", cell.source, flags=re.MULTILINE)  # an import may name ____ itself
        assert "____" not in answer and not cell.outputs and cell.execution_count is None
    # What test_exercises runs in a real kernel, and finds to be correct, is what is written here.
    assert [cell.source for cell in answered.cells] == [cell.source for cell in solved(blank).cells]
    assert path.read_bytes() == before


def test_a_change_beyond_the_exercises_is_noticed():
    blank = tools.read(NOTEBOOKS[0])
    changed = solutions.with_solutions(NOTEBOOKS[0])
    changed.cells[0].source += "!"
    assert 0 in differences(blank, changed)


def test_the_commands_name_notebooks_and_folder(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(commands, "set_up", lambda pack: None)
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(commands, "hand_over", lambda command: asked.append(command) or 0)
    for arguments, out in [
        (["slides", "3"], tmp_path / "runs" / "slides"),
        (["solutions", "03"], tmp_path / "solutions"),
        (["slides", "03", "--out", str(tmp_path / "mine")], tmp_path / "mine"),
    ]:
        assert commands.main(arguments) == 0
        assert asked.pop() == ground.module(f"tools.{arguments[0]}", out, guide.notebook_path("03"))
    assert commands.main(["slides", "--plan", "one day"]) == 0
    assert asked.pop() == ground.module("tools.slides", tmp_path / "runs" / "slides", "--plan", "one day")
    with pytest.raises(ground.Problem, match="leave their numbers out"):
        commands.main(["slides", "03", "--plan", "one day"])


def test_a_log_whose_encoding_lacks_a_letter_gets_it_spelt_out(tmp_path):
    # Notebooks' titles hold a middle dot, and folders' names what they like: both once ended in a traceback.
    settings = {"env": os.environ | {"PYTHONIOENCODING": "ascii"}, "capture_output": True, "text": True}
    for what, *more in (["slides", "--plan", "half a day"], ["solutions", str(NOTEBOOKS[0])]):
        command = ground.module(f"tools.{what}", tmp_path / "für alle", *more, python=sys.executable)
        done = subprocess.run(command, **settings)
        assert done.returncode == 0 and r"f\xfcr alle" in done.stdout, done.stderr
    command = ground.module("tools.slides", tmp_path, "--plan", "a week", python=sys.executable)
    done = subprocess.run(command, **settings)
    assert done.returncode and len(done.stderr.splitlines()) == 1 and "choose 'half a day', 'one day'" in done.stderr


# ----------------------------------------------------------------------------------------------------------- slides


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    slides.make(folder, NOTEBOOKS)
    slides.make(folder, [], "half a day")
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_slides_hold_every_section_prediction_and_picture_of_the_notebook(path, decks):
    page = (decks / f"{path.stem}.html").read_text(encoding="utf-8")
    notebook = tools.read(path)
    words = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page)))
    for heading, _ in guide.sections_of(path.name[:2]).values():
        assert re.sub(r"[`*]", "", heading) in words
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert page.count("Predict first:") == prose.count("Predict first:") > 5
    shown = "".join(str(output.get("data", {}).get("text/html", "")) for _, output in outputs(notebook))
    assert re.findall(r'<img alt="([^"]+)"', page) == re.findall(r'<img alt="([^"]+)"', shown)
    quiz = [task for task in guide.tasks(path.name[:2]).values() if isinstance(task, Quiz)]
    assert page.count("<h2>Question ") == len(quiz) >= 4 and "Recap" in words
    assert not re.search(r"\\(text|ln|cdot|frac)|\]\(", page), "a formula or a link in Markdown is left"


def test_a_prediction_that_needs_what_stands_around_it_has_words_of_its_own_on_the_slide(tmp_path):
    # Would catch a key that nothing reads, one that `refresh` throws away, one that adds a prediction where there is
    # none, and one that leaves the notebook's own words beside it.
    notebook = tools.read(NOTEBOOKS[0])
    cells = [cell for cell in notebook.cells if "*Predict first:*" in cell.source]
    own = slides.paragraphs(cells[0].source)[-1]
    assert own.startswith("*Predict first:*")
    cells[0].metadata["slide"] = "Which of `a` and `b`?"
    silent = next(cell for cell in notebook.cells[2:] if cell.cell_type == "markdown" and cell not in cells)
    silent.metadata["slide"] = "Never asked"
    nbformat.write(refresh.tidy(notebook), tmp_path / NOTEBOOKS[0].name)
    page = slides.slides_page(tmp_path / NOTEBOOKS[0].name)
    assert "<em>Predict first:</em> Which of <code>a</code> and <code>b</code>?" in page
    assert slides.rendered(own) not in page and "Never asked" not in page
    assert page.count("Predict first:") == len(cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_prediction_is_followed_by_its_answer(path):
    made = slides.deck(path)
    asked = [i for i, slide in enumerate(made) if 'class="predict"' in slide.content]
    unanswered = [made[i].name for i in asked if not re.search('class="answer"|<figure', made[i + 1].content)]
    assert asked and not unanswered
    for slide in made:
        for text in re.findall(r"<pre>(.*?)</pre>", slide.content, re.DOTALL):
            lines = html.unescape(text).splitlines()
            assert len(lines) <= slides.LONGEST and max(map(len, lines)) <= slides.WIDEST


def lost(question):
    """What of a question can't be understood on a slide of its own: it ends mid-sentence, or points elsewhere."""
    pointing = re.findall(r"\b(?:(?:below|above)\b(?! -?\d)|[Ss]ections? \d+)", question)  # "below 0" points nowhere
    return pointing + ([] if question.rstrip("*` )")[-1:] in ("?", ".", "!") else ["its end"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_prediction_stands_alone_on_its_slide(path):
    cells = [cell for cell in tools.read(path).cells if cell.cell_type == "markdown"]
    for cell in cells:
        asked = [words for words in slides.paragraphs(cell.source) if words.startswith(guide.PREDICT)]
        assert len(asked) < 2, f"two predictions in one cell: {asked}"
        for words in asked:
            assert not lost(cell.metadata.get("slide", words)), f"write a `slide` text for {words!r}"
        assert asked or "slide" not in cell.metadata, f"a `slide` text without a prediction: {cell.source[:60]}"


def test_a_question_that_points_elsewhere_is_noticed():
    assert lost("*Predict first:* which of the rows below") == ["below", "its end"] and lost("As in section 4?")
    assert not lost("*Predict first:* what is left? (Try `[1][-0:]`.)") and not lost("Which one: *a*, or *b*?")


def a_cell(*said, **metadata):
    outputs = [new_output("stream", name="stdout", text=text) for text in said]
    return new_code_cell("x", outputs=outputs, metadata=metadata)


def test_an_answer_is_what_was_printed_next_and_no_more_than_fits(tmp_path):
    # Would catch an answer that is an exercise's, progress on stderr, cut in the middle of a word, or not escaped.
    assert slides.printed(a_cell()) == slides.printed(a_cell("minutes", slide=False)) == ""
    for tag in ("exercise", "quiz"):
        assert slides.printed(a_cell("not yet", tags=[tag])) == ""
    noise = new_code_cell("x", outputs=[new_output("stream", name="stderr", text="50%")])
    assert slides.printed(noise) == ""
    words = " ".join(f"word{number}" for number in range(100)) + "\n"
    shown = slides.printed(a_cell("a < b\n", words, "z\n" * 50))
    text = "\n".join(map(html.unescape, re.findall("<pre>(.*?)</pre>", shown, re.DOTALL)))
    assert text.startswith("a < b\nword0 word1") and text.endswith("…") and set(words.split()) < set(text.split())
    cells = [new_markdown_cell(text) for text in ("# 01 · A\n\n**The question:** b?", "- aim")]
    cells += [new_markdown_cell("## 1. C\n\n*Predict first:* d?"), a_cell(), new_markdown_cell("So."), a_cell("e\n")]
    cells += [new_markdown_cell("The letter e was printed, and nothing beside it was."), a_cell("f\n")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "01_a.ipynb")
    asked, answer, *rest = slides.deck(tmp_path / "01_a.ipynb")[2:]
    assert not rest and "d?" in asked.content and "d?" in answer.content and "<pre>e</pre>" in answer.content
    assert asked.section == answer.section == 1 and answer.notes.startswith("The letter e was printed")


@pytest.mark.parametrize("name", guide.plan()["timetables"])
def test_a_plan_has_what_is_taught_in_its_order(name):
    made, wanted = slides.plan_deck(name), []
    for block in guide.plan()["timetables"][name]["blocks"]:
        if "teach" in block:
            wanted += [guide.section_of(block["teach"], section)[0] for section in sorted(block["sections"])]
        elif "exercises" in block:
            wanted.append(f"Exercises of notebook {block['exercises']}")
        else:
            wanted.append(block.get("talk") or block["break"])
    names = [slide.name for slide in made]
    assert [name for name in names if name in set(map(slides.plain, wanted))] == list(map(slides.plain, wanted))
    shown = {slide.section for slide in made if slide.section}
    assert len(names) > len(wanted) and shown <= {section for part in sections_taught(name) for section in part}
    titles = [tools.title_and_question(tools.read(path))[0] for path in NOTEBOOKS]
    assert sorted(set(names) & set(titles)) == sorted(name for name in names if name in titles), "a title comes twice"


def sections_taught(name):
    return [block["sections"] for block in guide.plan()["timetables"][name]["blocks"] if "teach" in block]


def test_the_speaker_finds_what_the_guide_says(tmp_path):
    made = {slide.name: slide.notes for slide in slides.deck(guide.notebook_path("05"))}
    assert "**The one thing:** no figure without its interval" in made["05 · Evaluation"]
    assert made["11. How much does a leak flatter?"].endswith("By how many points does the score rise?")
    exercise = next(slide for slide in slides.plan_deck("one day") if slide.name == "Exercises of notebook 05")
    assert "`best_threshold`: the costs are swapped." in exercise.notes and "four_scores" not in exercise.notes


def test_a_large_room_is_asked_once_in_six_minutes(monkeypatch):
    monkeypatch.setattr(guide, "predictions_of", lambda number: {None: 1, 1: 3, 2: 0, 3: 1, 4: 2})
    monkeypatch.setattr(guide, "notes", lambda number: {None: "", 4: "Ask!"})
    assert guide.skipped_predictions("01", [1, 2, 3], 25) == set()
    assert guide.skipped_predictions("01", [1, 2, 3], 17) == {(1, 2), (1, 3)}
    assert guide.skipped_predictions("01", [3, 4], 6) == {(3, 1), (4, 2)}


def outputs(notebook):
    return ((cell, output) for cell in notebook.cells for output in cell.get("outputs", []))


@contextlib.contextmanager
def opened(browser, file, width=1280, height=720):
    """A page with the slides, and the addresses that it asked for."""
    page = browser.new_page(viewport={"width": width, "height": height})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(file.as_uri())
    yield page, asked
    page.close()
    assert not errors


NOW = "slides.filter(slide => slide.offsetHeight > 0).map(slide => slides.indexOf(slide) + 1)"
TOO_FAR = """() => {
    const place = document.getElementById("place").getBoundingClientRect();
    const outside = [];
    for (const element of slides[now].querySelectorAll("*")) {
        const box = element.getBoundingClientRect();
        if (box.top < 0 || box.left < 0 || box.right > innerWidth || box.bottom > place.top)
            outside.push(`slide ${now + 1}: ${element.tagName} ${element.textContent.slice(0, 40)}`);
        if (element.tagName === "IMG" && (!element.naturalWidth || box.height < 250 || element.alt.length < 20))
            outside.push(`slide ${now + 1}: a picture too small to see, or without words`);
    }
    return outside;
}"""


EACH = f"""() => slides.flatMap((_, number) => {{
    show(number, true);
    const shown = {NOW};
    return shown.join() === `${{number + 1}}` ? ({TOO_FAR})() : [`slides ${{shown}} at once`];
}})"""


@pytest.mark.parametrize("name", [*(path.stem for path in NOTEBOOKS), "half-a-day"])
def test_each_slide_fits_on_the_screen_and_nothing_is_fetched(name, decks, browser):
    with opened(browser, decks / f"{name}.html") as (page, asked):
        for width, height in ((1280, 720), (1024, 768)):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate(EACH) == [], f"at {width} by {height}"
        assert [url for url in asked if not url.startswith("data:")] == [(decks / f"{name}.html").as_uri()]


def test_a_slide_that_does_not_fit_is_noticed(decks, browser, tmp_path):
    text = (decks / f"{NOTEBOOKS[0].stem}.html").read_text(encoding="utf-8")
    before, _, after = text.rpartition("</h2>")  # of the last slide
    (tmp_path / "long.html").write_text(f"{before}</h2>{'<p>word</p>' * 30}{after}", encoding="utf-8")
    with opened(browser, tmp_path / "long.html") as (page, _):
        assert page.evaluate(EACH)


def test_keys_turn_the_pages_and_the_address_remembers_the_place(decks, browser):
    with opened(browser, decks / f"{NOTEBOOKS[0].stem}.html") as (page, _):
        last = page.evaluate("slides.length")
        for key, slide in [
            ("ArrowLeft", 1),
            ("ArrowRight", 2),
            (" ", 3),
            ("PageDown", 4),
            ("ArrowLeft", 3),
            ("End", last),
            ("ArrowRight", last),
            ("Home", 1),
            ("ArrowDown", 2),
        ]:
            page.keyboard.press("Space" if key == " " else key)
            assert page.evaluate(NOW) == [slide], key
            assert page.inner_text("#place") == f"{slide} of {last}" and page.evaluate(
                "document.activeElement === slides[now]"
            )
        page.reload()
        assert page.evaluate(NOW) == [2]


def test_clicks_taps_and_swipes_turn_the_pages(decks, browser):
    swipe = """(way) => { for (const [kind, x] of [["touchstart", 500], ["touchend", 500 + way]]) {
        const finger = new Touch({ identifier: 1, target: document.body, clientX: x, clientY: 300 });
        const touches = kind === "touchend" ? [] : [finger];
        document.body.dispatchEvent(new TouchEvent(kind, { touches, changedTouches: [finger], bubbles: true }));
    } }"""
    with opened(browser, decks / f"{NOTEBOOKS[0].stem}.html") as (page, _):
        for turn, slide in [
            (lambda: page.mouse.click(900, 300), 2),
            (lambda: page.mouse.click(1200, 600), 3),
            (lambda: page.mouse.click(100, 300), 2),
            (lambda: page.evaluate(swipe, -200), 3),
            (lambda: page.evaluate(swipe, 200), 2),
            (lambda: page.evaluate(swipe, 10), 2),  # a tap: a click follows it
            (lambda: page.mouse.wheel(0, 300), 2),
        ]:
            turn()
            assert page.evaluate(NOW) == [slide]


def test_notes_are_shown_beside_the_slide_or_in_a_window_and_never_printed(decks, browser):
    with opened(browser, decks / f"{NOTEBOOKS[0].stem}.html") as (page, _):
        notes = page.locator("section.now .notes")
        assert not notes.is_visible()
        page.keyboard.press("n")
        assert notes.is_visible() and "The one thing" in notes.inner_text()
        notes.click()
        assert page.evaluate(NOW) == [1], "a click on the notes turned the page"
        page.emulate_media(media="print")
        assert not notes.is_visible()
        page.emulate_media(media="screen")
        page.keyboard.press("n")
        assert not notes.is_visible()
        with page.expect_popup() as opening:
            page.keyboard.press("s")
        speaker, last = opening.value, page.evaluate("slides.length")
        assert "The one thing" in speaker.inner_text("body") and "Next: Aims" in speaker.inner_text("body")
        page.bring_to_front()
        page.keyboard.press("End")
        said = speaker.inner_text("body")
        assert f"{last} of {last}: Recap" in said and "The last slide" in said
        speaker.close()


OFF_THE_PAPER = """() => slides.flatMap(slide => {
    const paper = slide.getBoundingClientRect();
    return [...slide.querySelectorAll("*")].filter(element => {
        const box = element.getBoundingClientRect(), shown = element.getClientRects().length > 0;  // notes are not
        return shown && (box.top < paper.top || box.bottom > paper.bottom || box.right > paper.right);
    }).map(element => element.textContent.slice(0, 40));
})"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_printing_gives_one_slide_a_page(path, decks, browser):
    with opened(browser, decks / f"{path.stem}.html", 1122, 631) as (page, _):  # the paper, 297 by 167 mm, in pixels
        pages = len(re.findall(rb"/Type /Page\b", page.pdf(prefer_css_page_size=True)))
        assert pages == page.evaluate("slides.length")
        page.emulate_media(media="print")
        assert page.evaluate(OFF_THE_PAPER) == []
