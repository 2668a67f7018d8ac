"""Opening JupyterLab on the learner's own copies. Standard library alone; JupyterLab itself runs in .venv."""

import os
from pathlib import Path

from tools.copies import my_copies
from tools.doctor import doctor, free_port, port_is_free
from tools.ground import ROOT, Problem, environment, hand_over, own_folder, venv_python
from tools.setup import set_up


def open_jupyterlab(port, browser, pack=None):
    """Set up, look whether all is well, and go on as JupyterLab."""
    if port is not None and not port_is_free(port):
        raise Problem(f"Port {port} is taken by another program: choose another with --port, or leave --port out.")
    set_up(pack)
    if not doctor():
        raise Problem("JupyterLab was not started: mend the fault above, then run the same command again.")
    first, *_ = my_copies().values()
    port = port or free_port()
    command = [
        *(venv_python(), "-P", "-m", "jupyterlab"),
        "--log-level=WARN",
        f"--ServerApp.root_dir={own_folder()}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        *codespace(port),
        f"--LabApp.default_url=/lab/tree/{first.relative_to(own_folder()).as_posix()}",
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
    if own_folder() != ROOT:
        print(f"The course can't be written: your copies, and what you train, are in {own_folder()}.", flush=True)
    print("Starting JupyterLab. It stays open until you press Ctrl-C here.", flush=True)
    return hand_over(command, lab_environment())


def codespace(port):
    """Return what JupyterLab must be told in a GitHub Codespace, and nothing anywhere else.

    There a browser sees the forwarded port under an address of GitHub's, and JupyterLab refuses pages of any other
    address than its own. This one codespace's is let in, and still needs the token.
    """
    if os.environ.get("CODESPACES") != "true" or not os.environ.get("CODESPACE_NAME"):
        return []
    domain = os.environ.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN") or "app.github.dev"
    host = f"{os.environ['CODESPACE_NAME']}-{port}.{domain}"
    names = [f"--ServerApp.local_hostnames={name}" for name in ("localhost", host)]
    return [f"--ServerApp.allow_origin=https://{host}", *names]


def lab_environment():
    """Return the environment for JupyterLab, in which it asks for a token and no file in ~/.jupyter can change that.

    Kernels inherit it. With -P, no file beside a notebook keeps JupyterLab from starting. Kernels find such files, for
    learners import modules of their own: IPython looks for them after Python's modules and before the packages, so
    that random.py is harmless there and torch.py is not; and pathlib.py keeps a kernel from starting.
    """
    home = Path.home() / ".jupyter"
    env = environment() | {
        "JUPYTER_CONFIG_DIR": str(home / "bert-finetuning-course"),  # where nobody has settings
        "JUPYTERLAB_SETTINGS_DIR": str(home / "lab" / "user-settings"),  # colours and keys stay a learner's own
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "lab" / "workspaces"),
    }
    return {name: value for name, value in env.items() if name not in ("JUPYTER_CONFIG_PATH", "JUPYTER_NO_CONFIG")}
