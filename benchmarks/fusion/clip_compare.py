"""A CLIP-type model with two towers against Plait's dynamic attention and early exit: accuracy, time and multiply-adds.

    python benchmarks/fusion/clip_compare.py [--plait build/bin/plait] [--seeds 3] [--items 30] [--rounds 7]

The same items (emoji: picture and English name, nine groups; another split per seed), the same frozen encoders
(multilingual-e5-small, EfficientNet-Lite0), the same width, epochs, batch and weight decay. The CLIP-type model always
runs both towers; it is trained contrastively (InfoNCE with a learned temperature) and answers in the best of four ways,
chosen with its learning rate on validation items: similarity with class prompts, a head on both embeddings
(trained after, or together with the contrast), a head on both towers' features. Two kinds of it are tuned alike, four
ways at three learning rates each: linear projections and heads, and perceptrons with one hidden layer (GELU) that have
as many parameters as everything that Plait's model adds to the encoders, its landmarks included; the one that is right
more often on validation items is what Plait is compared with. Plait's model (modality-aware
attention, trust fusion) has one learning rate. It answers with all streams; by its certified route (early_exit: at most
0.5 points lost); and text first, the picture only below a confidence: the least one at which it was as good as the
CLIP-type model on validation items, and at which it lost at most 0.5, 1, 2 points. Times are of one item at batch 1 from file and text to label on one
thread, all ways in turn on the same items. Writes clip_compare.json and clip_compare.md beside this file.
"""
import argparse
import json
import math
import os
import pathlib
import statistics
import struct
import subprocess
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from torch.nn import functional as F

import plait

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FEATURES = pathlib.Path(os.environ.get("PLAIT_CACHE", pathlib.Path.home() / ".cache" / "plait")) / "features"
TEXT, IMAGE = "multilingual-e5-small", "efficientnet-lite0"
WIDTH, EPOCHS, BATCH, DECAY, DROPOUT = 256, 15, 128, 0.05, 0.3
RATES = (3e-4, 1e-3, 3e-3)
RECIPE = {
    "dataset": "emoji", "streams": ["image", "text"], "task": "group", "damaged_copies": 0, "damage": 0.0, "wrong": 0.1,
    "model": {"width": WIDTH, "dropout": DROPOUT,
              "streams": {"text": {"encoder": {"pretrained": TEXT}, "frozen": True, "max_tokens": 4},
                          "image": {"encoder": {"pretrained": IMAGE}, "frozen": True, "max_tokens": 4}},
              "fusion": {"type": "modality_attention"},
              "tasks": {"group": {"type": "classification", "label_smoothing": 0.05}}},
    "training": {"learning_rate": 1e-3, "num_train_epochs": EPOCHS, "per_device_train_batch_size": BATCH, "warmup_ratio": 0.1,
                 "weight_decay": DECAY, "modality_dropout": 0.2, "logging_steps": 0, "save_steps": -1,
                 "metric_for_best_model": "nll"}}


def perceptron(inputs, hidden, outputs):
    """Linear where `hidden` is 0."""
    if not hidden:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(hidden, outputs))


def size(module):
    return sum(p.numel() for p in module.parameters())


class TwoTowers(nn.Module):
    """What CLIP adds to its towers: a projection each, a temperature; and a head on both embeddings or both features.

    `parameters`: of the projections with their head, and of the head on features; None: all linear.
    """

    def __init__(self, text, image, classes, parameters=None):
        super().__init__()
        embedding = raw = 0
        if parameters:
            embedding = round(parameters / (text + image + 2 * WIDTH + 2))
            raw = round(parameters / (text + image + classes + 1))
        self.text, self.image = perceptron(text, embedding, WIDTH), perceptron(image, embedding, WIDTH)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.head = nn.Linear(2 * WIDTH, classes)
        self.raw = perceptron(text + image, raw, classes)
        self.drop = nn.Dropout(DROPOUT)

    def size_of(self, way):
        return size(self.raw) if way == "head on features" else size(self) - size(self.raw) - (way == "prompts") * size(self.head)

    def embed(self, text, image):
        return F.normalize(self.text(self.drop(text)), dim=1), F.normalize(self.image(self.drop(image)), dim=1)

    def contrast(self, t, i):
        logits = self.scale.clamp(max=math.log(100)).exp() * t @ i.T
        order = torch.arange(len(t))
        return (F.cross_entropy(logits, order) + F.cross_entropy(logits.T, order)) / 2


