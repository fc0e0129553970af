// Writes a small TensorFlow.js graph model with every operator that Plait takes over, its input and what TensorFlow.js
// computes: model.json, weights.bin, values.json in the folder given.
//   node tools/golden/tfjs_ops.mjs tfjs.mjs FOLDER        (tools/golden/sight.py calls it)
import fs from "fs";
import path from "path";
import {pathToFileURL} from "url";

// The bundle is a browser's; under Node it takes this for one.
globalThis.window = Object.assign(globalThis, {document: {}});
const tf = await import(pathToFileURL(path.resolve(process.argv[2])));
const folder = process.argv[3];
await tf.setBackend("cpu");

let state = 2024;
function random() {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state >>> 8) / (1 << 24) - 0.5;
}
const nodes = [], specs = [], bytes = [];
const text = (s) => ({s: Buffer.from(s).toString("base64")});
const texts = (list) => ({list: {s: list.map((s) => Buffer.from(s).toString("base64"))}});
const ints = (list) => ({list: {i: list.map(String)}});
function node(op, name, input, attr = {}) {
  nodes.push({name, op, input, attr});
  return name;
}
function constant(name, shape, values, dtype = "float32") {
  const data = (dtype === "int32" ? Int32Array : Float32Array).from(values);
  specs.push({name, shape, dtype});
  bytes.push(Buffer.from(data.buffer));
  return node("Const", name, [], {dtype: {type: dtype === "int32" ? "DT_INT32" : "DT_FLOAT"}});
}
let count = 0;
const weights = (shape, positive = false) => constant(`w${count++}`, shape,
  Array.from({length: shape.reduce((a, b) => a * b, 1)}, () => positive ? Math.abs(random()) + 0.5 : random()));
const whole = (...values) => constant(`i${count++}`, [values.length], values, "int32");
const axis = (value) => constant(`i${count++}`, [], [value], "int32");
const window = (size, stride, padding) => ({ksize: ints([1, size, size, 1]), strides: ints([1, stride, stride, 1]),
  padding: text(padding), data_format: text("NHWC")});
const conv = (stride, padding, more = {}) => ({strides: ints([1, stride, stride, 1]), padding: text(padding),
  dilations: ints([1, 1, 1, 1]), data_format: text("NHWC"), ...more});
const fused = (...ops) => ({fused_ops: texts(ops), num_args: {i: "1"}});

const SHAPE = [2, 13, 10, 3];
node("Placeholder", "x", [], {dtype: {type: "DT_FLOAT"}, shape: {shape: {dim: SHAPE.map((size) => ({size: String(size)}))}}});
node("Conv2D", "conv", ["x", weights([3, 3, 3, 8])], conv(2, "SAME"));
node("BiasAdd", "bias", ["conv", weights([8])]);
node("Prelu", "prelu", ["bias", weights([8])]);
node("DepthwiseConv2dNative", "depthwise", ["prelu", weights([3, 3, 8, 2])],
  conv(1, "SAME", {dilations: ints([1, 2, 2, 1])}));
node("FusedBatchNormV3", "norm", ["depthwise", weights([16]), weights([16]), weights([16]), weights([16], true)],
  {epsilon: {f: 0.01}, is_training: {b: false}, data_format: text("NHWC")});
node("Relu6", "relu6", ["norm"]);
node("_FusedConv2D", "fused", ["relu6", weights([2, 2, 16, 8]), weights([8])], conv(1, "VALID", fused("BiasAdd", "Relu")));
node("FusedDepthwiseConv2dNative", "fused_depthwise", ["fused:0", weights([5, 5, 8, 1]), weights([8])],
  conv(2, "SAME", fused("BiasAdd", "Relu6")));
node("_FusedConv2D", "fused_prelu", ["fused_depthwise", weights([1, 1, 8, 8]), weights([8]), weights([1, 1, 8])],
  conv(1, "SAME", {fused_ops: texts(["BiasAdd", "Prelu"]), num_args: {i: "2"}}));
node("LeakyRelu", "leaky", ["fused_prelu"], {alpha: {f: 0.3}});
constant("paddings", [4, 2], [0, 0, 1, 2, 0, 1, 0, 3], "int32");
node("Pad", "padded", ["prelu", "paddings"]);
node("PadV2", "padded_ones", ["prelu", "paddings", constant("unit", [], [1])]);
node("MaxPool", "largest", ["padded"], window(2, 2, "SAME"));
node("AvgPool", "averages", ["padded_ones"], window(3, 2, "SAME"));
node("ResizeBilinear", "corner", ["largest", whole(9, 7)], {align_corners: {b: false}, half_pixel_centers: {b: false}});
node("ResizeBilinear", "centre", ["averages", whole(9, 7)], {align_corners: {b: false}, half_pixel_centers: {b: true}});
node("ResizeBilinear", "aligned", ["leaky", whole(9, 7)], {align_corners: {b: true}, half_pixel_centers: {b: false}});
node("ResizeNearestNeighbor", "nearest", ["leaky", whole(9, 7)],
  {align_corners: {b: false}, half_pixel_centers: {b: false}});
