"""Reading text in pictures against rapidocr and onnxruntime, which run the same published networks."""
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import plait

FONTS = pathlib.Path("/usr/share/fonts/truetype")
SANS, SERIF, MONO = (str(FONTS / "dejavu" / f"{name}.ttf") for name in ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono"))
CHINESE = str(FONTS / "wqy" / "wqy-zenhei.ttc")

ENGLISH_LINES = ["The quick brown fox jumps", "over 13 lazy dogs, twice.", "Invoice No. 20-4471", "Total: $1,204.50 (net)",
                 "Please keep off the grass", "Platform 9, 10:45 a.m.", "Multimodal perception", "mail@example.org",
                 "Temperature 21.5 C", "EMERGENCY EXIT ONLY", "Handle with care!", "Serial A7X-99210"]
CHINESE_LINES = ["今天天气很好", "请勿在此停车", "多模态人工智能", "北京市海淀区中关村", "营业时间 9:00-18:00", "欢迎光临",
                 "小心地滑 注意安全", "价格：128元", "第三会议室", "中文 English 混排", "谢谢您的合作", "轴承温度监测"]


def page(lines, font, size=32, colour="black", background="white", angle=0.0, blur=0.0, warp=False):
    picture = Image.new("RGB", (640, int(len(lines) * size * 2.2) + 60), background)
    draw = ImageDraw.Draw(picture)
    for row, line in enumerate(lines):
        draw.text((40, 30 + row * size * 2.2), line, fill=colour, font=ImageFont.truetype(font, size))
    if angle:
        picture = picture.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=background)
    if warp:
        w, h = picture.size
        picture = picture.transform((w, h), Image.Transform.QUAD, (-20, -15, 10, h + 10, w + 30, h + 25, w - 5, -30),
                                    Image.Resampling.BICUBIC, fillcolor=background)
    return picture.filter(ImageFilter.GaussianBlur(blur)) if blur else picture


PAGES = {
    "english": page(ENGLISH_LINES[:6], SANS),
    "english serif": page(ENGLISH_LINES[6:], SERIF),
    "mono": page(ENGLISH_LINES[2:6], MONO, size=26),
    "chinese": page(CHINESE_LINES[:6], CHINESE),
    "chinese more": page(CHINESE_LINES[6:], CHINESE),
    "coloured": page(ENGLISH_LINES[:3] + CHINESE_LINES[:3], CHINESE, colour=(200, 30, 60), background=(250, 240, 170)),
    "light on dark": page(CHINESE_LINES[3:7], CHINESE, colour=(240, 240, 220), background=(20, 30, 70)),
    "small": page(ENGLISH_LINES[4:9], SANS, size=13),
    "blurred": page(CHINESE_LINES[1:5], CHINESE, blur=1.2),
    "rotated": page(ENGLISH_LINES[:4], SANS, angle=7),
    "rotated chinese": page(CHINESE_LINES[:4], CHINESE, angle=-12),
    "perspective": page(ENGLISH_LINES[5:9], SERIF, warp=True),
    "upside down": page(CHINESE_LINES[:3], CHINESE, angle=180),
    "one long line": page(["A line that is much longer than it is high: 0123456789"], SANS, size=20).crop((0, 20, 640, 66)),
}


@pytest.fixture(scope="module")
def reader():
    return plait.OcrReader.from_pretrained()


@pytest.fixture(scope="module")
def rapidocr():
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR()


def check_same(reader, rapidocr, picture):
    """Text and boxes of both; gives the number of lines."""
    rgb = np.array(picture.convert("RGB"))
    expected, _ = rapidocr(np.ascontiguousarray(rgb[:, :, ::-1]))
    got = reader(rgb)
    assert [line.text for line in got] == [text for _, text, _ in expected or []]
    for line, (box, _, score) in zip(got, expected or []):
        assert line.score == pytest.approx(score, abs=1e-3)
        assert np.abs(np.array(line.box) - np.array(box)).max() <= 3
    return len(got)


def test_rendered_lines_are_read_as_rapidocr_reads_them(reader, rapidocr):
    counts = {}
    for name, picture in PAGES.items():
        try:
            counts[name] = check_same(reader, rapidocr, picture)
        except AssertionError as error:
            raise AssertionError(f"page {name!r}: {error}") from error
    assert sum(counts.values()) >= 50, counts


