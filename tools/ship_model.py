#!/usr/bin/env python3
"""Turns a trained model folder into a shipped one: weights as float16, the version's name set, the recipe's limits.md
added to the card.

    .venv/bin/plait train recipes/plait-base/recipe.json --output build/base
    .venv/bin/python tools/ship_model.py build/base/model pretrained/plait-base
"""
import json
import pathlib
import sys

import plait

source, target = map(pathlib.Path, sys.argv[1:3])
plait.MultimodalModel.from_pretrained(source).save_pretrained(target, half=True)
config = json.loads((target / "config.json").read_text(encoding="utf-8"))
config["version"] = target.name + "-1"
(target / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
limits = pathlib.Path(__file__).resolve().parent.parent / "recipes" / target.name / "limits.md"
if limits.exists():
    with open(target / "README.md", "a", encoding="utf-8") as card:
        card.write(limits.read_text(encoding="utf-8"))
total = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
print(f"{target}: {total / 2**20:.1f} MiB")
