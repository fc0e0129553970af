"""The installed package: its files, its programs, its annotations; the compatibility module."""
import ast
import importlib
import inspect
import os
import pathlib
import subprocess
import sys

import pytest
import torch

import deepseek
import plait
from plait import _C
from conftest import DIGITS, FILES, ROOT

PACKAGE = pathlib.Path(plait.__file__).parent
MODULES = ["plait", "plait.auto", "plait.cache", "plait.data", "plait.fusion", "plait.model", "plait.quality", "plait.training",
           "deepseek", "deepseek.cache", "deepseek.training"]


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, **options)


def test_the_package_holds_its_libraries_once():
    assert ROOT / "python" not in PACKAGE.parents, "expected the installed package, not the source folder"
    libraries = sorted(p.name.split(".")[0] for p in (PACKAGE / "lib").iterdir())
    assert libraries == sorted(f"libplait_{name}" for name in ("api", "core", "data", "models", "runtime", "train"))
    assert os.access(PACKAGE / "bin" / "plait", os.X_OK)
    for package in (PACKAGE, pathlib.Path(deepseek.__file__).parent):
        assert (package / "py.typed").exists()
    assert (PACKAGE / "_C.pyi").exists()


def test_it_works_from_any_folder(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    done = run(sys.executable, "-c", "import plait; print(plait.__version__, *plait.available_backends())", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == plait.__version__ and "cpu" in done.stdout
    for program in (pathlib.Path(sys.executable).parent / "plait", PACKAGE / "bin" / "plait"):
        done = run(program, "--version", cwd=tmp_path, env=environment)
        assert done.stdout == f"plait {plait.__version__}\n", done.stderr


def test_one_openmp_and_one_torch_in_the_process():
    # A second OpenMP run time would make parallel loops serial; a second torch would not share tensors.
    loaded = {line.split()[-1] for line in pathlib.Path("/proc/self/maps").read_text().splitlines() if "/" in line}
    torch_folder = pathlib.Path(torch.__file__).parent
    ours = [pathlib.Path(p) for p in loaded if os.path.basename(p).startswith(("libtorch_cpu", "libc10.", "libplait"))]
    assert sum(p.name.startswith("libtorch_cpu") for p in ours) == 1
    assert all(torch_folder in p.parents or PACKAGE in p.parents for p in ours), ours
    program = run(sys.executable, "-c", "import plait, pathlib; plait._C.create_model({'type': 'cross_modal_attention'});"
                  "print(*{l.split()[-1] for l in pathlib.Path('/proc/self/maps').read_text().splitlines() if 'libgomp' in l})")
    assert len(program.stdout.split()) == 1, program.stdout


def test_the_stub_names_what_the_library_has():
    tree = ast.parse((PACKAGE / "_C.pyi").read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    public = {name for name in dir(_C) if not name.startswith("_")}
    assert public == set(classes) | set(functions)
    for name, node in classes.items():
        if issubclass(getattr(_C, name), Exception):
            continue
        stub = {f.name for f in node.body if isinstance(f, ast.FunctionDef)}
        library = {k for k in vars(getattr(_C, name)) if not k.startswith("_") or k in ("__init__", "__len__", "__contains__", "__call__")}
        # Every pybind11 class has an __init__, if only one that refuses.
        assert library - {"__init__"} == stub - {"__init__"}, name
    for name, node in functions.items():
        signature = getattr(_C, name).__doc__.splitlines()[0]
        inside = signature[signature.index("(") + 1:signature.index(") ->")] if ") ->" in signature else signature
        assert len(node.args.args) == 0 or f"{node.args.args[-1].arg}:" in inside or "arg0" in inside, (name, signature)


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_are_annotated_and_described(name):
    module = importlib.import_module(name)
    assert module.__doc__ or name in ("deepseek.cache", "deepseek.training")
    checked = 0
    for attribute in getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")]):
        thing = getattr(module, attribute)
        functions = [thing] if inspect.isfunction(thing) and thing.__module__ != "typing" else []
        if inspect.isclass(thing) and thing.__module__.startswith(("plait", "deepseek")) and thing.__module__ != "plait._C":
            assert thing.__doc__, attribute
            functions = [f.__func__ if isinstance(f, (classmethod, staticmethod)) else f.fget if isinstance(f, property) else f
                         for n, f in vars(thing).items() if not n.startswith("_") or n == "__init__"]
            functions = [f for f in functions if inspect.isfunction(f) and f.__code__.co_filename != "<string>" and f.__qualname__.startswith(thing.__name__)]
        for function in functions:
            parameters = inspect.signature(function).parameters.values()
            missing = [p.name for p in parameters if p.annotation is p.empty and p.name not in ("self", "cls")]
            assert not missing, f"{function.__qualname__}: {missing} without annotation"
            if function.__name__ != "__init__" and not function.__module__.startswith("deepseek"):
                assert "return" in function.__annotations__, f"{function.__qualname__}: no return annotation"
            checked += 1
    assert checked or name in ("plait", "deepseek.cache", "deepseek.training")


def test_doctor_and_registry():
    report = plait.doctor()
    assert report["cpu"]["threads"] >= 1 and "available" in report["cuda"]
    assert ("cuda" in plait.available_backends()) == bool(report["cuda"]["available"])
    kinds = {row["name"]: row["kind"] for row in plait.registered_models()}
    assert kinds["bert"] == "encoder" and kinds["drg"] == "fusion" and len(kinds) >= 20


def test_deepseek_has_the_published_names():
    from deepseek import DeepSeekModel, MultiModalModel, MultimodalModel, Trainer, TrainingArguments, load_dataset, load_image
    from deepseek.cache import FeatureCache
    from deepseek.training import DeepSeekTrainer

    assert issubclass(MultimodalModel, plait.MultimodalModel) and MultiModalModel is DeepSeekModel is MultimodalModel
    assert DeepSeekTrainer is Trainer is plait.Trainer and TrainingArguments is plait.TrainingArguments
    assert FeatureCache is plait.cache.FeatureCache and load_dataset is plait.load_dataset
    assert torch.equal(load_image(FILES / "picture.png"), plait.load_image(FILES / "picture.png"))
    assert "cpu" in MultimodalModel.available_backends()


def test_deepseek_encoders_are_the_streams_of_our_own_model():
    text = deepseek.AutoModel.from_pretrained("deepseek/text-encoder")
    hidden = text(["a red apple", "a dog"]).last_hidden_state
    own = plait.MultimodalModel.from_pretrained("plait-base").encode_text("a dog")
    assert torch.allclose(text("a dog").pooled[0], own.pooled, atol=1e-5) and hidden.shape[0] == 2
    image = deepseek.AutoModel.from_pretrained("deepseek/image-encoder")
    assert image.modality == "image"
    assert torch.isfinite(image(str(FILES / "picture.png")).pooled).all()


def test_one_encoder_of_a_whole_model_needs_a_stream_it_has():
    with pytest.raises(ValueError, match="plait-base:text, plait-base:image, plait-base:audio"):
        plait.AutoModel.from_pretrained("plait-base")
    with pytest.raises(ValueError, match="text, image, audio.*smell"):
        plait.AutoModel.from_pretrained("plait-base:smell")


def test_deepseek_models_train_and_answer(saved, digits, tmp_path):
    model = deepseek.DeepSeekModel.from_pretrained(saved)
    assert isinstance(model, deepseek.MultimodalModel)
    response = model(text="the digit four", image=digits[2][0]["streams"]["image"])
    assert response["class"] in DIGITS and response["text_output"] is None
    cache = deepseek.cache.FeatureCache(max_size=1000)
    cache["some key"] = torch.ones(3)
    assert "some key" in cache and len(cache) == 1
    args = deepseek.TrainingArguments(output_dir=str(tmp_path), num_train_epochs=1, max_steps=2)
    result = deepseek.training.DeepSeekTrainer(model, args=args, train_dataset=digits[0][:16], eval_dataset=digits[1][:16]).train()
    assert result["steps"] == 2
