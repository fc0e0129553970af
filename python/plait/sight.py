"""Reading what pictures show."""
import dataclasses
import os
from typing import Any, Optional, Union

import torch
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


@dataclasses.dataclass(frozen=True)
class DetectedObject:
    """A thing in a picture."""

    label: str
    score: float
    box: tuple[float, float, float, float]  # pixels: left, top, right, bottom


class ObjectDetector:
    """Finds things of COCO's 80 classes: MobileNetV3-CenterNet of the package @vladmandic/human; or those that a detector of
    one's own (train_detector) was trained for."""

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike] = "centernet", device: Any = "cpu") -> "ObjectDetector":
        return cls(_C.ObjectDetector.from_pretrained(os.fspath(name_or_path), str(device)))

    @property
    def classes(self) -> list[str]:
        return self._handle.classes

    def __call__(self, image: Any, *, min_score: float = 0.2, iou_threshold: float = 0.4, limit: int = 100) -> list[DetectedObject]:
        """The things in a picture (path, bytes, array, tensor, PIL picture), best first; of two boxes that overlap by more
        than `iou_threshold`, the better one."""
        options = {"min_score": float(min_score), "iou_threshold": float(iou_threshold), "limit": int(limit)}
        return [DetectedObject(row["label"], row["score"], tuple(row["box"])) for row in self._handle.detect(image, options)]


def train_detector(annotations: Union[str, os.PathLike], pictures: Union[str, os.PathLike], output: Union[str, os.PathLike], *,
                   progress: bool = True, **options: Any) -> dict[str, Any]:
    """Trains a detector on pictures with boxes in COCO's format (a file with images, categories and annotations) and writes
    the folder `output`, which ObjectDetector.from_pretrained loads. Options: architecture ("yolox", "yolo_v5", "yolo_v8"),
    depth, width, size, epochs, max_steps, batch_size, learning_rate, held_out, seed, backend. Returns what was done and
    measured on the pictures held out: ap, ap50, ap75, ar100."""
    return _C.train_detector(os.fspath(annotations), os.fspath(pictures), os.fspath(output), options, progress)


@dataclasses.dataclass(frozen=True)
class DetectedFace:
    """A face in a picture."""

    score: float
    box: tuple[float, float, float, float]  # pixels: left, top, right, bottom
    landmarks: list[tuple[float, float]]  # 68 pixels (x, y): jaw, brows, nose, eyes, mouth; or none
    embedding: Optional[Tensor]  # 128 features of length 1

    def similarity(self, other: "DetectedFace") -> float:
        """Cosine of the embeddings, in [-1, 1]."""
        if self.embedding is None or other.embedding is None:
            raise ValueError("expected faces with embeddings, got one without")
        return _C.face_similarity(self.embedding.tolist(), other.embedding.tolist())


class FaceDetector:
    """Finds faces and tells them apart: SSD-MobileNetV1, 68 landmarks and a ResNet of the package @vladmandic/face-api."""

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike] = "face-ssd",
                        recognizer: Optional[Union[str, os.PathLike]] = "face-recognition", device: Any = "cpu") -> "FaceDetector":
        """Without a recogniser (None) there are no embeddings."""
        other = "" if recognizer is None else os.fspath(recognizer)
        return cls(_C.FaceDetector.from_pretrained(os.fspath(name_or_path), other, str(device)))

    def __call__(self, image: Any, *, min_score: float = 0.5, iou_threshold: float = 0.5, limit: int = 100, landmarks: bool = True,
                 embeddings: bool = True) -> list[DetectedFace]:
        """The faces in a picture, best first. Embeddings need the landmarks, which are then given too."""
        options = {"min_score": float(min_score), "iou_threshold": float(iou_threshold), "limit": int(limit),
                   "landmarks": bool(landmarks), "embeddings": bool(embeddings)}
        return [DetectedFace(row["score"], tuple(row["box"]), [tuple(point) for point in row.get("landmarks", [])],
                             torch.tensor(row["embedding"]) if "embedding" in row else None)
                for row in self._handle.detect(image, options)]


@dataclasses.dataclass(frozen=True)
class ImageLabel:
    """A class that a picture may show."""

    label: str
    index: int
    probability: float


class ImageClassifier:
    """Says what a picture shows as a whole: ImageNet's 1,000 classes by EfficientNet-Lite0."""

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike] = "imagenet-classifier", device: Any = "cpu") -> "ImageClassifier":
        return cls(_C.ImageClassifier.from_pretrained(os.fspath(name_or_path), str(device)))

    @property
    def classes(self) -> list[str]:
        return self._handle.classes

    def __call__(self, image: Any, *, top: int = 5) -> list[ImageLabel]:
        """The most probable classes, best first."""
        return [ImageLabel(row["label"], row["index"], row["probability"]) for row in self._handle.classify(image, int(top))]


class OnnxGraph:
    """A network out of an .onnx file or a TensorFlow.js graph model (model.json), run operator by operator on tensors.
    Operators and attributes that are not supported are refused when it is loaded."""

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
