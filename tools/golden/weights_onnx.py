"""Writes tests/golden/weights/onnx_*.onnx by the onnx package and what its own reader and reference evaluator make of
them as safetensors: every dtype in both encodings, Constant nodes, subgraphs, quantised weights, external values."""

import pathlib

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/weights"
TYPES = ["FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "BOOL", "FLOAT16", "DOUBLE", "UINT32", "UINT64", "BFLOAT16",
         "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4", "INT4"]
VALUES = {"BOOL": [True, False, True, True, False, False], "UINT64": [0, 1, 2**63 - 1, 7, 5, 3], "UINT32": [0, 1, 2**32 - 1, 7, 5, 3],
          "INT4": [-8, 7, -1, 0, 3, -3, 5], "UINT4": [0, 15, 7, 1, 2, 3, 4], "INT16": [-32768, 32767, 0, 1, -1, 2],
          "UINT16": [0, 65535, 1, 2, 3, 4], "INT8": [-128, 127, 0, 1, -1, 2], "UINT8": [0, 255, 1, 2, 3, 4]}


def plain(tensor):
    """For safetensors: the wide type that holds the values."""
    array = numpy_helper.to_array(tensor) if isinstance(tensor, TensorProto) else tensor
    if array.dtype in (np.float32, np.float64, np.float16):
        return array.astype(array.dtype if array.dtype != np.float16 else np.float32)
    if array.dtype.kind in "biu" or array.dtype in (ml_dtypes.int4, ml_dtypes.uint4):
        return array.astype(np.int64)
    return array.astype(np.float32)


def model(nodes, initializers, inputs=(), outputs=(), **options):
    graph = helper.make_graph(nodes, "weights", list(inputs), list(outputs), initializers)
    made = helper.make_model(graph, producer_name="golden", opset_imports=[helper.make_opsetid("", 21)], ir_version=10, **options)
    helper.set_model_props(made, {"names": "甲 乙"})
    return made


def types():
    tensors, nodes, expected = [], [], {}
    for name in TYPES:
        kind = getattr(TensorProto, name)
        values = VALUES.get(name, [0.5, -1.0, 2.0, 0.0, 1.5, -3.0] if "FLOAT" in name or name == "DOUBLE" else [-5, 2**31 - 1, 0, 1, 2, 3])
        shape = [len(values)] if name.endswith("INT4") else [2, 3]
        typed = helper.make_tensor(f"{name}.typed", kind, shape, values)
        array = numpy_helper.to_array(typed)
        raw = numpy_helper.from_array(array, f"{name}.raw")
        assert raw.HasField("raw_data") and not typed.HasField("raw_data") and raw.data_type == kind
        for tensor in (typed, raw):
            expected[tensor.name] = plain(tensor)
        tensors += [typed, raw]
    constants = {"value": numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(2, 2), "inner"), "value_float": 1.5,
                 "value_floats": [0.5, -2.0], "value_int": 7, "value_ints": [1, -2, 3]}
    for name, value in constants.items():
        nodes.append(helper.make_node("Constant", [], [f"constant.{name}"], **{name: value}))
        array = numpy_helper.to_array(value) if name == "value" else np.asarray(value, np.float32 if "float" in name else np.int64)
        expected[f"constant.{name}"] = array
    nodes.append(helper.make_node("Constant", [], ["constant.text"], value_string="text"))
    tensors += [helper.make_tensor("empty", TensorProto.FLOAT, [0, 3], []), helper.make_tensor("scalar", TensorProto.FLOAT, [], [2.5]),
                helper.make_tensor("texts", TensorProto.STRING, [2], [b"a", b"b"])]
    expected |= {"empty": np.zeros((0, 3), np.float32), "scalar": np.full((), 2.5, np.float32)}
    for branch, value in (("then_branch", 1.0), ("else_branch", 2.0)):
        expected["weight" if branch == "else_branch" else "choice.then_branch.weight"] = np.full(3, value, np.float32)
    branches = {b: helper.make_graph([helper.make_node("Identity", ["weight"], [b])], b, [], [helper.make_tensor_value_info(b, 1, [3])],
                                     [helper.make_tensor("weight", 1, [3], [v] * 3)])
                for b, v in (("then_branch", 1.0), ("else_branch", 2.0))}
    nodes.append(helper.make_node("If", ["flag"], ["out"], name="choice", **branches))
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [3])
    onnx.save(model(nodes, tensors, [flag], [out]), OUT / "onnx_types.onnx")
    save_file({k: np.asarray(v) for k, v in expected.items()}, OUT / "onnx_types.safetensors")


