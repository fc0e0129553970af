"""The user's face: a ready model that answers from any subset of its streams."""
import os

from . import _C

_SIZES = ("tiny", "base", "large")


class Prediction(dict):
    """A model's answer: keys and attributes. Keys of tasks that the model does not have are None.

    Always: modality_weights, quality, missing, confidence, prediction_set, abstain, latency_ms, model_version.
    """

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a prediction has no {name!r}; it has: {', '.join(self)}") from None


class MultimodalModel:
    """MultimodalModel() is the shipped model; from_pretrained loads a folder or a name of the model cache.

    backend: one of available_backends(); dtype: "float32", "bfloat16" or "float16"; task: the task that predict answers
    (default: the model's first); batch_size: "dynamic" or a number, at most max_batch_size; untrained: accept a model
    with untrained parts. predict and encode may be called from several threads; training needs exclusive access.
    """

    def __init__(self, backend="cpu", model_size="base", task=None, batch_size="dynamic", max_batch_size=32, endpoint=None,
                 cache=None, dtype="float32", untrained=False, _handle=None):
        if endpoint is not None:
            raise ValueError("endpoint: this version answers in the process; leave it out")
        if model_size not in _SIZES:
            raise ValueError(f"model_size: expected one of {', '.join(_SIZES)}, got {model_size!r}")
        if batch_size != "dynamic" and not (isinstance(batch_size, int) and 1 <= batch_size <= max_batch_size):
            raise ValueError(f'batch_size: expected "dynamic" or 1 to {max_batch_size}, got {batch_size!r}')
        options = {"backend": backend, "model_size": model_size, "task": task or "", "dtype": dtype, "untrained": untrained,
                   "max_batch_size": max_batch_size if batch_size == "dynamic" else batch_size}
        self._handle = _handle or _C.MultimodalModel.load_default(options)
        self._cache = cache

    @staticmethod
    def available_backends():
        """The back ends that would work now, best first; never one that would fail."""
        return _C.available_backends()

    @classmethod
    def from_pretrained(cls, name_or_path, device="cpu", dtype="float32", task=None, max_batch_size=32, untrained=False, cache=None):
        """A folder in the layout of save_pretrained, or a name of the model cache."""
        options = {"backend": str(device), "dtype": str(dtype).removeprefix("torch."), "task": task or "",
                   "max_batch_size": max_batch_size, "untrained": untrained}
        return cls(cache=cache, _handle=_C.MultimodalModel.from_pretrained(os.fspath(name_or_path), options))

    @classmethod
    def from_config(cls, model, classes=(), seed=0):
        """An untrained model from its config: streams, fusion, tasks; {"encoder": {"pretrained": "minilm"}} loads a
        published encoder. `classes` are the labels of classification tasks that name none."""
        recipe = {"dataset": "", "model": model, "seed": seed}
        return cls(_handle=_C.MultimodalModel.build(recipe, list(classes)))

    def save_pretrained(self, directory, half=False):
        """config.json, model.safetensors, streams/, calibration.json and the model card; half stores float16."""
        self._handle.save_pretrained(os.fspath(directory), half)

    def predict(self, inputs=None, *, task=None, coverage=0.9, labels=None, **streams):
        """Answers from any non-empty subset of the streams: predict(text=..., image=...) or predict({stream: value}).

        A value is text, a path, encoded bytes, an array, a tensor, a PIL picture or, for sound, (samples, rate).
        labels: choose among these texts instead of the trained classes (needs a retrieval task and a text stream).
        coverage: of the prediction set, between 0 and 1. A list of dicts gives a list of predictions.
        """
        options = {"task": task or "", "coverage": float(coverage), "labels": list(labels) if labels else None}
        if isinstance(inputs, (list, tuple)):
            return [Prediction(p) for p in self._handle.predict_batch(list(inputs), options)]
        return Prediction(self._handle.predict({**(inputs or {}), **streams}, options))

    __call__ = predict

    def encode(self, stream, value):
        """The stream's feature: tokens [T, D], pooled [D], quality, content_hash."""
        feature = self._handle.encode(stream, value)
        if self._cache is not None:
            self._cache[feature.content_hash] = {"tokens": feature.tokens, "pooled": feature.pooled}
        return feature

    def _encode_modality(self, modality, value, stream=None):
        names = [n for n, m in self.streams.items() if m == modality]
        if stream is None:
            if not names:
                raise ValueError(f"this model has no {modality} stream; it has: {', '.join(self.streams)}")
            stream = names[0]
        return self.encode(stream, value)

    def encode_text(self, value, stream=None):
        return self._encode_modality("text", value, stream)

    def encode_image(self, value, stream=None):
        return self._encode_modality("image", value, stream)

    def encode_audio(self, value, stream=None):
        return self._encode_modality("audio", value, stream)

    def encode_series(self, value, stream=None):
        return self._encode_modality("series", value, stream)

    def encode_table(self, value, stream=None):
        return self._encode_modality("table", value, stream)

    def fuse(self, features):
        """Features of different streams, checked to fit this model; decode answers from them."""
        for feature in features:
            if feature.stream not in self.streams:
                raise ValueError(f"this model has no stream {feature.stream!r}; it has: {', '.join(self.streams)}")
        return list(features)

    def decode(self, features, task=None, coverage=0.9, labels=None):
        """The same answer as predict, from features."""
        options = {"task": task or "", "coverage": float(coverage), "labels": list(labels) if labels else None}
        return Prediction(self._handle.decode(list(features), options))

    @property
    def streams(self):
        """{name: modality}"""
        return self._handle.streams()

    @property
    def tasks(self):
        return self._handle.tasks()

    @property
    def config(self):
        return self._handle.config()

    @property
    def calibration(self):
        return self._handle.calibration()

    @property
    def card(self):
        """The model card (Markdown): data, licences, figures."""
        return self._handle.card

    def named_parameters(self):
        """{name: tensor}, shared with the C++ model."""
        return self._handle.parameters()
