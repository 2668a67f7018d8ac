"""helpers.careful.words: what words move, and the colours that show it."""

import re

import pytest

from helpers.careful.words import effects_of_words, in_colours


def contrast_with_black(red, green, blue):
    """The contrast of black letters on this colour (WCAG 2)."""
    parts = [part / 255 for part in (red, green, blue)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return (sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05) / 0.05


def test_an_effect_is_what_the_score_loses_without_that_word():
    # Would catch a sign turned round, the wrong word left out, and a word that comes twice left out twice.
    worth = {"good": 2.0, "bad": -3.0}
    asked = []

    def scores_of(texts):
        asked.extend(texts)
        return [sum(worth.get(word, 0) for word in text.split()) for text in texts]

    words = ["good", "but", "bad", "and", "good"]
    assert effects_of_words(words, scores_of) == [2, 0, -3, 0, 2]
    assert asked[0] == "good but bad and good" and asked[1] == "but bad and good" and len(asked) == 6
    assert effects_of_words(["alone"], scores_of) == [0]
    assert effects_of_words([], scores_of) == []


def test_colours_are_told_apart_without_seeing_them_and_can_be_read():
    words, effects = ["<b>", "fine", "dull", "of", "so-so"], [4.0, 2.0, -4.0, 0.1, -0.7]
    shown = in_colours(words, effects)
    page = shown["text/html"]
    assert re.sub(r"<[^>]+>", "", page) == "&lt;b&gt; fine dull of so-so"
    assert re.findall(r"2px (\w+)", page) == ["solid", "solid", "dashed", "dashed"]
    assert re.findall(r'title="([^"]+)"', page) == ["+4.00", "+2.00", "-4.00", "-0.70"]
    tints = [tuple(map(int, tint.split(", "))) for tint in re.findall(r"background: rgb\(([^)]+)\)", page)]
    assert all(contrast_with_black(*tint) >= 7 for tint in tints) and page.count("color: #000") == 4
    assert sum(tints[1]) > sum(tints[0])  # the weaker word is paler
    assert shown["text/plain"] == "<b>[+4.00] fine[+2.00] dull[-4.00] of so-so[-0.70]"


@pytest.mark.parametrize(("words", "effects"), [([], []), (["a", "b"], [0.0, 0.0])])
def test_a_text_in_which_nothing_moves_stays_plain(words, effects):
    assert in_colours(words, effects)["text/html"] == f'<p style="line-height: 1.9">{" ".join(words)}</p>'


def test_words_and_effects_of_different_number_are_refused():
    with pytest.raises(ValueError):
        in_colours(["a", "b"], [1.0])
