"""Writes tests/golden/weights/gguf_types.gguf with one tensor of every type, by gguf's own writer, and what gguf's
dequantisation makes of them as gguf_types.safetensors. Blocks are random bytes with ordinary scales, so that every
bit of the packed formats is exercised."""

import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/weights"
# Where the half-precision scales of a block are.
SCALES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.Q4_K: [0, 2],
          Type.Q5_K: [0, 2], Type.Q6_K: [208]}


def random_blocks(rng, quantisation, shape):
    values, size = gguf.GGML_QUANT_SIZES[quantisation]
    rows, count = shape[0], shape[1] // values
    blocks = rng.integers(0, 256, (rows * count, size), dtype=np.uint8)
    for at in SCALES[quantisation]:
        blocks[:, at:at + 2] = rng.normal(0, 0.01, rows * count).astype(np.float16)[:, None].view(np.uint8)
    return blocks.reshape(rows, count * size)


def main():
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(OUT / "gguf_types.gguf", "test")
    writer.add_uint8("uint8", 255)
    writer.add_int8("int8", -128)
    writer.add_uint16("uint16", 65535)
    writer.add_int16("int16", -32768)
    writer.add_uint32("uint32", 2**32 - 1)
    writer.add_int32("int32", -2**31)
    writer.add_uint64("uint64", 2**63 - 1)
    writer.add_key_value("uint64_wide", 2**64 - 1, gguf.GGUFValueType.UINT64)
    writer.add_key_value("int64", -2**63, gguf.GGUFValueType.INT64)
    writer.add_float32("float32", 0.1)
    writer.add_float64("float64", 0.1)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "Grüße, 世界")
    writer.add_array("ints", [1, -2, 3])
    writer.add_array("floats", [0.5, -0.25])
    writer.add_array("texts", ["a", "", "世"])
    writer.add_array("nested", [[1, 2], [3]])
    expected = {}
    for name, dtype in (("F32", np.float32), ("F16", np.float16), ("F64", np.float64)):
        plain = rng.normal(size=(2, 3, 5)).astype(dtype)
        writer.add_tensor(name, plain)
        expected[name] = plain if name == "F64" else plain.astype(np.float32)
    for name, dtype in (("I8", np.int8), ("I16", np.int16), ("I32", np.int32), ("I64", np.int64)):
        expected[name] = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (3, 7), dtype=dtype)
        writer.add_tensor(name, expected[name])
    bf16 = gguf.quants.quantize(rng.normal(size=(3, 8)).astype(np.float32), Type.BF16)
    writer.add_tensor("BF16", bf16, raw_dtype=Type.BF16)
    expected["BF16"] = gguf.quants.dequantize(bf16, Type.BF16)
    for quantisation in SCALES:
        blocks = random_blocks(rng, quantisation, (2, 512))
        writer.add_tensor(quantisation.name, blocks, raw_dtype=quantisation)
        expected[quantisation.name] = gguf.quants.dequantize(blocks, quantisation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, OUT / "gguf_types.safetensors")


if __name__ == "__main__":
    main()
