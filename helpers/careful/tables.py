"""Tables as HTML, plain text and Markdown, with numbers as a reader wants them."""

import html
import numbers
import re


def both_ways(rows, columns):
    """Return a table for `display`, as HTML and as plain text. Numbers stand on the right of their column."""
    rows = [[readable(value) for value in row] for row in rows]
    sides = [
        "right" if all(re.match(r"[-+]?\d|–$", text) for text in column[1:]) else "left"
        for column in zip(columns, *rows, strict=True)
    ]

    def line(texts, tag):
        cells = [
            f'<{tag} style="text-align: {side}">{html.escape(text)}</{tag}>'
            for text, side in zip(texts, sides, strict=True)
        ]
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return {
        "text/html": f"<table><thead>{line(columns, 'th')}</thead><tbody>{body}</tbody></table>",
        "text/plain": "\n".join(" | ".join(row) for row in [columns, *rows]),
    }


def readable(value):
    """Return a number or a text as a reader wants it: 0.861, 12,500, anything else as it is."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, numbers.Integral):
        return f"{value:,}"
    if isinstance(value, numbers.Real) and 0 < abs(value) < 0.0005:
        return f"{value:.0e}"  # not 0.000
    return f"{value:,.3f}" if isinstance(value, numbers.Real) else str(value)


def markdown_table(rows, columns):
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(readable, line))} |" for line in lines)


def p_value(value):
    """Return a p-value as a reader wants it."""
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
