"""helpers.plots: what a picture and a table leave in a notebook."""

import base64
import re

import IPython.display
import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb

from helpers import plots
from helpers.careful import tables
from helpers.training import History


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, as a list of {format: content}."""
    collected = []

    def display(thing, raw=False, **_):
        collected.append(thing if raw else {"text/html": thing._repr_html_()})

    monkeypatch.setattr(IPython.display, "display", display)
    return collected


def test_a_picture_carries_its_alt_text_and_is_a_png(shown):
    figure, _ = plt.subplots()
    plots.show(figure, 'A line that says "1 < 2".')
    html = shown[0]["text/html"]
    assert 'alt="A line that says &quot;1 &lt; 2&quot;."' in html
    assert 'says "1 < 2".' in shown[0]["text/plain"]
    picture = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    assert picture.startswith(b"\x89PNG")
    assert not plt.fignum_exists(figure.number)  # closed, or the notebook would show it again


def test_measured_figures_are_in_the_table_and_ride_along(shown):
    import numpy

    plots.measured(validation_accuracy=numpy.float32(0.5), labels=numpy.int64(1200))
    assert shown[0]["application/vnd.course.figures+json"] == {"validation_accuracy": 0.5, "labels": 1200}
    assert re.search("validation accuracy</td><td[^>]*>0.500</td>", shown[0]["text/html"])
    assert "1,200" in shown[0]["text/plain"]


def test_table_escapes_what_it_shows(shown):
    plots.table([["<b>", 0.12345, 7]], columns=["a & b", "score", "n"])
    assert re.findall("<td[^>]*>([^<]*)</td>", shown[0]["text/html"]) == ["&lt;b&gt;", "0.123", "7"]
    assert ">a &amp; b</th>" in shown[0]["text/html"]


def test_in_a_table_numbers_stand_on_the_right_and_text_on_the_left(shown):
    plots.table([["first loss", 0.5, "–", "2 or more"], ["gain", -0.5, "+3%", "few"]], columns=["what", "a", "b", "c"])
    sides = re.findall('<td style="text-align: (\\w+)">', shown[0]["text/html"])
    assert sides == ["left", "right", "right", "left"] * 2


def test_a_history_draws_itself_with_and_without_validation(shown):
    History(train_loss=[0.7, 0.3, 0.1], validation_loss=[0.6, 0.5, 0.9], validation_accuracy=[0.6, 0.8, 0.8]).plot()
    History(train_loss=[0.7, 0.3]).plot()
    assert "after epoch 2" in shown[0]["text/html"] and "from 0.70 to 0.30" in shown[1]["text/html"]


@pytest.mark.parametrize("colour", [plots.BLUE, plots.ORANGE, plots.GREEN, plots.PINK, plots.GREY, plots.BLACK])
def test_labels_have_the_contrast_that_text_on_white_needs(colour):
    """At least 4.5, the limit of the Web Content Accessibility Guidelines for text of ordinary size."""
    figure, axes = plt.subplots()
    plots.label_line(axes, 0, 0, "a label", colour)
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in to_rgb(axes.texts[0].get_color())
    )
    plt.close(figure)
    assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 4.5


def test_a_small_number_is_not_shown_as_nothing():
    assert [tables.readable(value) for value in (8e-07, -8e-07, 0.0, 0.0005, 0.861)] == [
        *("8e-07", "-8e-07", "0.000", "0.001", "0.861")
    ]
