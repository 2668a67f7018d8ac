"""Settings for all tests: no network, the right track, and notebooks that stop at their first bad cell."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import no_network  # noqa: F401  (blocks the network in this process)
import pytest

ROOT = Path(__file__).resolve().parent
NO_NETWORK = ROOT / "tests" / "no_network.py"
TRACK = os.environ.get("COURSE_TRACK", "quick")  # for notebooks; unit tests run on the quick track
CELL_SECONDS = 1800  # the longest training, on a slow computer
LONGEST = ("0", "test_browser", "test_colab", "test_exercises", "test_pack", "test_start")  # "0": the notebooks


@pytest.fixture
def run():
    """Run a command as subprocess.run does. Whatever ends the test, no process that the command started outlives it."""
    started = []

    def run_it(command, *, timeout=None, **settings):
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **settings}
        process = subprocess.Popen(list(map(str, command)), start_new_session=True, **settings)
        started.append(process)
        said, errors = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(command, process.returncode, said, errors)

    yield run_it
    for process in started:
        with contextlib.suppress(ProcessLookupError, AttributeError):  # AttributeError: Windows has no groups
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def is_cell(item):
    return type(item).__name__ == "IPyNbCell"


def pytest_configure(config):
    """Give the notebooks' kernels an IPython folder of their own, whose startup file blocks the network.

    Tests that run side by side have such folders, outputs and blocked hosts for each process.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C, tests send it
    if config.getoption("numprocesses", None):  # the process that hands out the tests runs none
        return
    config.course_folder = tempfile.mkdtemp(prefix="course-tests-")
    startup = Path(config.course_folder) / "profile_default" / "startup"
    startup.mkdir(parents=True)
    shutil.copyfile(NO_NETWORK, startup / "00-no-network.py")
    os.environ["IPYTHONDIR"] = config.course_folder
    os.environ["COURSE_OUTPUT"] = str(Path(config.course_folder) / "outputs")  # a learner's own models stay as they are
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["COURSE_TRACK"] = "quick"
    config.course_blocked = Path(config.course_folder) / "blocked.txt"
    config.course_bad_cells = {}


def pytest_unconfigure(config):
    if hasattr(config, "course_folder"):
        shutil.rmtree(config.course_folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out whole files, as --dist=loadfile does, and 05 to the worker that has 03: it measures what 03 saves."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "03 and 05" if file.startswith(("notebooks/03_", "notebooks/05_")) else file

    return Together(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):  # the longest files first, or one worker has one left when all else is done
        items.sort(key=lambda item: not item.path.name.startswith(LONGEST))
    for item in items:
        if is_cell(item):
            item.add_marker(pytest.mark.timeout(CELL_SECONDS))


def pytest_runtest_setup(item):
    """Skip the cells after a bad one. Kernels start with a notebook's first cell, and get their settings here."""
    os.environ["COURSE_TRACK"] = TRACK if is_cell(item) else "quick"
    if not is_cell(item):
        os.environ.pop("COURSE_BLOCKED_LOG", None)
        return
    os.environ["COURSE_BLOCKED_LOG"] = str(item.config.course_blocked)
    bad = item.config.course_bad_cells.get(item.path)
    if bad:
        pytest.skip(f"{bad} of this notebook failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fail a cell that tried to reach the network, even if it hid the error. Remember each notebook's bad cell."""
    report = yield
    if not is_cell(item):
        return report
    blocked = item.config.course_blocked
    if blocked.exists():
        hosts = ", ".join(sorted(set(blocked.read_text(encoding="utf-8").split())))
        blocked.unlink()
        report.outcome = "failed"
        report.longrepr = f"{item.name} tried to reach {hosts}. Notebooks must run without network."
    if report.failed:
        item.config.course_bad_cells.setdefault(item.path, item.name)
    return report


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright, that reaches this computer alone. Without it these tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium here (on Debian: apt install chromium)")
    switches = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    switches += ["disable-component-update", "disable-sync"]
    switches += ["host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=[f"--{switch}" for switch in switches])
        yield browser
        browser.close()
