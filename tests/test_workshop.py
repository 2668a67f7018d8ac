"""The workshop kit: generated parts are current, links lead somewhere, slides and solutions come from the notebooks."""

import contextlib
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.exercises.engine import Exercise, told
from helpers.exercises.solve import solved
from tools import commands, ground, workshop
from tools import notebooks as tools

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = tools.notebooks()
PAGES = sorted((ROOT / "workshop").glob("*.md"))
GUIDE = (ROOT / "workshop" / "instructor-guide.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "workshop" / "glossary.md").read_text(encoding="utf-8")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# -------------------------------------------------------------------------------------------------- generated parts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_generated_parts_are_current(page):
    assert workshop.filled()[page] == page.read_text(encoding="utf-8"), "run `python3 start.py refresh --tables`"


def test_the_guide_has_a_place_for_every_table():
    for name in workshop.guide_tables():
        assert f"<!-- table: {name} -->" in GUIDE


def test_a_stale_table_and_a_stale_link_are_made_anew():
    stale = (
        "<!-- table: exercises 04 -->\nold\n<!-- end of table -->\n[04, section 4](../notebooks/04_old.ipynb#4.-Old)"
    )
    fresh = workshop.with_links(tools.with_tables(stale, workshop.guide_tables()))
    assert "\nold\n" not in fresh and "one epoch too long" in fresh
    assert fresh.endswith("[04, section 4](../notebooks/04_overfitting.ipynb#4.-When-should-it-have-stopped?)")
    with pytest.raises(ValueError, match="no section 99"):
        workshop.with_links("[04, section 99]()")


@pytest.mark.parametrize("number", workshop.LIVE)
def test_the_guide_says_something_to_every_exercise_and_lists_its_mistakes(number):
    by_hand = re.sub(r"<!-- table.*?<!-- end of table -->", "", GUIDE, flags=re.DOTALL)
    for name, task in workshop.tasks(number).items():
        if isinstance(task, Exercise):
            assert f"- `{name}`: " in by_hand, f"write what an instructor says to {name}"
            assert all(told(mistake) in GUIDE for mistake in task.mistakes)
            assert 0 < task.minutes <= 30


def test_the_minutes_of_the_sections_are_those_of_the_notebook():
    for number in workshop.LIVE:
        sections = workshop.sections_of(number)
        stated = workshop.reading_minutes(tools.read(workshop.notebook_path(number)))
        assert sum(minutes for _, minutes in sections.values()) == pytest.approx(stated)
        assert list(sections) == list(range(1, len(sections) + 1)) and set(workshop.LIVE[number]) <= set(sections)


def test_an_exercise_inside_a_section_does_not_lengthen_it(monkeypatch):
    head = [new_markdown_cell("# T"), new_markdown_cell("about 10 minutes to\nread and try")]
    cells = [
        new_markdown_cell("## 1. A\n\nfive words of plain text"),
        new_markdown_cell("### Exercise 1\n\n" + "w " * 50),
    ]
    cells += [new_code_cell("x\n" * 50), new_markdown_cell("## 2. B\n\nten " + "words " * 4), new_code_cell("x = 1")]
    monkeypatch.setattr(tools, "read", lambda path: new_notebook(cells=head + cells))
    assert workshop.sections_of("01") == {1: ("1. A", pytest.approx(10 / 3)), 2: ("2. B", pytest.approx(20 / 3))}


# ----------------------------------------------------------------------------------------------------- timetables


def minutes_in(name):
    return sum(workshop.minutes_of(block) for block in workshop.TIMETABLES[name][1:])


def test_half_days_have_four_hours_at_most_and_a_day_has_eight():
    for name in workshop.TIMETABLES:
        assert minutes_in(name) <= (8 if name == "one day" else 4) * 60, name


@pytest.mark.parametrize("name", workshop.TIMETABLES)
def test_a_timetable_adds_up_names_what_there_is_and_has_breaks(name):
    start_time, *blocks = workshop.TIMETABLES[name]
    rows = re.findall(r"^\| (\d\d):(\d\d) \| (\d*) \|", workshop.timetable(name), re.MULTILINE)
    times = [60 * int(hours) + int(minutes) for hours, minutes, _ in rows]
    assert times[0] == 60 * int(start_time[:2]) + int(start_time[3:]) and times[-1] - times[0] == minutes_in(name)
    assert [after - before for before, after in zip(times, times[1:], strict=False)] == [int(m) for *_, m in rows[:-1]]
    sitting = 0
    for kind, what, *rest in blocks:
        if kind == workshop.TEACH:
            assert set(rest[0]) <= set(workshop.sections_of(what))
        if kind == workshop.TASKS:
            assert set(rest[0]) <= {*workshop.tasks(what), "quiz"}
        minutes = workshop.minutes_of((kind, what, *rest))
        sitting = 0 if kind == workshop.BREAK else sitting + minutes
        assert sitting <= 120, f"two hours without a break in: {name}"
        # what computes in a break or a talk is done by its end, on a laptop half as fast as well
        if kind in (workshop.TALK, workshop.BREAK):
            assert 2 * sum(map(workshop.computing_minutes, rest[1:])) <= minutes


def test_a_notebook_has_computed_before_it_is_taught():
    for name in ("one day", "two half-days, the first", "two half-days, the second"):
        computed = {"03", "02"} if name.endswith("second") else set()
        for kind, what, *rest in workshop.TIMETABLES[name][1:]:
            if kind in (workshop.TALK, workshop.BREAK):
                computed |= set(rest[1:])
            elif kind == workshop.TEACH and (what, rest[0]) != ("03", (1, 3, 4, 5)):  # these compute next to nothing
                assert what in computed, f"{name}: {what}"


# ------------------------------------------------------------------------------------------------ glossary and links

NOT_TERMS = {  # bold for emphasis, each for a reason
    "none of them": "an advice in a list of advice",
    "as in the picture of section 6, where the axis of labels is logarithmic": "what learners overlook in an exercise",
    "left": "the side on which an exercise wants the padding",
    "seven faults": "how many there are to find",
}


def bold_terms(notebook):
    """{term: where}, of all that is bold in the text cells and names something. Lead-ins end with a colon or a stop."""
    terms = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```|`[^`\n]*`|\$[^$\n]*\$", "", cell.source, flags=re.DOTALL)
            for bold in re.findall(r"\*\*(.+?)\*\*", text, re.DOTALL):
                term = re.sub(r"^(sanity check) \d.*", r"\1", " ".join(bold.split()).lower())
                if not term.endswith((":", ".", "be able to")) and term not in NOT_TERMS:
                    terms.setdefault(term, cell.source[:60])
    return terms


def glossary_entries(text):
    """[(the terms of an entry, its words, the notebook's file and the anchor that it links to)]"""
    entries = []
    for line in re.findall(r"^- (.+)", text, re.MULTILINE):
        names, words, path, anchor = re.fullmatch(
            r"((?:\*\*[^*]+\*\*(?:, )?)+): (.+) \[\d\d, section \d+\]\(\.\./notebooks/([^)#]+)#([^)]+)\)", line
        ).groups()
        entries.append((re.findall(r"\*\*([^*]+)\*\*", names), words, path, anchor))
    return entries


def missing_terms(notebook, text):
    known = {term.lower() for names, *_ in glossary_entries(text) for term in names}
    return {term: where for term, where in bold_terms(notebook).items() if term not in known}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_bold_term_is_in_the_glossary(path):
    assert not missing_terms(tools.read(path), GLOSSARY)


def test_the_glossary_has_no_term_that_no_notebook_uses_and_is_in_order():
    used = set().union(*(bold_terms(tools.read(path)) for path in NOTEBOOKS))
    first = []
    for names, words, *_ in glossary_entries(GLOSSARY):
        assert used & {name.lower() for name in names}, f"{names} is bold nowhere"
        assert words[0].isupper() and 1 <= len(re.findall(r"[.?](?:\s|$)", words)) <= 2, (
            f"one or two sentences: {words}"
        )
        first.append(names[0].lower())
    assert first == sorted(first) and len(set(first)) == len(first)


def test_a_missing_term_is_noticed():
    notebook = new_notebook(cells=[new_markdown_cell("**Time:** now. A **new\nterm**, `**no**`, an **epoch**.")])
    assert list(missing_terms(notebook, GLOSSARY)) == ["new term"]


@pytest.mark.parametrize("entry", glossary_entries(GLOSSARY), ids=lambda entry: entry[0][0])
def test_a_glossary_link_leads_to_a_section_that_speaks_of_the_term(entry):
    names, _, file, anchor = entry
    sections = sections_by_anchor(ROOT / "notebooks" / file)
    assert anchor in sections, f"{file} has no heading with the anchor {anchor}"
    spoken = re.sub(r"[\s_]+", " ", sections[anchor]).lower()
    assert any(name.lower().replace("_", " ") in spoken for name in names), f"{names} is not spoken of there"


def sections_by_anchor(path):
    """{anchor, as JupyterLab makes it from the words of a heading: the text and code of that section}"""
    found, here = {}, ""
    for cell in tools.read(path).cells:
        if cell.cell_type == "markdown":
            for piece in re.split(r"^(?=##? )", cell.source, flags=re.MULTILINE):
                if piece.startswith("#"):
                    heading = piece.splitlines()[0].lstrip("# ")
                    here = re.sub(r"[`*]", "", heading).replace(" ", "-")
                found[here] = found.get(here, "") + piece
        else:
            found[here] = found.get(here, "") + cell.source
    return {workshop.quote(anchor, safe="-._~!'?:,;"): text for anchor, text in found.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]*)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            assert file and (page.parent / unquote(file)).is_file(), f"{page.name} links to {target!r}"
            assert not anchor or anchor in sections_by_anchor(page.parent / file)


def test_the_surveys_ask_the_same_four_questions():
    asked = [(ROOT / "workshop" / f"survey-{when}.md").read_text(encoding="utf-8") for when in ("before", "after")]
    shared = [re.search(r"^1\. .*?(?=^5\. )", text, re.MULTILINE | re.DOTALL)[0] for text in asked]
    assert shared[0] == shared[1] and shared[0].count("I don't know") == 4


# -------------------------------------------------------------------------------------------------------- solutions


def differences(blank, answered):
    """The numbers of the cells that differ in anything."""
    assert len(blank.cells) == len(answered.cells)
    return {i for i, pair in enumerate(zip(blank.cells, answered.cells, strict=True)) if pair[0] != pair[1]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_solutions_edition_answers_the_exercises_and_changes_nothing_else(path, tmp_path):
    before = path.read_bytes()
    workshop.main("solutions", tmp_path, path)
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
    changed = workshop.with_solutions(NOTEBOOKS[0])
    changed.cells[0].source += "!"
    assert 0 in differences(blank, changed)


def test_git_ignores_what_is_made_for_instructors():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/solutions/", "/runs/"} <= set(ignored)


def test_the_commands_name_notebooks_and_folder(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(commands, "set_up", lambda pack: None)
    monkeypatch.setattr(commands, "hand_over", lambda command: asked.append(command) or 0)
    for arguments, out in [
        (["slides", "3"], ROOT / "runs" / "slides"),
        (["solutions", "03"], ROOT / "solutions"),
        (["slides", "03", "--out", str(tmp_path)], tmp_path),
    ]:
        assert commands.main(arguments) == 0
        assert asked.pop() == ground.module("tools.workshop", arguments[0], out, workshop.notebook_path("03"))
    for out, words in [(ROOT / "notebooks", "overwrite"), (ROOT / "README.md", "is a file")]:
        with pytest.raises(ground.Problem, match=words):
            commands.main(["solutions", "--out", str(out)])
    assert not asked


# ----------------------------------------------------------------------------------------------------------- slides


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    workshop.main("slides", folder, *NOTEBOOKS)
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_slides_hold_every_section_prediction_and_picture_of_the_notebook(path, decks):
    page = (decks / f"{path.stem}.html").read_text(encoding="utf-8")
    notebook = tools.read(path)
    words = re.sub(r"\s+", " ", workshop.html.unescape(re.sub(r"<[^>]+>", "", page)))
    for heading, _ in workshop.sections_of(path.name[:2]).values():
        assert re.sub(r"[`*]", "", heading) in words
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert page.count("Predict first:") == prose.count("Predict first:") > 5
    shown = "".join(str(output.get("data", {}).get("text/html", "")) for _, output in outputs(notebook))
    assert re.findall(r'<img alt="([^"]+)"', page) == re.findall(r'<img alt="([^"]+)"', shown)
    assert page.count("<h2>Question ") == 4 and "Recap" in words
    assert not re.search(r"\\(text|ln|cdot|frac)|\]\(", page), "a formula or a link in Markdown is left"


def outputs(notebook):
    return ((cell, output) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here (on Debian: apt install chromium)")
    switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield browser
        browser.close()


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
