"""Features by content hash."""
import os

from . import _C


class FeatureCache:
    """A mapping from content hash to named tensors: thread-safe, least recently used goes first. With path the features
    are on disk too and survive the process."""

    def __init__(self, max_size=1024, path=None):
        self._handle = _C.FeatureCache(max_size, os.fspath(path) if path else "")

    def __contains__(self, key):
        return key in self._handle

    def __getitem__(self, key):
        found = self._handle.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key, tensors):
        self._handle.put(key, tensors)

    def __len__(self):
        return len(self._handle)

    def get(self, key, default=None):
        found = self._handle.get(key)
        return default if found is None else found

    def clear(self):
        self._handle.clear()

    def stats(self):
        """{"hits", "misses", "evictions"}"""
        return self._handle.stats()
