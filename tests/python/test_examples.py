"""The examples that the documents show run as they stand."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("PLAIT_BUILD_DIR", ROOT / "build")) / "bin"
FILES = ROOT / "tests" / "data" / "files"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return done.stdout


@pytest.mark.parametrize("arguments", [["fusion.py"], ["predict.py"], ["predict.py", FILES / "picture.png", FILES / "sound.wav"],
                                       ["transcribe.py", FILES / "sound.wav"], ["speak.py", "OUTPUT.wav"], ["generate_text.py"], ["video_frames.py"],
                                       ["video_frames.py", ROOT / "fuzz" / "corpus" / "video" / "vp9.webm"]],
                         ids=["fusion", "text alone", "text, picture and sound", "speech to text", "text to speech", "language", "a drawn video", "a video"])
def test_example(arguments, tmp_path):
    run(sys.executable, ROOT / "examples" / arguments[0], *(tmp_path / a if a == "OUTPUT.wav" else a for a in arguments[1:]))


@pytest.mark.parametrize("name, arguments, says", [
    ("generate_text", ["smollm2", "The capital of France is"], "Paris"),
    ("transcribe", [FILES / "sound.wav", "whisper-tiny.en"], "language: en"),
])
def test_program(name, arguments, says):
    assert says in run(PROGRAMS / f"example_{name}", *arguments)


def test_text_in_a_picture(tmp_path):
    from test_ocr import PAGES

    PAGES["chinese"].save(tmp_path / "page.png")
    for command in ([PROGRAMS / "example_read_text"], [sys.executable, ROOT / "examples/read_text.py"]):
        assert "今天天气很好" in run(*command, tmp_path / "page.png")


@pytest.mark.parametrize("name", ["generate_text", "transcribe", "read_text", "predict"])
def test_programs_say_how_they_are_called(name):
    done = subprocess.run([PROGRAMS / f"example_{name}"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("usage: ")
