"""How well plait.quality sees damage: per item the rank correlation of severity and score over six levels and the clean
state, and across items the AUROC of clean against damaged (all levels together, and each level; for series
also within one sensor's data set, weighted by its items: a stream has one sensor).

    python benchmarks/quality/measure.py [--quality-scores build/bin/quality_scores] [--items N] [--out results.json]

Data, all real: pictures from scikit-image and scikit-learn and the photographs of tuxpaint-stamps-default (shorter side
224), its spoken captions (Ogg), WordNet example sentences and glosses of at least 12 words that the built-in table was not
made from (Debian wordnet-base) with Chinese sentences of the same kind (--zh FOLDER), motion, outline and power
series from the data files of the package aeon.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
LEVELS = 6


def pictures(limit):
    from PIL import Image

    found = []
    for package in ("skimage", "sklearn"):
        folder = pathlib.Path(__import__(package).__file__).parent
        found += sorted(p for p in folder.rglob("*") if p.suffix in (".png", ".jpg", ".jpeg") and "test" not in str(p).lower())
    stamps = sorted(pathlib.Path("/usr/share/tuxpaint/stamps").rglob("*.png"))
    found += stamps[:: max(1, len(stamps) // max(limit, 1))]
    out = []
    for path in found:
        image = Image.open(path).convert("RGBA")
        if min(image.size) < 100:
            continue
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
        scale = 224 / min(image.size)
        if scale < 1:
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BICUBIC)
        out.append(np.asarray(image.crop((0, 0, min(image.width, 400), min(image.height, 400))), np.uint8))
    return out[:limit]


def sounds(limit):
    import librosa

    found = sorted(pathlib.Path("/usr/share/tuxpaint/stamps").rglob("*_desc_fr.ogg"))
    found = found or sorted(pathlib.Path("/usr/share/tuxpaint/stamps").rglob("*_desc*.ogg"))
    found = found[:: max(1, len(found) // max(limit, 1))]
    return [librosa.load(path, sr=16000, mono=True)[0].astype(np.float32) for path in found[:limit]]


def sentences(limit, zh):
    import quality_text_model as source

    rng = np.random.default_rng(0)
    wordnet = pathlib.Path("/usr/share/wordnet")
    out = [s for _, s in source.english(wordnet, pathlib.Path("/nonexistent")) if source.is_held_out(s)]
    out = [s for s in out if len(re.findall(r"[A-Za-z]+", s)) >= 12 and "(" not in s]
    out = [out[i] for i in rng.permutation(len(out))[:limit]]
    chinese = []
    if zh:
        chinese = [s for s in source.chinese(pathlib.Path(zh)) if source.is_held_out(s) and len(re.findall(r"[\u4e00-\u9fff]", s)) >= 24
                   and re.fullmatch(r"[\u4e00-\u9fff，。、；：“”]+", s)]
        chinese = [chinese[i] for i in rng.permutation(len(chinese))[: limit // 2]]
    return out, chinese


def series(limit):
    import importlib.util

    # Only the data files of the package are used: its modules need far more than it ships.
    folder = pathlib.Path(importlib.util.find_spec("aeon").origin).parent / "datasets" / "data"
    names = ("BasicMotions", "GunPoint", "ArrowHead", "OSULeaf", "ItalyPowerDemand", "JapaneseVowels", "ACSF1")
    out = []
    for name in names:
        path = folder / name / f"{name}_TRAIN.ts"
        if not path.is_file():
            continue
        lines = path.read_text(encoding="utf-8", errors="ignore").split("@data", 1)[-1].strip().splitlines()
        for line in lines[:: max(1, len(lines) // max(1, limit // 4))]:
            channels = [[float(v) for v in c.split(",")] for c in line.split(":")[:-1]]
            if channels and len(channels[0]) >= 60 and len({len(c) for c in channels}) == 1:
                out.append((name, np.ascontiguousarray(np.asarray(channels, np.float32).T)))
    rng = np.random.default_rng(0)
    return [out[i] for i in rng.permutation(len(out))[:limit]]


def rank(x):
    order = np.argsort(x, kind="stable")
    out = np.empty(len(x))
    out[order] = np.arange(len(x))
    for value in np.unique(x):
        out[x == value] = out[x == value].mean()
    return out


def correlation(scores):
    """Spearman's, of falling scores against rising severity: 1 is a strictly falling score."""
    scores = np.asarray(scores)
    if np.ptp(scores) == 0:
        return 0.0
    return float(-np.corrcoef(rank(np.arange(len(scores))), rank(scores))[0, 1])


