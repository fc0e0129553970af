"""What a split of the compute between the streams is worth: the same multiply-adds, shared out in four ways.

    python benchmarks/fusion/compute_split.py [--plait build/bin/plait] [--seeds 3] [--items 40] [--rounds 9]

Handwritten digits with the digit spoken (audio_visual_digits: no speaker on both sides of a split). Both encoders are
trained from nothing by `plait train --compute-share`: equal shares; by importance (Shapley values of the accuracy in a
pilot training, taken once and on a split of its own); nearly everything into either stream. The planner takes the sizes
nearest to a budget; the budget is raised in small steps for the total nearest to the one that all are to have.
The network alone answers (no trust fusion). Times are of one item at batch 1 on one thread, all models of a seed in turn
on the same items. Writes compute_split.json and compute_split.md beside this file.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import plait

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOTAL, NEAR = 1.3e6, 0.04
PILOT_SEED = 100
RECIPE = {
    "dataset": "audio_visual_digits", "streams": ["image", "speech"], "task": "category", "damaged_copies": 1, "damage": 0.3,
    "wrong": 0.0, "trust": False,
    "model": {"width": 64, "dropout": 0.1,
              "streams": {"image": {"encoder": {"type": "picture_net", "stem_channels": 8, "channels": [16, 32, 48], "depths": [1, 1, 1]},
                                    "processor": {"type": "image", "size": 32, "resample": "bilinear"}, "max_tokens": 4},
                          "speech": {"encoder": {"type": "temporal_audio", "num_mel_bins": 40, "hidden_size": 64,
                                                 "num_hidden_layers": 2, "num_attention_heads": 8, "intermediate_size": 128},
                                     "processor": {"type": "log_mel", "mels": 40, "seconds": 1, "pad": "max", "normalise": "item"},
                                     "max_tokens": 4}},
              "fusion": {"type": "modality_attention"},
              "tasks": {"category": {"type": "classification", "label_smoothing": 0.05}}},
    "training": {"learning_rate": 2e-3, "num_train_epochs": 12, "per_device_train_batch_size": 64, "warmup_ratio": 0.1,
                 "weight_decay": 0.05, "modality_dropout": 0.2, "logging_steps": 0, "save_steps": -1,
                 "metric_for_best_model": "nll"}}
CONDITIONS = ("all", "damaged_image", "damaged_speech", "only_image", "only_speech")


def train(binary, folder, seed, share, budget=0.0, training=None, compute=None):
    """The figures of `plait train`, or None for a split that cannot be reached within the budget."""
    recipe = RECIPE | {"split_seed": seed, "training": RECIPE["training"] | (training or {}), "compute": compute or {}}
    path = pathlib.Path(folder) / "recipe.json"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    command = [binary, "train", path, "--output", f"{folder}/out", "--seed", str(seed), "--compute-share", share,
               "--compute-budget", str(budget), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout)
    if "can reach" in done.stderr:
        return None
    raise RuntimeError(done.stderr)


def text_of(shares):
    return ",".join(f"{name}={share:.4f}" for name, share in shares.items())


def importance(binary):
    """Shares by the importance of the streams, and that importance."""
    with tempfile.TemporaryDirectory() as folder:
        plan = train(binary, folder, PILOT_SEED, "importance", training={"max_steps": 80}, compute={"pilot": 1.0})["compute"]
    return {name: s["asked"] for name, s in plan["streams"].items()}, plan["importance"]


def budget_for(binary, shares):
    """The budget whose plan comes nearest to the total that all splits are to have."""
    best = None
    for step in range(9):
        budget = TOTAL * (1 + NEAR * step)
        with tempfile.TemporaryDirectory() as folder:
            figures = train(binary, folder, PILOT_SEED, text_of(shares), budget, {"max_steps": 1})
        if figures is None:
            continue
        off = abs(figures["compute"]["multiply_adds"] / TOTAL - 1)
        if best is None or off < best[0]:
            best = (off, budget)
        if off <= NEAR:
            break
    return best[1]


def timed(models, rows, rounds):
    """Median milliseconds by model, all of them in turn on every item; the first round warms up."""
    taken = {name: [[] for _ in rows] for name in models}
    for turn in range(rounds + 1):
        for k, row in enumerate(rows):
            for name, model in models.items():
                start = time.perf_counter()
                model.predict(row)
                if turn:
                    taken[name][k].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(statistics.median(t) for t in by_item) for name, by_item in taken.items()}


def one_seed(args, seed, splits):
    result, models, folders = {"seed": seed, "splits": {}}, {}, []
    for name, (shares, budget) in splits.items():
        folder = tempfile.TemporaryDirectory()
        folders.append(folder)
        figures = train(args.plait, folder.name, seed, text_of(shares), budget)
        plan = figures["compute"]
        result["splits"][name] = {"accuracy": {c: 100 * figures["accuracy"][c] for c in CONDITIONS}, "realised": plan["realised"],
                                  "multiply_adds": plan["multiply_adds"], "seconds": figures["training"]["seconds"],
                                  "changes": {s: v["changes"] for s, v in plan["streams"].items()}}
        models[name] = plait.MultimodalModel.from_pretrained(f"{folder.name}/out/model")
    test = plait.load_dataset("audio_visual_digits", ["image", "speech"], seed).test
    rows = [test[k * len(test) // args.items]["streams"] for k in range(args.items)]
    ms = timed(models, rows, args.rounds)
    for name in splits:
        result["splits"][name] |= {"ms": ms[name], "latency_ratio": ms[name] / ms["equal"]}
    return result


def report(splits, important, runs, args):
    def mean_sd(values):
        return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0, "values": values}

    out = {"data": "audio_visual_digits", "total": TOTAL, "threads": 1, "timed_items": args.items, "rounds": args.rounds,
           "importance": important, "asked": {name: shares for name, (shares, _) in splits.items()}, "recipe": RECIPE, "runs": runs,
           "splits": {}}
    for name in splits:
        each = [r["splits"][name] for r in runs]
        out["splits"][name] = {
            "accuracy": {c: mean_sd([s["accuracy"][c] for s in each]) for c in CONDITIONS},
            "mean": mean_sd([statistics.fmean(s["accuracy"][c] for c in CONDITIONS[:3]) for s in each]),
            "realised_image": mean_sd([100 * s["realised"]["image"] for s in each]),
            "multiply_adds": mean_sd([s["multiply_adds"] for s in each]),
            "ms": mean_sd([s["ms"] for s in each]), "latency_ratio": mean_sd([s["latency_ratio"] for s in each])}
    (HERE / "compute_split.json").write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")

    def cell(value, digits=1):
        return f"{value['mean']:.{digits}f} ± {value['sd']:.{digits}f}"

    lines = ["# The same compute, split in four ways", "",
             f"Made by `benchmarks/fusion/compute_split.py --seeds {len(runs)} --items {args.items} --rounds {args.rounds}`: handwritten digits with the digit spoken",
             "(most voices espeak-ng, damage synthetic), encoders trained from nothing by `plait train --compute-share`, about",
             f"{TOTAL / 1e6:.1f} million multiply-adds for one item in every split. Accuracy in %, mean ± sd over the seeds (another split of the",
             "speakers each); the mean is over clean items, damaged pictures and damaged speech. Time of one item at batch 1 on one",
             "thread against equal shares, all models in turn.", "",
             "| split | asked: picture / speech | realised % | million multiply-adds | clean | picture damaged | speech damaged | mean | latency ratio |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name, (shares, _) in splits.items():
        s = out["splits"][name]
        image = s["realised_image"]["mean"]
        lines.append(f"| {name} | {100 * shares['image']:.0f} / {100 * shares['speech']:.0f} | {image:.1f} / {100 - image:.1f} | "
                     f"{s['multiply_adds']['mean'] / 1e6:.2f} | {cell(s['accuracy']['all'])} | {cell(s['accuracy']['damaged_image'])} | "
                     f"{cell(s['accuracy']['damaged_speech'])} | {cell(s['mean'])} | {cell(s['latency_ratio'], 2)} |")
    lines += ["", "Each stream alone, accuracy in %:", "", "| split | picture | speech |", "|---|---|---|"]
    for name in splits:
        s = out["splits"][name]["accuracy"]
        lines.append(f"| {name} | {cell(s['only_image'])} | {cell(s['only_speech'])} |")
    (HERE / "compute_split.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plait", default=str(ROOT / "build" / "bin" / "plait"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    by_importance, important = importance(args.plait)
    shares = {"equal": {"image": 0.5, "speech": 0.5}, "by importance": by_importance,
              "nearly all into the picture": {"image": 0.95, "speech": 0.05},
              "nearly all into speech": {"image": 0.05, "speech": 0.95}}
    splits = {name: (wanted, budget_for(args.plait, wanted)) for name, wanted in shares.items()}
    print(json.dumps({"importance": important, "splits": splits}), flush=True)
    runs = []
    for seed in range(args.seeds):
        runs.append(one_seed(args, seed, splits))
        table = report(splits, important, runs, args)
    print(table)


if __name__ == "__main__":
    main()
