"""The learner's first hour in a real browser: JupyterLab as `start.py --no-browser` serves it, driven by Playwright.

The course is copied to a temporary folder and served from there with a fresh HOME, so that the notebooks are as
untrusted as after cloning, and nothing here is written to. Without Chromium the tests are skipped.
"""

import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from copies import copy

from helpers.exercises import nb03
from helpers.exercises.engine import told

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
COURSE = ["start.py", "requirements.txt", "pyproject.toml", "helpers", "notebooks", "tools"]
REMOTE = ("http", "https", "ws", "wss")  # other requests, data: and blob:, go nowhere
LOOPBACK = ("127.0.0.1", "localhost")
ADDRESS = r"http://127\.0\.0\.1:\S+token=\w+"
RUN_SECONDS = 280  # a notebook on the quick track takes less than 40 on an idle machine

pytestmark = [
    pytest.mark.skipif(
        not Path(sys.prefix, "course-setup.json").exists(),
        reason="JupyterLab is started with start.py, which did not make this Python's environment",
    ),
    pytest.mark.timeout(RUN_SECONDS + 60),
]


# --------------------------------------------------------------------------------------------- server and browser


class Lab:
    """A running JupyterLab: its folder, its address, and what start.py said."""

    def __init__(self, folder, port, said, blocked):
        self.folder, self.port, self.said = folder, port, said
        self.blocked = blocked  # a file that is there when a kernel tried to reach the network
        self.printed = re.search(ADDRESS, said)[0]
        self.address, self.token = f"http://127.0.0.1:{port}", re.search(r"token=(\w+)", self.printed)[1]

    def ask(self, path, method="GET", sent=None):
        """Send a request to the server's API and return its answer."""
        headers = {"Authorization": f"token {self.token}"}
        sent = sent and json.dumps(sent).encode()
        request = urllib.request.Request(self.address + path, data=sent, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the course, around which a learner has settings that let everybody in, and odd files."""
    folder, home = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("home")
    for name in COURSE:
        copy(ROOT / name, folder / name)
    for name in ("random.py", "jupyterlab.py", "notebooks/random.py"):
        (folder / name).write_text("raise SystemExit('a file of mine')")
    (home / ".jupyter").mkdir()
    (home / ".jupyter" / "jupyter_server_config.py").write_text(
        "c.ServerApp.token = c.IdentityProvider.token = c.ServerApp.password = ''\n"
        "c.ServerApp.ip = '0.0.0.0'\nc.ServerApp.allow_unauthenticated_access = True\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "HOME": str(home),
        "COURSE_VENV": sys.prefix,
        "COURSE_TRACK": "quick",
        "COURSE_OUTPUT": str(home / "outputs"),
        "COURSE_BLOCKED_LOG": str(home / "blocked.txt"),  # for no_network.py, which conftest.py gives each kernel
        "OMP_WAIT_POLICY": "passive",  # waiting threads leave the processor to the browser
    }
    log = home / "start.log"
    env = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")} | settings
    command = [sys.executable, str(folder / "start.py"), "--no-browser", "--port", str(port)]
    with log.open("w") as output, started(command, env=env, stdout=output, stderr=subprocess.STDOUT) as server:
        yield Lab(folder, port, said_by(server, log), home / "blocked.txt")


@contextmanager
def started(command, **settings):
    """A running program, which is ended with all that it started in its session, whatever happens meanwhile."""
    program = subprocess.Popen(command, start_new_session=True, **settings)
    try:
        yield program
    finally:
        program.terminate()
        with suppress(subprocess.TimeoutExpired):
            program.wait(30)
        with suppress(ProcessLookupError, AttributeError):  # AttributeError: Windows has no process groups
            os.killpg(program.pid, signal.SIGKILL)
        program.kill()
        program.wait()


def said_by(server, log):
    """Wait until JupyterLab answers at the address that it printed, and return all that was printed."""
    for _ in range(240):
        found = re.search(ADDRESS, log.read_text())
        if found:
            with suppress(urllib.error.URLError):
                urllib.request.urlopen(found[0], timeout=30).close()
                return log.read_text()
        if server.poll() is not None:
            break
        time.sleep(0.5)
    pytest.fail(f"start.py --no-browser serves no JupyterLab. It said:\n{log.read_text()}")


READ_ONLY = """set -e
for folder in "$1" "$2"; do mount --bind "$folder" "$folder"; mount -o remount,ro,bind "$folder"; done
shift 2; exec "$@" """


def test_a_course_that_many_share_and_nobody_may_write_serves_copies_in_the_own_home(tmp_path):
    # Would catch anything of the course or of .venv that start.py or JupyterLab must write, and copies beyond saving.
    course, home, log = tmp_path / "course", tmp_path / "home", tmp_path / "start.log"
    for folder in (course, home):
        folder.mkdir()
    for name in (*COURSE, "workshop"):
        copy(ROOT / name, course / name)
    able = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(course), sys.prefix]
    if not shutil.which("unshare") or subprocess.run([*able, "true"], capture_output=True).returncode:
        pytest.skip("needs Linux and the right to mount")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*able, sys.executable, str(course / "start.py"), "--no-browser", "--port", str(port)]
    names = ("JUPYTER", "COURSE_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    env |= {"HOME": str(home), "COURSE_VENV": sys.prefix, "COURSE_TRACK": "quick"}
    with log.open("w") as output, started(command, env=env, stdout=output, stderr=subprocess.STDOUT) as server:
        lab = Lab(home, port, said_by(server, log), None)
        (name, *_) = NOTEBOOKS
        assert f"/lab/tree/my_course/{name}" in lab.printed
        mine = home / "bert-finetuning-course-files" / "my_course" / name
        assert f"are in {mine.parent.parent}" in lab.said and mine.exists()
        assert (mine.parent.parent / "workshop" / "glossary.md").exists()  # the copies' links lead there
        written = lab.ask(f"/api/contents/my_course/{name}", "PATCH", {"path": "my_course/renamed.ipynb"})
        assert written["writable"] and mine.with_name("renamed.ipynb").exists()


def test_jupyterlab_asks_for_a_token_whatever_a_learners_settings_are(lab):
    assert "jupyter_server_config.py says who may use" in lab.said
    assert lab.ask("/api/contents")["content"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(lab.address + "/api/contents", timeout=60)
    with pytest.raises(OSError):  # what is bound to every address would answer
        socket.create_connection(("127.0.0.2", lab.port), timeout=5).close()


@pytest.fixture
def page(lab, browser):
    """A new window. At its end nothing was asked of another computer, and the browser's console holds no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    try:
        yield page
    finally:
        context.close()
        for kernel in lab.ask("/api/kernels"):
            lab.ask(f"/api/kernels/{kernel['id']}", "DELETE")
        blocked = lab.blocked.read_text(encoding="utf-8") if lab.blocked.exists() else ""
        lab.blocked.unlink(missing_ok=True)  # each fault fails one test
    far = [url for url in asked if urlsplit(url).scheme in REMOTE and urlsplit(url).hostname not in LOOPBACK]
    assert not far, f"JupyterLab asked other computers: {far}"
    assert not errors, f"the browser's console shows errors: {'; '.join(errors)}"
    assert not blocked, f"a notebook tried to reach {blocked}"


def open_notebook(page, lab, name):
    """Open a notebook as it is in the repository, and wait until JupyterLab has drawn it and its kernel is ready."""
    copy(ROOT / "notebooks" / name, lab.folder / "notebooks" / name)
    page.goto(f"{lab.address}/lab/tree/notebooks/{name}?reset&token={lab.token}")
    wait_for_notebook(page, len(read(name)["cells"]))


def wait_for_notebook(page, cells):
    page.wait_for_function(f"document.querySelectorAll('.jp-Notebook .jp-Cell').length == {cells}")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    page.wait_for_selector("#jupyterlab-splash", state="detached")


def read(name):
    return json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))


