"""README's tables of speed, made from what the benchmarks left in results/."""

import json
import statistics
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def table():
    """Return the README's tables of the benchmark, one for each device that was measured."""
    return "\n\n".join(
        speed_of_device(json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(RESULTS.glob("training_speed_*.json"))
    )


def speed_of_device(results):
    rows = [
        ["Training loop", "Reviews a second, median (range)", "Course / this", "Seconds per epoch"]
        + ["Peak memory, MB", "Accuracy, mean (range)", "Share of the ceiling, 32 bits (16 bits)"],
        ["---"] + ["---:"] * 6,
    ]
    trainings = results["trainings"]
    seeds = len(trainings["course"])

    def all_of(name, figure):
        return [training[figure] for training in trainings[name]]

    for name in trainings:
        speed, accuracy = all_of(name, "reviews_per_second"), all_of(name, "accuracy")
        ratio = statistics.median(all_of("course", "reviews_per_second")) / statistics.median(speed)
        share = f"{statistics.median(all_of(name, 'fraction_of_ceiling_32_bits')):.2f}"
        if "fraction_of_ceiling_16_bits" in trainings[name][0]:  # the processor has such products
            share += f" ({statistics.median(all_of(name, 'fraction_of_ceiling_16_bits')):.2f})"
        else:
            share += " (–)"
        rows.append(
            [
                name,
                f"{statistics.median(speed):.1f} ({min(speed):.1f} to {max(speed):.1f})",
                f"{ratio:.2f}",
                f"{statistics.median(all_of(name, 'seconds_per_epoch')):.0f}",
                f"{max(all_of(name, 'peak_megabytes')):,.0f}",
                # one seed says nothing about accuracy
                f"{statistics.mean(accuracy):.1%} ({min(accuracy):.1%} to {max(accuracy):.1%})" if seeds > 1 else "–",
                share,
            ]
        )
    settings = results["settings"]
    several = f"{seeds} seeds; accuracy on {settings['held_out']:,} others" if seeds > 1 else "1 seed"
    return (
        "\n".join("| " + " | ".join(row) + " |" for row in rows)
        + f"\n\n{settings['reviews']:,} IMDb reviews cut to {settings['tokens']} tokens, {settings['epochs']} epoch, "
        f"learning rate {settings['learning_rate']:g}, {several}. "
        f"Measured on {results['date']}. Machine: {results['machine']}."
    )


def growth():
    """Return how training time grows, and how long a start takes, as README says it."""
    lines = []
    grown = read_results("growth")
    for what in ("reviews", "tokens"):
        sizes = [size for size in grown.get("sizes", []) if size["grows"] == what]
        if sizes:
            first = sizes[0]
            steps = ", ".join(f"{size[what]}: {size['seconds'] / first['seconds']:.2f}" for size in sizes)
            other = "tokens" if what == "reviews" else "reviews"
            lines.append(
                f"- Training time against the number of {what} (each with {first[other]} {other}; "
                f"{first[what]} {what} = 1): {steps}."
            )
    start = read_results("startup")
    if start:
        lines.append(
            f"- `python3 start.py` from an empty folder to JupyterLab: {start['seconds_first']:.0f} seconds and "
            f"{start['megabytes']:,.0f} MB; every later start: {start['seconds_again']:.0f} seconds. "
            f"`import helpers`: {start['seconds_import_helpers']:.2f} seconds."
        )
    return "\n".join(lines)


def read_results(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
