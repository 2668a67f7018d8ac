"""Opening JupyterLab on the first notebook. Standard library alone; JupyterLab itself runs in .venv."""

import os

from tools.doctor import doctor, free_port, port_is_free
from tools.ground import ROOT, VENV, Problem, hand_over, notebooks, venv_python, write_json
from tools.setup import set_up


def open_jupyterlab(port, browser, pack=None):
    """Set up, look whether all is well, and go on as JupyterLab."""
    if port is not None and not port_is_free(port):
        raise Problem(f"Port {port} is taken by another program: choose another with --port, or leave --port out.")
    set_up(pack)
    if not doctor():
        raise Problem("JupyterLab was not started: mend the fault above, then run the same command again.")
    no_questions_about_news()
    command = [
        *(venv_python(), "-P", "-m", "jupyterlab"),
        "--log-level=WARN",
        f"--ServerApp.root_dir={ROOT}",
        f"--ServerApp.port={port or free_port()}",
        "--ServerApp.port_retries=0",
        f"--LabApp.default_url=/lab/tree/notebooks/{min(notebooks().values()).name}",
        # Nothing is fetched: no news, no look for updates, no list of extensions.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        "--KernelManager.transport_encryption=auto",  # else each kernel warns that it talks in plain text
    ]
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    print("Starting JupyterLab. It stays open until you press Ctrl-C here.", flush=True)
    return hand_over(command)


def no_questions_about_news():
    """Set, in .venv alone, that JupyterLab does not ask on first use whether it may fetch news."""
    folder = VENV / "share" / "jupyter" / "lab" / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    write_json(folder / "overrides.json", settings)
