"""Videos from Python: reading, the streaming encoder, and a model with a video stream."""
import pathlib

import numpy as np
import pytest
import torch

import plait
from conftest import tiny

VIDEOS = pathlib.Path(__file__).resolve().parents[2] / "fuzz" / "corpus" / "video"
CLIP = VIDEOS / "h264.mp4"  # 8 frames of 48 x 32, ten a second, a square that moves to the right


def test_reading_frames():
    reader = plait.VideoReader(CLIP)
    info = reader.info
    assert (info["width"], info["height"], info["frames"], info["codec"]) == (48, 32, 8, "h264")
    frames = list(reader)
    assert [seconds for _, seconds in frames] == pytest.approx([0.1 * t for t in range(8)])
    assert all(pixels.dtype == torch.uint8 and pixels.shape == (32, 48, 3) for pixels, _ in frames)
    reader.seek(0.35)
    assert torch.equal(next(reader)[0], frames[4][0])
    assert [round(s, 3) for _, s in plait.VideoReader(CLIP.read_bytes(), frames_per_second=5)] == [0, 0.2, 0.4, 0.6]
    pixels, seconds = plait.load_video(str(CLIP), 4)
    assert torch.equal(pixels, torch.stack([frames[i][0] for i in (1, 3, 5, 7)])) and seconds == [frames[i][1] for i in (1, 3, 5, 7)]


def test_what_is_no_video():
    with pytest.raises(FileNotFoundError, match="missing.mp4"):
        plait.VideoReader("missing.mp4")
    with pytest.raises(plait.DataError, match="MP4"):
        plait.VideoReader(b"no video")
    with pytest.raises(plait.DataError, match="a packet that is cut"):
        list(plait.VideoReader((VIDEOS / "mpeg4.avi").read_bytes()[:-400]))
    with pytest.raises(ValueError):
        plait.VideoReader(torch.zeros(3))
    with pytest.raises(ValueError):
        plait.VideoReader(CLIP, frames_per_second=-1)


def test_the_stream_is_the_whole_clip():
    torch.manual_seed(0)
    frames = torch.randn(1, 9, 3, 24, 32)
    stream = plait.VideoStream(tiny("temporal_video") | {"window": 4}, seed=3)
    whole = stream.model.forward({"pixel_values": frames})
    for t in range(9):
        token, pooled = stream.push(frames[:, t])
        assert torch.allclose(token, whole["last_hidden_state"][:, t], atol=1e-5)
    assert torch.allclose(pooled, whole["pooled"], atol=1e-5) and len(stream) == 9
    stream.reset()
    assert len(stream) == 0
    weights = stream.model.parameters()
    again = plait.VideoStream(tiny("temporal_video") | {"window": 4}, weights)
    assert torch.allclose(again.push(frames[:, 0])[0], whole["last_hidden_state"][:, 0], atol=1e-5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = plait.MultimodalModel.from_config({
        "width": 32,
        "streams": {"clip": {"encoder": tiny("temporal_video"), "processor": {"type": "video", "num_frames": 4, "size": 32}},
                    "photo": {"encoder": tiny("picture_net"), "processor": {"type": "image", "size": 32}}},
        "fusion": {"type": "drg"},
        "tasks": {"kind": {"type": "classification"}}}, classes=["a", "b"], seed=3)
    folder = tmp_path_factory.mktemp("model") / "saved"
    made.save_pretrained(folder)
    return made, plait.MultimodalModel.from_pretrained(folder, untrained=True)


def test_a_model_takes_a_video_stream(model):
    made, loaded = model
    frames = torch.stack([pixels for pixels, _ in plait.VideoReader(CLIP)])
    answers = [m.predict(clip=value) for m in (made, loaded) for value in (CLIP, CLIP.read_bytes(), frames, frames.numpy())]
    for answer in answers:
        assert answer["class"] == answers[0]["class"] and answer.missing == ["photo"]
        assert answer.confidence == pytest.approx(answers[0].confidence, abs=1e-5)
        assert 0 < answer.quality["clip"] <= 1
    both = made.predict(clip=CLIP, photo=np.zeros((32, 32, 3), np.uint8))
    assert set(both.modality_weights) == {"clip", "photo"} and not both.missing
    feature = made.encode_video(CLIP)
    assert tuple(feature.tokens.shape) == (4, 16) and tuple(feature.pooled.shape) == (16,)
    with pytest.raises(plait.DataError, match="clip"):
        made.predict(clip=b"GIF89a")
