"""Every notebook on the gpu track: a model of 12 layers, the track's rates and settings, and a GPU that is pretended.

Nothing here needs a GPU, so nothing here proves one. What it shows, on few data: no cell counts on 6 layers or MiniLM,
mixes what lies on the GPU with what doesn't, or starts processes that have another track than the notebook.
"""

import os
import shutil
from pathlib import Path

import pretend_gpu
import pytest
import small_hub
import torch
from nbclient import NotebookClient
from safetensors.torch import load_file
from transformers import BertConfig, BertForPreTraining

from helpers.models import packaged_model
from tools import notebooks as tools

ROOT = Path(__file__).resolve().parent.parent
# Every Python that starts finds this first: a notebook's kernel, and the processes that 08 starts.
SITECUSTOMIZE = """
import no_network
import os
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

track.GPU, track.LAPTOP = shortened(track.GPU, track.QUICK), replace(track.QUICK, name="laptop")
hub.bert_from_the_hub = lambda: FOLDER
hub.gpt2_from_the_hub, hub.vgg16_from_the_hub = (lambda: FOLDER.parent / "gpt2"), (lambda: FOLDER.parent / "vgg16")
hub.fetch_or_say = lambda *_: None
if os.environ["COURSE_TRACK"] == "gpu":
    import pretend_gpu, small_hub
    from helpers.careful import pictures
    pictures.VGG_STAGES, pictures.VGG_WIDTH = small_hub.VGG_STAGES, small_hub.VGG_WIDTH
    pretend_gpu.enter()
"""


@pytest.fixture(scope="module")
def python_with_a_hub(tmp_path_factory):
    """A folder for PYTHONPATH, with a BERT of 12 small layers, saved as Google's: with its pre-training's head.

    Beside it lie a small GPT-2 and a small VGG-16.
    """
    place = tmp_path_factory.mktemp("hub")
    sizes = {"hidden_size": 48, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 96}
    torch.manual_seed(0)
    # The wide range makes it sure of itself, as trained models are: else all answers are 50%, on a bin's edge in 05.
    model = BertForPreTraining(BertConfig(**sizes, initializer_range=0.3))
    words = load_file(packaged_model() / "model.safetensors")["embeddings.word_embeddings.weight"]
    model.bert.embeddings.word_embeddings.weight.data.copy_(words[:, :48])  # for 02, which asks whether words mean much
    model.config.initializer_range = 0.02  # of the head that `load_classifier` adds
    model.save_pretrained(place / "bert")
    for name in ("tokenizer_config.json", "tokenizer.json", "vocab.txt"):
        shutil.copy(packaged_model() / name, place / "bert")
    small_hub.save_gpt2(place / "gpt2")
    small_hub.save_vgg16(place / "vgg16")
    code = f"from pathlib import Path\nFOLDER = Path({str(place / 'bert')!r})\n{SITECUSTOMIZE}"
    (place / "sitecustomize.py").write_text(code, encoding="utf-8")
    return place


def test_the_pretended_gpu_refuses_what_a_real_one_refuses():
    with pretend_gpu.Gpu():
        here, there = torch.ones(2), torch.ones(2, device="cuda")
        layer = torch.nn.Linear(2, 1).to("cuda")
        for wrong in (lambda: here + there, lambda: here[there.long()], lambda: layer(here), there.numpy, there.double):
            with pytest.raises((RuntimeError, TypeError), match="same device|device type|float64"):
                wrong()
        layer(there).backward()
        assert layer.weight.grad.device == (there + 1).device == there[torch.tensor([0])].device == pretend_gpu.THERE
        assert (here + there.cpu()).device == pretend_gpu.HERE


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", tools.notebooks(), ids=lambda path: path.stem)
def test_a_notebook_runs_with_a_model_of_twelve_layers(path, python_with_a_hub, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (python_with_a_hub, ROOT, ROOT / "tests"))))
    monkeypatch.setenv("COURSE_OUTPUT", str(tmp_path))
    monkeypatch.setenv("COURSE_TRACK", "gpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # its layers are too small to share
    notebook = tools.read(path)
    resources = {"metadata": {"path": str(path.parent)}}
    settings = {"timeout": 600, "startup_timeout": 600, "kernel_name": "python3"}
    NotebookClient(notebook, **settings, resources=resources).execute()
    outputs = [output for cell in tools.code_cells(notebook) for output in cell.outputs]
    assert outputs[0].text == "Track: gpu. Computing on an NVIDIA GPU.\n"
    assert not [output for output in outputs if "MiniLM" in str(output)]
    if path.stem.startswith("07"):  # neither packaged network: 30 layers, 49 convolutions
        assert "parameters in 2 layers" in str(outputs) and "13 convolutions" in str(outputs)
