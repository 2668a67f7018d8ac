"""Which words of a text decided its class: without them it is less likely. Notebook 05 explains how."""

import numpy

from helpers.careful.words import effects_of_words

MOST_PIECES = 60  # of a text; each costs one pass of the model
SUREST = 1e-6  # nearer to 0 or 1 no probability is told apart from its neighbours


def why(opened, text):
    """Return (label, confidence, pieces, effects) for one text; `words.in_colours(pieces, effects)` shows the last two.

    opened   from `helpers.models.open_classifier`
    effects  how far the log-odds of the class fall without the piece; below 0 they rise. Up to 60 words a piece is a
             word; of a longer text it is as many neighbouring words as make 60 pieces
    """
    probabilities = opened.probabilities([text])[0]
    place = int(probabilities.argmax())

    def log_odds(texts):
        share = numpy.clip(opened.probabilities(texts)[:, place], SUREST, 1 - SUREST)
        return numpy.log(share / (1 - share))

    words = text.split()
    size = max(1, -(-len(words) // MOST_PIECES))  # rounded up
    pieces = [" ".join(words[start : start + size]) for start in range(0, len(words), size)]
    effects = effects_of_words(pieces, log_odds) if pieces else []
    return opened.class_names[place], float(probabilities[place]), pieces, effects
