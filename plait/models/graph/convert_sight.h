#pragma once
#include <string>

/// Published detectors of the packages @vladmandic/human and @vladmandic/face-api → folders of
/// networks (OnnxGraph::save) with a config.json. @throws Error kCorruptData, kNotFound naming the
/// file or the weights that are not as expected.
namespace plait::models {

/// human's folder "models": MobileNetV3-CenterNet on COCO → detector.safetensors ("tower_0/images"
/// [1, 512, 512, 3] of bytes) and {"model_type": "plait-detector", "kind": "centernet", ...}.
void convert_centernet(const std::string& models_dir, const std::string& target_dir);

/// face-api's folder "model": SSD-MobileNetV1 → detector.safetensors ("pixels" [B, 3, 512, 512] in
/// [-1, 1] → "boxes" [B, N, 4] as top, left, bottom, right in [0, 1] and "scores" [B, N]), its 68
/// landmarks → landmarks.safetensors ("pixels" [B, 3, 112, 112] → "points" [B, 136]) and
/// {"model_type": "plait-faces"}.
void convert_face_ssd(const std::string& model_dir, const std::string& target_dir);

/// face-api's ResNet of 128 features a face → recognizer.safetensors ("pixels" [B, 3, 150, 150] →
/// "features" [B, 128]) and {"model_type": "plait-face-recognition"}.
void convert_face_recognition(const std::string& model_dir, const std::string& target_dir);

}  // namespace plait::models
