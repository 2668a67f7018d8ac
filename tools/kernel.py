"""Starts a kernel as JupyterLab would, and prints as JSON where it runs and which track it chooses there.

python -m tools.kernel              {"prefix": …, "track": …, "error": "" or one line}
python -m tools.kernel offline      the same, and load model and reviews there with the network blocked
"""

import json
import sys

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from traitlets.config import Config

from tools.notebooks import KERNELS, ROOT

WHERE = """
import sys; from helpers.track import current_track
print(sys.prefix, current_track(ask_the_hub=False), sep="\\n")
"""
OFFLINE = """
sys.path.insert(0, "tests"); import no_network
from helpers.data import load_reviews; from helpers.models import load_classifier, load_tokenizer
load_reviews("rotten_tomatoes", n_train=2, n_validation=2, n_test=2); load_tokenizer(); load_classifier()
"""


def kernel(offline):
    cell = new_code_cell(WHERE + (OFFLINE if offline else ""))
    settings = {"kernel_name": "python3", "timeout": 120, "startup_timeout": 120, "allow_errors": True}
    where = {"metadata": {"path": str(ROOT)}}
    NotebookClient(
        new_notebook(cells=[cell]), resources=where, config=Config(KernelManager=KERNELS), **settings
    ).execute()
    said = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    prefix, track = (said.splitlines() + ["", ""])[:2]
    errors = [f"{output.ename}: {output.evalue}" for output in cell.outputs if output.output_type == "error"]
    return {"prefix": prefix, "track": track, "error": "".join(errors)}


if __name__ == "__main__":
    print(json.dumps(kernel("offline" in sys.argv)))
