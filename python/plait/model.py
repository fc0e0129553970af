"""The user's face: a ready model that answers from any subset of its streams."""
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, Union, overload

import torch
from torch import Tensor

from . import _C
from ._C import Feature
from .cache import FeatureCache

_SIZES = ("tiny", "base", "large")


class Prediction(dict):
    """A model's answer: keys and attributes. Keys of tasks that the model does not have are None.

    Always: modality_weights, quality, missing, confidence, prediction_set, abstain, latency_ms, model_version.
    Values (regression): value, value_std, value_low and value_high (hold the true value as often as coverage says).
    Labels (multi-label tasks): labels (those that are likely), scores by label; prediction_set are those that may be
    present at the coverage asked for, sure_labels those of them that may not be absent either, label by label.
    Search (retrieval tasks with a gallery): ranking (rows of the gallery, best first), ranking_scores, ranking_names;
    prediction_set are the first of them, by name or row, among which the right one is as often as coverage says.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a prediction has no {name!r}; it has: {', '.join(self)}") from None

    def explain(self) -> dict[str, Any]:
        """Per stream: weight, contribution_nats for the answer, breakage (how likely it misleads), the reasons for doubt in
        words, the stream's quality, and the counterfactual answers without the stream and had it said the runner-up. Of
        labels and values `parts` tells the same of each: the stream's own probability, or mean and interval, its nats for
        the answer, and the answer without it. Of a search the searched stream is None.

        Needs predict(..., explain=True)."""
        if self["explanation"] is None:
            raise ValueError("explain: expected a prediction that was made with explain=True")
        return self["explanation"]


def _options(task: Optional[str], coverage: float, labels: Optional[Sequence[str]], class_conditional: bool = False,
             risk: float = 0.1, explain: bool = False, early_exit: bool = False, max_multiply_adds: Optional[float] = None,
             max_latency_ms: Optional[float] = None, early_exit_loss: float = 0.005) -> dict[str, Any]:
    if isinstance(labels, str):
        raise ValueError("labels: expected a list of texts, got one str")
    for name, budget in (("max_multiply_adds", max_multiply_adds), ("max_latency_ms", max_latency_ms)):
        if budget is not None and not budget > 0:
            raise ValueError(f"{name}: expected a number above 0 or None, got {budget!r}")
    return {"task": task or "", "coverage": float(coverage), "labels": list(labels) if labels else None,
            "class_conditional": bool(class_conditional), "risk": float(risk), "explain": bool(explain),
            "early_exit": bool(early_exit), "early_exit_loss": float(early_exit_loss), "max_multiply_adds": float(max_multiply_adds or 0),
            "max_latency_ms": float(max_latency_ms or 0)}


class MultimodalModel:
    """MultimodalModel() is the shipped model; from_pretrained loads a folder or a name of the model cache.

    backend: one of available_backends(); dtype: "float32", "bfloat16" or "float16"; task: the task that predict answers
    (default: the model's first); batch_size: "dynamic" or a number, at most max_batch_size; untrained: accept a model
    with untrained parts; cache: a plait.cache.FeatureCache that is looked up before anything is encoded. predict and
    encode may be called from several threads; training needs exclusive access.
    """

    def __init__(self, backend: str = "cpu", model_size: str = "base", task: Optional[str] = None,
                 batch_size: Union[str, int] = "dynamic", max_batch_size: int = 32, endpoint: Optional[str] = None,
                 cache: Optional[FeatureCache] = None, dtype: str = "float32", untrained: bool = False, _handle: Any = None):
        if endpoint is not None:
            raise ValueError("endpoint: this version answers in the process; leave it out")
        if model_size not in _SIZES:
            raise ValueError(f"model_size: expected one of {', '.join(_SIZES)}, got {model_size!r}")
        if batch_size != "dynamic" and not (isinstance(batch_size, int) and 1 <= batch_size <= max_batch_size):
            raise ValueError(f'batch_size: expected "dynamic" or 1 to {max_batch_size}, got {batch_size!r}')
        options = {"backend": str(backend), "model_size": model_size, "task": task or "",
                   "dtype": str(dtype).removeprefix("torch."), "untrained": untrained,
                   "max_batch_size": max_batch_size if batch_size == "dynamic" else batch_size}
        self._handle = _handle or _C.MultimodalModel.load_default(options)
        if cache is not None:
            if not isinstance(cache, FeatureCache):
                raise ValueError(f"cache: expected a plait.cache.FeatureCache, got {type(cache).__name__}")
            self._handle.set_cache(cache._handle)

    @staticmethod
    def available_backends() -> list[str]:
        """The back ends that would work now, best first; never one that would fail."""
        return _C.available_backends()

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike], device: Any = "cpu", dtype: Any = "float32",
                        task: Optional[str] = None, max_batch_size: int = 32, untrained: bool = False,
                        cache: Optional[FeatureCache] = None) -> "MultimodalModel":
        """A folder in the layout of save_pretrained, or a name of the model cache; device and dtype as in torch."""
        options = {"backend": str(device), "dtype": str(dtype).removeprefix("torch."), "task": task or "",
                   "max_batch_size": max_batch_size, "untrained": untrained}
        return cls(cache=cache, _handle=_C.MultimodalModel.from_pretrained(os.fspath(name_or_path), options))

    @classmethod
    def from_config(cls, model: Mapping[str, Any], classes: Sequence[str] = (), seed: int = 0,
                    directory: Union[str, os.PathLike, None] = None, compute: Optional[Mapping[str, Any]] = None,
                    train_dataset: Optional[Iterable[Mapping[str, Any]]] = None,
                    eval_dataset: Optional[Iterable[Mapping[str, Any]]] = None,
                    task: str = "category") -> "MultimodalModel":
        """An untrained model from its config: streams, fusion, tasks; {"encoder": {"pretrained": "minilm"}} loads a
        published encoder (a name, or a folder of yours). `classes` are the labels of classification tasks that name none;
        `directory` holds the tokenizer.json of text encoders that are trained from nothing.

        compute={"share": {"image": 0.85, "speech": 0.15}} sizes the encoders so that each stream costs that share of the
        multiply-adds, counted on items of train_dataset; {"share": "importance"} follows the errors in `task` that each
        stream removes on eval_dataset, read from a first, shorter training; "multiply_adds" bounds the total. The plan is
        config["compute"]."""
        recipe = {"dataset": "", "model": dict(model), "seed": seed, "task": task, "compute": dict(compute or {})}
        if compute and train_dataset is None:
            raise ValueError("compute: expected train_dataset, the multiply-adds are counted on its items")
        items = [list(part) if compute and part is not None else [] for part in (train_dataset, eval_dataset)]
        return cls(_handle=_C.MultimodalModel.build(recipe, list(classes), os.fspath(directory or ""), *items))

    def save_pretrained(self, directory: Union[str, os.PathLike], half: bool = False) -> None:
        """config.json, model.safetensors, streams/, calibration.json and the model card; half stores float16."""
        self._handle.save_pretrained(os.fspath(directory), half)

    @overload
    def predict(self, inputs: Sequence[Mapping[str, Any]], *, task: Optional[str] = None, coverage: float = 0.9,
                labels: Optional[Sequence[str]] = None, class_conditional: bool = False, risk: float = 0.1,
                explain: bool = False, early_exit: bool = False, early_exit_loss: float = 0.005,
                max_multiply_adds: Optional[float] = None, max_latency_ms: Optional[float] = None, gallery: Optional[Tensor] = None,
                gallery_names: Optional[Sequence[str]] = None) -> list[Prediction]: ...

    @overload
    def predict(self, inputs: Optional[Mapping[str, Any]] = None, *, task: Optional[str] = None, coverage: float = 0.9,
                labels: Optional[Sequence[str]] = None, class_conditional: bool = False, risk: float = 0.1,
                explain: bool = False, early_exit: bool = False, early_exit_loss: float = 0.005,
                max_multiply_adds: Optional[float] = None, max_latency_ms: Optional[float] = None, gallery: Optional[Tensor] = None,
                gallery_names: Optional[Sequence[str]] = None, **streams: Any) -> Prediction: ...

    def predict(self, inputs: Union[Mapping[str, Any], Sequence[Mapping[str, Any]], None] = None, *, task: Optional[str] = None,
                coverage: float = 0.9, labels: Optional[Sequence[str]] = None, class_conditional: bool = False,
                risk: float = 0.1, explain: bool = False, early_exit: bool = False, early_exit_loss: float = 0.005,
                max_multiply_adds: Optional[float] = None, max_latency_ms: Optional[float] = None,
                gallery: Optional[Tensor] = None, gallery_names: Optional[Sequence[str]] = None,
                **streams: Any) -> Union[Prediction, list[Prediction]]:
        """Answers from any non-empty subset of the streams: predict(text=..., image=...) or predict({stream: value}).

        A value is text, a path, encoded bytes, an array, a tensor, a PIL picture or, for sound, (samples, rate): pictures
        [H, W, 3] uint8 or [3, H, W] float in [0, 1], sound [N], series [T, C], a table row as a dict. None: the stream is
        missing.
        labels: choose among these texts instead of the trained classes (needs a retrieval task and a text stream).
        gallery: search these embeddings [K, E] (of items that have the retrieval task's gallery stream) and give `ranking`
        and `ranking_scores`; gallery_names: what its rows are called in answers.
        coverage: of the prediction set, between 0 and 1; class_conditional: for every class by itself (of labels: for the
        items that have a label, and for those that do not). risk: share of wrong answers (at least 0.01; of labels: any of
        them wrong; of values: any of them off by half a standard deviation) from which on `abstain` is set. explain: fills
        what Prediction.explain() gives.
        early_exit: encode stream after stream, the most useful per multiply-add first, and stop once the answer is sure;
        early_exit_loss: the share of items that this may get wrong (certified from 0.005 to 0.05);
        max_multiply_adds, max_latency_ms: budgets beyond which no further stream is encoded (the first always is); what was
        left out is in `skipped`. A list of dicts gives a list of predictions.
        """
        options = _options(task, coverage, labels, class_conditional, risk, explain, early_exit, max_multiply_adds,
                           max_latency_ms, early_exit_loss)
        if isinstance(gallery_names, str):
            raise ValueError("gallery_names: expected a list of names, got one str")
        options["gallery"] = None if gallery is None else torch.as_tensor(gallery, dtype=torch.float32)
        options["gallery_names"] = None if gallery_names is None else [str(name) for name in gallery_names]
        if inputs is not None and not isinstance(inputs, Mapping):
            if not isinstance(inputs, (list, tuple)) or not all(isinstance(item, Mapping) for item in inputs):
                raise ValueError("expected streams by name, a dict or a list of dicts, e.g. predict(text=...)")
            if streams:
                raise ValueError("expected a list of dicts or streams by name, got both")
            return [Prediction(p) for p in self._handle.predict_batch([dict(item) for item in inputs], options)]
        return Prediction(self._handle.predict({**(inputs or {}), **streams}, options))

    __call__ = predict

    def encode(self, stream: str, value: Any) -> Feature:
        """The stream's feature: tokens [T, D], pooled [D], quality, content_hash."""
        return self._handle.encode(stream, value)

    def _encode_modality(self, modality: str, value: Any, stream: Optional[str] = None) -> Feature:
        names = [n for n, m in self.streams.items() if m == modality]
        if stream is None:
            if not names:
                raise ValueError(f"this model has no {modality} stream; it has: {', '.join(self.streams)}")
            stream = names[0]
        return self.encode(stream, value)

    def encode_text(self, value: Any, stream: Optional[str] = None) -> Feature:
        """A text or a file of it. The first text stream, unless told otherwise."""
        return self._encode_modality("text", value, stream)

    def encode_image(self, value: Any, stream: Optional[str] = None) -> Feature:
        """A picture: path, bytes, PIL, [H, W, 3] uint8 or [3, H, W] float in [0, 1]. The first image stream, unless told otherwise."""
        return self._encode_modality("image", value, stream)

    def encode_video(self, value: Any, stream: Optional[str] = None) -> Feature:
        """A path, bytes, or frames [T, H, W, 3] uint8."""
        return self._encode_modality("video", value, stream)

    def encode_audio(self, value: Any, stream: Optional[str] = None) -> Feature:
        """Sound: path, bytes, (samples, rate) or samples [N] at 16 kHz. The first audio stream, unless told otherwise."""
        return self._encode_modality("audio", value, stream)

    def encode_series(self, value: Any, stream: Optional[str] = None) -> Feature:
        """Sensor values [T, C], or a CSV file. The first series stream, unless told otherwise."""
        return self._encode_modality("series", value, stream)

    def encode_table(self, value: Any, stream: Optional[str] = None) -> Feature:
        """A row, as a dict. The first table stream, unless told otherwise."""
        return self._encode_modality("table", value, stream)

    def fuse(self, features: Iterable[Feature]) -> list[Feature]:
        """Features of different streams, checked to fit this model; decode answers from them."""
        features = list(features)
        for feature in features:
            if feature.stream not in self.streams:
                raise ValueError(f"this model has no stream {feature.stream!r}; it has: {', '.join(self.streams)}")
        return features

    def decode(self, features: Iterable[Feature], task: Optional[str] = None, coverage: float = 0.9,
               labels: Optional[Sequence[str]] = None, class_conditional: bool = False, risk: float = 0.1,
               explain: bool = False) -> Prediction:
        """The same answer as predict, from features."""
        return Prediction(self._handle.decode(list(features), _options(task, coverage, labels, class_conditional, risk,
                                                                       explain)))

    @property
    def streams(self) -> dict[str, str]:
        """{name: modality}"""
        return self._handle.streams()

    @property
    def tasks(self) -> list[str]:
        """The first one is what predict answers unless told otherwise."""
        return self._handle.tasks()

    @property
    def config(self) -> dict[str, Any]:
        """Every option, defaults included, as config.json holds it."""
        return self._handle.config()

    @property
    def calibration(self) -> dict[str, Any]:
        """By task: temperatures per set of present streams, and the confidence below which it abstains."""
        return self._handle.calibration()

    @property
    def version(self) -> str:
        return self._handle.version

    @property
    def card(self) -> str:
        """The model card (Markdown): data, licences, figures."""
        return self._handle.card

    def named_parameters(self) -> dict[str, Tensor]:
        """{name: tensor}, shared with the C++ model."""
        return self._handle.parameters()
