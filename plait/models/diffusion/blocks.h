#pragma once
#include <memory>
#include <string>

#include "plait/models/layers/layers.h"

/// What the U-Net and the autoencoder of latent diffusion (Rombach et al. 2022,
/// https://arxiv.org/abs/2112.10752) are made of. Names and formulas are those of diffusers, so
/// that its checkpoints load. Feature maps are [B, C, H, W].
namespace plait::models {

struct ResidualOptions {
  int64_t in = 0, out = 0;
  int64_t time_width = 0;  ///< Width of the time embedding; 0: the block is not told the time.
  int64_t groups = 32;
  double eps = 1e-5;
  std::string act = "silu";
  double dropout = 0;
};

/// Normalise, activate, convolve, twice; the time is added in between, the input at the end
/// (through a 1×1 convolution where the channels differ).
class ResidualBlock : public Module {
 public:
  explicit ResidualBlock(const ResidualOptions& options);
  /// `time` [B, time_width]: the activated embedding; undefined without one.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& time = {}) const;

 private:
  std::string act_;
  std::shared_ptr<GroupNorm> norm1_, norm2_;
  std::shared_ptr<Conv> conv1_, conv2_, shortcut_;
  std::shared_ptr<Linear> time_;
  std::shared_ptr<Dropout> dropout_;
};

/// Halves height and width by a strided convolution. Padding 0 adds a row and a column of zeros at
/// the end instead, as the autoencoder does.
class Downsample : public Module {
 public:
  Downsample(int64_t channels, int64_t padding);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  bool pad_end_;
  std::shared_ptr<Conv> conv_;
};

/// Nearest neighbours at `height` × `width` (twice the size when 0), then a convolution.
class Upsample : public Module {
 public:
  explicit Upsample(int64_t channels);
  at::Tensor operator()(const at::Tensor& x, int64_t height = 0, int64_t width = 0) const;

 private:
  std::shared_ptr<Conv> conv_;
};

/// Multi-head attention of tokens x [B, T, D] to `states` [B, S, E] (x itself when undefined).
class CrossAttention : public Module {
 public:
  /// `bias`: of queries, keys and values.
  CrossAttention(int64_t width, int64_t state_width, int64_t heads, bool bias = false);
  /// `mask`: see models::attention.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& states = {},
                        const at::Tensor& mask = {}) const;

 private:
  int64_t heads_;
  std::shared_ptr<Linear> q_, k_, v_;
  std::shared_ptr<ModuleList<Linear>> out_;
};

/// One head of attention over all places of a map, added to it: the middle of the autoencoder.
class MapAttention : public Module {
 public:
  MapAttention(int64_t channels, int64_t groups, double eps);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  std::shared_ptr<GroupNorm> norm_;
  std::shared_ptr<Linear> q_, k_, v_;
  std::shared_ptr<ModuleList<Linear>> out_;
};

struct TransformerOptions {
  int64_t channels = 0;
  int64_t heads = 8;
  int64_t layers = 1;
  int64_t state_width = 768;  ///< Of the condition that is attended to
  int64_t groups = 32;
  double dropout = 0;
  bool linear_projection = false;  ///< proj_in and proj_out are linear layers, not convolutions
};

class SpatialTransformerLayer;

/// The places of a map as tokens: self-attention, attention to the condition, gated feed-forward
/// (GEGLU, Shazeer 2020, https://arxiv.org/abs/2002.05202); the map is added at the end.
class SpatialTransformer : public Module {
 public:
  explicit SpatialTransformer(const TransformerOptions& options);
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& states,
                        const at::Tensor& mask = {}) const;

 private:
  bool linear_;
  std::shared_ptr<GroupNorm> norm_;
  std::shared_ptr<Conv> conv_in_, conv_out_;
  std::shared_ptr<Linear> linear_in_, linear_out_;
  std::shared_ptr<ModuleList<SpatialTransformerLayer>> layers_;
};

/// The children "resnets", "attentions", "downsamplers" and "upsamplers" of a stage; a list that
/// stays empty has no names in the checkpoint.
template <class Attention>
struct MapStage : Module {
  MapStage()
      : resnets(add<ModuleList<ResidualBlock>>("resnets")),
        attentions(add<ModuleList<Attention>>("attentions")),
        downsamplers(add<ModuleList<Downsample>>("downsamplers")),
        upsamplers(add<ModuleList<Upsample>>("upsamplers")) {}
  std::shared_ptr<ModuleList<ResidualBlock>> resnets;
  std::shared_ptr<ModuleList<Attention>> attentions;
  std::shared_ptr<ModuleList<Downsample>> downsamplers;
  std::shared_ptr<ModuleList<Upsample>> upsamplers;
};

}  // namespace plait::models
