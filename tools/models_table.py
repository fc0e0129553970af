#!/usr/bin/env python3
"""Prints, as Markdown, every registered architecture with its options and every published set of weights, from
`plait models list --json` on standard input."""
import json
import sys


def limits(option):
    if "one_of" in option:
        return ", ".join(option["one_of"])
    low, high = option.get("min"), option.get("max")
    return "" if low is None and high is None else f"{'' if low is None else f'{low:g}'} … {'' if high is None else f'{high:g}'}"


def cell(text):
    return str(text).replace("|", "\\|")


listing = json.load(sys.stdin)
print("# Models\n\n## Published weights\n\n| name | input | MB | licence | source |\n|---|---|---|---|---|")
for row in listing["published"]:
    print(f"| {row['name']} | {row['modality']} | {row['bytes'] / 1e6:.0f} | {cell(row['licence'])} | {row['source']} |")
for kind in ("encoder", "decoder", "detector", "segmenter", "diffusion", "fusion", "head", "layer"):
    rows = [row for row in listing["registered"] if row["kind"] == kind]
    if rows:
        print(f"\n## {kind.capitalize()}{'' if kind in ('diffusion', 'fusion') else 's'}")
    for row in rows:
        print(f"\n### {row['name']}\n\n| option | default | valid | what it does |\n|---|---|---|---|")
        for option in row["options"]:
            print(f"| {option['name']} | {cell(json.dumps(option['default']))} | {cell(limits(option))} | {cell(option['help'])} |")
