"""Any registered encoder alone."""
import os
from typing import Any, Union

import torch
from torch import Tensor

from . import _C


class EncoderOutput(dict):
    """Named tensors, as keys and attributes: last_hidden_state [B, T, D], pooled [B, D], mask [B, T] ..."""

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this encoder gave no {name!r}; it gave: {', '.join(self)}") from None


def _listed(values: Any) -> list:
    # A tuple is one value: (samples, rate).
    return values if isinstance(values, list) else [values]


class AutoModel:
    """Loads a folder (Plait's or a published Hugging Face one), a name from `plait models list`, or one stream's encoder
    of a Plait model ("plait-base:image")."""

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike], device: Any = "cpu", dtype: Any = "float32") -> "AutoModel":
        options = {"backend": str(device), "dtype": str(dtype).removeprefix("torch.")}
        return cls(_C.AutoModel.from_pretrained(os.fspath(name_or_path), options))

    @torch.no_grad()
    def __call__(self, values: Any = None, **tensors: Tensor) -> EncoderOutput:
        """One raw value or a list of them (text, paths, arrays, pictures, (samples, rate)), or named tensors
        (input_ids=...)."""
        if values is None:
            return EncoderOutput(self._handle.forward(tensors))
        return EncoderOutput(self._handle(_listed(values)))

    def process(self, values: Any) -> dict[str, Tensor]:
        """What the encoder takes for these values, by name."""
        return self._handle.process(_listed(values))

    @property
    def modality(self) -> str:
        return self._handle.modality

    @property
    def config(self) -> dict[str, Any]:
        """{"type": ..., and every option}."""
        return self._handle.config
