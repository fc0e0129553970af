#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "plait/api/multimodal_model.h"
#include "plait/data/image/text_boxes.h"
#include "plait/data/packages/cache.h"
#include "plait/models/graph/onnx_graph.h"

namespace plait::api {

/// A line of text in a picture.
struct OcrLine {
  std::string text;
  data::Quad box;    ///< In the picture's pixels
  double score = 0;  ///< Mean probability of its characters
  Json to_json() const;
};

struct OcrOptions {
  double box_threshold = 0.5;  ///< Mean probability that a box is text
  double unclip_ratio = 1.6;   ///< How far boxes grow
  double text_score = 0.5;     ///< Lines below it are left out
  bool direction = true;       ///< Turn lines that stand on their head
};

/// Reads printed text, Chinese and English: PP-OCRv4's detector, direction classifier and
/// recogniser (https://arxiv.org/abs/2206.03001 and its successors), with rapidocr's rules around
/// them. Thread-safe after loading.
class OcrReader {
 public:
  /// A folder as models::convert_ppocr writes it, or a name from `plait models list`, fetched when
  /// needed. `options.backend` is used.
  static std::shared_ptr<OcrReader> from_pretrained(const std::string& name_or_path = "pp-ocrv4",
                                                    const ModelOptions& options = {},
                                                    const data::Progress& progress = {});

  /// The lines of a picture in reading order. @throws Error as data::decode_image_value does;
  /// kResourceLimit for a picture so long and narrow that it would have to be enlarged above 16
  /// million pixels.
  std::vector<OcrLine> read(const Value& image, const OcrOptions& options = {}) const;

 private:
  using Crops = std::vector<data::RawImage>;
  std::vector<data::Quad> detect(const data::RawImage& image, const OcrOptions& options) const;
  void turn_upright(Crops& crops) const;
  std::vector<OcrLine> recognize(const Crops& crops) const;
  at::Tensor run(const models::OnnxGraph& graph, const at::Tensor& input) const;

  std::unique_ptr<models::OnnxGraph> detector_, direction_, recognizer_;
  std::vector<std::string> characters_;
  std::string backend_;
};

}  // namespace plait::api
