"""Data sets by name, and data sets of your own."""
from . import _C
from ._C import Tokenizer, damage, damage_kinds, list_datasets, load_image


def load_audio(path, sample_rate=0):
    """(samples [N] float32 in [-1, 1], rate); sample_rate 0 keeps the file's own."""
    return _C.load_audio(str(path), sample_rate)


class MultimodalDataset:
    """Items of named streams: MultimodalDataset(text=[...], image=[...], labels={"category": [...]}), columns of equal
    length; None marks a missing value. Index it for {"id", "streams", "labels"}."""

    def __init__(self, labels=None, ids=None, **streams):
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
    def from_rows(cls, rows):
        """From a list of {"id", "streams", "labels"}."""
        streams = {name for row in rows for name in row["streams"]}
        labels = {name for row in rows for name in row.get("labels", {})}
        return cls(labels={n: [r.get("labels", {}).get(n) for r in rows] for n in labels}, ids=[r.get("id", "") for r in rows],
                   **{n: [r["streams"].get(n) for r in rows] for n in streams})

    @property
    def streams(self):
        return list(self._streams)

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        if isinstance(index, slice):
            return MultimodalDataset.from_rows([self[i] for i in range(*index.indices(len(self)))])
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return {"id": self._ids[index],
                "streams": {n: c[index] for n, c in self._streams.items() if c[index] is not None},
                "labels": {n: c[index] for n, c in self._labels.items() if c[index] is not None}}

    def __iter__(self):
        return (self[i] for i in range(len(self)))


class MultiModalDataset(MultimodalDataset):
    """Texts beside pictures; text_features and image_features are made by the shipped model when first asked for."""

    def __init__(self, text_data, image_paths, labels=None):
        super().__init__(labels=labels, text=text_data, image=image_paths)
        self._features = {}

    def _stack(self, stream):
        if stream not in self._features:
            import torch

            from .model import MultimodalModel
            model = MultimodalModel()
            self._features[stream] = torch.stack([model.encode(stream, v).pooled for v in self._streams[stream]])
        return self._features[stream]

    @property
    def text_features(self):
        return self._stack("text")

    @property
    def image_features(self):
        return self._stack("image")


class Splits(dict):
    """{"train", "validation", "test"}, also as attributes, with info, licence and classes."""

    def __init__(self, loaded):
        super().__init__({k: MultimodalDataset.from_rows(loaded[k]) for k in ("train", "validation", "test") if loaded[k]})
        self.info = loaded["info"]
        self.classes = loaded["classes"]

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def load_dataset(name, streams=(), seed=0):
    """Fetches (once) and reads a public data set; list_datasets() gives names and licences."""
    return Splits(_C.load_dataset(str(name), list(streams), seed))


__all__ = ["MultiModalDataset", "MultimodalDataset", "Splits", "Tokenizer", "damage", "damage_kinds", "list_datasets", "load_audio",
           "load_dataset", "load_image"]
