"""Plait: multimodal models that know how far to trust each input.

    import plait
    model = plait.MultimodalModel()
    answer = model.predict(text="a red apple", image="apple.png")
    answer["class"], answer.confidence, answer.modality_weights
"""
import torch as _torch  # loads the libraries that the extension links to

from typing import Any as _Any

from . import _C
from ._C import DataError, LimitError
from . import agent, cache, data, fusion, quality
from .auto import AutoModel
from .captions import Captioner, merge_adapter
from .data import MultimodalDataset, MultiModalDataset, list_datasets, load_audio, load_dataset, load_image
from .model import MultimodalModel, Prediction
from .pictures import PictureGenerator
from .sight import (DetectedFace, DetectedObject, FaceDetector, ImageClassifier, ImageLabel, ObjectDetector, OcrLine, OcrReader,
                    OnnxGraph, train_detector)
from .speech import Audio, SpeechRecognizer, SpeechStream, SpeechSynthesizer, TextReader, Transcript
from .text import GeneratedText, TextGenerator
from .training import AdamW, Trainer, TrainingArguments
from .video import VideoReader, VideoStream, load_video

__version__ = "0.1.0"


def available_backends() -> list[str]:
    """The back ends that would work now, best first, e.g. ["cuda", "cpu"]."""
    return _C.available_backends()


def doctor() -> dict[str, _Any]:
    """What this machine has: {"cpu": ..., "cuda": ..., "torch": ...}."""
    return _C.describe_devices()


def registered_models() -> list[dict[str, _Any]]:
    """Every encoder, fusion layer and head: [{"name", "kind", "options", "tiny"}, ...]."""
    return _C.registry()


__all__ = ["AdamW", "Audio", "AutoModel", "Captioner", "DataError", "DetectedFace", "DetectedObject", "FaceDetector",
           "GeneratedText", "ImageClassifier", "ImageLabel", "LimitError", "MultiModalDataset", "MultimodalDataset",
           "MultimodalModel", "ObjectDetector", "OcrLine", "OcrReader", "OnnxGraph", "PictureGenerator", "Prediction",
           "SpeechRecognizer", "SpeechStream", "SpeechSynthesizer", "TextGenerator", "TextReader", "Trainer",
           "TrainingArguments", "Transcript", "VideoReader", "VideoStream", "agent", "available_backends", "cache",
           "data", "doctor", "fusion", "list_datasets", "load_audio", "load_dataset", "load_image", "load_video",
           "merge_adapter", "quality", "registered_models", "train_detector"]
