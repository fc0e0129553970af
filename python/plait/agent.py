"""Senses for programs that act."""
import os
from typing import Any, Optional, Union

from . import _C


class Perception:
    """Hears what is said, reads what is written and finds the things in a picture, by one call:

        seen = plait.agent.Perception().process("question.wav", "desk.jpg")
        seen["text"], [line["text"] for line in seen["ocr"]], [thing["label"] for thing in seen["objects"]]

    Models are names from `plait models list` or folders; each is loaded when it is first needed.
    """

    def __init__(self, *, speech_model: Union[str, os.PathLike] = "whisper-base", ocr_model: Union[str, os.PathLike] = "pp-ocrv4",
                 object_model: Union[str, os.PathLike] = "centernet", language: Optional[str] = None, device: Any = "cpu"):
        self._handle = _C.Perception({"speech_model": os.fspath(speech_model), "ocr_model": os.fspath(ocr_model),
                                      "object_model": os.fspath(object_model), "language": language or "", "device": str(device)})

    def process(self, audio: Any = None, image: Any = None) -> dict[str, Any]:
        """A sound (path, bytes, (samples, rate), samples at 16 kHz) and a picture (path, bytes, array, tensor, PIL picture);
        either may be None.

        "text": what was said, or None without a sound. "ocr": lines in reading order, each with text, score and box (four
        corners), or None without a picture. "objects": best first, each with label, score and box (left, top, right, bottom),
        or None without a picture.
        """
        return self._handle.process(audio, image)

    __call__ = process


PerceptionModule = Perception

__all__ = ["Perception", "PerceptionModule"]
