#pragma once
#include <memory>
#include <vector>

#include "plait/models/decoders/multimodal_lm.h"
#include "plait/train/trainable.h"

/// Teaching a language model to speak about pictures.
namespace plait::train {

/// One text about one picture.
struct CaptionItem {
  int64_t picture = 0;          ///< Row of the features
  std::vector<int64_t> prompt;  ///< With a placeholder for every token of the picture
  std::vector<int64_t> answer;  ///< What is to be learned, its end-of-text token included
};

/// Texts about pictures that a frozen encoder has seen before: features [N, P, E] as
/// MultimodalLm::encode gives them. Batches hold the stream "picture" ("tokens" [B, P, E]) and the
/// targets "input_ids", "labels" (-1: not to be learned) and "attention_mask" [B, T].
class CaptionSource : public BatchSource {
 public:
  /// @throws Error kInvalidArgument for an item without an answer, or a picture that is not there.
  CaptionSource(at::Tensor features, std::vector<CaptionItem> items);
  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  Batch batch(const std::vector<int64_t>& indices, uint64_t epoch_seed) override;
  TensorMap presence() override;
  const std::vector<CaptionItem>& items() const { return items_; }

 private:
  at::Tensor features_;
  std::vector<CaptionItem> items_;
};

/// Teacher forcing: the mean cross-entropy of the answers' tokens. The encoder stays frozen; what
/// else learns is what requires a gradient (the projector, adapters in the decoder).
class CaptionTrainable : public Trainable {
 public:
  explicit CaptionTrainable(std::shared_ptr<models::MultimodalLm> model);
  models::Module& module() override { return *model_; }
  void set_training(bool on) override;
  LossOutput loss(const Batch& batch) override;

 private:
  std::shared_ptr<models::MultimodalLm> model_;
};

}  // namespace plait::train
