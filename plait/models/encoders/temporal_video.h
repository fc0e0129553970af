#pragma once
#include <memory>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

/// Video encoder of our own, made to follow a live stream: causal 3-D convolutions (after Tran et
/// al., "Learning Spatiotemporal Features with 3D Convolutional Networks" (2015), arXiv 1412.0767)
/// shrink space and look `temporal_kernel` frames back, attention pooling over places makes one
/// token of every frame, and blocks of causal attention over a window of frames with learned
/// biases by distance (after Bertasius et al., "Is Space-Time Attention All You Need for Video
/// Understanding?" (2021), arXiv 2102.05095) join them. Nothing looks ahead and normalisation is
/// by frame, so a stream costs one frame's work a frame and gives what the whole clip gives. At
/// the default size 0.4 M parameters and 55 M multiply-adds for a frame of 112 x 112.
class TemporalVideo : public Encoder {
 public:
  struct Config {
    int64_t num_channels = 3;
    std::vector<int64_t> stem_channels = {24, 48, 96};
    int64_t temporal_kernel = 3;
    int64_t hidden_size = 128;
    int64_t num_hidden_layers = 2;
    int64_t num_attention_heads = 4;
    int64_t intermediate_size = 256;
    int64_t window = 32;
    int64_t max_frames = 1024;
    double dropout = 0.1;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit TemporalVideo(const Config& config);
  ~TemporalVideo() override;

  /// pixel_values [B, T, C, H, W] of any size, attention_mask [B, T] (optional, real frames first):
  /// tokens [B, T, D], one for each frame; pooled is the mean of the last `window` real ones.
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kVideo; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }

 private:
  friend class VideoStream;
  class StemLayer;
  class PlacePool;
  class Block;

  Config config_;
  std::shared_ptr<ModuleList<StemLayer>> stem_;
  std::shared_ptr<PlacePool> places_;
  std::shared_ptr<ModuleList<Block>> blocks_;
  std::shared_ptr<LayerNorm> norm_;
};

/// A video as it comes in. Each frame costs the same; memory holds `temporal_kernel` − 1 maps of
/// each stem layer and `window` tokens of each block. Not thread-safe; streams of one model may
/// run concurrently.
class VideoStream {
 public:
  /// What encode would give for all frames so far: the last token and `pooled`.
  struct Output {
    at::Tensor token;   ///< [B, D]
    at::Tensor pooled;  ///< [B, D]
  };

  /// Without gradients. @throws Error kInvalidArgument for a model in training mode.
  explicit VideoStream(std::shared_ptr<const TemporalVideo> model);
  ~VideoStream();
  VideoStream(VideoStream&&) noexcept;
  VideoStream& operator=(VideoStream&&) noexcept;

  /// [B, C, H, W]; all frames of one stream are of one shape. @throws Error kInvalidArgument.
  Output push(const at::Tensor& frame);
  /// Forgets all frames.
  void reset();
  /// Frames since the begin or the last reset.
  int64_t frames() const;

 private:
  struct State;
  std::shared_ptr<const TemporalVideo> model_;
  std::unique_ptr<State> state_;
};

}  // namespace plait::models