def fit(parameters, loss, rows, rate, generator):
    """AdamW with a cosine after a short warm-up, as the other model is trained."""
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=DECAY)
    steps = EPOCHS * math.ceil(rows / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / (0.1 * steps), 0.5 * (1 + math.cos(math.pi * s / steps))))
    for _ in range(EPOCHS):
        for part in torch.randperm(rows, generator=generator).split(BATCH):
            optimizer.zero_grad()
            loss(part).backward()
            optimizer.step()
            schedule.step()


def answers(model, way, text, image, prompts):
    with torch.no_grad():
        model.eval()
        if way == "head on features":
            return model.raw(torch.cat([text, image], 1)).argmax(1)
        t, i = model.embed(text, image)
        if way == "prompts":
            classes = F.normalize(model.text(prompts), dim=1)
            return (F.normalize(t + i, dim=1) @ classes.T).argmax(1)
        return model.head(torch.cat([t, i], 1)).argmax(1)


def train_towers(train, validation, prompts, classes, seed, parameters):
    """The best of all ways and learning rates on validation items: (model, way, rate, accuracy on validation by way)."""
    best, table = None, {}
    (text, image, y), (vt, vi, vy) = train, validation
    for rate in RATES:
        for way in ("prompts", "head", "joint head", "head on features"):
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            model = TwoTowers(text.shape[1], image.shape[1], classes, parameters).train()

            def contrast(part):
                return model.contrast(*model.embed(text[part], image[part]))

            def head(part):
                return F.cross_entropy(model.head(torch.cat(model.embed(text[part], image[part]), 1)), y[part], label_smoothing=0.05)

            def raw(part):
                both = torch.cat([text[part], image[part]], 1)
                return F.cross_entropy(model.raw(model.drop(both)), y[part], label_smoothing=0.05)

            if way == "joint head":
                fit(model.parameters(), lambda part: contrast(part) + head(part), len(y), rate, generator)
            elif way == "head on features":
                fit(model.raw.parameters(), raw, len(y), rate, generator)
            else:
                fit(model.parameters(), contrast, len(y), rate, generator)
                if way == "head":
                    fit(model.head.parameters(), head, len(y), rate, generator)
            accuracy = (answers(model, way, vt, vi, prompts) == vy).float().mean().item()
            table[way] = max(table.get(way, 0), accuracy)
            if best is None or accuracy > best[3]:
                best = (model, way, rate, accuracy)
    return *best, table


def added_parameters(path):
    """Numbers that a saved model has beyond its encoders."""
    with open(path, "rb") as file:
        tensors = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return sum(math.prod(t["shape"]) for name, t in tensors.items()
               if name != "__metadata__" and not (name.startswith("streams.") and ".encoder." in name))


def features(model, stream, values):
    """Pooled features of a frozen tower: the same encoder's, so what the other model's training has cached serves both."""
    return torch.stack([model.encode(stream, value).pooled.float() for value in values])


