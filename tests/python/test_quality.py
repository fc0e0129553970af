"""plait.quality: its functions, and that scores fall with known damage on real items of the measured split.

The bar for every line of FALLS: over six severities and the clean state the rank correlation is at least 0.9 for half of the items,
and clean items score above damaged ones (all severities together) with an AUROC of at least 0.9.
benchmarks/quality/measure.py takes the same figures of more items and of all kinds of damage.
"""
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import plait
from conftest import FILES, ROOT

sys.path.insert(0, str(ROOT / "benchmarks/quality"))
import measure  # noqa: E402

PROGRAM = os.environ.get("PLAIT_QUALITY_SCORES", str(ROOT / "build/bin/quality_scores"))
ITEMS = {"text": 200, "image": 80, "audio": 50, "series": 50}
FALLS = {
    "text": ["typos", "shuffle", "blank"],
    "text (zh)": ["typos", "shuffle", "blank"],
    "image": ["gaussian_blur", "gaussian_noise", "salt_and_pepper", "occlusion", "exposure", "jpeg"],
    "audio": ["white_noise", "pink_noise", "babble_noise", "reverb", "clipping", "dropouts", "silence"],
    "series": ["dropout", "stuck", "spikes", "drift", "noise"],
}
LINES = [(group, kind) for group, kinds in FALLS.items() for kind in kinds]


@pytest.fixture(scope="module")
def figures():
    """{group: {kind: figures}} of FALLS; every modality is measured when it is first asked for."""
    found = {}

    def of(group, kind):
        modality = group.split()[0]
        if modality not in found:
            found[modality] = measure.measure(PROGRAM, ITEMS[modality], "measured", [modality], FALLS[modality])
        return found[modality][group], found[modality][group]["kinds"][kind]

    return of


@pytest.mark.parametrize("group, kind", LINES, ids=[f"{group}-{kind}" for group, kind in LINES])
def test_scores_fall_with_damage(figures, group, kind):
    of_group, of_kind = figures(group, kind)
    assert of_group["items"] >= 40
    assert of_kind["rank_correlation_median"] >= 0.9, of_kind
    assert of_kind["auroc"] >= 0.9, of_kind


def test_every_kind_of_damage_is_asked_for():
    # A wrong clock shows against another stream only.
    unseen = {"series": {"clock_skew"}}
    for modality in ("text", "image", "audio", "series"):
        assert set(FALLS[modality]) | unseen.get(modality, set()) == set(plait.data.damage_kinds(modality))


def test_the_splits_share_nothing():
    found = [set(measure.items.sentences(language, split, 1000)) for language in ("en", "zh") for split in measure.items.SPLITS]
    assert all(len(part) >= 80 for part in found)
    assert not found[0] & found[1] and not found[2] & found[3]
    paths = [set(measure.items.part(measure.items.stamps("speech"), split, 1000)) for split in measure.items.SPLITS]
    assert min(map(len, paths)) >= 150 and not paths[0] & paths[1]


def test_figures_are_taken_as_stated():
    assert measure.correlation([7, 6, 5, 4, 3, 2, 1]) == pytest.approx(1)
    assert measure.correlation([1, 2, 3, 4, 5, 6, 7]) == pytest.approx(-1)
    assert measure.correlation([3] * 7) == 0
    assert measure.auroc(np.array([0.9, 0.8]), np.array([0.1, 0.2, 0.3])) == 1
    assert measure.auroc(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0.5


@pytest.mark.parametrize("kind", ["any", "avx2"])
def test_every_kind_of_processor_gives_the_same_scores(kind, monkeypatch):
    tensors = {f"image.{i}": x for i, x in enumerate(measure.items.pictures("measured", 6))}
    tensors |= {f"audio.16000.{i}": x for i, x in enumerate(measure.items.sounds("measured", 4))}
    lines = measure.items.sentences("en", "measured", 4)

    def scores():
        return {row[:2]: np.array(row[2:], float) for row in map(tuple, measure.run(PROGRAM, tensors, lines)) if row[1] != "milliseconds"}

    best = scores()
    monkeypatch.setenv("PLAIT_PROCESSOR", kind)
    lesser = scores()
    assert len(best) > 100 and best.keys() == lesser.keys()
    for row, values in best.items():
        np.testing.assert_allclose(lesser[row], values, atol=2e-5, err_msg=str(row))
    monkeypatch.setenv("PLAIT_PROCESSOR", "abacus")
    with pytest.raises(subprocess.CalledProcessError):
        scores()


STREAMS = {
    "caption": ("text", "The dog that I saw yesterday was running along the river with a stick in its mouth."),
    "photo": ("image", FILES / "picture.png"),
    "voice": ("audio", FILES / "sound.wav"),
    "sensor": ("series", torch.sin(torch.arange(300) / 9).unsqueeze(1)),
    "record": ("table", {"age": 31, "city": None}),
}


def test_one_call_judges_all_streams():
    scores = plait.quality.all_streams({k: value for k, (_, value) in STREAMS.items()}, {k: modality for k, (modality, _) in STREAMS.items()})
    assert set(scores) == set(STREAMS)
    for name, (score, parts) in scores.items():
        assert 0 < score <= 1 and parts and all(0 <= p <= 1 for p in parts.values()), (name, score, parts)
    for name, function in (("caption", plait.quality.text), ("photo", plait.quality.image), ("voice", plait.quality.audio),
                           ("sensor", plait.quality.series), ("record", plait.quality.table)):
        assert function(STREAMS[name][1]) == scores[name][0]
    assert scores["record"] == (0.5, {"completeness": 0.5})


def test_paths_bytes_arrays_and_tensors_score_alike():
    path = FILES / "picture.png"
    pixels = plait.load_image(path)
    scores = [plait.quality.image(x) for x in (path, path.read_bytes(), pixels, pixels.numpy(), pixels.permute(2, 0, 1) / 255.0)]
    assert max(scores) - min(scores) < 1e-5
    samples, rate = plait.load_audio(FILES / "sound.wav")
    assert plait.quality.audio((samples, rate)) == pytest.approx(plait.quality.audio(FILES / "sound.wav"))


@pytest.mark.parametrize("modality, value", [
    ("text", ""), ("text", "?!"), ("image", np.zeros((1, 1, 3), np.uint8)), ("image", np.full((40, 40, 3), 255, np.uint8)),
    ("audio", (torch.zeros(16000), 16000)), ("audio", (torch.ones(1), 16000)), ("series", torch.full((50, 2), math.nan)),
    ("series", torch.zeros(50, 2)), ("table", {}),
])
def test_what_says_nothing_scores_low(modality, value):
    assert 0 <= plait.quality.assess(value, modality)[0] <= 0.3


@pytest.mark.parametrize("modality, value, error", [
    ("image", "no such file.png", FileNotFoundError), ("image", torch.full((3, 40, 40), math.nan), ValueError),
    ("audio", (torch.full((16000,), math.nan), 16000), ValueError), ("text", 3, (TypeError, ValueError)), ("smell", "rose", ValueError),
])
def test_wrong_inputs_are_refused(modality, value, error):
    with pytest.raises(error):
        plait.quality.assess(value, modality)
