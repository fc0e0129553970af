"""TensorFlow.js graph models against TensorFlow.js itself."""
import json
import pathlib
import tarfile

import numpy as np
import packages
import pytest
import torch
from safetensors.numpy import load_file

import plait

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "sight"
HUMAN = "@vladmandic/human@3.3.6"


def test_every_operator_equals_tensorflow_js():
    values = load_file(GOLDEN / "ops" / "values.safetensors")
    got = plait.OnnxGraph(GOLDEN / "ops" / "model.json")(x=torch.from_numpy(values.pop("x")))
    assert sorted(got) == sorted(values)
    for name, expected in values.items():
        assert got[name].shape == expected.shape, name
        assert np.abs(got[name].numpy() - expected).max() <= 2e-6 * max(1, np.abs(expected).max()), name


def changed(tmp_path, change):
    """The small graph's folder with another model.json."""
    model = json.loads((GOLDEN / "ops" / "model.json").read_text())
    change({node["name"]: node for node in model["modelTopology"]["node"]}, model)
    (tmp_path / "weights.bin").write_bytes((GOLDEN / "ops" / "weights.bin").read_bytes())
    (tmp_path / "model.json").write_text(json.dumps(model))
    return tmp_path / "model.json"


@pytest.mark.parametrize("change, message", [
    (lambda nodes, model: nodes["gate"].update(op="Bucketize"), "Bucketize .*not supported"),
    (lambda nodes, model: nodes["conv"]["attr"].update(data_format={"s": "TkNIVw=="}), "data_format NHWC"),
    (lambda nodes, model: nodes["conv"]["attr"].update(padding={"s": "!"}), "base64"),
    (lambda nodes, model: nodes["conv"]["attr"].update(strides={"list": {"i": ["two"]}}), "whole numbers as strides"),
    (lambda nodes, model: nodes["conv"].update(input=["x"]), "inputs"),
    (lambda nodes, model: nodes["conv"].update(input=["x", "x"]), "expected a constant"),
    (lambda nodes, model: nodes["conv"].update(input=["nowhere", "w0"]), "nowhere"),
    (lambda nodes, model: nodes["conv"].update(input=["gated", "w0"]), "circle"),
    (lambda nodes, model: nodes["gate"].update(name="mean"), "every name once"),
    (lambda nodes, model: nodes["some"]["attr"].update(ellipsis_mask={"i": "1"}), "ellipsis"),
    (lambda nodes, model: nodes["corner"]["attr"].update(align_corners={"b": 3}), "true or false"),
    (lambda nodes, model: nodes["fused"]["attr"]["fused_ops"]["list"].update(s=["R2VsdQ=="]), "Gelu is not supported"),
    (lambda nodes, model: model.pop("modelTopology"), "graph model"),
    (lambda nodes, model: model.update(signature={"outputs": {"map": {"name": "lost:0"}}}), "lost"),
])
def test_what_a_graph_cannot_do_is_said(tmp_path, change, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        plait.OnnxGraph(changed(tmp_path, change))


def test_inputs_that_do_not_fit_are_refused():
    graph = plait.OnnxGraph(GOLDEN / "ops" / "model.json")
    for shape in ((2, 13, 10, 4), (2, 13, 10), (0, 13, 10, 3), (1, 1, 1, 3)):
        with pytest.raises(ValueError, match="expected"):
            graph(x=torch.zeros(shape))


@pytest.mark.parametrize("name", ["antispoof", "blazeface", "emotion", "facemesh", "faceres", "liveness"])
def test_other_networks_of_the_package_run(tmp_path, name):
    """They load, run and are saved alike."""
    with tarfile.open(packages.npm(HUMAN)) as archive:
        for ending in ("json", "bin"):
            with archive.extractfile(f"package/models/{name}.{ending}") as file:
                (tmp_path / f"{name}.{ending}").write_bytes(file.read())
    graph = plait.OnnxGraph(tmp_path / f"{name}.json")
    nodes = json.loads((tmp_path / f"{name}.json").read_text())["modelTopology"]["node"]
    (shape,) = [[int(dim["size"]) for dim in node["attr"]["shape"]["shape"]["dim"]] for node in nodes if node["op"] == "Placeholder"]
    x = torch.rand([max(size, 1) for size in shape], generator=torch.Generator().manual_seed(0))
    (input,) = graph.inputs
    first = graph(**{input: x})
    assert all(value.isfinite().all() for value in first.values())
    graph.save(tmp_path / "saved.safetensors")
    again = plait.OnnxGraph(tmp_path / "saved.safetensors")(**{input: x})
    assert all(torch.equal(first[key], again[key]) for key in first)
