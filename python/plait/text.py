"""Language models: continue a text, answer a chat, token by token."""
import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Optional, Union

from . import _C

Message = Mapping[str, Any]


class GeneratedText(dict):
    """What was written, as keys and attributes: text, finish ("stop", "length", "cancelled"), tokens (each with id, text,
    logprob and, where asked for, top), score, prompt_tokens, seconds, first_token_seconds and, for several sequences,
    others."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a generated text has no {name!r}; it has: {', '.join(self)}") from None

    def __str__(self) -> str:
        return self["text"]


class TextGenerator:
    """Loads a language model's folder in the Hugging Face layout (GPT-2, Llama, Mistral, Qwen2, Qwen3 and their mixtures of
    experts), a .gguf file, or a name from `plait models list`.

    Options of every call are those of `plait generate` (TextGenerator.options() lists them): max_new_tokens, temperature,
    top_k, top_p, min_p, repetition_penalty, no_repeat_ngram_size, num_beams, length_penalty, num_return_sequences, seed,
    stop, logprobs ...; besides json_schema (a dict: the text is JSON that it accepts), grammar (GBNF text that it follows)
    and add_special_tokens."""

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike] = "smollm2", device: Any = "cpu",
                        dtype: Any = "float32") -> "TextGenerator":
        return cls(_C.TextGenerator.from_pretrained(os.fspath(name_or_path), str(device), str(dtype).removeprefix("torch.")))

    @staticmethod
    def options() -> list[dict[str, Any]]:
        """[{"name", "type", "default", "help", ...}, ...]"""
        return _C.generate_options()

    def merge_adapter(self, folder: Union[str, os.PathLike]) -> None:
        """Puts a low-rank adapter (PEFT layout) into the model's weights."""
        self._handle.merge_adapter(os.fspath(folder))

    def generate_batch(self, prompts: Sequence[str], **options: Any) -> list[GeneratedText]:
        """Continues several prompts at once: the same texts as one by one, in less time."""
        return [GeneratedText(row) for row in self._handle.generate_batch(list(prompts), options)]

    def generate(self, prompt: str, on_piece: Optional[Callable[[str], Optional[bool]]] = None, **options: Any) -> GeneratedText:
        """Continues the prompt. `on_piece` gets the text while it is written; returning False cancels."""
        return GeneratedText(self._handle.generate(prompt, options, on_piece))

    def chat(self, messages: Union[str, Sequence[Message]], on_piece: Optional[Callable[[str], Optional[bool]]] = None,
             **options: Any) -> GeneratedText:
        """Answers [{"role": "user", "content": ...}, ...], or one message, by the model's chat template."""
        return GeneratedText(self._handle.chat(_listed(messages), options, on_piece))

    def stream(self, prompt: Union[str, Sequence[Message]], chat: bool = False, **options: Any) -> Iterator[str]:
        """The pieces of the text as they are written; leaving the loop cancels."""
        run = self.chat if chat or not isinstance(prompt, str) else self.generate
        pieces: queue.Queue = queue.Queue()
        cancelled = threading.Event()

        def tell(piece: str) -> bool:
            pieces.put(piece)
            return not cancelled.is_set()

        def work() -> None:
            try:
                run(prompt, tell, **options)
                pieces.put(None)
            except BaseException as error:  # told where the pieces are read
                pieces.put(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            cancelled.set()
            worker.join()

    def apply_chat_template(self, messages: Union[str, Sequence[Message]], add_generation_prompt: bool = True,
                            **variables: Any) -> str:
        """The prompt that `chat` makes of the messages."""
        return self._handle.apply_chat_template(_listed(messages), variables, add_generation_prompt)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return self._handle.encode(text, add_special_tokens)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return self._handle.decode(list(ids), skip_special_tokens)

    @property
    def has_chat_template(self) -> bool:
        return self._handle.has_chat_template

    @property
    def config(self) -> dict[str, Any]:
        """The decoder's options."""
        return self._handle.config


def _listed(messages: Union[str, Sequence[Message]]) -> list[dict[str, Any]]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [dict(message) for message in messages]


def render_chat_template(template: str, **variables: Any) -> str:
    """A chat template's text, as transformers' apply_chat_template gives it."""
    return _C.render_template(template, variables)