def test_what_was_written_is_what_is_read(reader):
    for name, lines in (("chinese", CHINESE_LINES[:6]), ("english", ENGLISH_LINES[:6])):
        got = [line.text for line in reader(PAGES[name])]
        assert [text.replace(" ", "") for text in got] == [line.replace(" ", "") for line in lines]


@pytest.mark.parametrize("name", ["page", "text"])
def test_photographed_pages(reader, rapidocr, name):
    import skimage.data

    assert check_same(reader, rapidocr, Image.fromarray(getattr(skimage.data, name)())) >= 2


def test_nothing_to_read(reader):
    assert reader(np.full((200, 300, 3), 255, np.uint8)) == []
    assert reader(np.zeros((1, 1, 3), np.uint8)) == []


def test_hostile_pictures_are_refused(reader):
    with pytest.raises(plait.LimitError, match="16 million"):
        reader(np.zeros((1900, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="narrower"):
        reader(np.zeros((60000, 40, 3), np.uint8))
    with pytest.raises(ValueError):
        reader(b"no picture")
    with pytest.raises(ValueError, match="plait-ocr"):
        plait.OcrReader.from_pretrained("efficientnet-lite0")


def test_command_line(tmp_path):
    PAGES["english"].save(tmp_path / "page.png")
    executable = pathlib.Path(plait.__file__).parent / "bin" / "plait"
    run = subprocess.run([executable, "ocr", tmp_path / "page.png", "--draw", tmp_path / "boxes.png"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 6
    drawn = np.array(Image.open(tmp_path / "boxes.png"))
    assert (drawn == [255, 0, 0]).all(-1).sum() > 500
    bad = subprocess.run([executable, "ocr", tmp_path / "none.png"], capture_output=True, text=True)
    assert bad.returncode == 1 and "none.png" in bad.stderr


def test_example(tmp_path):
    PAGES["chinese"].save(tmp_path / "page.png")
    example = pathlib.Path(__file__).resolve().parents[2] / "examples" / "read_text.py"
    run = subprocess.run([sys.executable, example, tmp_path / "page.png"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert CHINESE_LINES[0] in run.stdout.splitlines()[0]


@pytest.fixture(scope="module")
def published():
    import rapidocr_onnxruntime

    return pathlib.Path(rapidocr_onnxruntime.__file__).parent / "models"


@pytest.mark.parametrize("name, shape", [("ch_PP-OCRv4_det_infer", (1, 3, 160, 224)), ("ch_ppocr_mobile_v2.0_cls_infer", (2, 3, 48, 192)),
                                         ("ch_PP-OCRv4_rec_infer", (2, 3, 48, 320))])
def test_networks_equal_onnxruntime(published, tmp_path, name, shape):
    path = published / f"{name}.onnx"
    x = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    expected = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    graph = plait.OnnxGraph(path)
    graph.save(tmp_path / "saved.safetensors")
    for loaded in (graph, plait.OnnxGraph(tmp_path / "saved.safetensors")):
        (got,) = loaded(x=torch.from_numpy(x)).values()
        assert got.shape == expected.shape
        assert np.abs(got.numpy() - expected).max() < 2e-5


def save_graph(folder, nodes, inputs, opset=13, constants=None):
    """An .onnx file; its output is "y"."""
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in inputs.items()],
        [onnx.ValueInfoProto(name="y")], [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path = folder / "graph.onnx"
    onnx.save(model, path)
    return path


RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.standard_normal((2, 4, 9, 11)).astype(np.float32)
MATRIX = RANDOM.standard_normal((3, 5)).astype(np.float32)
WEIGHT = RANDOM.standard_normal((6, 2, 3, 3)).astype(np.float32)
INTEGERS = np.array([7, -7, 5], np.int64)


def longs(*values):
    return np.array(values, np.int64)


# operator, inputs (the first is x; others are constants), attributes, opset
OPERATORS = [
    *[(op, [np.abs(IMAGE) + 0.1], {}, 13) for op in ("Erf", "Exp", "Identity", "Log", "Relu", "Sigmoid", "Sqrt", "Tanh")],
    *[(op, [IMAGE, IMAGE[:1, :, :1]], {}, 13) for op in ("Add", "Sub", "Mul", "Div")],
    ("Div", [INTEGERS, longs(2, -1, -3)], {}, 13),
    ("Pow", [np.abs(MATRIX), np.float32(1.7)], {}, 13),
    ("Cast", [MATRIX * 3], {"to": TensorProto.INT64}, 13),
    ("Clip", [MATRIX, np.float32(-0.5), np.float32(0.5)], {}, 13),
    ("Clip", [MATRIX], {"min": -0.3, "max": 0.2}, 9),
    ("Concat", [MATRIX, MATRIX], {"axis": -1}, 13),
    ("Flatten", [IMAGE], {"axis": 2}, 13),
    ("Gather", [IMAGE, longs(-1, 0, 2)], {"axis": 1}, 13),
    ("Gemm", [MATRIX, MATRIX, np.float32([1, 2, 3])], {"transB": 1, "alpha": 0.5, "beta": 2.0}, 13),
    ("HardSigmoid", [IMAGE], {"alpha": 0.3, "beta": 0.4}, 13),
    ("HardSwish", [IMAGE * 3], {}, 14),
    ("LeakyRelu", [IMAGE], {"alpha": 0.2}, 13),
    ("MatMul", [IMAGE, RANDOM.standard_normal((4, 11, 3)).astype(np.float32)], {}, 13),
    ("ReduceMean", [IMAGE], {"axes": [1, -1], "keepdims": 0}, 13),
    ("ReduceMean", [IMAGE, longs(2)], {}, 18),
    ("Reshape", [IMAGE, longs(0, -1, 11)], {}, 13),
    ("Shape", [IMAGE], {}, 13),
    ("Slice", [IMAGE, longs(1, -6), longs(100, -1), longs(2, 3), longs(3, 2)], {}, 13),
    ("Softmax", [IMAGE], {"axis": 1}, 12),
    ("Softmax", [IMAGE], {"axis": 1}, 13),
    ("Squeeze", [IMAGE[:, :1], longs(1)], {}, 13),
    ("Squeeze", [IMAGE[:1, :1]], {"axes": [0, 1]}, 11),
    ("Unsqueeze", [MATRIX, longs(0, -1)], {}, 13),
    ("Transpose", [IMAGE], {"perm": [2, 0, 3, 1]}, 13),
    ("Transpose", [IMAGE], {}, 13),
    ("Conv", [IMAGE, WEIGHT, WEIGHT[:, 0, 0, 0]], {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}, 13),
    ("Conv", [IMAGE[:, :, 0], WEIGHT[:, :, 0].repeat(2, 1)], {"pads": [1, 1]}, 13),
    ("ConvTranspose", [IMAGE, WEIGHT[:4]], {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 0]}, 13),
    ("BatchNormalization", [IMAGE, *np.abs(RANDOM.standard_normal((4, 4))).astype(np.float32)], {"epsilon": 1e-3}, 13),
    ("GlobalAveragePool", [IMAGE], {}, 13),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}, 13),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1}, 13),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1]}, 13),
    ("MaxPool", [IMAGE], {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 0, 1]}, 13),
    ("Resize", [IMAGE, np.zeros(0, np.float32), np.float32([1, 1, 2, 1.5])],
     {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, 13),
]


