"""Data sets by name, and data sets of your own."""
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional, Union

from torch import Tensor

from . import _C
from ._C import Tokenizer


def load_image(path: Union[str, os.PathLike]) -> Tensor:
    """[H, W, 3] uint8 RGB of a PNG, JPEG, WebP, BMP, TIFF ... file."""
    return _C.load_image(os.fspath(path))


def load_audio(path: Union[str, os.PathLike], sample_rate: int = 0) -> tuple[Tensor, int]:
    """(samples [N] float32 in [-1, 1], rate); sample_rate 0 keeps the file's own."""
    return _C.load_audio(os.fspath(path), sample_rate)


def damage_kinds(modality: str) -> list[str]:
    """What `damage` can do to a text, picture, sound or series."""
    return _C.damage_kinds(modality)


def damage(value: Any, modality: str, kind: str, severity: float, seed: int = 0) -> Any:
    """The value, damaged: severity from 0 (not at all) to 1 (hardly anything is left); the same seed gives the same."""
    return _C.damage(value, modality, kind, severity, seed)


def list_datasets() -> list[dict[str, Any]]:
    """[{"name", "description", "licence", "streams", "label"}, ...]"""
    return _C.list_datasets()


class MultimodalDataset:
    """Items of named streams: MultimodalDataset(text=[...], image=[...], labels={"category": [...]}), columns of equal
    length; None marks a missing value. Index it for {"id", "streams", "labels"}."""

    def __init__(self, labels: Optional[Mapping[str, Sequence]] = None, ids: Optional[Sequence[str]] = None, **streams: Sequence):
        columns = {**streams, **{f"labels[{k}]": v for k, v in (labels or {}).items()}}
        if not streams:
            raise ValueError("expected at least one stream, e.g. text=[...]")
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"expected columns of equal length, got {lengths}")
        self._streams = {name: list(column) for name, column in streams.items()}
        self._labels = {name: list(column) for name, column in (labels or {}).items()}
        self._length = next(iter(lengths.values()))
        self._ids = list(ids) if ids is not None else [str(i) for i in range(self._length)]

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> "MultimodalDataset":
        """From {"id", "streams", "labels"} each."""
        rows = list(rows)
        streams = sorted({name for row in rows for name in row["streams"]})
        labels = sorted({name for row in rows for name in row.get("labels", {})})
        return MultimodalDataset(labels={n: [r.get("labels", {}).get(n) for r in rows] for n in labels}, ids=[r.get("id", "") for r in rows],
                   **{n: [r["streams"].get(n) for r in rows] for n in streams})

    @property
    def streams(self) -> list[str]:
        return list(self._streams)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Union[int, slice]) -> Any:
        if isinstance(index, slice):
            return MultimodalDataset.from_rows([self[i] for i in range(*index.indices(len(self)))])
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return {"id": self._ids[index],
                "streams": {n: c[index] for n, c in self._streams.items() if c[index] is not None},
                "labels": {n: c[index] for n, c in self._labels.items() if c[index] is not None}}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))


class MultiModalDataset(MultimodalDataset):
    """Texts beside pictures; text_features and image_features are made by the shipped model when first asked for."""

    def __init__(self, text_data: Sequence[str], image_paths: Sequence, labels: Optional[Mapping[str, Sequence]] = None):
        super().__init__(labels=labels, text=text_data, image=image_paths)
        self._features: dict[str, Tensor] = {}

    def _stack(self, stream: str) -> Tensor:
        if stream not in self._features:
            import torch

            from .model import MultimodalModel
            model = MultimodalModel()
            self._features[stream] = torch.stack([model.encode(stream, v).pooled for v in self._streams[stream]])
        return self._features[stream]

    @property
    def text_features(self) -> Tensor:
        """[N, D]"""
        return self._stack("text")

    @property
    def image_features(self) -> Tensor:
        """[N, D]"""
        return self._stack("image")


class Splits(dict):
    """{"train", "validation", "test"}, also as attributes, with info, licence and classes."""

    def __init__(self, loaded: Mapping[str, Any]):
        super().__init__({k: MultimodalDataset.from_rows(loaded[k]) for k in ("train", "validation", "test") if loaded[k]})
        self.info: dict[str, Any] = loaded["info"]
        self.classes: list[str] = loaded["classes"]

    @property
    def licence(self) -> str:
        return self.info["licence"]

    def __getattr__(self, name: str) -> MultimodalDataset:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def load_dataset(name_or_path: Union[str, os.PathLike], streams: Sequence[str] = (), seed: int = 0) -> Splits:
    """Fetches (once) and reads a public data set; list_datasets() gives names and licences. `streams` keeps only these;
    `seed` draws the splits."""
    return Splits(_C.load_dataset(os.fspath(name_or_path), list(streams), seed))


__all__ = ["MultiModalDataset", "MultimodalDataset", "Splits", "Tokenizer", "damage", "damage_kinds", "list_datasets", "load_audio",
           "load_dataset", "load_image"]