node("ConcatV2", "joined", ["corner", "centre", "aligned", "nearest", axis(3)], {N: {i: "4"}});
node("Mul", "scaled", [weights([1, 1, 1, 38]), "joined"]);
node("AddV2", "shifted", ["scaled", weights([38])]);
node("Sub", "less", ["shifted", constant("tenth", [], [0.1])]);
node("RealDiv", "divided", ["less", weights([1, 1, 38], true)]);
node("Minimum", "low", ["divided", constant("high", [], [0.7])]);
node("Maximum", "clipped", ["low", constant("below", [], [-0.6])]);
node("Mean", "mean", ["clipped", whole(1, 2)], {keep_dims: {b: true}});
node("Sigmoid", "gate", ["mean"]);
node("Mul", "gated", ["clipped", "gate"]);
node("Identity", "map", ["gated"]);
node("Softmax", "shares", ["gated"]);
node("Mean", "pooled", ["gated", whole(-3, -2)], {keep_dims: {b: false}});
node("MatMul", "product", ["pooled", weights([12, 38])], {transpose_a: {b: false}, transpose_b: {b: true}});
node("_FusedMatMul", "dense", ["product", weights([12, 5]), weights([5])], fused("BiasAdd", "Relu"));
node("Tanh", "squashed", ["dense"]);
node("Softmax", "probabilities", ["squashed"]);
node("Mean", "over_channels", ["gated", axis(3)], {keep_dims: {b: false}});
node("Reshape", "rows", ["gated", whole(2, -1, 38)]);
node("StridedSlice", "some", ["rows", whole(0, 3, -30), whole(0, 60, -2), whole(1, 2, 3)],
  {begin_mask: {i: "1"}, end_mask: {i: "1"}, shrink_axis_mask: {i: "0"}, ellipsis_mask: {i: "0"}, new_axis_mask: {i: "0"}});
node("StridedSlice", "one", ["rows", whole(0, -1), whole(0, 0), whole(1, 1)],
  {begin_mask: {i: "1"}, end_mask: {i: "1"}, shrink_axis_mask: {i: "2"}, ellipsis_mask: {i: "0"}, new_axis_mask: {i: "0"}});
node("Transpose", "turned", ["some", whole(2, 0, 1)]);
node("ExpandDims", "wider", ["turned", axis(1)]);
node("Squeeze", "narrower", ["wider"], {squeeze_dims: ints([1])});
node("Mul", "tenfold", ["narrower", constant("ten", [], [10])]);
node("Cast", "whole", ["tenfold"], {SrcT: {type: "DT_FLOAT"}, DstT: {type: "DT_INT32"}});
node("Exp", "grown", ["one"]);
node("Pow", "powers", ["grown", constant("exponent", [], [1.5])]);
node("Sqrt", "roots", ["powers"]);
node("Relu", "unused", ["x"]);

const OUTPUTS = ["map", "shares", "probabilities", "over_channels", "narrower", "whole", "roots"];
const signature = {inputs: {x: {name: "x:0", dtype: "DT_FLOAT"}}, outputs: Object.fromEntries(OUTPUTS.map((name) => [name, {name: `${name}:0`, dtype: "DT_FLOAT"}]))};
const topology = {node: nodes, library: {}, versions: {producer: 1}};
const weightData = Buffer.concat(bytes);
const artifacts = {format: "graph-model", modelTopology: topology, signature, weightSpecs: specs,
  weightData: weightData.buffer.slice(weightData.byteOffset, weightData.byteOffset + weightData.length)};
const model = await tf.loadGraphModel(tf.io.fromMemory(artifacts));
const x = tf.tensor(Array.from({length: SHAPE.reduce((a, b) => a * b, 1)}, () => 4 * random()), SHAPE);
const values = {x: {shape: SHAPE, values: Array.from(x.dataSync())}};
const results = model.execute({x}, OUTPUTS);
OUTPUTS.forEach((name, i) => values[name] = {shape: results[i].shape, values: Array.from(results[i].dataSync())});
fs.mkdirSync(folder, {recursive: true});
fs.writeFileSync(path.join(folder, "model.json"), JSON.stringify({format: "graph-model", signature, modelTopology: topology,
  weightsManifest: [{paths: ["weights.bin"], weights: specs}]}));
fs.writeFileSync(path.join(folder, "weights.bin"), weightData);
fs.writeFileSync(path.join(folder, "values.json"), JSON.stringify(values));
