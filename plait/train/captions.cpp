#include "plait/train/captions.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/core/error.h"

namespace plait::train {
namespace {
constexpr const char* kUnit = "captions";
}

CaptionSource::CaptionSource(at::Tensor features, std::vector<CaptionItem> items)
    : features_(std::move(features)), items_(std::move(items)) {
  require(features_.dim() == 3, kUnit, "expected features [N, P, E]");
  for (const CaptionItem& item : items_) {
    require(item.picture >= 0 && item.picture < features_.size(0), kUnit,
            "expected features of every item's picture");
    require(!item.prompt.empty() && !item.answer.empty(), kUnit,
            "expected a prompt and an answer of every item");
  }
}

Batch CaptionSource::batch(const std::vector<int64_t>& indices, uint64_t) {
  const auto rows = static_cast<int64_t>(indices.size());
  size_t longest = 0;
  for (int64_t i : indices) {
    const CaptionItem& item = items_.at(static_cast<size_t>(i));
    longest = std::max(longest, item.prompt.size() + item.answer.size());
  }
  at::Tensor ids = at::zeros({rows, static_cast<int64_t>(longest)}, at::kLong);
  at::Tensor labels = at::full_like(ids, -1), mask = at::zeros_like(ids);
  std::vector<int64_t> pictures;
  Batch out;
  out.size = rows;
  for (int64_t row = 0; row < rows; ++row) {
    const CaptionItem& item = items_.at(static_cast<size_t>(indices[static_cast<size_t>(row)]));
    std::vector<int64_t> all = item.prompt;
    all.insert(all.end(), item.answer.begin(), item.answer.end());
    const auto length = static_cast<int64_t>(all.size()),
               asked = static_cast<int64_t>(item.prompt.size());
    ids[row].narrow(0, 0, length).copy_(at::tensor(all, at::kLong));
    mask[row].narrow(0, 0, length).fill_(1);
    labels[row].narrow(0, asked, length - asked).copy_(at::tensor(item.answer, at::kLong));
    pictures.push_back(item.picture);
    out.ids.push_back(std::to_string(indices[static_cast<size_t>(row)]));
  }
  StreamBatch& picture = out.streams["picture"];
  picture.inputs["tokens"] = features_.index_select(0, at::tensor(pictures, at::kLong));
  picture.present = at::ones({rows}, at::kBool);
  picture.quality = at::ones({rows});
  out.targets = {{"input_ids", ids}, {"labels", labels}, {"attention_mask", mask}};
  return out;
}

TensorMap CaptionSource::presence() { return {{"picture", at::ones({size()}, at::kBool)}}; }

CaptionTrainable::CaptionTrainable(std::shared_ptr<models::MultimodalLm> model)
    : model_(std::move(model)) {}

void CaptionTrainable::set_training(bool on) {
  model_->train(on);
  model_->encoder()->train(false);
}

LossOutput CaptionTrainable::loss(const Batch& batch) {
  const at::Tensor& tokens = get(batch.streams.at("picture").inputs, "tokens", kUnit);
  const at::Tensor& ids = get(batch.targets, "input_ids", kUnit);
  const at::Tensor features = model_->project(tokens).flatten(0, 1);
  const at::Tensor hidden = model_->decoder()->hidden_states(
      {{"inputs_embeds", model_->embed(ids, features)},
       {"attention_mask", get(batch.targets, "attention_mask", kUnit)}});
  // The token at t is learned from what stands before it. Only those places are scored: with a
  // large vocabulary the others would cost as much as several layers.
  const at::Tensor labels = batch.targets.at("labels").narrow(1, 1, ids.size(1) - 1);
  const at::Tensor learned = labels >= 0;
  const at::Tensor before = hidden.narrow(1, 0, ids.size(1) - 1).index({learned});
  const at::Tensor logits = model_->decoder()->word_logits(before).to(at::kFloat);
  LossOutput out;
  out.loss = at::cross_entropy_loss(logits, labels.index({learned}));
  return out;
}

}  // namespace plait::train
