#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plait/api/multimodal_model.h"
#include "plait/api/study_parts.h"
#include "plait/core/feature_store.h"

namespace plait::api {

/// One stream of a data set behind a frozen encoder, for studies in many splits: values are names
/// of items and of what befell them, which are damaged and encoded only when their pooled features
/// are not in the store. Used from one thread at a time.
class FrozenStream {
 public:
  /// `samples` hold the stream `name`, and `others` of theirs by name, and have an id. What the
  /// model's encoder of the stream gives is kept in `store`, which outlives this object.
  /// @throws Error kInvalidArgument for a sample without the stream.
  FrozenStream(std::shared_ptr<MultimodalModel> model, std::string name,
               const std::vector<Sample>& samples, FeatureStore* store);
  ~FrozenStream();

  /// The item as it is.
  static Value clean(const std::string& id);
  /// data::damage's `kind` befalls an item.
  static StudyDamage damage(const std::string& kind, bool seen, std::vector<StudyLevel> levels);
  /// The item's stream `other` comes in its place; items without it stay as they are.
  StudyDamage replaced_by(const std::string& kind, const std::string& other, bool seen,
                          const std::vector<Sample>& samples);

  /// [N, D] pooled features, and [N] quality, of what `values` name.
  at::Tensor encode(const std::vector<Value>& values);
  at::Tensor judge(const std::vector<Value>& values);

 private:
  struct Known {
    at::Tensor pooled;
    float quality = 0;
  };
  const Known& look_up(const Value& value) const;
  void encode_missing(const std::vector<Value>& values);
  /// What an item became, for its encoder.
  Value make(const Json& named) const;

  std::shared_ptr<MultimodalModel> model_;
  std::string name_, fingerprint_;
  Modality modality_;
  FeatureStore* store_;
  std::map<std::string, Value> items_;                            ///< By id
  std::map<std::string, std::map<std::string, Value>> replaced_;  ///< By kind and id
  std::map<std::string, std::string> digests_;                    ///< Of the items' content, by id
  std::map<std::string, Known> known_;                            ///< By the value's text
};

}  // namespace plait::api
