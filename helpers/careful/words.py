"""What each word of a text moves, and the text in colours that show it. Notebook 05, section 10, builds the first."""

import html

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)  # those of helpers.plots
FAINTEST = 0.15  # a word that moves less than this share of what the strongest moves stays as it is


def effects_of_words(words, scores_of):
    """Return for each word how far the score falls when it is left out, [words]. Below 0: the score rises.

    scores_of   a function that takes a list of texts and returns a number for each
    """
    without = [" ".join(words[:place] + words[place + 1 :]) for place in range(len(words))]
    whole, *others = scores_of([" ".join(words), *without])
    return [float(whole - other) for other in others]


def in_colours(words, effects):
    """Return a text for `display(…, raw=True)`, as HTML and as plain text, its words coloured by their effects.

    Words with an effect above 0 get blue and a solid line, those below 0 orange and a dashed line; the stronger, the
    deeper. The text is black on every tint, with a contrast of at least 7.
    """
    strongest = max(map(abs, effects), default=0) or 1.0
    shares = [effect / strongest for effect in effects]
    plain = [
        f"{word}[{effect:+.2f}]" if abs(share) >= FAINTEST else word
        for word, effect, share in zip(words, effects, shares, strict=True)
    ]
    marked = map(_marked, words, effects, shares)
    return {"text/html": f'<p style="line-height: 1.9">{" ".join(marked)}</p>', "text/plain": " ".join(plain)}


def _marked(word, effect, share):
    if abs(share) < FAINTEST:
        return html.escape(word)
    colour, line = (BLUE, "solid") if share > 0 else (ORANGE, "dashed")
    tint = ", ".join(f"{255 - 0.6 * abs(share) * (255 - part):.0f}" for part in colour)
    style = f"background: rgb({tint}); color: #000; border-bottom: 2px {line} rgb{colour}; padding: 1px 2px"
    return f'<span title="{effect:+.2f}" style="{style}">{html.escape(word)}</span>'
