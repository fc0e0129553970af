#include "plait/models/encoders/parallel.h"

#include <ATen/ATen.h>

#include "plait/models/encoders/efficientnet_lite.h"
#include "plait/models/registry.h"

namespace plait::models {

void Parallel::Config::visit(ConfigVisitor& v) {
  v.field("encoders", encoders, "Configs of the encoders, each with its \"type\"");
  v.field("image_sizes", image_sizes, "Images: the side each encoder wants, 0 = as it comes",
          {.min = 0, .max = 8192});
}

Parallel::Config Parallel::Config::tiny() {
  Config config;
  for (int i = 0; i < 2; ++i) {
    // Not through the registry: it is being built when it asks for this.
    EfficientNetLite::Config lite = EfficientNetLite::Config::tiny();
    lite.num_classes = 0;
    Json part = write_config(lite);
    part["type"] = "efficientnet_lite";
    config.encoders.push_back(part);
  }
  config.image_sizes = {0, 24};
  return config;
}

void Parallel::Config::validate() const {
  require(encoders.is_array() && encoders.size() >= 1, "parallel", "expected at least one encoder");
  require(image_sizes.empty() || image_sizes.size() == encoders.size(), "parallel",
          "expected as many image_sizes as encoders");
}

Parallel::Parallel(const Config& config) : config_(config) {
  for (size_t i = 0; i < config_.encoders.size(); ++i) {
    auto part =
        create_as<Encoder>(config_.encoders.at(i), "parallel.encoders[" + std::to_string(i) + "]");
    require(parts_.empty() || part->modality() == parts_.front()->modality(), "parallel",
            "expected encoders of one modality");
    width_ += part->width();
    parts_.push_back(add_child(std::to_string(i), part));
    Json written = part->config();
    written["type"] = config_.encoders.at(i).get("type", "");
    config_.encoders.items()[i] = written;
  }
}

EncoderOutput Parallel::encode(const TensorMap& inputs) {
  std::vector<at::Tensor> pooled, tokens, masks;
  int64_t before = 0;
  bool masked = false;
  for (size_t i = 0; i < parts_.size(); ++i) {
    TensorMap own = inputs;
    int64_t side = config_.image_sizes.empty() ? 0 : config_.image_sizes[i];
    if (auto it = own.find("pixel_values");
        it != own.end() && side > 0 && it->second.size(-1) != side) {
      it->second = at::_upsample_bilinear2d_aa(it->second.to(at::kFloat), {side, side},
                                               /*align_corners=*/false)
                       .to(it->second.scalar_type());
    }
    EncoderOutput out = parts_[i]->encode(own);
    int64_t d = parts_[i]->width();
    pooled.push_back(out.pooled);
    tokens.push_back(at::constant_pad_nd(out.tokens, {before, width_ - before - d}));
    masked = masked || out.mask.defined();
    masks.push_back(out.mask.defined() ? out.mask.to(at::kBool)
                                       : at::ones({out.tokens.size(0), out.tokens.size(1)},
                                                  out.tokens.options().dtype(at::kBool)));
    before += d;
  }
  return {at::cat(tokens, 1), masked ? at::cat(masks, 1) : at::Tensor(), at::cat(pooled, 1)};
}

Json Parallel::config() const { return write_config(config_); }

}  // namespace plait::models