def exercises_of(name):
    """The names of a notebook's exercises and quiz questions, in order."""
    sources = ["".join(cell["source"]) for cell in read(name)["cells"]]
    return [found[1] for source in sources if (found := re.match(r"# exercise: (\w+)", source))]


# ------------------------------------------------------------------------------------------- what the page shows

PICTURES = """[...document.querySelectorAll('.jp-Notebook .jp-OutputArea img')].map(picture => ({
    alt: picture.alt,
    drawn: picture.complete && picture.naturalWidth > 0,
    fits: picture.width <= picture.closest('.jp-OutputArea-output').clientWidth,
}))"""
OUTPUTS = """[...document.querySelectorAll('.jp-Notebook .jp-OutputArea-output')].map(output => ({
    kind: output.dataset.mimeType || '',
    text: output.textContent,
}))"""
PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.textContent)"


def check_pictures(page, number):
    """The page shows this many pictures, each drawn, not wider than its place, and with words instead of it."""
    pictures = page.evaluate(PICTURES)
    assert len(pictures) == number
    for picture in pictures:
        assert len(picture["alt"]) >= 20, f"alt text that says little: {picture['alt']!r}"
        assert picture["drawn"] and picture["fits"], picture


def test_the_printed_address_opens_a_copy_in_which_no_prediction_stands_above_its_answer(page, lab):
    assert "/lab/tree/my_course/" in lab.printed
    page.goto(lab.printed)
    wait_for_notebook(page, len(read(NOTEBOOKS[0])["cells"]))
    title = "".join(read(NOTEBOOKS[0])["cells"][0]["source"]).splitlines()[0].lstrip("# ")
    assert page.locator(".jp-Notebook h1").first.text_content().startswith(title)
    assert page.locator(".jp-Dialog").count() == 0, "JupyterLab asks a question before anything can be read"
    assert page.locator(".jp-Notebook .jp-RenderedMarkdown em", has_text=re.compile("^Predict")).count() > 3
    assert page.evaluate(OUTPUTS) == [], "an answer stands below its question before anybody has predicted"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_fresh_clone_shows_its_outputs_untrusted(name, page, lab):
    open_notebook(page, lab, name)
    cells = lab.ask(f"/api/contents/notebooks/{name}")["content"]["cells"]
    assert not any(cell["metadata"].get("trusted") for cell in cells), "this test means an untrusted notebook"
    outputs = [output for cell in read(name)["cells"] for output in cell.get("outputs", [])]
    rich = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    assert any("<img" in text for text in rich), "the notebook was committed without the outputs of a run"
    check_pictures(page, sum("<img" in text for text in rich))
    shown = without_spaces("".join(output["text"] for output in page.evaluate(OUTPUTS)))
    for output in outputs:
        assert without_spaces(text_of(output)) in shown


