"""Names of classes from people's own files: whatever is in them, they are shown as they are."""

import re
import textwrap


def on_one_line(name):
    """Return a name without line breaks, control characters and needless spaces."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", name).split())


def in_markdown(name):
    """Return a class's name so that Markdown shows it as it is, in a table too, and at most 60 characters of it."""
    name = name if len(name) <= 60 else name[:59] + "…"
    return re.sub(r"([\\`*_{}\[\]<>#|!~&$@:])", r"\\\1", name)


def in_a_picture(name):
    """Return at most 20 characters of a name, so that matplotlib takes none of them for mathematics."""
    return textwrap.shorten(name, 20, placeholder="…").replace("$", r"\$")
