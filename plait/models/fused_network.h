#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plait/core/sample.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/fusion/fusion.h"
#include "plait/models/layers/layers.h"
#include "plait/models/tasks/head.h"

namespace plait::models {

/// What a FusedNetwork answers for a batch; M streams in the order of `stream_names()`.
struct FusedOutput {
  std::map<std::string, TensorMap>
      tasks;  ///< By task, as its head names them: logits [B, K], mean [B, R] ...
  std::map<std::string, at::Tensor>
      experts;           ///< Classification tasks: each stream's own logits [B, M, K]
  at::Tensor weights;    ///< [B, M], 0 where absent, sums to 1
  at::Tensor present;    ///< [B, M] bool
  at::Tensor quality;    ///< [B, M]
  at::Tensor fused;      ///< [B, D]; undefined for fusions of decisions
  at::Tensor auxiliary;  ///< [B] extra loss of the fusion layer; undefined when it has none
  at::Tensor features;   ///< [B, M, D] projected pooled features, zeros where absent
  std::map<std::string, at::Tensor> pooled;  ///< By stream [B, De]: what its encoder gave
};

/// One JSON config puts it together: streams × encoders × fusion × tasks.
///
///     {"streams": {"image": {"modality": "image", "encoder": {"type": "picture_net"}, "frozen":
///     false}},
///      "width": 256, "fusion": {"type": "drg"}, "tasks": {"category": {"type": "classification",
///      "labels": [...]}}}
///
/// Each stream: encoder → projection to one width (layer norm, linear) → fusion with the others →
/// one head per task. Classification tasks have an expert head per stream besides (their logits
/// feed fusions of decisions). Parameters are named streams.<name>.encoder.…,
/// streams.<name>.projection.…, streams.<name>.experts.<task>.…, fusion.…, tasks.<name>.…. A
/// retrieval task has no target: its head embeds each stream's projected feature in the shared
/// space, the item's embedding is their mean under the fusion's weights, and the loss aligns every
/// pair of streams that an item has. Any non-empty subset of the streams is a valid item and one
/// batch may mix subsets: an encoder sees only the rows that have its stream.
class FusedNetwork : public Module {
 public:
  /// `config` as above; keys of the folder format (model_type, format_version, processor ...) are
  /// ignored here.
  /// @throws Error kInvalidArgument that names the path in the config.
  static std::shared_ptr<FusedNetwork> create(const Json& config,
                                              const std::string& where = "config.json");

  const std::vector<std::string>& stream_names() const { return stream_names_; }
  const std::vector<std::string>& task_names() const { return task_names_; }
  Modality modality(const std::string& stream) const;
  const Encoder& encoder(const std::string& stream) const;
  const Json& task_config(const std::string& task) const;
  /// The config with every default written out.
  const Json& config() const { return config_; }
  int64_t width() const { return width_; }

  /// Encodes one stream for its present rows: tokens [B, T, De] (at most `max_tokens` of the
  /// stream's config, neighbours averaged), mask [B, T], pooled [B, De]; absent rows are zeros with
  /// an empty mask. When the inputs hold "encoded.pooled" (and "encoded.tokens", "encoded.mask")
  /// the encoder is not run. A frozen encoder runs without gradients.
  EncoderOutput encode(const std::string& stream, const StreamBatch& batch);
  /// Projects, fuses and answers; `encoded` may lack streams. @throws Error when an item has no
  /// stream at all.
  FusedOutput decode(const std::map<std::string, EncoderOutput>& encoded, const at::Tensor& present,
                     const at::Tensor& quality);
  /// encode for every stream of the batch, then decode.
  FusedOutput forward(const Batch& batch);
  /// Mean loss of the retrieval tasks and of those that have targets in the batch, plus
  /// `expert_loss` (config, default 0.5) times the experts'.
  at::Tensor loss(const Batch& batch, const FusedOutput& output);

  /// Frozen encoders stay in eval mode without gradients whatever `train` says.
  void train_mode(bool on);

 private:
  struct Stream {
    std::string name;
    std::shared_ptr<Encoder> encoder;
    bool frozen = false;
    int64_t max_tokens = 16;
    std::shared_ptr<LayerNorm> norm;
    std::shared_ptr<Linear> projection;
    std::map<std::string, std::shared_ptr<Head>> experts;
  };
  struct Task {
    std::string name;
    std::shared_ptr<Head> head;
    Json config;
    bool classification = false;
    bool retrieval = false;
    double weight = 1;
  };

  FusedNetwork() = default;
  void build_stream(const std::string& name, const Json& config, const std::string& where);
  void build_task(const std::string& name, const Json& config, const std::string& where);
  at::Tensor project(const Stream& stream, const at::Tensor& x) const;
  const Stream& stream(const std::string& name) const;
  TensorMap shared_space(const Task& task, const FusionInput& in, const at::Tensor& weights);
  at::Tensor alignment_loss(const Task& task, const TensorMap& outputs,
                            const at::Tensor& present) const;

  Json config_;
  int64_t width_ = 256;
  double expert_loss_ = 0.5;
  std::vector<std::string> stream_names_, task_names_;
  std::vector<Stream> streams_;
  std::vector<Task> tasks_;
  std::shared_ptr<Fusion> fusion_;
  std::shared_ptr<Dropout> dropout_;
};

/// Averages neighbouring tokens so that at most `count` remain; padding does not count. tokens [B,
/// T, D], mask [B, T].
EncoderOutput reduce_tokens(EncoderOutput in, int64_t count);

}  // namespace plait::models
