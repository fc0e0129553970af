#pragma once
#include <string>

namespace plait::models {

/// rapidocr's folder of PP-OCRv4 networks (.onnx) → a folder with detector.safetensors,
/// direction.safetensors and recognizer.safetensors (OnnxGraph::save) and config.json
/// ({"model_type": "plait-ocr", "characters": [...]}, blank not among them).
/// @throws Error kCorruptData when the recogniser carries no characters.
void convert_ppocr(const std::string& models_dir, const std::string& target_dir);

}  // namespace plait::models