@pytest.mark.parametrize("case", range(len(OPERATORS)), ids=[f"{i}-{row[0]}" for i, row in enumerate(OPERATORS)])
def test_operators_equal_onnxruntime(tmp_path, case):
    op, (x, *rest), attributes, opset = OPERATORS[case]
    constants = {f"c{i}": np.asarray(c) for i, c in enumerate(rest)}
    path = save_graph(tmp_path, [helper.make_node(op, ["x", *constants], ["y"], **attributes)], {"x": x}, opset, constants)
    (expected,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    got = plait.OnnxGraph(path)(x=torch.from_numpy(np.ascontiguousarray(x)))["y"].numpy()
    assert got.dtype == expected.dtype and got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_joined_operators_equal_onnxruntime(tmp_path):
    channels = {name: np.abs(RANDOM.standard_normal(6)).astype(np.float32) for name in ("scale", "shift", "mean", "variance")}
    nodes = [helper.make_node("Conv", ["x", "weight"], ["a"], group=2, pads=[1, 1, 1, 1]),
             helper.make_node("Add", ["a", "bias"], ["b"]),
             helper.make_node("BatchNormalization", ["b", *channels], ["c"]),
             helper.make_node("Mul", ["two", "c"], ["d"]),
             helper.make_node("Add", ["d", "three"], ["e"]),
             helper.make_node("Clip", ["e", "zero", "six"], ["f"]),
             helper.make_node("Mul", ["d", "f"], ["g"]),
             helper.make_node("Div", ["g", "six_too"], ["y"])]
    constants = {"weight": WEIGHT, "bias": RANDOM.standard_normal((1, 6, 1, 1)).astype(np.float32), **channels, "two": np.float32([2]),
                 "three": np.float32([3]), "zero": np.float32(0), "six": np.float32(6), "six_too": np.float32([6])}
    path = save_graph(tmp_path, nodes, {"x": IMAGE}, 13, constants)
    (expected,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": IMAGE})
    graph = plait.OnnxGraph(path)
    assert len(graph) == 2  # Conv, HardSwish
    np.testing.assert_allclose(graph(x=torch.from_numpy(IMAGE))["y"].numpy(), expected, rtol=1e-4, atol=1e-4)


def node(op, *inputs, **attributes):
    return [helper.make_node(op, list(inputs), ["y"], **attributes)]


def test_what_is_not_supported_is_refused(tmp_path):
    for nodes, text in [(node("Loop", "x", "x"), "operator Loop"), (node("Softmax", "x", temperature=2), "attribute temperature"),
                        (node("Relu", "x", domain="com.example"), "com.example.Relu")]:
        with pytest.raises(RuntimeError, match=text):
            plait.OnnxGraph(save_graph(tmp_path, nodes, {"x": MATRIX}))
    for nodes, text in [(node("Relu", "z"), '"z" before'), (node("Relu", "x") * 2, "given once"), (node("Add", "x"), "2 to 2 inputs")]:
        with pytest.raises(plait.DataError, match=text):
            plait.OnnxGraph(save_graph(tmp_path, nodes, {"x": MATRIX}))


def test_inputs_that_do_not_fit_are_refused(tmp_path):
    x = torch.from_numpy(MATRIX)
    cases = [(node("MatMul", "x", "x"), {}, ValueError, "MatMul"), (node("Gather", "x", "i"), {"i": longs(9)}, ValueError, "inside 3"),
             (node("Add", "x", "ints"), {"ints": longs(1)}, ValueError, "one type"),
             (node("Unsqueeze", "x", "many"), {"many": np.arange(64)}, ValueError, "64"),
             (node("Reshape", "x", "s"), {"s": longs(4, 4)}, ValueError, "Reshape"),
             (node("Concat", "x", "x", axis=5), {}, ValueError, "axis")]
    for nodes, constants, error, text in cases:
        graph = plait.OnnxGraph(save_graph(tmp_path, nodes, {"x": MATRIX}, 13, constants))
        with pytest.raises(error, match=text):
            graph(x=x)
    big = save_graph(tmp_path, node("Resize", "x", "", "s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
                     {"x": MATRIX}, 13, {"s": np.float32([60000, 60000])})
    with pytest.raises(plait.LimitError, match="2\\^30"):
        plait.OnnxGraph(big)(x=x)
    with pytest.raises(ValueError, match="x"):
        plait.OnnxGraph(big)(z=x)
    grouped = plait.OnnxGraph(save_graph(tmp_path, node("Conv", "x", "w", group=0), {"x": IMAGE}, 13, {"w": WEIGHT}))
    with pytest.raises(ValueError, match="groups"):
        grouped(x=torch.from_numpy(IMAGE))
    smallest = np.array([np.iinfo(np.int64).min])
    divided = plait.OnnxGraph(save_graph(tmp_path, node("Div", "x", "one"), {"x": smallest}, 13, {"one": longs(-1)}))
    assert divided(x=torch.from_numpy(smallest))["y"].dtype == torch.int64
