"""Pictures with alt text, in colours that everyone can tell apart, and the table that closes each notebook."""

import base64
import html
import io
import numbers

import IPython.display
import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb

from helpers.careful.tables import both_ways

# Okabe and Ito's colours, safe for colour-blind eyes. Every line also has its own marker or line style.
BLUE, ORANGE, GREEN, PINK, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#767676", "#000000"

plt.rcParams.update(  # fonts and sizes that can be read from the back of a room
    {
        "figure.figsize": (8, 4.5),
        "figure.dpi": 100,
        "font.size": 14,
        "axes.titlesize": 15,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "lines.linewidth": 2.5,
        "lines.markersize": 8,
        "legend.frameon": False,
    }
)


def show(figure, alt):
    """Show a matplotlib figure as a picture with alt text, and close it.

    alt states the finding, in a sentence, for everyone who can't see the picture. It is also what stands where
    notebooks are shown as plain text.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    plt.close(figure)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    picture = f'<img alt="{html.escape(alt, quote=True)}" src="{source}" style="max-width: 100%">'
    IPython.display.display({"text/html": picture, "text/plain": f"Picture: {alt}"}, raw=True)


def label_line(axes, x, y, text, colour, *, dy=0):
    """Write `text` beside the point (x, y), dy points higher: a direct label instead of a legend.

    It is darker than the line that it names, because thin letters in PINK or GREEN are hard to read on white.
    """
    darker = [0.7 * part for part in to_rgb(colour)]
    axes.annotate(text, (x, y), xytext=(8, dy), textcoords="offset points", color=darker, va="center")


def history(record):
    """Draw training and validation loss of a History against its epochs."""
    figure, axes = plt.subplots()
    epochs = range(1, len(record.train_loss) + 1)
    axes.plot(epochs, record.train_loss, color=BLUE, marker="o")
    label_line(axes, epochs[-1], record.train_loss[-1], "training", BLUE)
    axes.set(xlabel="epoch", ylabel="loss", title="Loss after each epoch", xticks=epochs, ylim=(0, None))
    axes.set_xlim(0.8, epochs[-1] * 1.2 + 0.3)
    finding = f"Training loss goes from {record.train_loss[0]:.2f} to {record.train_loss[-1]:.2f}"
    finding += f" in {len(epochs)} epochs."
    if record.validation_loss:
        best = record.best_epoch
        axes.plot(epochs, record.validation_loss, color=ORANGE, marker="s", linestyle="--")
        label_line(axes, epochs[-1], record.validation_loss[-1], "validation", ORANGE, dy=12)
        finding += f" Validation loss is lowest, {record.validation_loss[best - 1]:.2f}, after epoch {best}."
    show(figure, finding)


def table(rows, *, columns):
    """Show rows (lists of text or numbers) as a table with header cells. Fractions keep three decimals."""
    IPython.display.display(both_ways(rows, columns), raw=True)


def measured(**figures):
    """Show the figures that this run of the notebook measured, and carry them in the output for `start.py run`."""
    figures = {name: int(v) if isinstance(v, numbers.Integral) else float(v) for name, v in figures.items()}
    rows = [[name.replace("_", " "), value] for name, value in figures.items()]
    table = both_ways(rows, ["What you measured", "Value"])
    IPython.display.display(table | {"application/vnd.course.figures+json": figures}, raw=True)
