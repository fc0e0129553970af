#pragma once
#include <memory>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"

namespace plait::models {

/// Several encoders over the same input, e.g. a general image backbone beside a small one of our
/// own. pooled is the concatenation [B, D1 + D2 ...]; each part's tokens keep their own columns and
/// are zero in the others', so that one linear projection after it acts as one projection per part.
class Parallel : public Encoder {
 public:
  struct Config {
    Json encoders = Json::array();  ///< [{"type": ..., ...}, ...], all of one modality
    std::vector<int64_t>
        image_sizes;  ///< Images: the side that each part wants; 0 or empty = as it comes
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };
  explicit Parallel(const Config& config);
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return parts_.front()->modality(); }
  int64_t width() const override { return width_; }
  Json config() const override;

 private:
  Config config_;
  int64_t width_ = 0;
  std::vector<std::shared_ptr<Encoder>> parts_;
};

}  // namespace plait::models
