"""The small library behind the course *Fine-Tuning BERT, with Evidence*.

Each module is built by hand in a notebook first and imported afterwards:

    track      which sizes this computer gets, and seeds
    data       reviews, clean and split                            (notebook 03)
    models     the tokenizer and the pretrained BERT               (notebook 01)
    batches    token ids, truncation and padding                   (notebook 02)
    training   the training loop and early stopping                (notebooks 03 and 04)
    metrics    scores with their uncertainty                       (notebook 05)
    report     the whole of notebook 05 in one call, for any number of classes
    plots      pictures with alt text, and the closing table
    exercises  answers that are checked at once

The careful parts are out of a beginner's way in `careful`: own_data reads people's own files, hub checks files and
fetches those of the gpu track, saved_models replaces no other files, and resuming lets a stopped training go on. checks
refuses what would be silently wrong; memory and processes fit a batch to a GPU, and to several; names, progress and
tables decide how things look.
"""

import warnings

# transformers and datasets look for ipywidgets when they are imported. The course's progress bars are plain text.
warnings.filterwarnings("ignore", message="IProgress not found")

__version__ = "1.0.0"
