"""Features by content hash."""
import os
from collections.abc import Mapping
from typing import Any, Union

from torch import Tensor

from . import _C


class FeatureCache:
    """A mapping from content hash to named tensors: thread-safe, least recently used goes first. With `path` the features
    are on disk too and survive the process. MultimodalModel(cache=...) looks features up here before it encodes."""

    def __init__(self, max_size: int = 1024, path: Union[str, os.PathLike, None] = None):
        self._handle = _C.FeatureCache(max_size, os.fspath(path) if path else "")

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._handle

    def __getitem__(self, key: str) -> dict[str, Tensor]:
        found = self._handle.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: str, tensors: Union[Tensor, Mapping[str, Tensor]]) -> None:
        """Named tensors; a single one is kept under the name "value"."""
        self._handle.put(key, {"value": tensors} if isinstance(tensors, Tensor) else dict(tensors))

    def __len__(self) -> int:
        """Items in memory."""
        return len(self._handle)

    def get(self, key: str, default: Any = None) -> Any:
        found = self._handle.get(key)
        return default if found is None else found

    def clear(self) -> None:
        """Forgets everything, on disk too."""
        self._handle.clear()

    def stats(self) -> dict[str, int]:
        """{"hits", "misses", "evictions"}"""
        return self._handle.stats()


__all__ = ["FeatureCache"]