def text_of(output):
    """The text that an output of a notebook file shows to a reader."""
    if output["output_type"] == "stream":
        return "".join(output["text"])
    if "text/html" in output["data"]:
        return html.unescape(re.sub("<[^>]*>", "", "".join(output["data"]["text/html"])))
    return "".join(output["data"]["text/plain"])


def without_spaces(text):
    return re.sub(r"\s", "", text)


# --------------------------------------------------------------------------------------------- what a learner does


def run_all_cells(page):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(f"{PROMPTS}.includes('[*]:')")
    page.wait_for_function(f"!{PROMPTS}.includes('[*]:')", timeout=RUN_SECONDS * 1000, polling=500)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")


BARS_TABLES_PICTURES, *OTHERS = NOTEBOOKS  # that the others run to their ends is tested by nbval anyway


@pytest.mark.parametrize("name", [BARS_TABLES_PICTURES, *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)])
def test_all_cells_run_in_the_browser(name, page, lab, tmp_path):
    open_notebook(page, lab, name)
    run_all_cells(page)
    outputs = page.evaluate(OUTPUTS)
    errors = [output["text"] for output in outputs if re.search("error|stderr", output["kind"])]
    assert not errors, "\n".join(errors)
    code_cells = [cell for cell in read(name)["cells"] if cell["cell_type"] == "code"]
    folded = [cell["metadata"].get("jupyter", {}).get("source_hidden") for cell in code_cells]  # shows no number
    assert page.evaluate(PROMPTS) == ["" if hidden else f"[{number}]:" for number, hidden in enumerate(folded, 1)]
    assert "Track: quick" in outputs[0]["text"], "these are the committed outputs, not those of this run"
    bars = [bar for output in outputs for bar in re.findall(r"(\d+)%\|", output["text"])]
    assert set(bars) <= {"100"}, f"a progress bar stays unfinished: {bars}"
    unnamed = [output["text"] for output in outputs if re.search(r"^<[\w.]+ (object|size)|at 0x", output["text"])]
    assert not unnamed, f"outputs that say nothing to a learner: {unnamed}"
    check_pictures(page, max(1, page.locator(".jp-Notebook .jp-OutputArea img").count()))
    table = page.locator(".jp-OutputArea-output table", has_text=re.compile("of .* correct. To read out"))
    assert table.last.locator("tbody tr").count() == len(exercises_of(name))
    page.locator(".jp-OutputArea img").last.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "executed.png")


