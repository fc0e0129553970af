"""Data sets by name, and data sets of your own."""
import os
import pathlib
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


def _read_files(path: pathlib.Path, streams: Union[Sequence[str], Mapping[str, str]]) -> Splits:
    modalities = dict(streams) if isinstance(streams, Mapping) else {name: name for name in streams}
    if not modalities:
        raise ValueError('streams: expected their names and modalities, e.g. {"text": "text", "photo": "image"}')
    parts = ("train", "validation", "test")
    files = {part: path / f"{part}.jsonl" for part in parts} if path.is_dir() else {"train": path}
    rows = {part: _C.read_items(str(file), modalities) if file.exists() else [] for part, file in files.items()}
    if not any(rows.values()):
        raise FileNotFoundError(f"expected items in {', '.join(f.name for f in files.values())} of {path}")
    info = {"name": path.name, "description": "", "licence": "", "streams": modalities, "label": ""}
    labels = {name for part in rows.values() for row in part for name in row["labels"]}
    if len(labels) == 1:
        (info["label"],) = labels
    values = {row["labels"].get(info["label"]) for part in rows.values() for row in part}
    classes = sorted(v for v in values if isinstance(v, str))
    return Splits({"info": info, "classes": classes, **{part: rows.get(part, []) for part in parts}})


def load_dataset(name_or_path: Union[str, os.PathLike], streams: Union[Sequence[str], Mapping[str, str]] = (),
                 seed: int = 0) -> Splits:
    """A public data set by its name (fetched once; list_datasets() gives names and licences), or your own files.

    Of a public one `streams` keeps only these, and `seed` draws the splits. Your own is a .jsonl file, or a folder with
    train.jsonl, validation.jsonl and test.jsonl: {"id": "1", "text": "a caption", "photo": "photos/1.jpg", "kind": "cat"} on
    a line, with streams={"text": "text", "photo": "image"}; paths are relative to the file, other keys are labels.
    """
    path = pathlib.Path(name_or_path)
    if path.suffix == ".jsonl" or path.is_dir():
        return _read_files(path, streams)
    return Splits(_C.load_dataset(os.fspath(name_or_path), list(streams), seed))


__all__ = ["MultiModalDataset", "MultimodalDataset", "Splits", "Tokenizer", "damage", "damage_kinds", "list_datasets", "load_audio",
           "load_dataset", "load_image"]
