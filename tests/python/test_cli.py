"""The command line: help, exit codes (0 done, 1 failed, 2 usage), JSON, and errors that say what was wrong and where."""
import json
import os
import pathlib
import subprocess

import PIL.Image
import pytest

import plait
from conftest import DIGITS, FILES

PLAIT = pathlib.Path(plait.__file__).parent / "bin" / "plait"  # what .venv/bin/plait hands over to (test_api_package)


def run(*arguments, code=0, **environment):
    """(stdout, stderr) of a command that ends with `code`; standard error is no terminal."""
    done = subprocess.run([str(PLAIT), *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "OMP_NUM_THREADS": "1", **environment})
    assert done.returncode == code, f"{arguments}: code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def run_json(*arguments, **options):
    stdout, _ = run(*arguments, "--json", **options)
    assert stdout.count("\n") == 1 and stdout.endswith("\n")  # one object, one line
    return json.loads(stdout)


@pytest.fixture(scope="module")
def picture(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "digit.png"
    PIL.Image.fromarray(digits[2][0]["streams"]["image"].numpy()).save(path)
    return path


COMMANDS = ["predict", "train", "eval", "generate", "transcribe", "ocr", "caption", "ask", "train-captioner", "lora", "speak", "draw", "detect", "train-detector", "classify", "prosody", "perceive", "inspect", "convert", "models", "data", "demo", "doctor"]


def test_help_lists_the_commands():
    stdout, stderr = run("--help")
    assert all(command in stdout for command in COMMANDS) and stderr == ""
    assert run("help")[0] == stdout
    assert run("--version")[0] == f"plait {plait.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(command):
    stdout, _ = run("help", command)
    assert stdout.startswith(("Usage", command)) or command in stdout.splitlines()[0] + stdout.splitlines()[1]
    if command not in ("models", "data", "lora"):
        assert "Examples:" in stdout and f"plait {command}" in stdout and "--json" in stdout
    assert run(command, "--help")[0].strip() == stdout.strip()


@pytest.mark.parametrize("arguments, message", [
    ([], "subcommand"),
    (["paint"], "paint"),
    (["predict", "--colour", "red"], "--colour"),
    (["predict", "--coverage", "much"], "coverage"),
    (["train"], "recipe"),
    (["models"], "subcommand"),
    (["help", "paint"], "paint"),
    (["models", "show", "magic"], "bert"),
    (["data", "show", "magic"], "stamps"),
])
def test_usage_errors_end_with_2(arguments, message):
    stdout, stderr = run(*arguments, code=2)
    assert message in stderr and stdout == ""


def test_models_list_names_weights_and_architectures():
    stdout, _ = run("models", "list")
    assert "minilm" in stdout and "bert" in stdout
    listed = run_json("models", "list")
    assert {"minilm"} <= {row["name"] for row in listed["published"]}
    assert all(row["licence"] and row["bytes"] > 0 for row in listed["published"])
    assert {"bert", "drg", "classification"} <= {row["name"] for row in listed["registered"]}


def test_models_show_tells_the_options():
    stdout, _ = run("models", "show", "bert")
    assert "hidden_size" in stdout and "Width" in stdout
    shown = run_json("models", "show", "bert")
    assert "hidden_size" in json.dumps(shown)


def test_data_list_names_licences():
    assert "stamps" in run("data", "list")[0]
    listed = run_json("data", "list")
    assert all(row["licence"] and isinstance(row["prepared"], bool) for row in listed)


def test_doctor_says_what_works_and_why_not(tmp_path):
    report = run_json("doctor", PLAIT_CACHE=str(tmp_path))
    assert report["version"] == plait.__version__ and report["backends"] == plait.available_backends()
    checks = {row["what"]: row for row in report["checks"]}
    assert checks["cpu"]["works"] and checks["pictures"]["works"] and "onnx" in checks
    assert not checks["data stamps"]["works"] and "plait data get stamps" in checks["data stamps"]["detail"]
    assert all(row["detail"] for row in report["checks"])
    stdout, stderr = run("doctor", PLAIT_CACHE=str(tmp_path))
    assert "libtorch" in stdout and stderr == ""


def test_predict_answers_as_python_does(saved, picture):
    model = plait.MultimodalModel.from_pretrained(saved)
    answer = run_json("predict", "--model", saved, "--image", picture, "--text", "the digit seven")
    expected = model.predict(image=picture, text="the digit seven")
    assert answer.keys() == expected.keys()
    assert answer["class"] == expected["class"] and answer["missing"] == []
    assert answer["scores"] == pytest.approx(expected.scores, abs=1e-5)
    alone = run_json("predict", "-m", saved, "--stream", f"image={picture}")
    assert alone["missing"] == ["text"] and alone["class"] in DIGITS


def test_predict_prints_a_table(saved, picture):
    stdout, stderr = run("predict", "--model", saved, "--image", picture, "--coverage", 0.5)
    assert "confidence" in stdout and "50 % set" in stdout and "missing" in stdout and stderr == ""
    assert "\033" not in stdout  # no colours into a file
    assert "shared" not in stdout
    assert "embedding" in run("predict", "--model", saved, "--text", "a digit", "--task", "shared")[0]


def test_predict_chooses_among_labels(saved):
    answer = run_json("predict", "-m", saved, "--text", "the digit two", "--labels", "the digit two", "the digit nine")
    assert answer["class"] == "the digit two" and len(answer["scores"]) == 2


def test_predict_ranks_a_gallery(saved, picture, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("the digit two\n\n  the digit nine \r\nthe digit zero\n")
    answer = run_json("predict", "-m", saved, "--text", "the digit nine", "--gallery", words, "--top", 2)
    assert answer["ranking_names"][0] == "the digit nine" and answer["ranking"][0] == 1 and len(answer["ranking"]) == 2
    assert answer["class"] is None and answer["task"] == "shared"
    assert answer["prediction_set"][0] == "the digit nine"
    stdout, stderr = run("predict", "-m", saved, "--image", picture, "--gallery", words)
    assert all(word in stdout for word in ("the digit two", "the digit nine", "rank", "90 % set")) and stderr == ""
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("two", "nine"):
        (folder / f"{name}.txt").write_text(f"the digit {name}")
    ranked = run_json("predict", "-m", saved, "--text", "the digit two", "--gallery", folder)
    assert ranked["ranking_names"] == ["two.txt", "nine.txt"]
    assert "--gallery" in run("predict", "--help")[0] and "--top 5" in run("predict", "--help")[0]


def test_a_gallery_that_cannot_be_searched_says_what_was_expected(saved, picture, tmp_path):
    empty, none = tmp_path / "empty.txt", tmp_path / "none"
    empty.write_text("\n \n")
    none.mkdir()
    for gallery, code, messages in ((tmp_path / "nowhere", 1, ["folder", "text", "nowhere"]),
                                    (empty, 2, ["at least one item", "empty.txt"]),
                                    (none, 2, ["at least one item", "none"]),
                                    (picture, 2, ["one text a line", picture.name])):
        _, stderr = run("predict", "-m", saved, "--text", "a", "--gallery", gallery, code=code)
        assert all(message in stderr for message in messages), stderr
    empty.write_text("the digit two\nthe digit nine\n")
    for extra, messages in ((["--task", "digit"], ["retrieval", "shared"]), (["--labels", "a", "b"], ["labels", "gallery"]),
                            (["--top", "0"], ["top"])):
        _, stderr = run("predict", "-m", saved, "--text", "a", "--gallery", empty, *extra, code=2)
        assert all(message in stderr for message in messages), stderr
    _, stderr = run("predict", "-m", saved, "--text", "a", "--gallery", empty, "--explain", code=2)
    assert "explain" in stderr


@pytest.mark.parametrize("arguments, code, messages", [
    (["--audio", FILES / "sound.wav"], 2, ["audio", "text", "image"]),
    (["--image", "nowhere.png"], 1, ["image", "nowhere.png"]),
    (["--image", FILES / "sound.wav"], 1, ["image"]),
    ([], 2, ["at least one stream", "text"]),
    (["--text", "a", "--coverage", "2"], 2, ["coverage"]),
    (["--text", "a", "--task", "caption"], 2, ["caption", "digit"]),
    (["--text", "a", "--backend", "abacus"], 2, ["abacus", "cpu"]),
    (["--text", "a", "--dtype", "int8"], 2, ["int8", "float32"]),
    (["--stream", "image"], 2, ["NAME=VALUE"]),
])
def test_errors_of_predict_say_what_and_where(saved, arguments, code, messages):
    stdout, stderr = run("predict", "--model", saved, *arguments, code=code)
    assert stdout == "" and stderr.startswith("plait: ") and stderr.count("\n") == 1
    assert all(message in stderr for message in messages), stderr
    error = run_json("predict", "--model", saved, *arguments, code=code)["error"]
    assert all(message in error["message"] for message in messages) and error["code"]


def test_missing_and_damaged_models(saved, tmp_path):
    _, stderr = run("predict", "--model", tmp_path / "nowhere", "--text", "a", code=1)
    assert "nowhere" in stderr
    (tmp_path / "config.json").write_text("{")
    _, stderr = run("predict", "--model", tmp_path, "--text", "a", code=1)
    assert "config.json" in stderr


def test_untrained_models_need_a_flag(untrained, tmp_path):
    untrained.save_pretrained(tmp_path / "model")
    _, stderr = run("predict", "--model", tmp_path / "model", "--text", "a", code=2)
    assert "untrained" in stderr
    assert run_json("predict", "--model", tmp_path / "model", "--text", "a", "--untrained")["class"] in DIGITS


def test_train_refuses_a_wrong_recipe(tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"dataset": "stamps", "speed": 3}))
    _, stderr = run("train", recipe, "--output", tmp_path / "out", code=2)
    assert "speed" in stderr and "recipe.json" in stderr
    _, stderr = run("train", tmp_path / "nowhere.json", "--output", tmp_path / "out", code=1)
    assert "nowhere.json" in stderr
    recipe.write_text(json.dumps({"dataset": "magic", "model": {"streams": {}}}))
    _, stderr = run("train", recipe, "--output", tmp_path / "out", code=2)
    assert "stamps" in stderr


def test_a_broken_pipe_is_no_crash(saved):
    done = subprocess.run(["bash", "-c", f"{PLAIT} models list | head -n 1; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True)
    assert done.returncode in (0, 1, 141) and "terminate" not in done.stderr