def test_an_exercise_answers_to_the_keyboard_alone(page, lab, tmp_path):
    """Wrong answer, hint, right answer, with keys only; of the other cells only those are run that it needs."""
    name = next(name for name in NOTEBOOKS if name.startswith("03"))
    open_notebook(page, lab, name)
    sources = ["".join(cell["source"]) for cell in read(name)["cells"]]
    setup = next(i for i, source in enumerate(sources) if "from helpers.track import" in source)
    first = next(i for i, source in enumerate(sources) if source.startswith("# exercise: "))
    place = next(i for i, source in enumerate(sources) if source.startswith("# exercise: cosine_rate"))
    cell = cell_at(page, place)

    go(page, 0, setup - 1)
    page.keyboard.press("Shift+Enter")  # on to the setup cell, which is folded: the arrow keys pass over it
    run_cell(page, setup)
    go(page, setup + 1, first)
    run_cell(page, first)  # imports the exercises
    go(page, first + 1, place)

    source = type_over(page, sources[place], "# exercise: cosine_rate", "# exercise: cosine_rate\nimport math\n")
    source = type_over(page, source, "____", "step / total_steps")
    run_cell(page, place)
    assert cell.locator(".jp-OutputArea-output").inner_text().startswith("✗ Not yet")
    assert told(nb03.counts_from_the_start).replace("`", "") in cell.inner_text()

    go(page, place + 1, place)
    source = type_over(page, source, "check(cosine_rate)", "hint()")
    run_cell(page, place)
    hint = f"Hint 1 of {len(nb03.cosine_rate.hints)}. {nb03.cosine_rate.hints[0]}"
    assert hint.replace("`", "") in cell.inner_text()
    page.screenshot(path=tmp_path / "hint.png")

    go(page, place + 1, place)
    source = type_over(page, source, "hint()", "check(cosine_rate)")
    type_over(page, source, "step / total_steps", "(step - warmup_steps) / (total_steps - warmup_steps)")
    run_cell(page, place)
    assert cell.locator(".jp-OutputArea-output").inner_text().startswith("✓ Correct")
    assert nb03.cosine_rate.praise.replace("`", "") in cell.inner_text()


def go(page, start, end):
    """Move from one cell to another with the arrow keys."""
    for _ in range(abs(end - start)):
        page.keyboard.press("ArrowDown" if end > start else "ArrowUp")


def type_over(page, source, old, new):
    """In the active cell, whose source is known, put the cursor on `old`, and type `new`. Returns the new source."""
    before = source[: source.index(old)]
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Home")
    for _ in before.splitlines(keepends=True)[: before.count("\n")]:
        page.keyboard.press("ArrowDown")
    for _ in before.rpartition("\n")[2]:
        page.keyboard.press("ArrowRight")
    for _ in old:
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.type(new)
    page.keyboard.press("Escape")
    return source.replace(old, new, 1)


def run_cell(page, place):
    """Run the active cell with Shift+Enter, and wait until its number (a folded cell has none) or outputs are new."""
    cell = cell_at(page, place)

    def state():
        return cell.locator(".jp-InputPrompt").text_content(), cell.locator(".jp-OutputArea-output").all_inner_texts()

    committed = state()
    page.keyboard.press("Shift+Enter")
    deadline = time.monotonic() + 120
    while (now := state()) == committed or not re.match(r"^(\[\d+\]:)?$", now[0]):
        assert time.monotonic() < deadline, f"cell {place} did not run: {now}"
        page.wait_for_timeout(200)


def cell_at(page, place):
    return page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{place}']")
