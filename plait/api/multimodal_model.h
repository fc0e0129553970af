#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "plait/api/prediction.h"
#include "plait/core/feature_store.h"
#include "plait/core/sample.h"
#include "plait/data/processor.h"
#include "plait/models/fused_network.h"
#include "plait/models/quality/quality.h"
#include "plait/models/trust/trust_model.h"

namespace plait::runtime {
class TrustEngine;
}

namespace plait::api {

/// How to load a model.
struct ModelOptions {
  std::string backend = "cpu";    ///< One of available_backends()
  std::string dtype = "float32";  ///< float32, bfloat16 or float16; never changed silently
  std::string model_size =
      "base";        ///< tiny, base or large: which shipped model the plain constructor loads
  std::string task;  ///< The task that predict answers; empty = the model's first
  int64_t max_batch_size = 32;
  bool untrained = false;  ///< Accept a model with parts that were never trained
};

/// How to answer.
struct PredictOptions {
  std::string task;                ///< Empty = the model's default task
  double coverage = 0.9;           ///< For the prediction set, in (0, 1)
  bool class_conditional = false;  ///< The coverage holds for every class by itself
  double risk = 0.1;               ///< Share of wrong answers from which on the model abstains
  bool explain = false;            ///< Fills Prediction::explanation
  /// Encodes one stream after the other, the most useful per multiply-add first, and stops once the
  /// answer is sure enough by the model's route (certified when it was calibrated).
  bool early_exit = false;
  /// Share of the items that an early answer may get wrong where the full one is right. The least
  /// that was certified is 0.005; below it nothing stops early.
  double early_exit_loss = 0.005;
  /// Encodes no stream that would go beyond so many multiply-adds; the first one always. 0: no
  /// limit.
  double max_multiply_adds = 0;
  /// Starts no further stream after so much time. 0: no limit.
  double max_latency_ms = 0;
  std::vector<std::string> labels;  ///< Zero-shot: any label set, compared in the shared space
  /// Retrieval: embeddings [K, E] of what is searched (Prediction::embedding of items that have the
  /// task's gallery stream alone); fills Prediction::ranking.
  at::Tensor gallery = {};
  std::vector<std::string> gallery_names = {};  ///< Of its rows, for answers; may be empty
};

/// What a value holds, for content hashes: files are read, everything else is taken as it stands.
std::string content_bytes(const Value& value);

/// A feature of one stream, as `encode` makes it and `fuse` takes it.
struct Feature {
  std::string stream;
  models::EncoderOutput encoded;  ///< tokens [1, T, De], mask [1, T], pooled [1, De]
  double quality = 0;
  models::Quality assessed;  ///< The same in detail; empty when it came from a cache
  std::string content_hash;  ///< Of the value and the encoder; equal inputs give equal hashes
};

/// The user's face: a ready model that answers from any non-empty subset of its streams.
/// Thread safety: `predict`, `encode` and `decode` may be called concurrently; `to` and `train`
/// need exclusive access.
class MultimodalModel {
 public:
  /// Back ends that would work now, best first.
  static std::vector<std::string> available_backends();

  /// The shipped model ("plait-base"). @throws Error kInvalidArgument that lists the valid sizes
  /// and back ends.
  static std::shared_ptr<MultimodalModel> load_default(const ModelOptions& options = {});
  /// A folder in the layout of save_pretrained, or a name of the model cache. Older format versions
  /// are migrated, newer ones refused.
  static std::shared_ptr<MultimodalModel> from_pretrained(const std::string& name_or_path,
                                                          const ModelOptions& options = {});
  /// A model from its config and processors looked up in `dir`; untrained until weights are loaded
  /// or trained.
  static std::shared_ptr<MultimodalModel> create(const Json& config, const std::string& dir,
                                                 const ModelOptions& options = {});

  /// config.json, model.safetensors, streams/<name>/..., calibration.json, README.md (the model
  /// card). Each file is replaced atomically. `half` stores the weights as float16.
  void save_pretrained(const std::string& dir, bool half = false) const;

  /// @throws Error kInvalidArgument for an unknown stream (the valid ones are listed) or no stream
  /// at all; decoding errors name the file and the stream.
  Prediction predict(const std::map<std::string, Value>& streams,
                     const PredictOptions& options = {});
  std::vector<Prediction> predict_batch(const std::vector<Sample>& samples,
                                        const PredictOptions& options = {});

