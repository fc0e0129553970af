#include "plait/models/graph/convert_ocr.h"

#include "plait/core/error.h"
#include "plait/models/graph/onnx_graph.h"

namespace plait::models {

void convert_ppocr(const std::string& models_dir, const std::string& target_dir) {
  OnnxGraph::load(models_dir + "/ch_PP-OCRv4_det_infer.onnx")
      .save(target_dir + "/detector.safetensors");
  OnnxGraph::load(models_dir + "/ch_ppocr_mobile_v2.0_cls_infer.onnx")
      .save(target_dir + "/direction.safetensors");
  OnnxGraph recognizer = OnnxGraph::load(models_dir + "/ch_PP-OCRv4_rec_infer.onnx");
  recognizer.save(target_dir + "/recognizer.safetensors");

  const Json* listed = recognizer.properties().find("character");
  if (!listed)
    fail(ErrorCode::kCorruptData, "convert_ocr",
         models_dir + ": expected the characters in the recogniser's properties, got none");
  Json characters = Json::array();
  const std::string& text = listed->as_string();
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    // The list ends with a line break or without one.
    if (end < text.size() || end > begin) characters.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  characters.push_back(" ");
  Json::object({{"model_type", "plait-ocr"}, {"characters", characters}})
      .write(target_dir + "/config.json");
}

}  // namespace plait::models
