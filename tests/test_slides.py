"""Slides and solutions: they come from the notebooks, and the slides are readable in a real browser."""

import contextlib
import html
import re

import nbformat
import pytest

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


# ----------------------------------------------------------------------------------------------------------- slides


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    slides.make(folder, NOTEBOOKS)
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
    assert page.count("<h2>Question ") == 4 and "Recap" in words
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


@pytest.mark.parametrize("size", [(1280, 720), (1024, 768)], ids=["1280x720", "1024x768"])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_slide_fits_on_the_screen_and_nothing_is_fetched(path, size, decks, browser):
    with opened(browser, decks / f"{path.stem}.html", *size) as (page, asked):
        number = page.evaluate("slides.length")
        outside = []
        for slide in range(1, number + 1):
            assert page.evaluate(NOW) == [slide]
            outside += page.evaluate(TOO_FAR)
            page.keyboard.press("ArrowRight")
        assert not outside
        assert [url for url in asked if not url.startswith("data:")] == [(decks / f"{path.stem}.html").as_uri()]


def test_a_slide_that_does_not_fit_is_noticed(decks, browser, tmp_path):
    text = (decks / f"{NOTEBOOKS[0].stem}.html").read_text(encoding="utf-8")
    (tmp_path / "long.html").write_text(text.replace("</h1>", "</h1>" + "<p>word</p>" * 30, 1), encoding="utf-8")
    with opened(browser, tmp_path / "long.html") as (page, _):
        assert page.evaluate(TOO_FAR)


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


OFF_THE_PAPER = """() => slides.flatMap(slide => {
    const paper = slide.getBoundingClientRect();
    return [...slide.querySelectorAll("*")].filter(element => {
        const box = element.getBoundingClientRect();
        return box.top < paper.top || box.bottom > paper.bottom || box.right > paper.right;
    }).map(element => element.textContent.slice(0, 40));
})"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_printing_gives_one_slide_a_page(path, decks, browser):
    with opened(browser, decks / f"{path.stem}.html", 1122, 631) as (page, _):  # the paper, 297 by 167 mm, in pixels
        pages = len(re.findall(rb"/Type /Page\b", page.pdf(prefer_css_page_size=True)))
        assert pages == page.evaluate("slides.length")
        page.emulate_media(media="print")
        assert page.evaluate(OFF_THE_PAPER) == []
