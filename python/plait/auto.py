"""Any registered encoder alone."""
import os

import torch

from . import _C


class EncoderOutput(dict):
    """Named tensors, as keys and attributes: last_hidden_state [B, T, D], pooled [B, D], mask [B, T] ..."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this encoder gave no {name!r}; it gave: {', '.join(self)}") from None


class AutoModel:
    """Loads a folder (Plait's or a published Hugging Face one) or a name from `plait models list`."""

    def __init__(self, handle):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path, device="cpu", dtype="float32"):
        options = {"backend": str(device), "dtype": str(dtype).removeprefix("torch.")}
        return cls(_C.AutoModel.from_pretrained(os.fspath(name_or_path), options))

    @torch.no_grad()
    def __call__(self, values=None, **tensors):
        """One raw value or a list of them (text, paths, arrays, pictures), or named tensors (input_ids=...)."""
        if values is None:
            return EncoderOutput(self._handle.forward(tensors))
        return EncoderOutput(self._handle(list(values) if isinstance(values, (list, tuple)) else [values]))

    def process(self, values):
        """What the encoder takes for these values, by name."""
        return self._handle.process(list(values) if isinstance(values, (list, tuple)) else [values])

    @property
    def modality(self):
        return self._handle.modality

    @property
    def config(self):
        return self._handle.config
