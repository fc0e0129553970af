#!/usr/bin/env python3
"""Puts the committed fusion figures into docs/trust.md and draws them.

    plait bench fusion --route-curves --output benchmarks/fusion        makes the JSON
    plait bench fusion --sizes --seeds 20 --output benchmarks/fusion    that of few training items
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


def draw_sizes(sized):
    figure, axes = plt.subplots(1, len(sized), figsize=(3.6 * len(sized), 2.9), squeeze=False)
    for axis, (name, table) in zip(axes[0], sized.items()):
        for shift, method, colour in ((1, "trust", "#3b6fd4"), (1.05, "best_static", "#2f9e6e"), (0.95, "best_single", "#d97706")):
            items = [shift * row["items"] for row in table["sizes"]]
            means = [100 * row[method]["mean"] for row in table["sizes"]]
            spread = [100 * row[method]["sd"] for row in table["sizes"]]
            axis.errorbar(items, means, yerr=spread, label=method.replace("_", " "), color=colour, marker="o", ms=3, lw=1.2)
        axis.set_xscale("log")
        axis.set_xticks([row["items"] for row in table["sizes"]], [str(row["items"]) for row in table["sizes"]])
        axis.minorticks_off()
        axis.set_title(f"{name.replace('_', ' ')}, clean, {len(table['seeds'])} seeds", fontsize=9)
        axis.set_xlabel("training items", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0][0].legend(fontsize=7)
    axes[0][0].set_ylabel("accuracy in %", fontsize=8)
    figure.tight_layout()
    figure.savefig(HERE / "sizes.svg", metadata={"Date": None})


def draw_routes(routed):
    """Accuracy against the share of the encoders' multiply-adds, on clean items."""
    figure, axes = plt.subplots(1, len(routed), figsize=(3 * len(routed), 3), squeeze=False)
    for axis, (name, table) in zip(axes[0], routed.items()):
        route = table["route_curve"]
        whole = {"cost": {"mean": 1, "sd": 0}, "accuracy": route[0]["full"]}
        gates = {gate: [p for p in table["dynmm_curve"] if p["gate"] == gate] for gate in ("first", "all")}
        for label, points, cost, style in (
                ("trust, certified route", [whole] + route, "cost", {"color": "#3b6fd4", "marker": "o", "zorder": 3}),
                ("DynMM, gate on the first stream", gates["first"], "cost", {"color": "#d97706", "marker": "s"}),
                ("DynMM, gate on all, if looking were free", gates["all"], "branch_cost",
                 {"color": "#9aa4b2", "marker": "^", "ls": ":", "mfc": "none"})):
            points = sorted(points, key=lambda p: p[cost]["mean"])
            axis.errorbar([100 * p[cost]["mean"] for p in points], [100 * p["accuracy"]["mean"] for p in points],
                          yerr=[100 * p["accuracy"]["sd"] / len(table["seeds"]) ** 0.5 for p in points],
                          label=label, ms=4, lw=1.2, elinewidth=0.8, **style)
        axis.set_title(name.replace("_", " "), fontsize=9)
        axis.tick_params(labelsize=7)
    axes[0][0].set_ylabel("clean accuracy in %", fontsize=8)
    figure.supxlabel("multiply-adds in % of all streams' encoders; bars: standard error over seeds", fontsize=8)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, ncols=3 if len(routed) > 2 else 1, loc="upper center", frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.93 if len(routed) > 2 else 0.82))
    figure.savefig(HERE / "routes.svg", metadata={"Date": None})


def sizes_table(sized):
    lines = ["| few training items, clean accuracy in % | trust | best single | best static | seeds with trust at least the best single |",
             "|---|---|---|---|---|"]
    for name, table in sized.items():
        for row in table["sizes"]:
            lines.append(f"| [{name.replace('_', ' ')}](../benchmarks/fusion/sizes_{name}.md), {row['items']} | {percent(row['trust']['mean'])} | "
                         f"{percent(row['best_single']['mean'])} | {percent(row['best_static']['mean'])} | "
                         f"{row['at_least_single']} of {len(table['seeds'])} |")
    return "\n".join(lines)


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
    sized = {name: json.loads((HERE / f"sizes_{name}.json").read_text()) for name in SETS if (HERE / f"sizes_{name}.json").exists()}
    if sized:
        parts.insert(-1, sizes_table(sized))
    DOC.write_text(before + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + after)
    plt.rcParams["svg.hashsalt"] = "plait"
    draw_overall(tables)
    if sized:
        draw_sizes(sized)
    routed = {name: t for name, t in tables.items() if t.get("dynmm_curve") and t.get("route_curve")}
    if routed:
        draw_routes(routed)


if __name__ == "__main__":
    main()
