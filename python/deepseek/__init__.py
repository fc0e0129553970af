"""Thin names over Plait, for code written against the published interface of "DeepSeek multimodal". The weights are
Plait's own, not anyone else's; `model.card` tells."""
import os
from typing import Any, Union

import plait
from plait import MultiModalDataset, Trainer, TrainingArguments, load_dataset, load_image
from plait.agent import Perception, PerceptionModule
from plait.model import Prediction

from . import cache, training

# Names of that interface → Plait's own models of the same role.
_NAMES = {"deepseek-base": "plait-base", "deepseek/base-v1": "plait-base", "deepseek/text-encoder": "plait-base:text",
          "deepseek/image-encoder": "plait-base:image"}


class MultimodalModel(plait.MultimodalModel):
    """plait.MultimodalModel, which knows the other interface's model names besides."""

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike], *args: Any, **options: Any) -> Any:
        return super().from_pretrained(_NAMES.get(str(name_or_path), name_or_path), *args, **options)


class AutoModel(plait.AutoModel):
    """plait.AutoModel, which knows the other interface's encoder names besides."""

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike], *args: Any, **options: Any) -> Any:
        return super().from_pretrained(_NAMES.get(str(name_or_path), name_or_path), *args, **options)


MultiModalModel = MultimodalModel
DeepSeekModel = MultimodalModel

__all__ = ["AutoModel", "DeepSeekModel", "MultiModalDataset", "MultiModalModel", "MultimodalModel", "Perception", "PerceptionModule",
           "Prediction", "Trainer", "TrainingArguments",
           "cache", "load_dataset", "load_image", "training"]
