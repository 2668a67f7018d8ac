"""The pages for instructors: timetables add up, links lead somewhere, every exercise and every term is spoken of."""

import re
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.exercises.engine import Exercise, told
from helpers.metrics import wilson_interval
from tools import guide
from tools import notebooks as tools

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = tools.notebooks()
PAGES = sorted((ROOT / "workshop").glob("*.md"))
GUIDE = (ROOT / "workshop" / "instructor-guide.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "workshop" / "glossary.md").read_text(encoding="utf-8")
PLAN = guide.plan()


# -------------------------------------------------------------------------------------------------- generated parts


def test_the_guide_has_a_place_for_every_table():
    for name in guide.guide_tables():
        assert f"<!-- table: {name} -->" in GUIDE


def test_a_stale_table_and_a_stale_link_are_made_anew():
    stale = (
        "<!-- table: exercises 04 -->\nold\n<!-- end of table -->\n[04, section 4](../notebooks/04_old.ipynb#4.-Old)"
    )
    fresh = guide.with_links(tools.with_tables(stale, guide.guide_tables()))
    assert "\nold\n" not in fresh and "one epoch too long" in fresh
    assert fresh.endswith("[04, section 4](../notebooks/04_overfitting.ipynb#4.-When-should-it-have-stopped?)")
    with pytest.raises(ValueError, match="no section 99"):
        guide.with_links("[04, section 99]()")


@pytest.mark.parametrize("number", PLAN["live"])
def test_the_guide_says_something_to_every_exercise_and_lists_its_mistakes(number):
    by_hand = re.sub(r"<!-- table.*?<!-- end of table -->", "", GUIDE, flags=re.DOTALL)
    for name, task in guide.tasks(number).items():
        if isinstance(task, Exercise):
            assert f"- `{name}`: " in by_hand, f"write what an instructor says to {name}"
            assert all(told(mistake) in GUIDE for mistake in task.mistakes)
            assert 0 < task.minutes <= 30


def test_the_minutes_of_the_sections_are_those_of_the_notebook():
    for number in PLAN["live"]:
        sections = guide.sections_of(number)
        stated = guide.reading_minutes(tools.read(guide.notebook_path(number)))
        assert sum(minutes for _, minutes in sections.values()) == pytest.approx(stated)
        assert list(sections) == list(range(1, len(sections) + 1)) and set(PLAN["live"][number]) <= set(sections)


@pytest.mark.parametrize("heading", ["Exercise 1", "Optional: more"])
def test_what_need_not_be_read_does_not_lengthen_a_section(heading):
    head = [new_markdown_cell("# T"), new_markdown_cell("about 10 minutes to\nread and try")]
    cells = [
        new_markdown_cell("## 1. A\n\nfive words of plain text"),
        new_markdown_cell(f"### {heading}\n\n" + "w " * 50),
    ]
    cells += [new_code_cell("x\n" * 50), new_markdown_cell("## 2. B\n\nten " + "words " * 4), new_code_cell("x = 1")]
    found = guide.sections_in(new_notebook(cells=head + cells))
    assert found == {1: ("1. A", pytest.approx(10 / 3)), 2: ("2. B", pytest.approx(20 / 3))}


# ----------------------------------------------------------------------------------------------------- timetables


@pytest.mark.parametrize("name", PLAN["timetables"])
def test_a_timetable_adds_up_names_what_there_is_and_has_breaks(name):
    start, doors, blocks = PLAN["timetables"][name].values()
    rows = re.findall(r"^\| (\d\d):(\d\d) \| (\d*) \|", guide.timetable(name), re.MULTILINE)
    times = [60 * int(hours) + int(minutes) for hours, minutes, _ in rows]
    assert [after - before for before, after in zip(times, times[1:], strict=False)] == [int(m) for *_, m in rows[:-1]]
    whole = sum(map(guide.minutes_of, blocks))
    assert times[1] == 60 * int(start[:2]) + int(start[3:]) and times[-1] - times[1] == whole
    assert times[1] - times[0] == doors["minutes"] == (20 if name.endswith("second") else 45)
    assert whole <= (8 if name == "one day" else 4) * 60
    sitting, computed = 0, {"02", "03"} if name.endswith("second") else set()
    taught = {number: 0 for number in PLAN["live"]}
    for block in [doors, *blocks]:
        sitting = 0 if "break" in block or block is doors else sitting + guide.minutes_of(block)
        assert sitting <= 120, "two hours without a break"
        # what computes in a break or a talk is done by its end, on a laptop half as fast as well
        computing = block.get("computing", [])
        assert 2 * sum(map(guide.computing_minutes, computing)) <= block.get("minutes", 0)
        computed |= set(computing)
        if "teach" in block:
            assert set(block["sections"]) <= set(guide.sections_of(block["teach"]))
            if name != "half a day" and block != {"teach": "03", "sections": [3, 4, 5]}:  # compute next to nothing
                assert block["teach"] in computed, f"{block} is taught before it has computed"
            taught[block["teach"]] = max(block["sections"])
        if "exercises" in block:
            assert set(block["names"]) <= {*guide.tasks(block["exercises"]), "quiz"}
            for exercise, section in guide.inside_sections(block["exercises"]).items():
                here = exercise in block["names"]
                assert not here or taught[block["exercises"]] == section, f"{exercise} stands in section {section}"


def test_half_a_day_says_what_is_not_run_and_what_a_large_room_skips(monkeypatch):
    not_run = re.findall(r"\*\*(\d\d) ·.*; it is not run \|$", guide.timetable("half a day"), re.MULTILINE)
    assert set(not_run) == {"02", "04"} and "not run" not in guide.timetable("one day")
    monkeypatch.setattr(guide, "predictions_of", lambda number: {None: 1, 1: 9, 2: 1, 5: 0, 6: 2})
    monkeypatch.setattr(guide, "minutes_of", lambda block: 13)
    monkeypatch.setattr(guide, "notes", lambda number: {})
    words = guide.what_is_done({"teach": "01", "sections": [1, 2, 5, 6]})
    assert words.endswith("; 12 predictions, *skip when large* those of 1 from the second on, those of 6")


# ------------------------------------------------------------------------------------------------ glossary and links

NOT_TERMS = {  # bold for emphasis, each for a reason
    "none of them": "an advice in a list of advice",
    "as in the picture of section 6, where the axis of labels is logarithmic": "what learners overlook in an exercise",
    "left": "the side on which an exercise wants the padding",
    "eight faults": "how many there are to find",
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
    return {quote(anchor, safe="-._~!'?:,;"): text for anchor, text in found.items()}


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


# --------------------------------------------------------------------------------------------- pages for the day itself


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_handout_is_one_page_and_readable_on_a_phone(browser, paper):
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto((ROOT / "workshop" / "handout.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert len(re.findall(rb"/Type /Page\b", page.pdf(format=paper))) == 1
    page.close()


def test_the_handouts_intervals_are_those_of_the_notebooks():
    rows = re.findall(
        r"<td>([\d,]+) texts</td><td>(\d+)% to (\d+)%</td>", (ROOT / "workshop" / "handout.html").read_text()
    )
    assert len(rows) == 4
    for texts, *stated in rows:
        texts = int(texts.replace(",", ""))
        assert [round(100 * end) for end in wilson_interval(round(0.8 * texts), texts)] == list(map(int, stated))


def test_who_has_the_workshop_folder_alone_can_answer_the_questions_of_the_day():
    preflight = (ROOT / "workshop" / "preflight.md").read_text(encoding="utf-8")
    invitation = (ROOT / "workshop" / "invitation.md").read_text(encoding="utf-8")
    for minutes in {
        timetable["doors"]["minutes"] for name, timetable in PLAN["timetables"].items() if "second" not in name
    }:
        assert (
            f"Doors open {minutes} minutes before" in preflight and f"Doors open {minutes} minutes before" in invitation
        )
    assert "one for four people" in preflight and "A laptop is late" in preflight
    for page in ("invitation.md", "handout.html"):
        assert f"]({page})" in preflight
