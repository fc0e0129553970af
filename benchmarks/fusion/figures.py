#!/usr/bin/env python3
"""Puts the committed fusion figures into docs/trust.md and draws them.

    plait bench fusion --output benchmarks/fusion     makes the JSON
    pip install matplotlib==3.11.2                    for the pictures
    benchmarks/fusion/figures.py                      writes docs/trust.md and benchmarks/fusion/*.svg
"""
import json
import pathlib

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)

HERE = pathlib.Path(__file__).resolve().parent
DOC = HERE.parents[1] / "docs" / "trust.md"
SETS = ["handwritten", "audio_visual_digits", "stamps", "bearing", "har", "basic_motions"]
FIRST = ["trust", "oracle", "best_single", "best_static", "mean", "product", "robust_product"]  # of the same experts
BEGIN, END = "<!-- figures: benchmarks/fusion/figures.py -->", "<!-- end of figures -->"


def percent(value):
    return f"{100 * value:.1f}"


def methods_of(tables):
    found = {m for t in tables.values() for m in t["overall"] if m not in ("trust_bare", "tempered_product")}
    return [m for m in FIRST if m in found] + sorted(found - set(FIRST))


def overall_table(tables):
    """The best trained rival of every set is marked."""
    lines = ["| mean over all conditions, % | " + " | ".join(f"[{n.replace('_', ' ')}](../benchmarks/fusion/{n}.md)" for n in tables) + " |",
             "|---|" + "---|" * len(tables), "| seeds | " + " | ".join(str(len(t["seeds"])) for t in tables.values()) + " |"]
    best = {n: max((m for m in t["overall"] if m not in FIRST + ["trust_bare", "tempered_product"]),
                   key=lambda m: t["overall"][m]["mean"]) for n, t in tables.items()}
    for m in methods_of(tables):
        cells = []
        for name, table in tables.items():
            cell = percent(table["overall"][m]["mean"]) if m in table["overall"] else "–"
            cells.append(f"**{cell}**" if best[name] == m else cell)
        lines.append(f"| {m.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def handwritten_table(table):
    conditions = ["clean", "noise_1", "noise_5", "noise_10", "swapped", "missing_3", "missing_5"]
    methods = methods_of({"handwritten": table})
    lines = ["| handwritten, accuracy in % | " + " | ".join(c.replace("_", " ") for c in conditions) + " |",
             "|---|" + "---|" * len(conditions)]
    for m in methods:
        cells = [percent(table["methods"][m]["accuracy"][c]["mean"]) for c in conditions]
        lines.append(f"| {m.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def missed_table(bars):
    lines = ["| what misses its bar | value | bar |", "|---|---|---|"]
    for bar in bars:
        if not bar["holds"]:
            lines.append(f"| {bar['name']} | {bar['value']:.3g} | {'≥' if bar['at_least'] else '≤'} {bar['bar']:g} |")
    return "\n".join(lines)


def draw_overall(tables):
    figure, axes = plt.subplots(1, len(tables), figsize=(2.8 * len(tables), 4.6), sharey=False)
    for axis, (name, table) in zip(axes if len(tables) > 1 else [axes], tables.items()):
        methods = sorted(methods_of({name: table}), key=lambda m: table["overall"][m]["mean"])
        means = [100 * table["overall"][m]["mean"] for m in methods]
        spread = [100 * table["overall"][m]["sd"] for m in methods]
        colours = ["#3b6fd4" if m == "trust" else "#9aa4b2" if m != "oracle" else "#d8dde3" for m in methods]
        axis.barh([m.replace("_", " ") for m in methods], means, xerr=spread, color=colours, error_kw={"lw": 0.8})
        axis.set_xlim(max(0, min(means) - 5), 100)
        axis.set_title(name.replace("_", " "), fontsize=9)
        axis.tick_params(labelsize=7)
    figure.supxlabel("accuracy in %, mean over all conditions and seeds", fontsize=8)
    figure.tight_layout()
    figure.savefig(HERE / "overall.svg", metadata={"Date": None})


def draw_sizes(tables):
    sized = {name: t for name, t in tables.items() if t.get("sizes")}
    if not sized:
        return
    figure, axes = plt.subplots(1, len(sized), figsize=(3.4 * len(sized), 2.8))
    for axis, (name, table) in zip(axes if len(sized) > 1 else [axes], sized.items()):
        for method, colour in (("trust", "#3b6fd4"), ("best_static", "#2f9e6e"), ("best_single", "#d97706")):
            items = [row["items"] for row in table["sizes"]]
            means = [100 * row[method]["mean"] for row in table["sizes"]]
            spread = [100 * row[method]["sd"] for row in table["sizes"]]
            axis.errorbar(items, means, yerr=spread, label=method.replace("_", " "), color=colour, marker="o", ms=3, lw=1.2)
        axis.set_xscale("log")
        axis.set_xticks(items, [str(i) for i in items])
        axis.set_title(f"{name.replace('_', ' ')}, clean", fontsize=9)
        axis.set_xlabel("training items", fontsize=8)
        axis.tick_params(labelsize=7)
    axis.legend(fontsize=7)
    figure.supylabel("accuracy in %", fontsize=8)
    figure.tight_layout()
    figure.savefig(HERE / "sizes.svg", metadata={"Date": None})


def main():
    tables = {name: json.loads((HERE / f"{name}.json").read_text()) for name in SETS if (HERE / f"{name}.json").exists()}
    # Some bars are of all sets of a run together.
    bars = []
    for path in sorted(HERE.glob("bars*.json")):
        run = path.stem.removeprefix("bars").lstrip("_")
        for bar in json.loads(path.read_text())["bars"]:
            if run and not any(bar["name"].startswith(name + ":") for name in SETS):
                bar["name"] = f"{run}: {bar['name']}"
            bars.append(bar)
    text = DOC.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    parts = [overall_table(tables), missed_table(bars)]
    if "handwritten" in tables:
        parts.insert(1, handwritten_table(tables["handwritten"]))
    DOC.write_text(before + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + after)
    plt.rcParams["svg.hashsalt"] = "plait"
    draw_overall(tables)
    draw_sizes(tables)


if __name__ == "__main__":
    main()