def quantised():
    rng = np.random.default_rng(0)
    tensors, nodes, names = [], [], []

    def add(name, array):
        tensors.append(numpy_helper.from_array(array, name))

    def case(name, x, scale, zero, **options):
        add(name, x)
        add(name + ".s", scale)
        inputs = [name, name + ".s"]
        if zero is not None:
            add(name + ".z", zero)
            inputs.append(name + ".z")
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name + ".out"], **options))
        names.append(name)

    x = rng.integers(-128, 128, (4, 6), dtype=np.int8)
    unsigned = rng.integers(0, 256, (4, 6), dtype=np.uint8)
    scales = rng.uniform(0.01, 0.1, 6).astype(np.float32)
    case("all", unsigned, np.float32(0.02).reshape(()), np.uint8(128).reshape(()))
    case("no_zero", x, np.float32(0.02).reshape(()), None)
    case("axis1", x, scales, rng.integers(-9, 9, 6, dtype=np.int8))
    case("axis0", unsigned, scales[:4], rng.integers(0, 9, 4, dtype=np.uint8), axis=0)
    case("last", x, scales, None, axis=-1)
    case("blocks", x, rng.uniform(0.01, 0.1, (4, 3)).astype(np.float32), rng.integers(-9, 9, (4, 3), dtype=np.int8), axis=1, block_size=2)
    case("int16", rng.integers(-32768, 32767, (2, 2), dtype=np.int16), np.float32(1e-4).reshape(()), None)
    case("uint16", rng.integers(0, 65535, (2, 2), dtype=np.uint16), np.float32(1e-4).reshape(()), np.uint16(30000).reshape(()))
    case("int32", rng.integers(-99999, 99999, 3, dtype=np.int32), np.float32(1e-3).reshape(()), None)
    outputs = [helper.make_tensor_value_info(n + ".out", TensorProto.FLOAT, None) for n in names]
    made = model(nodes, tensors, [], outputs)
    expected = dict(zip(names, ReferenceEvaluator(made).run(None, {}), strict=True))
    # What onnxruntime's dynamic quantisation leaves; its weights are dequantised by their names.
    for name, op, axes in (("matmul", "MatMulInteger", None), ("conv", "ConvInteger", (1, 2, 3))):
        weight = rng.integers(0, 256, (6, 4) if op == "MatMulInteger" else (4, 2, 3, 3), dtype=np.uint8)
        scale = rng.uniform(0.01, 0.1, 4).astype(np.float32)
        zero = rng.integers(100, 150, 4, dtype=np.uint8)
        made.graph.initializer.extend([numpy_helper.from_array(weight, name + "_quantized"), numpy_helper.from_array(scale, name + "_scale"),
                                       numpy_helper.from_array(zero, name + "_zero_point")])
        made.graph.node.append(helper.make_node(op, ["x", name + "_quantized", "x_zero", name + "_zero_point"], [name + ".out"]))
        wide = (scale, zero) if axes is None else (np.expand_dims(scale, axes), np.expand_dims(zero, axes))
        expected[name + "_quantized"] = (weight.astype(np.float32) - wide[1].astype(np.float32)) * wide[0]
    onnx.save(made, OUT / "onnx_quantised.onnx")
    save_file({k: np.ascontiguousarray(v) for k, v in expected.items()}, OUT / "onnx_quantised.safetensors")


def external():
    rng = np.random.default_rng(1)
    arrays = {n: rng.normal(size=(5, 7)).astype(np.float32) for n in ("first", "second")}
    made = model([], [numpy_helper.from_array(a, n) for n, a in arrays.items()])
    onnx.save(made, OUT / "onnx_external.onnx", save_as_external_data=True, location="onnx_external.data", size_threshold=0)
    save_file(arrays, OUT / "onnx_external.safetensors")


if __name__ == "__main__":
    types()
    quantised()
    (OUT / "onnx_external.data").unlink(missing_ok=True)
    external()
