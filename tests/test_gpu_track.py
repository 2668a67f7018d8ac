"""Every notebook with the model, rates and settings of the gpu track: 12 layers, use_hub. On a processor, shortened.

Nothing here needs a GPU, so nothing here proves one: what it shows is that no cell counts on 6 layers or on MiniLM.
"""

import os
import shutil
from pathlib import Path

import pytest
from nbclient import NotebookClient
from transformers import BertConfig, BertForPreTraining

from helpers.models import packaged_model
from tools import notebooks as tools

ROOT = Path(__file__).resolve().parent.parent
# Every Python that starts finds this first: a notebook's kernel, and the processes that 08 starts.
SITECUSTOMIZE = """
import no_network
from dataclasses import is_dataclass, replace
from helpers import track
from helpers.careful import hub

KEPT = {"name", "use_hub", "learning_rate", "rate", "check_rate", "frozen", "seeds"}

def shortened(gpu, quick):
    changed = {}
    for name, size in vars(gpu).items():
        if is_dataclass(size):
            changed[name] = shortened(size, getattr(quick, name))
        elif name not in KEPT:
            changed[name] = getattr(quick, name)
    return replace(gpu, **changed)

track.current_track = lambda **_: shortened(track.GPU, track.QUICK)
hub.bert_from_the_hub = lambda: FOLDER
hub.fetch_or_say = lambda *_: None
"""


@pytest.fixture(scope="module")
def python_with_a_hub(tmp_path_factory):
    """A folder for PYTHONPATH, with a BERT of 12 small layers, saved as Google's: with its pre-training's head."""
    place = tmp_path_factory.mktemp("hub")
    sizes = {"hidden_size": 48, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 96}
    # The wide range makes it sure of itself, as trained models are: else all answers are 50%, on a bin's edge in 05.
    BertForPreTraining(BertConfig(**sizes, initializer_range=0.3)).save_pretrained(place / "bert")
    for name in ("tokenizer_config.json", "tokenizer.json", "vocab.txt"):
        shutil.copy(packaged_model() / name, place / "bert")
    code = f"from pathlib import Path\nFOLDER = Path({str(place / 'bert')!r})\n{SITECUSTOMIZE}"
    (place / "sitecustomize.py").write_text(code, encoding="utf-8")
    return place


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", tools.notebooks(), ids=lambda path: path.stem)
def test_a_notebook_runs_with_a_model_of_twelve_layers(path, python_with_a_hub, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (python_with_a_hub, ROOT, ROOT / "tests"))))
    monkeypatch.setenv("COURSE_OUTPUT", str(tmp_path))
    notebook = tools.read(path)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    said = [output.get("text", "") for cell in tools.code_cells(notebook) for output in cell.outputs]
    assert said[0].startswith("Track: gpu.")
    assert not [text for text in said if "MiniLM" in text]
