// Writes tests/golden/weights/tfjs/ by TensorFlow.js: a model.json with two groups (one of two shards) and what
// io.decodeWeights makes of them as tfjs.safetensors.
//   npm install @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-backend-cpu@4.22.0
//   NODE_PATH=node_modules node tools/golden/weights_tfjs.cjs
const fs = require("fs");
const path = require("path");
const tf = require("@tensorflow/tfjs-core");
require("@tensorflow/tfjs-backend-cpu");

const OUT = path.join(__dirname, "../../tests/golden/weights/tfjs");

let state = 12345;
function random() {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state >>> 8) & 0xff;
}
const randomBytes = (n) => Buffer.from(Array.from({length: n}, random));
const floats = (values) => Buffer.from(Float32Array.from(values).buffer);
const halves = (bits) => Buffer.from(Uint16Array.from(bits).buffer);

const groups = [
  [
    [{name: "odd", shape: [3], dtype: "bool"}, Buffer.from([1, 0, 1])],
    [{name: "plain", shape: [2, 3], dtype: "float32"}, floats([0.5, -1, 2, 3.25, 0, -7])],
    [{name: "bytes", shape: [4, 5], dtype: "float32", quantization: {dtype: "uint8", scale: 0.0123, min: -1.57}}, randomBytes(20)],
    [{name: "words", shape: [3, 3], dtype: "float32", quantization: {dtype: "uint16", scale: 1.5e-4, min: -3}}, randomBytes(18)],
    [{name: "halves", shape: [7], dtype: "float32", quantization: {dtype: "float16"}},
      halves([0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x3555, 0x03ff])],
    [{name: "text", shape: [2], dtype: "string"}, Buffer.from([1, 0, 0, 0, 97, 2, 0, 0, 0, 98, 99])],
    [{name: "ints", shape: [3], dtype: "int32"}, Buffer.from(Int32Array.from([1, -2, 2147483647]).buffer)],
  ],
  [
    [{name: "int_bytes", shape: [8], dtype: "int32", quantization: {dtype: "uint8", scale: 0.5, min: -20}}, randomBytes(8)],
    [{name: "int_words", shape: [4], dtype: "int32", quantization: {dtype: "uint16", scale: 2, min: -7}}, randomBytes(8)],
    [{name: "scalar", shape: [], dtype: "float32"}, floats([2.5])],
    [{name: "none", shape: [0, 4], dtype: "float32"}, Buffer.alloc(0)],
  ],
];

function saveSafetensors(file, tensors) {
  const header = {};
  const parts = [];
  let at = 0;
  for (const [name, tensor] of Object.entries(tensors)) {
    const values = tensor.dtype === "float32" ? Float32Array.from(tensor.dataSync()) : Int32Array.from(tensor.dataSync());
    const bytes = Buffer.from(values.buffer);
    header[name] = {dtype: tensor.dtype === "float32" ? "F32" : "I32", shape: tensor.shape, data_offsets: [at, at + bytes.length]};
    at += bytes.length;
    parts.push(bytes);
  }
  let text = Buffer.from(JSON.stringify(header));
  text = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, 32)]);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  fs.writeFileSync(file, Buffer.concat([size, text, ...parts]));
}

(async () => {
  await tf.setBackend("cpu");
  fs.mkdirSync(OUT, {recursive: true});
  const expected = {};
  const manifest = [];
  groups.forEach((group, g) => {
    const data = Buffer.concat(group.map(([, bytes]) => bytes));
    const specs = group.map(([spec]) => spec);
    const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
    for (const [name, tensor] of Object.entries(tf.io.decodeWeights(buffer, specs))) {
      if (tensor.dtype !== "string") expected[name] = tensor;
    }
    const cuts = g === 0 ? [0, 37, data.length] : [0, data.length];
    const paths = [];
    for (let i = 0; i + 1 < cuts.length; i++) {
      paths.push(`group${g + 1}-shard${i + 1}of${cuts.length - 1}.bin`);
      fs.writeFileSync(path.join(OUT, paths[i]), data.subarray(cuts[i], cuts[i + 1]));
    }
    manifest.push({paths, weights: specs});
  });
  const model = {format: "graph-model", generatedBy: "golden", convertedBy: null, modelTopology: {node: []}, weightsManifest: manifest};
  fs.writeFileSync(path.join(OUT, "model.json"), JSON.stringify(model) + "\n");
  saveSafetensors(path.join(OUT, "tfjs.safetensors"), expected);
})();
