"""The prosody predictor: learned from what the voice says, better than the mean on sentences that it has not seen."""
import json
import pathlib
import subprocess

import pytest

import plait

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAIT = pathlib.Path(plait.__file__).parent / "bin" / "plait"


def run(*arguments):
    return subprocess.run([PLAIT, "prosody", *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    lines = (ROOT / "benchmarks/speech/sentences.txt").read_text().splitlines()
    (folder / "train.txt").write_text("# a comment\n" + "\n".join(f"label\t{line}" for line in lines[:24]) + "\n")
    (folder / "test.txt").write_text("\n".join(lines[40:48]) + "\n")
    return folder


def test_it_is_better_than_the_mean(texts, tmp_path):
    arguments = ["--sentences", texts / "train.txt", "--held-out", texts / "test.txt", "--epochs", 25, "-o", tmp_path / "out", "--json"]
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["train_sentences"] == 24 and result["held_out_sentences"] == 8
    (seed,) = result["runs"]
    for kind in ("log_duration", "pitch_semitones", "energy_db"):
        print(kind, seed[kind])
        assert seed[kind]["model"] < seed[kind]["mean"]
    assert json.loads(run(*arguments).stdout) == result, "the same seed gives the same figures"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "plait-prosody" and config["scales"]["pitch"]["spread"] > 0
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_bad_input_is_refused(texts, tmp_path):
    (tmp_path / "few.txt").write_text("One sentence.\n")
    few = run("--sentences", tmp_path / "few.txt", "--held-out", texts / "test.txt")
    assert few.returncode == 2 and "ten sentences" in few.stderr
    assert run("--sentences", tmp_path / "none.txt", "--held-out", texts / "test.txt").returncode == 1
    assert run("--sentences", texts / "train.txt", "--held-out", texts / "test.txt", "--epochs", 0).returncode == 2