def one_seed(plait_binary, seed, towers, items, rounds):
    splits = plait.load_dataset("emoji", ["image", "text"], seed)
    classes = splits.classes

    with tempfile.TemporaryDirectory() as folder:
        recipe = pathlib.Path(folder) / "recipe.json"
        recipe.write_text(json.dumps(RECIPE | {"split_seed": seed}), encoding="utf-8")
        subprocess.run([plait_binary, "train", recipe, "--output", f"{folder}/out", "--seed", str(seed), "--json"],
                       check=True, capture_output=True)
        ours = plait.MultimodalModel.from_pretrained(f"{folder}/out/model")
        parameters = added_parameters(f"{folder}/out/model/model.safetensors")
        # For accuracy alone: what training has encoded already. Times are taken without it.
        known = plait.cache.FeatureCache(max_size=4096, path=str(FEATURES))
        quick = plait.MultimodalModel.from_pretrained(f"{folder}/out/model", cache=known)

    def tensors(part):
        rows = list(part)
        return (features(quick, "text", [r["streams"]["text"] for r in rows]),
                features(quick, "image", [r["streams"]["image"] for r in rows]),
                torch.tensor([classes.index(r["labels"]["group"]) for r in rows]))

    data = {part: tensors(getattr(splits, part)) for part in ("train", "validation", "test")}
    mean = [data["train"][m].mean(0) for m in (0, 1)]
    spread = [data["train"][m].std(0).clamp_min(1e-4) for m in (0, 1)]
    scaled = {part: ((t - mean[0]) / spread[0], (i - mean[1]) / spread[1], y) for part, (t, i, y) in data.items()}
    prompts = (features(quick, "text", [f"an emoji of {c}" for c in classes]) - mean[0]) / spread[0]
    text, image, y = scaled["test"]
    result = {"seed": seed, "test_items": len(y), "parameters": parameters, "kinds": {}}
    model = None
    for kind, wanted in (("linear", None), ("perceptrons", parameters)):
        tuned = train_towers(scaled["train"], scaled["validation"], prompts, len(classes), seed, wanted)
        accuracy = (answers(tuned[0], tuned[1], text, image, prompts) == y).float().mean().item()
        result["kinds"][kind] = {"accuracy": accuracy, "way": tuned[1], "learning_rate": tuned[2], "validation": tuned[3],
                                 "validation_by_way": tuned[4], "parameters": tuned[0].size_of(tuned[1])}
        if model is None or tuned[3] > on_validation:
            model, way, rate, on_validation = tuned[:4]
            result["clip"] = {"kind": kind} | result["kinds"][kind]

    rows = [r["streams"] for r in splits.test]
    truth = [r["labels"]["group"] for r in splits.test]
    full = quick.predict(rows)
    early = quick.predict(rows, early_exit=True)

    def accuracy(predictions):
        return sum(p["class"] == t for p, t in zip(predictions, truth)) / len(truth)

    result["full"] = {"accuracy": accuracy(full)}
    result["early_exit"] = {"accuracy": accuracy(early),
                            "compute_share": statistics.fmean(p["compute_share"] for p in early),
                            "stopped_early": sum(bool(p["skipped"]) for p in early) / len(early)}

    # Text first: its confidence and answer, and the answer with both, on validation items.
    held = [r["streams"] for r in splits.validation]
    held_truth = [r["labels"]["group"] for r in splits.validation]
    first, both = (quick.predict([{k: row[k] for k in names} for row in held]) for names in (["text"], ["text", "image"]))

    def routed_accuracy(one, two, labels, t):
        return sum((a if a["confidence"] >= t else b)["class"] == y for a, b, y in zip(one, two, labels)) / len(labels)

    def threshold(least):
        """The least confidence from which on text alone is enough to be right that often."""
        enough = 1.01
        for t in sorted({p["confidence"] for p in first}, reverse=True):
            if routed_accuracy(first, both, held_truth, t) < least:
                break
            enough = t
        return enough

    whole = routed_accuracy(first, both, held_truth, 1.01)
    text_share = quick.predict(rows[0], max_multiply_adds=1)["compute_share"]
    alone = quick.predict([{"text": row["text"]} for row in rows])
    result["text_share"], result["text_alone"] = text_share, accuracy(alone)
    result["curve"] = []
    for name, least in [("as good as CLIP", on_validation)] + [(f"{loss} points", whole - loss / 100) for loss in (0.5, 1, 2)]:
        t = threshold(least)
        went_on = sum(p["confidence"] < t for p in alone) / len(alone)
        result["curve"].append({"name": name, "threshold": t, "accuracy": routed_accuracy(alone, full, truth, t),
                                "compute_share": text_share + (1 - text_share) * went_on, "stopped_early": 1 - went_on})
    enough = result["curve"][0]
    result["routed"] = {k: enough[k] for k in ("accuracy", "compute_share", "stopped_early")}

    def routed(row):
        seen = [ours.encode("text", row["text"])]
        answer = ours.decode(seen)
        if answer["confidence"] >= enough["threshold"]:
            return answer
        return ours.decode([*seen, ours.encode("image", row["image"])])

    def two_towers(row):
        t = (towers["text"](row["text"])["pooled"].float() - mean[0]) / spread[0]
        i = (towers["image"](row["image"])["pooled"].float() - mean[1]) / spread[1]
        return answers(model, way, t, i, prompts)

    ways = {"clip": two_towers, "full": lambda row: ours.predict(row), "early_exit": lambda row: ours.predict(row, early_exit=True),
            "routed": routed}
    chosen = [rows[k * len(rows) // items] for k in range(items)]
    taken = {name: [[] for _ in chosen] for name in ways}
    for turn in range(rounds + 1):
        for k, row in enumerate(chosen):
            for name, run in ways.items():
                start = time.perf_counter()
                run(row)
                if turn:  # The first round warms up.
                    taken[name][k].append(1000 * (time.perf_counter() - start))
    for name, by_item in taken.items():
        each = [statistics.median(times_of_item) for times_of_item in by_item]
        result[name]["ms_p50"] = statistics.median(each)
        result[name]["ms_mean"] = statistics.fmean(each)
        result[name]["ms_least_p50"] = statistics.median(min(t) for t in by_item)
    return result


def summary(values):
    return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0, "values": values}


TITLES = {"clip": "CLIP-type, two towers", "full": "Plait, all streams", "early_exit": "Plait, certified early exit",
          "routed": "Plait, text first, as good as CLIP on validation"}


def report(runs, args):
    """Writes the figures of the seeds so far."""
    out = {"items": "emoji: picture and English name, 9 groups", "towers": [TEXT, IMAGE], "threads": 1, "width": WIDTH, "epochs": EPOCHS,
           "timed_items": args.items, "rounds": args.rounds, "runs": runs, "models": {}}
    for name in TITLES:
        out["models"][name] = {key: summary([r[name][key] for r in runs])
                               for key in ("accuracy", "ms_p50", "ms_mean", "ms_least_p50")}
        cost = [r[name].get("compute_share", 1.0) for r in runs]
        out["models"][name]["compute_share"] = summary(cost)
    models = out["models"]
    bars = []
    for measure, key in (("median item", "ms_p50"), ("mean over items", "ms_mean")):
        saved = [100 * (1 - r["routed"][key] / r["clip"][key]) for r in runs]
        bars.append({"name": f"text first: time saved against the CLIP-type model, {measure}, %", "value": statistics.fmean(saved), "bar": 40,
                     "holds": statistics.fmean(saved) >= 40, "values": saved})
    gained = [100 * (r["routed"]["accuracy"] - r["clip"]["accuracy"]) for r in runs]
    bars.insert(0, {"name": "text first: accuracy beyond the CLIP-type model's, points", "value": statistics.fmean(gained), "bar": -0.5,
                    "holds": statistics.fmean(gained) >= -0.5, "values": gained})
    out["bars"] = bars

    def cell(name, key, factor, digits):
        return f"{factor * models[name][key]['mean']:.{digits}f} ± {factor * models[name][key]['sd']:.{digits}f}"

    lines = ["# A CLIP-type model against Plait", "",
             f"Made by `benchmarks/fusion/clip_compare.py --seeds {len(runs)} --items {args.items} --rounds {args.rounds}`. Real data: emoji pictures with their",
             f"English names, nine groups, {runs[0]['test_items']} held-out items, another split per seed. Both have the same frozen encoders ({TEXT},",
             f"{IMAGE}), width {WIDTH}, {EPOCHS} epochs; the CLIP-type model's learning rate and way of answering are the best of 12 on", "validation items for each kind of heads, "
             "Plait's are fixed. The kind that was right more often on them (here "
             + ", ".join(sorted({f"{r['clip']['kind']}, {r['clip']['way']}" for r in runs})) + ") is", "what Plait is compared with. Time of one item at batch 1 on one thread, from file to label, in turn; mean ± sd over the",
             "seeds.", "", "| | accuracy % | ms, median item | ms, mean | multiply-adds of the encoders % |", "|---|---|---|---|---|"]
    for name, title in TITLES.items():
        lines.append(f"| {title} | {cell(name, 'accuracy', 100, 1)} | {cell(name, 'ms_p50', 1, 1)} | {cell(name, 'ms_mean', 1, 1)} | "
                     f"{cell(name, 'compute_share', 100, 0)} |")
    lines += ["", "The kinds of heads, accuracy in %:", "", "| | parameters | on validation items | held-out items | won on validation |", "|---|---|---|---|---|"]
    for kind in ("linear", "perceptrons"):
        each = [r["kinds"][kind] for r in runs]
        shown = [summary([100 * k[key] for k in each]) for key in ("validation", "accuracy")]
        lines.append(f"| {kind} | {min(k['parameters'] for k in each)} to {max(k['parameters'] for k in each)} | "
                     + " | ".join(f"{v['mean']:.1f} ± {v['sd']:.1f}" for v in shown)
                     + f" | {sum(r['clip']['kind'] == kind for r in runs)} of {len(runs)} |")
    out["kinds"] = {kind: {key: summary([r["kinds"][kind][key] for r in runs]) for key in ("validation", "accuracy")}
                    for kind in ("linear", "perceptrons")}
    (HERE / "clip_compare.json").write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    lines += ["", f"Plait's model has {runs[0]['parameters']} numbers beyond its encoders.",
              "", "Text first, the picture below a confidence that loses no more than so much on validation items (text alone: "
              f"{100 * statistics.fmean(r['text_alone'] for r in runs):.1f} %, {100 * runs[0]['text_share']:.0f} % of the multiply-adds):", "",
              "| lost on validation | accuracy % | multiply-adds % | stopped after the text % |", "|---|---|---|---|"]
    for k, point in enumerate(runs[0]["curve"]):
        mean = {key: 100 * statistics.fmean(r["curve"][k][key] for r in runs) for key in ("accuracy", "compute_share", "stopped_early")}
        lines.append(f"| {point['name']} | {mean['accuracy']:.1f} | {mean['compute_share']:.0f} | {mean['stopped_early']:.0f} |")
    lines += ["", "| | value | bar | |", "|---|---|---|---|"]
    lines += [f"| {b['name']} | {b['value']:.1f} | ≥ {b['bar']} | {'holds' if b['holds'] else '**missed**'} |" for b in bars]
    (HERE / "clip_compare.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plait", default=str(ROOT / "build" / "bin" / "plait"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--items", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    towers = {"text": plait.AutoModel.from_pretrained(TEXT), "image": plait.AutoModel.from_pretrained(IMAGE)}
    runs = []
    for seed in range(args.seeds):
        runs.append(one_seed(args.plait, seed, towers, args.items, args.rounds))
        print(json.dumps(runs[-1], ensure_ascii=False), flush=True)
        table = report(runs, args)
    print(table)


if __name__ == "__main__":
    main()
