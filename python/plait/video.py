"""Video: frames with their times, and the encoder that follows a live stream."""
import os
from collections.abc import Iterator, Mapping
from typing import Any, Optional, Union

from torch import Tensor

from . import _C


class VideoReader:
    """The frames of an MP4, MOV, WebM, Matroska, AVI or GIF file (path or bytes), one at a time:

        for pixels, seconds in plait.VideoReader("street.mp4", frames_per_second=5):
            ...  # uint8 [H, W, 3], as the camera was held

    frames_per_second: rate of the frames given out; None gives every frame. threads: of the decoder. A file that is cut or
    damaged raises DataError when that place is reached.
    """

    def __init__(self, source: Union[str, os.PathLike, bytes], frames_per_second: Optional[float] = None, threads: int = 1):
        self._handle = _C.VideoReader(source, {"frames_per_second": float(frames_per_second or 0), "threads": threads})

    def __iter__(self) -> Iterator[tuple[Tensor, float]]:
        return self

    def __next__(self) -> tuple[Tensor, float]:
        frame = self._handle.next()
        if frame is None:
            raise StopIteration
        return frame

    def seek(self, seconds: float) -> None:
        """The next frame is the first one at or after that time."""
        self._handle.seek(float(seconds))

    def sample(self, count: int) -> list[tuple[Tensor, float]]:
        """`count` frames spread evenly over the whole video."""
        return self._handle.sample(count)

    @property
    def info(self) -> dict[str, Any]:
        """width, height, seconds, frames_per_second, frames, codec, as the header says; 0 where it says nothing."""
        return self._handle.info


def load_video(source: Union[str, os.PathLike, bytes], num_frames: int = 16) -> tuple[Tensor, list[float]]:
    """(frames [num_frames, H, W, 3] uint8, their times in seconds), spread evenly over the video."""
    import torch

    frames = VideoReader(source).sample(num_frames)
    return torch.stack([pixels for pixels, _ in frames]), [seconds for _, seconds in frames]


class VideoStream:
    """Follows live frames with the encoder `temporal_video`; each costs the same work:

        stream = plait.VideoStream({"hidden_size": 128}, weights)
        token, pooled = stream.push(frame)  # [B, 3, H, W] float → [B, D] each

    The outputs are those of the whole clip so far.
    """

    def __init__(self, config: Optional[Mapping[str, Any]] = None, weights: Optional[Mapping[str, Tensor]] = None, seed: int = 0):
        self.model = _C.create_model({"type": "temporal_video", **(config or {})})
        self.model.initialize(seed)
        if weights is not None:
            self.model.load_state_dict(weights)
        self._handle = _C.VideoStream(self.model)

    def push(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """The frame's token and the mean of the window's tokens."""
        return self._handle.push(frame)

    def reset(self) -> None:
        """Forgets all frames."""
        self._handle.reset()

    def __len__(self) -> int:
        """Frames since the begin or the last reset."""
        return self._handle.frames
