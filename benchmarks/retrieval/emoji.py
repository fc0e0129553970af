"""Retrieval between emoji pictures and their English and Chinese names, on held-out emoji, over seeds.

    python benchmarks/retrieval/emoji.py [--plait build/bin/plait] [--seeds 3]

Trains recipes/emoji.json once per seed (each with its own split; the encoders stay frozen, only the shared space is
learnt) and writes emoji.json and emoji.md beside this file.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def run(plait, recipe, seed):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "recipe.json").write_text(json.dumps(recipe | {"split_seed": seed}), encoding="utf-8")
        command = [plait, "train", folder / "recipe.json", "--output", folder / "out", "--seed", str(seed), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.strip().splitlines()[-1])["retrieval"]["shared"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plait", default=ROOT / "build" / "bin" / "plait")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    recipe = json.loads((ROOT / "recipes" / "emoji.json").read_text(encoding="utf-8"))
    runs = [run(arguments.plait, recipe, seed) for seed in range(arguments.seeds)]
    result = {pair: {metric: {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0, "values": values}
                     for metric in ("recall@1", "recall@5", "recall@10", "mrr") for values in [[r[pair][metric] for r in runs]]}
              | {"items": runs[0][pair]["n"]} for pair in sorted(runs[0])}
    (HERE / "emoji.json").write_text(json.dumps({"seeds": arguments.seeds, "pairs": result}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    lines = ["# Emoji retrieval", "",
             f"Made by `benchmarks/retrieval/emoji.py --seeds {arguments.seeds}`. Real data: emoji pictures with their English and Chinese names;",
             "held-out emoji, another split per seed. Frozen multilingual-e5-small, EfficientNet-Lite0 and plait-base's picture",
             "encoder; only the shared space is trained. Mean ± standard deviation in %.", "",
             "| from → to | recall@1 | recall@5 | recall@10 | candidates |", "|---|---|---|---|---|"]
    for pair, figures in result.items():
        cells = [f"{100 * figures[m]['mean']:.1f} ± {100 * figures[m]['sd']:.1f}" for m in ("recall@1", "recall@5", "recall@10")]
        lines.append(f"| {pair} | {' | '.join(cells)} | {figures['items']:.0f} |")
    (HERE / "emoji.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
