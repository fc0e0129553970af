"""Hearing, reading and seeing by one call: what it gives is what the three readers give one by one."""
import json
import pathlib
import subprocess

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import deepseek
import packages
import plait
from speech_reference import CLIPS

PLAIT = pathlib.Path(plait.__file__).parent / "bin" / "plait"


@pytest.fixture(scope="module")
def sound():
    """Somebody speaks."""
    return sorted((packages.debian("pocketsphinx-testdata") / CLIPS / "librivox").glob("*.wav"))[0]


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A person, of scikit-image's own pictures, with a line of text above."""
    import skimage

    person = Image.open(pathlib.Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
    page = Image.new("RGB", (person.width, person.height + 70), "white")
    page.paste(person, (0, 70))
    font = ImageFont.truetype("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", 30)
    ImageDraw.Draw(page).text((20, 15), "Invoice No. 20-4471", fill="black", font=font)
    path = tmp_path_factory.mktemp("photo") / "page.png"
    page.save(path)
    return path


@pytest.fixture(scope="module")
def perception():
    return plait.agent.Perception(speech_model="whisper-tiny.en")


def test_one_call_gives_what_the_parts_give(perception, photo, sound):
    seen = perception.process(sound, photo)
    assert set(seen) == {"text", "ocr", "objects"}
    heard = plait.SpeechRecognizer.from_pretrained("whisper-tiny.en").transcribe(sound)
    assert seen["text"] == str(heard) and len(seen["text"]) > 10
    lines = plait.OcrReader.from_pretrained()(photo)
    assert [line["text"] for line in seen["ocr"]] == [line.text for line in lines]
    assert "Invoice No.20-4471" in [line.text.replace(" 20", "20") for line in lines]
    things = plait.ObjectDetector.from_pretrained()(photo)
    assert [(t["label"], t["score"]) for t in seen["objects"]] == [(t.label, t.score) for t in things]
    assert seen["objects"][0]["label"] == "person"
    assert np.allclose(seen["objects"][0]["box"], things[0].box)


def test_a_missing_sense_is_none(perception, photo, sound):
    assert perception.process(image=photo)["text"] is None
    heard = perception.process(sound)
    assert heard["ocr"] is None and heard["objects"] is None and heard["text"]
    with pytest.raises(ValueError, match="neither"):
        perception.process()


def test_other_forms_of_a_picture(perception, photo):
    want = perception.process(image=photo)
    picture = Image.open(photo)
    assert perception.process(image=picture) == want
    assert perception.process(image=photo.read_bytes()) == want
    assert perception.process(image=np.asarray(picture)) == want


def test_wrong_inputs_are_errors(perception, tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.png"):
        perception.process(image=tmp_path / "missing.png")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(plait.DataError, match="broken.wav"):
        perception.process(tmp_path / "broken.wav")
    with pytest.raises(FileNotFoundError, match="no-such-model"):
        plait.agent.Perception(ocr_model="no-such-model").process(image=np.zeros((32, 32, 3), np.uint8))


def test_the_other_names():
    assert plait.agent.PerceptionModule is plait.agent.Perception
    assert deepseek.PerceptionModule is plait.agent.Perception


def test_the_command(photo, sound):
    plait_command = [str(PLAIT), "perceive"]
    done = subprocess.run([*plait_command, "--audio", sound, "--image", photo, "--speech-model", "whisper-tiny.en", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    want = plait.agent.Perception(speech_model="whisper-tiny.en").process(sound, photo)
    assert seen["text"] == want["text"] and [line["text"] for line in seen["ocr"]] == [line["text"] for line in want["ocr"]]
    assert [thing["label"] for thing in seen["objects"]] == [thing["label"] for thing in want["objects"]]
    shown = subprocess.run([*plait_command, "--image", photo], capture_output=True, text=True).stdout
    assert "Invoice No." in shown and "person" in shown and "Said" not in shown
    refused = subprocess.run(plait_command, capture_output=True, text=True)
    assert refused.returncode == 2 and "--audio" in refused.stderr
