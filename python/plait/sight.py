"""Reading what pictures show."""
import dataclasses
import os
from typing import Any, Union

from torch import Tensor

from . import _C


@dataclasses.dataclass(frozen=True)
class OcrLine:
    """A line of text in a picture."""

    text: str
    score: float  # mean probability of its characters
    box: list[tuple[float, float]]  # pixels (x, y): top left, top right, bottom right, bottom left of the text


class OcrReader:
    """Reads printed text, Chinese and English: PP-OCRv4's detector, direction classifier and recogniser."""

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike] = "pp-ocrv4", device: Any = "cpu") -> "OcrReader":
        return cls(_C.OcrReader.from_pretrained(os.fspath(name_or_path), str(device)))

    def __call__(self, image: Any, *, box_threshold: float = 0.5, unclip_ratio: float = 1.6, text_score: float = 0.5,
                 direction: bool = True) -> list[OcrLine]:
        """The lines of a picture (path, bytes, array, tensor, PIL picture) in reading order; those below `text_score` are
        left out, those on their head are turned unless `direction` is False."""
        options = {"box_threshold": float(box_threshold), "unclip_ratio": float(unclip_ratio),
                   "text_score": float(text_score), "direction": bool(direction)}
        rows = self._handle.read(image, options)
        return [OcrLine(row["text"], row["score"], [tuple(point) for point in row["box"]]) for row in rows]


class OnnxGraph:
    """A network out of an .onnx file, run operator by operator on tensors. Operators and attributes that are not supported
    are refused when it is loaded."""

    def __init__(self, path: Union[str, os.PathLike], device: Any = "cpu"):
        self._handle = _C.OnnxGraph(os.fspath(path), str(device))

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The outputs by name."""
        return self._handle.run(inputs)

    def save(self, path: Union[str, os.PathLike]) -> None:
        """One .safetensors file, which loads in a build without protobuf too."""
        self._handle.save(os.fspath(path))

    def __len__(self) -> int:
        """So many operators run, after joining."""
        return len(self._handle)

    @property
    def inputs(self) -> list[str]:
        return self._handle.inputs

    @property
    def outputs(self) -> list[str]:
        return self._handle.outputs

    @property
    def properties(self) -> dict[str, str]:
        """Texts that the file carries beside the network."""
        return self._handle.properties
