// What the packages @vladmandic/human and @vladmandic/face-api find in pictures, by their own TensorFlow.js.
//   node tools/golden/sight.mjs face-api.mjs HUMAN FACE_API PICTURES.json OUT.json      (tools/golden/sight.py calls it)
// PICTURES: [{name, file (rows of RGB bytes), height, width, objects, faces}]
import fs from "fs";
import path from "path";
import {pathToFileURL} from "url";

// The bundle is a browser's; under Node it takes this for one.
globalThis.window = Object.assign(globalThis, {document: {}});
const [bundle, human, faceApi, pictures, out] = process.argv.slice(2);
const faceapi = await import(pathToFileURL(path.resolve(bundle)));
const tf = faceapi.tf;
await tf.setBackend("cpu");

const buffer = (file) => {
  const bytes = fs.readFileSync(file);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
};
async function loadNet(net, name) {
  const [group] = JSON.parse(fs.readFileSync(path.join(faceApi, "model", `${name}-weights_manifest.json`)));
  const bytes = Buffer.concat(group.paths.map((file) => Buffer.from(buffer(path.join(faceApi, "model", file)))));
  net.loadFromWeightMap(tf.io.decodeWeights(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length), group.weights));
}
await loadNet(faceapi.nets.ssdMobilenetv1, "ssd_mobilenetv1_model");
await loadNet(faceapi.nets.faceLandmark68Net, "face_landmark_68_model");
await loadNet(faceapi.nets.faceRecognitionNet, "face_recognition_model");
const json = JSON.parse(fs.readFileSync(path.join(human, "models", "centernet.json")));
const centernet = await tf.loadGraphModel(tf.io.fromMemory({...json, weightsManifest: undefined,
  weightSpecs: json.weightsManifest.flatMap((group) => group.weights), weightData: buffer(path.join(human, "models", "centernet.bin"))}));
console.log("loaded");

/// As human's centernet.ts: resized alone, one suppression over all classes, its configuration's defaults.
async function objects(image, results) {
  const [detections, heat, sides] = tf.tidy(() => {
    const resized = tf.image.resizeBilinear(tf.expandDims(tf.cast(image, "float32")), [512, 512]);
    return centernet.execute(resized, ["tower_0/detections", "tower_0/keypoints", "tower_0/wh"]);
  });
  const rows = (await detections.array())[0];
  const boxes = tf.tensor2d(rows.map((row) => [row[1], row[0], row[3], row[2]]));
  const kept = await (await tf.image.nonMaxSuppressionAsync(boxes, tf.tensor1d(rows.map((row) => row[4])), 100, 0.4, 0.2)).data();
  const part = (map) => tf.stridedSlice(map, [0, 0, 0, 0], [1, 128, 128, map.shape[3]], [1, 8, 8, 1]);
  results.objects = {rows, kept: Array.from(kept), heat: Array.from(await part(heat).data()), sides: Array.from(await part(sides).data())};
}

async function faces(image, results) {
  const found = await faceapi.detectAllFaces(image, new faceapi.SsdMobilenetv1Options({minConfidence: 0.5}))
    .withFaceLandmarks().withFaceDescriptors();
  results.faces = found.map((face) => ({score: face.detection.score, box: ["x", "y", "right", "bottom"].map((key) => face.detection.box[key]),
    landmarks: face.landmarks.positions.map((point) => [point.x, point.y]), descriptor: Array.from(face.descriptor)}));
}

const all = {};
for (const picture of JSON.parse(fs.readFileSync(pictures))) {
  const image = tf.tensor3d(Int32Array.from(fs.readFileSync(picture.file)), [picture.height, picture.width, 3], "int32");
  const results = all[picture.name] = {};
  if (picture.objects) await objects(image, results);
  if (picture.faces) await faces(image, results);
  console.log(picture.name, results.objects?.kept.length, results.faces?.length);
}
fs.writeFileSync(out, JSON.stringify(all));