  /// One stream alone → its feature; then any of them together → an answer: the same path as
  /// predict, in steps.
  Feature encode(const std::string& stream, const Value& value);
  Prediction decode(const std::vector<Feature>& features, const PredictOptions& options = {});

  /// Decoded, assessed, processed and padded: what the network takes.
  Batch prepare(const std::vector<Sample>& samples) const;

  /// Looked up before a stream is encoded, and given what was; null = none. Set it before other
  /// threads use the model.
  void set_cache(std::shared_ptr<FeatureStore> cache) { cache_ = std::move(cache); }

  /// Digest of a stream's encoder and processor; changes with any weight. Reads all weights when
  /// they changed since the last call. Thread-safe beside `predict`.
  std::string fingerprint(const std::string& stream) const;

  models::FusedNetwork& network() { return *network_; }
  const models::FusedNetwork& network() const { return *network_; }
  std::shared_ptr<models::FusedNetwork> shared_network() const { return network_; }
  const data::Processor& processor(const std::string& stream) const;
  std::shared_ptr<const data::Processor> shared_processor(const std::string& stream) const;
  const Json& config() const { return config_; }
  const Json& calibration() const { return calibration_; }
  void set_calibration(Json calibration) { calibration_ = std::move(calibration); }
  /// Markdown, kept as README.md of the folder.
  /// A classification task's trust fusion; null: the network alone answers.
  std::shared_ptr<const models::TrustModel> trust(const std::string& task) const;
  /// It must not be fitted any further: answers come from its weights as they are now.
  void set_trust(const std::string& task, std::shared_ptr<const models::TrustModel> trust);
  const std::string& card() const { return card_; }
  void set_card(std::string card) { card_ = std::move(card); }
  /// What its encoders may cost and do (ComputePlan): "compute" of the config.
  void set_compute_plan(Json plan) { config_["compute"] = std::move(plan); }
  void set_version(const std::string& version) { config_["version"] = version; }
  std::string version() const { return config_.get("version", "0"); }
  /// Marks the weights as trained, so that the folder loads without `untrained`.
  void mark_trained() { config_["trained"] = true; }
  c10::Device device() const { return device_; }

 private:
  MultimodalModel() = default;
  using Details = std::vector<std::map<std::string, models::Quality>>;
  Batch prepare(const std::vector<Sample>& samples, Details* details) const;
  models::FusedOutput fuse(const std::vector<Feature>& features);
  std::vector<Prediction> answer(const models::FusedOutput& output, const PredictOptions& options,
                                 const Details& details);
  std::vector<Prediction> predict_together(const std::vector<Sample>& samples,
                                           const PredictOptions& options);
  /// A retrieval task's trust fusion answers where an item has one of the query streams.
  void search(const models::FusedOutput& output, const models::TrustModel& trusted,
              const at::Tensor& gallery, const PredictOptions& options,
              struct AnswerContext& context) const;
  Prediction predict_stepwise(const Sample& sample, const PredictOptions& options);
  const runtime::TrustEngine* engine(const std::string& task) const;
  std::string task_of(const PredictOptions& options) const;
  at::Tensor label_embeddings(const std::vector<std::string>& labels, const std::string& task);

  Json config_;
  Json calibration_ = Json::object({});
  std::string card_;
  std::string task_;
  int64_t max_batch_ = 32;
  c10::Device device_ = c10::Device(c10::kCPU);
  c10::ScalarType dtype_ = c10::ScalarType::Float;
  std::shared_ptr<models::FusedNetwork> network_;
  std::map<std::string, std::shared_ptr<const data::Processor>> processors_;
  std::map<std::string, std::shared_ptr<const models::TrustModel>> trust_;
  std::map<std::string, std::shared_ptr<const runtime::TrustEngine>> engines_;  ///< Of trust_
  std::shared_ptr<FeatureStore> cache_;
  mutable std::mutex fingerprints_mutex_;
  mutable std::map<std::string, std::pair<std::string, std::string>>
      fingerprints_;  ///< Stamp of the weights, digest
};

}  // namespace plait::api
