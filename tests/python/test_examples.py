"""The examples that the documents show run as they stand."""
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ROOT / "tests" / "data" / "files"


@pytest.mark.parametrize("arguments", [["fusion.py"], ["predict.py"], ["predict.py", FILES / "picture.png", FILES / "sound.wav"],
                                       ["transcribe.py", FILES / "sound.wav"], ["generate_text.py"]],
                         ids=["fusion", "text alone", "text, picture and sound", "speech to text", "language"])
def test_example(arguments):
    done = subprocess.run([sys.executable, ROOT / "examples" / arguments[0], *arguments[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
