"""Language models that see: captions of pictures and answers to questions about them; low-rank adapters."""
import os
from collections.abc import Mapping, Sequence
from typing import Any, Union

from . import _C
from .text import GeneratedText


class Captioner:
    """Loads a folder of LLaVA's type in the Hugging Face layout, or one that `plait train-captioner` wrote.

    Pictures are paths, bytes, arrays, tensors or PIL pictures. Options of every call are those of plait.TextGenerator:
    max_new_tokens, num_beams, temperature, seed ..."""

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike], device: Any = "cpu", dtype: Any = "float32") -> "Captioner":
        return cls(_C.Captioner.from_pretrained(os.fspath(name_or_path), str(device), str(dtype).removeprefix("torch.")))

    def caption(self, picture: Any, language: str = "en", **options: Any) -> GeneratedText:
        """What the picture shows, in one of `languages`."""
        return GeneratedText(self._handle.caption(picture, language, options))

    def ask(self, picture: Any, question: Union[str, Sequence[str]], **options: Any) -> Union[GeneratedText, list[GeneratedText]]:
        """The answer to a question about a picture; or the answers to several, each about its own picture, made at once."""
        if isinstance(question, str):
            return GeneratedText(self._handle.ask(picture, question, options))
        return [GeneratedText(row) for row in self._handle.ask_batch(list(picture), list(question), options)]

    def chat(self, messages: Sequence[Mapping[str, Any]], pictures: Sequence[Any], **options: Any) -> GeneratedText:
        """Answers messages of the model's chat template: {"role": "user", "content": [{"type": "image"},
        {"type": "text", "text": ...}]}; the pictures in the order of their places."""
        return GeneratedText(self._handle.chat([dict(message) for message in messages], list(pictures), options))

    def generate(self, prompt: str, pictures: Sequence[Any] = (), **options: Any) -> GeneratedText:
        """Continues a prompt in which `image_token` stands for each picture."""
        return GeneratedText(self._handle.generate(prompt, list(pictures), options))

    @property
    def languages(self) -> list[str]:
        return self._handle.languages

    @property
    def image_token(self) -> str:
        return self._handle.image_token


def merge_adapter(base: Union[str, os.PathLike], adapter: Union[str, os.PathLike], destination: Union[str, os.PathLike]) -> dict[str, Any]:
    """Writes the model folder `base` with a low-rank adapter (PEFT layout) in its weights to the new folder `destination`."""
    return _C.merge_adapter(os.fspath(base), os.fspath(adapter), os.fspath(destination))
