"""The reading site: built once, then read as files, and looked at in Chromium at three widths, light and dark."""

import html
import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from helpers.exercises import Quiz
from helpers.exercises.engine import as_html
from tools import address, notebooks, site
from tools.guide import tasks

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = (360, 768, 1280)
NOTEBOOKS = [path.stem for path in notebooks.notebooks()]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The site. Sphinx warns of nothing, or there is none."""
    out = tmp_path_factory.mktemp("site")
    with warnings.catch_warnings(action="ignore"):  # of Python's, between Sphinx and what extends it
        assert site.build(out), "Sphinx warned: run `python3 start.py site`"
    return out


class Page(HTMLParser):
    """What a page links to, fetches, and is outlined by."""

    def __init__(self, path):
        super().__init__()
        self.links, self.fetched, self.ids, self.levels, self.images, self.meta = [], [], set(), [], [], {}
        self.text = path.read_text(encoding="utf-8")
        self.in_article = False  # the theme's other headings are for print
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found["id"]} if "id" in found else set()
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.in_article = self.in_article or tag == "article"
        if self.in_article and re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "img":
            self.images.append(found)
        if tag in ("img", "script", "iframe") and "src" in found:
            self.fetched.append(found["src"])
        if tag == "link" and "stylesheet preload icon".find(found.get("rel", "-")) >= 0:
            self.fetched.append(found["href"])
        if tag == "meta" and "content" in found:
            self.meta[found.get("property", found.get("name"))] = found["content"]


@pytest.fixture(scope="session")
def pages(built):
    return {path: Page(path) for path in built.rglob("*.html") if "_static" not in path.parts}


def test_no_link_is_dead_and_nothing_is_fetched(built, pages):
    for path, page in pages.items():
        for link in page.links + page.fetched:
            parts = urlsplit(link)
            if link in page.fetched:
                assert parts.scheme in ("", "data") and not parts.netloc, f"{path.name} fetches {link[:80]}"
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in pages[target].ids, f"{path.name}: {link}"
    for sheet in built.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_headings_make_an_outline_and_pictures_have_words(pages):
    for path, page in pages.items():
        if path.stem in ("search", "genindex") or not page.in_article:  # the handout is not Sphinx's
            continue
        assert page.levels.count(1) == 1 and page.levels[0] == 1, path
        assert all(after <= before + 1 for before, after in zip(page.levels, page.levels[1:], strict=False)), path
        assert all(picture.get("alt", "").strip() for picture in page.images), path


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_page_shows_questions_that_open_and_exercises_without_solutions(name, built, pages):
    page = pages[built / "notebooks" / f"{name}.html"]
    shown = " ".join(html.unescape(re.sub("<[^>]+>", "", page.text)).split())
    for task in tasks(name[:2]).values():
        if isinstance(task, Quiz):
            assert page.text.count(f"<p><strong>{as_html(task.question)}</strong></p>") == 1
            for letter, option in task.options.items():
                assert f"<details><summary>{letter}) {as_html(option)}</summary>" in page.text
        else:
            assert all(as_html(hint) in page.text for hint in task.hints)
            body = [line.strip() for line in task.source.splitlines() if len(line) > 40 and "def " not in line]
            given = [cell.source for cell in notebooks.read(ROOT / "notebooks" / f"{name}.ipynb").cells] + task.hints
            given = "\n".join(given)
            assert not [line for line in body if line not in given and " ".join(line.split()) in shown]
    assert "Not attempted yet" not in shown
    assert page.text.count('class="term"') >= 3 and 'title="' in page.text
    assert page.meta["og:image"].endswith("picture.png") and page.meta["og:description"].endswith("?")


def test_a_page_leads_on_and_to_a_notebook_that_runs(built, pages, monkeypatch):
    for number, name in enumerate(NOTEBOOKS):
        page = pages[built / "notebooks" / f"{name}.html"]
        assert f"../download/{name}.ipynb" in page.links
        around = [f"{other}.html" for other in (NOTEBOOKS[number - 1 : number] + NOTEBOOKS[number + 1 : number + 2])]
        assert all(re.search(rf'class="(left|right)-(prev|next)"\s+href="{other}"', page.text) for other in around)
        download = json.loads((built / "download" / f"{name}.ipynb").read_text(encoding="utf-8"))
        assert not any(cell.get("outputs") for cell in download["cells"])
    monkeypatch.setattr(address, "address", lambda: ("https://github.com/NAME/COURSE", "main"))
    assert "Open in Colab</a>" in site.run_buttons(Path("notebooks/01_x.ipynb"))


def test_terms_are_linked_but_not_in_code():
    terms = {"epoch": 'One "pass".'}
    text = "An **epoch**, `**epoch**`, **not one**, [it](../workshop/glossary.md#epoch), [x](../LICENSE), "
    text += "[y](../CONTRIBUTING.md), [z](../README.md), [a](05_evaluation.ipynb#4.-How-sure-are-we?)."
    link = '<a class="term" href="../workshop/glossary.html#term-epoch" title="One &quot;pass&quot;.">'
    assert site.linked(text, "notebooks", terms) == (
        f"An **{link}epoch</a>**, `**epoch**`, **not one**, {link}it</a>, x, y, [z](../index.md), "
        "[a](05_evaluation.ipynb#4-how-sure-are-we)."
    )


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    thesis = tmp_path / "index.html"
    thesis.write_text("a thesis", encoding="utf-8")
    with pytest.raises(site.Problem, match="holds files that are not of this site"):
        site.main(tmp_path)
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["a thesis"]


# ----------------------------------------------------------------------------------------------------- in a browser

WIDE = """[...document.querySelectorAll('body *')].filter(element => {
    const box = element.getBoundingClientRect();
    if (!box.width || box.right <= innerWidth + 1) return false;
    for (let up = element; up !== document.body; up = up.parentElement) {
        const style = getComputedStyle(up);
        if (up !== element && style.overflowX !== 'visible' || style.position === 'fixed') return false;
    }
    return true;
}).map(element => element.outerHTML.slice(0, 100))"""
PALE = """(() => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
        let layers = [];
        for (let up = element; up; up = up.parentElement) {
            const [r, g, b, a = 1] = numbers(getComputedStyle(up).backgroundColor);
            layers.push([r, g, b, a]);
            if (a === 1) break;
        }
        return layers.reverse().reduce((under, [r, g, b, a]) =>
            [r, g, b].map((c, i) => c * a + under[i] * (1 - a)), [255, 255, 255]);
    };
    const found = {};
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!node.data.trim() || !element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
        const [one, two] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
        const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (contrast < 4.5) found[`${element.outerHTML.slice(0, 90)} ${contrast.toFixed(2)}`] = 1;
    }
    return Object.keys(found);
})()"""


@pytest.mark.timeout(900)  # all pages at three widths: half a minute of a processor, and Chromium's own
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_and_can_be_read(scheme, built, pages, browser, tmp_path):
    context = browser.new_context(color_scheme=scheme)
    asked = []
    context.on("request", lambda request: asked.append(request.url))
    window = context.new_page()
    rest = [path for path in (built / "workshop").glob("*.html") if path.name != "handout.html"]  # which is for paper
    rest = [*rest, built / "about.html"] if scheme == "light" else []
    for path in [*(built / "notebooks").glob("*.html"), built / "index.html", *rest]:
        window.goto(path.as_uri())
        assert window.evaluate("document.documentElement.dataset.theme") == scheme
        window.add_style_tag(content="* { transition: none !important }")  # a colour on its way is not read
        window.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert window.evaluate(PALE) == [], f"{path.name}, {scheme}: text that is hard to read"
        for width in WIDTHS if scheme == "light" else ():
            window.set_viewport_size({"width": width, "height": 800})
            wide = window.evaluate("document.documentElement.scrollWidth > innerWidth") and window.evaluate(WIDE)
            assert not wide, f"{path.name} at {width} pixels"
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    context.close()


def test_search_finds_a_word_without_network(built, browser):
    window = browser.new_page()
    window.goto((built / "search.html").as_uri() + "?q=calibration")
    window.wait_for_selector("#search-results li a")
    assert "05 · Evaluation" in window.locator("#search-results").inner_text()
    window.close()


def test_a_page_can_be_read_without_javascript(built, browser):
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto((built / "notebooks" / f"{NOTEBOOKS[0]}.html").as_uri())
    assert window.locator("article h1").is_visible() and window.locator("article img").first.is_visible()
    window.locator(".quiz summary").first.click()
    assert window.locator(".quiz details[open] p").first.is_visible()
    context.close()