def auroc(clean, damaged):
    both = rank(np.concatenate([clean, damaged]))
    n, m = len(clean), len(damaged)
    return float((both[:n].sum() - n * (n - 1) / 2) / (n * m))


def run(program, tensors, lines):
    from safetensors.numpy import save_file

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        save_file(tensors, folder / "items.safetensors")
        (folder / "sentences.txt").write_text("\n".join(lines) + "\n" if lines else "", encoding="utf-8")
        subprocess.run([program, folder / "items.safetensors", folder / "sentences.txt", folder / "out.tsv", str(LEVELS)], check=True)
        return [line.split("\t") for line in (folder / "out.tsv").read_text().splitlines()]


def summarise(rows, group):
    """{modality: {kind: {...}}}; `group` maps an item's id to its modality."""
    scores, parts, times, sensors = {}, {}, {}, {}
    for item, kind, *values in rows:
        values = [float(v) for v in values]
        modality = group(item)
        if kind == "milliseconds":
            times.setdefault(modality, []).append(values[0])
        elif kind.startswith("part "):
            parts.setdefault(modality, {}).setdefault(kind[5:], []).append(values[0])
        else:
            scores.setdefault(modality, {}).setdefault(kind, []).append(values)
            if modality == "series":
                sensors.setdefault(kind, {}).setdefault(item.split(".")[1], []).append(values)
    out = {}
    for modality, kinds in scores.items():
        out[modality] = {"items": len(next(iter(kinds.values()))), "milliseconds": round(float(np.median(times[modality])), 3),
                         "parts_of_clean": {k: round(float(np.median(v)), 3) for k, v in parts[modality].items()}, "kinds": {}}
        for kind, table in kinds.items():
            table = np.asarray(table)
            out[modality]["kinds"][kind] = {
                "rank_correlation_median": round(float(np.median([correlation(row) for row in table])), 3),
                "auroc": round(auroc(table[:, 0], table[:, 1:].ravel()), 3),
                "auroc_by_level": [round(auroc(table[:, 0], table[:, i]), 3) for i in range(1, table.shape[1])],
                "median_score_by_level": [round(float(v), 3) for v in np.median(table, 0)],
            }
            if modality == "series":
                per = [(len(t), auroc(np.asarray(t)[:, 0], np.asarray(t)[:, 1:].ravel())) for t in sensors[kind].values()]
                out[modality]["kinds"][kind]["auroc_within_sensor"] = round(sum(n * a for n, a in per) / sum(n for n, _ in per), 3)
    return out


def measure(program, limit, zh=None):
    tensors = {f"image.{i}": x for i, x in enumerate(pictures(limit))}
    tensors |= {f"audio.16000.{i}": x for i, x in enumerate(sounds(limit))}
    tensors |= {f"series.{name}.{i}": x for i, (name, x) in enumerate(series(limit))}
    english, chinese = sentences(limit, zh)

    def group(item):
        name, _, number = item.partition(".")
        return "text (zh)" if name == "text" and int(number) >= len(english) else name

    return summarise(run(program, tensors, english + chinese), group)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quality-scores", default=ROOT / "build" / "bin" / "quality_scores")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--zh")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    result = measure(arguments.quality_scores, arguments.items, arguments.zh)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if arguments.out:
        pathlib.Path(arguments.out).write_text(text + "\n", encoding="utf-8")
    for modality, r in result.items():
        print(f"{modality}: {r['items']} items, {r['milliseconds']} ms, {r['parts_of_clean']}")
        for kind, k in r["kinds"].items():
            print(f"  {kind:16} rho {k['rank_correlation_median']:.2f}  AUROC {k['auroc']:.3f}  {k['auroc_by_level']}  {k['median_score_by_level']} {k.get('auroc_within_sensor', '')}")
