"""Speech to text, and text to speech."""
import dataclasses
import os
import wave
from typing import Any, Callable, Iterable, Iterator, Optional, Union

import torch

from . import _C


class Transcript(dict):
    """text, language, language_probability, segments: as keys and attributes. A segment has start, end (seconds), text,
    avg_logprob, no_speech_prob, compression_ratio, temperature and, when asked for, words (word, start, end, probability)."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a transcript has no {name!r}; it has: {', '.join(self)}") from None

    def __str__(self) -> str:
        return self["text"].strip()


class SpeechStream:
    """Live speech: accept() takes sound as it comes and gives what has become known; finish() ends it."""

    def __init__(self, handle: Any):
        self._handle = handle

    def accept(self, samples: Any) -> list[dict[str, Any]]:
        """Samples [N] at 16 kHz, of any length. Each update has text (final words), tentative (what follows for now), start,
        end, words and ends_utterance."""
        return self._handle.accept(torch.as_tensor(samples, dtype=torch.float32))

    def finish(self) -> list[dict[str, Any]]:
        """The end of the stream: what is left becomes final."""
        return self._handle.finish()

    @property
    def text(self) -> str:
        """Everything final so far."""
        return self._handle.text

    @property
    def language(self) -> str:
        """As given, or as detected once there was speech."""
        return self._handle.language


class SpeechRecognizer:
    """Whisper: a folder (Plait's, transformers' or CTranslate2's) or a name from `plait models list`.

        recognizer = plait.SpeechRecognizer.from_pretrained("whisper-base")
        print(recognizer.transcribe("talk.mp3", words=True).text)
    """

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike] = "whisper-base", device: Any = "cpu",
                        dtype: Any = "float32") -> "SpeechRecognizer":
        return cls(_C.SpeechRecognizer.from_pretrained(os.fspath(name_or_path), str(device), str(dtype).removeprefix("torch.")))

    def transcribe(self, audio: Any, *, language: Optional[str] = None, task: str = "transcribe", words: bool = False,
                   initial_prompt: str = "", beam_size: int = 1, speech_only: bool = False,
                   progress: Optional[Callable[[float, float], Any]] = None, **options: Any) -> Transcript:
        """A file, bytes, (samples, rate) or samples [N] at 16 kHz, of any length.

        language: None detects it. task: "transcribe", or "translate" to English. words: also when each word was spoken.
        beam_size: 1 is greedy. speech_only: skip what the voice activity detector takes for no speech. progress: called with
        the seconds done and in all. Further options, with OpenAI's defaults: temperatures, compression_ratio_threshold,
        logprob_threshold, no_speech_threshold, condition_on_previous_text, best_of, patience, length_penalty,
        max_initial_timestamp, padding ("silence", or "zeros" as OpenAI's transcribe), suppress_blank, suppress_non_speech, seed."""
        given = {"language": language or "", "task": task, "words": words, "initial_prompt": initial_prompt, "beam_size": beam_size,
                 **options}
        return Transcript(self._handle.transcribe(audio, given, speech_only, progress))

    __call__ = transcribe

    def detect_language(self, audio: Any) -> tuple[str, float]:
        """The language of the first 30 s and its probability."""
        return self._handle.detect_language(audio)

    def speech_segments(self, audio: Any, **options: Any) -> list[tuple[float, float]]:
        """Where somebody speaks, in seconds. Options: threshold, exit_threshold, min_speech, max_speech, min_silence, pad."""
        return self._handle.speech_segments(audio, options)

    def stream(self, detect_voice: bool = True, language: Optional[str] = None, **options: Any) -> SpeechStream:
        """Follows live sound. Options: step, min_silence, max_window, threshold and those of transcribe."""
        return SpeechStream(self._handle.stream({"language": language or "", **options}, detect_voice))

    def follow(self, chunks: Iterable[Any], **options: Any) -> Iterator[dict[str, Any]]:
        """The updates of a stream over chunks of samples."""
        stream = self.stream(**options)
        for chunk in chunks:
            yield from stream.accept(chunk)
        yield from stream.finish()

    @property
    def languages(self) -> list[str]:
        """Codes of the languages that it knows."""
        return self._handle.languages()


@dataclasses.dataclass(frozen=True)
class Audio:
    """Sound: samples [N] float32 in [-1, 1] and their rate in Hz."""

    samples: torch.Tensor
    sample_rate: int

    @property
    def seconds(self) -> float:
        return self.samples.shape[0] / self.sample_rate

    def save(self, path: Union[str, os.PathLike]) -> None:
        """A WAV file of 16 bits."""
        values = (self.samples * 32767).round().clamp(-32768, 32767).to(torch.int16)
        with wave.open(os.fspath(path), "wb") as file:
            file.setparams((1, 2, self.sample_rate, 0, "NONE", ""))
            file.writeframes(values.numpy().tobytes())


class SpeechSynthesizer:
    """A voice: a name from `plait models list` or a folder (Plait's, VITS in transformers' layout, Piper's).

        voice = plait.SpeechSynthesizer.from_pretrained("joe")
        voice("Good morning.").save("morning.wav")
    """

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike] = "joe", device: Any = "cpu", dtype: Any = "float32",
                        front_end: str = "") -> "SpeechSynthesizer":
        """front_end: what reads the text: "lexicon", "espeak" (the program espeak-ng, where it is installed), "letters"; ""
        is what the voice needs and its folder has."""
        return cls(_C.SpeechSynthesizer.from_pretrained(os.fspath(name_or_path), str(device), str(dtype).removeprefix("torch."),
                                                        front_end))

    def __call__(self, text: str, **options: Any) -> Audio:
        """The text's sound. Options: speed (above 1: faster), noise and noise_duration (variation; below 0: the voice's own),
        seed (the same seed, the same sound), pause (seconds between sentences), speaker (of a voice with several)."""
        return Audio(self._handle.synthesize(text, options), self.sample_rate)

    def stream(self, text: str, **options: Any) -> Iterator[Audio]:
        """The same a piece at a time: the first is ready long before the last. Further options: first_chunk, longest_chunk
        (seconds)."""
        stream = self._handle.stream(text, options)
        while (samples := stream.next()) is not None:
            yield Audio(samples, self.sample_rate)

    def phonemes(self, text: str) -> list[str]:
        """What the front end makes of the text: one string for each sentence."""
        return self._handle.phonemes(text)

    def speak_phonemes(self, sentences: list[str], **options: Any) -> Audio:
        """Speaks what phonemes() gave, or phonemes of your own."""
        return Audio(self._handle.speak_phonemes(list(sentences), options), self.sample_rate)

    @property
    def sample_rate(self) -> int:
        return self._handle.sample_rate

    @property
    def language(self) -> str:
        return self._handle.language


class TextReader:
    """How a text is read aloud, without a voice: English as IPA ("joe"), Chinese as numbered pinyin ("pinyin").

        plait.TextReader.from_pretrained("pinyin")("银行在2024年3月1日开门。")
    """

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike] = "pinyin", front_end: str = "") -> "TextReader":
        """front_end: "lexicon", "pinyin", "plain_pinyin" (tones as in the dictionary), "espeak", or "" for what the folder has."""
        return cls(_C.TextReader.from_pretrained(os.fspath(name_or_path), front_end))

    def __call__(self, text: str) -> list[str]:
        """One string for each sentence."""
        return self._handle.phonemes(text)

    @property
    def language(self) -> str:
        return self._handle.language
