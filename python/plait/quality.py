"""How far an input can be trusted, judged from itself alone: a score in [0, 1] and its parts."""
from collections.abc import Mapping
from typing import Any

from . import _C


def assess(value: Any, modality: str) -> tuple[float, dict[str, float]]:
    """(score, parts) of a "text", "image", "audio", "series" or "table" row; paths, bytes and arrays are accepted.

    Raises ValueError (FileNotFoundError) for what cannot be decoded: broken files, NaN in pictures and sound.
    """
    return _C.assess_quality(value, modality)


def text(value: Any) -> float:
    """A text's score: English or Chinese, 12 words or more for the figures to hold."""
    return assess(value, "text")[0]


def image(value: Any) -> float:
    """A picture's score: [H, W, 3] uint8, [3, H, W] float in [0, 1], a file, bytes or PIL."""
    return assess(value, "image")[0]


def audio(value: Any) -> float:
    """A sound's score: (samples [N], rate), samples at 16 kHz, a file or bytes."""
    return assess(value, "audio")[0]


def series(value: Any) -> float:
    """A series' score: [T, C] or [T], NaN where a value is missing."""
    return assess(value, "series")[0]


def table(value: Any) -> float:
    """A table row's score: the share of fields that hold something."""
    return assess(value, "table")[0]


def all_streams(streams: Mapping[str, Any], modalities: Mapping[str, str]) -> dict[str, tuple[float, dict[str, float]]]:
    """{stream: (score, parts)} for {stream: value} and {stream: modality}."""
    return {name: assess(value, modalities[name]) for name, value in streams.items()}
