#include "plait/runtime/trust_engine.h"

#include <ATen/ATen.h>

#include <array>
#include <bit>

#include "plait/core/error.h"
#include "plait/runtime/multiply_adds.h"
#include "plait/runtime/trust_item.h"
#include "plait/runtime/trust_math.h"

namespace plait::runtime {

using models::Decider;
using models::TrustFusion;
using models::TrustModel;

namespace {

/// The caller's own; what it grew to stays for the next answer.
Arena& arena_of_thread() {
  thread_local Arena arena;
  return arena;
}

at::Tensor plain(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.to(at::kCPU, type).contiguous();
}

}  // namespace

struct TrustEngine::Outputs {
  float *log_probabilities, *breakage, *support, *weights;
  int64_t* group;
  void into(Item& item, int64_t row, int64_t streams, int64_t classes) const {
    item.log_probabilities = log_probabilities + row * classes;
    item.breakage = breakage + row * streams;
    item.support = support + row * streams * classes;
    item.weights = weights + row * streams;
    item.group = group + row;
  }
};

bool TrustEngine::covers(const TrustModel& model) {
  const TrustFusion::Config& config = model.fusion().config();
  return config.questions == 1 && !config.values && !config.candidates;
}

TrustEngine::TrustEngine(std::shared_ptr<const TrustModel> model, const VectorLoops& loops)
    : model_(std::move(model)), loops_(&loops), classes_(model_->fusion().config().classes) {
  require(covers(*model_), "trust", "expected the trust fusion of one choice among classes");
  const TrustFusion& fusion = model_->fusion();
  const TensorMap weights = fusion.state_dict();
  auto at = [&](const std::string& name) { return get(weights, name, "trust"); };
  const size_t count = fusion.config().streams.size();
  joint_weight_ = static_cast<float>(fusion.joint_weight());
  if (joint_weight_ > 0) joint_.emplace(fusion, weights);
  pairs_.resize(count);
  for (size_t m = 0; m < count; ++m) {
    experts_.emplace_back(fusion, weights, m, joint_ ? joint_->width() : 0);
    const auto stream = static_cast<int64_t>(m);
    gates_.push_back({PackedMatrix(at("gate.weight1").select(0, stream)),
                      numbers(at("gate.bias1").select(0, stream)),
                      numbers(at("gate.weight2").select(0, stream)),
                      at("gate.bias2").select(0, stream).item<float>()});
    for (size_t b = 0; b < count; ++b) {
      const std::string name = "consistency." + std::to_string(m) + "." + std::to_string(b) + ".";
      Pair pair;
      if (b != m && at(name + "fitted").item<float>() != 0)
        pair = {PackedMatrix(at(name + "whitening")), at(name + "shift").item<float>(), true};
      pairs_[m].push_back(std::move(pair));
    }
  }
  log_prior_ = numbers(fusion.log_prior());
  prior_ = numbers(fusion.log_prior().exp());
  scale_ = numbers(at("scale"));
  strength_ = static_cast<float>(fusion.strength());
  floor_ = static_cast<float>(fusion.config().floor);
}

int64_t TrustEngine::multiply_adds(int64_t subset) const {
  const int64_t heard = std::popcount(static_cast<uint64_t>(subset));
  return multiply_adds_but_joint(subset) + (joint_ && heard > 1 ? joint_->multiply_adds(heard) : 0);
}

int64_t TrustEngine::multiply_adds_but_joint(int64_t subset) const {
  int64_t out = 0;
  for (size_t m = 0; m < streams(); ++m) {
    if (!(subset >> m & 1)) continue;
    out += experts_[m].multiply_adds() + Gate::kLooks * gates_[m].multiply_adds();
    if (joint_) out += joint_->multiply_adds_of_token(m);
    for (size_t b = 0; b < streams(); ++b) {
      if (subset >> b & 1) out += pairs_[m][b].whitening.multiply_adds();
    }
  }
  return out;
}

void TrustEngine::look_at(size_t stream, const float* const* x, int64_t items,
                          float* const* records, Arena& arena) const {
  const PackedExpert& expert = experts_[stream];
  const float* near = expert.look(*loops_, x, items, records, arena);
  if (!joint_) return;
  std::array<float*, PackedExpert::kMostItems> tokens{};
  for (int64_t i = 0; i < items; ++i)
    tokens[static_cast<size_t>(i)] = records[i] + expert.layout().token;
  joint_->read(*loops_, stream, near, items, tokens.data(), arena);
}

TrustEngine::Outputs TrustEngine::prepare(int64_t items, Verdict& verdict) const {
  const auto count = static_cast<int64_t>(streams());
  verdict.log_probabilities = at::empty({items, classes_});
  verdict.breakage = at::empty({items, count});
  verdict.support = at::empty({items, count, classes_});
  verdict.weights = at::empty({items, count});
  verdict.group = at::empty({items}, at::kLong);
  verdict.deciders.resize(static_cast<size_t>(items));
  return {verdict.log_probabilities.mutable_data_ptr<float>(),
          verdict.breakage.mutable_data_ptr<float>(), verdict.support.mutable_data_ptr<float>(),
          verdict.weights.mutable_data_ptr<float>(), verdict.group.mutable_data_ptr<int64_t>()};
}

TrustEngine::Verdict TrustEngine::decide(const std::vector<at::Tensor>& pooled,
                                         const at::Tensor& quality, const at::Tensor& present,
                                         const at::Tensor& joint) const {
  const auto count = static_cast<int64_t>(streams());
  require(pooled.size() == streams(), "trust", "expected one feature tensor per stream");
  require(present.dim() == 2 && present.size(1) == count && quality.sizes() == present.sizes(),
          "trust", "expected quality and presence of every stream");
  const int64_t items = present.size(0);
  require(
      !joint.defined() || (joint.dim() == 2 && joint.size(0) == items && joint.size(1) == classes_),
      "trust", "expected the network's own logits of every class");
  const at::Tensor here = plain(present, at::kBool), scores = plain(quality, at::kFloat),
                   logits = joint.defined() ? plain(joint, at::kFloat) : joint;
  std::array<at::Tensor, kMostStreams> features;
  for (size_t m = 0; m < streams(); ++m) {
    if (!pooled[m].defined()) continue;
    require(pooled[m].dim() == 2 && pooled[m].size(0) == items &&
                pooled[m].size(1) == experts_[m].width(),
            "trust", "expected features [B, D] of the width of their stream");
    features[m] = plain(pooled[m], at::kFloat);
  }
  Verdict out;
  const Outputs to = prepare(items, out);
  Arena& arena = arena_of_thread();
  constexpr int64_t kTile = PackedExpert::kMostItems;
  for (int64_t begin = 0; begin < items; begin += kTile) {
    arena.reset();
    const int64_t tile = std::min(kTile, items - begin);
    std::array<Item, kTile> some;
    for (size_t m = 0; m < streams(); ++m) {
      std::array<const float*, kTile> x{};
      std::array<float*, kTile> records{};
      int64_t seen = 0;
      for (int64_t i = 0; i < tile; ++i) {
        const int64_t row = begin + i;
        if (!here.const_data_ptr<bool>()[row * count + static_cast<int64_t>(m)]) continue;
        require(features[m].defined(), "trust", "expected features of every stream that is there");
        const auto at = static_cast<size_t>(seen++);
        x[at] = features[m].const_data_ptr<float>() + row * experts_[m].width();
        records[at] = arena.take(experts_[m].layout().size);
        some[static_cast<size_t>(i)].records[m] = records[at];
        some[static_cast<size_t>(i)].subset |= int64_t{1} << m;
      }
      if (seen > 0) look_at(m, x.data(), seen, records.data(), arena);
    }
    for (int64_t i = 0; i < tile; ++i) {
      Item& item = some[static_cast<size_t>(i)];
      const int64_t row = begin + i;
      item.quality = scores.const_data_ptr<float>() + row * count;
      if (logits.defined()) item.joint = logits.const_data_ptr<float>() + row * classes_;
      to.into(item, row, count, classes_);
      decide_item(item, arena);
      out.deciders[static_cast<size_t>(row)] = item.decider;
    }
  }
  return out;
}

TrustEngine::Look TrustEngine::look(size_t stream, const at::Tensor& pooled) const {
  require(stream < streams() && pooled.defined() && pooled.numel() == experts_[stream].width(),
          "trust", "expected one item's features of a stream");
  Arena& arena = arena_of_thread();
  arena.reset();
  const at::Tensor features = plain(pooled, at::kFloat);
  Look out;
  out.record.resize(static_cast<size_t>(experts_[stream].layout().size));
  const float* x = features.const_data_ptr<float>();
  float* record = out.record.data();
  look_at(stream, &x, 1, &record, arena);
  return out;
}

TrustEngine::Verdict TrustEngine::decide(const std::vector<Look>& looks,
                                         const at::Tensor& quality) const {
  require(looks.size() == streams() && quality.numel() == static_cast<int64_t>(streams()), "trust",
          "expected one look and one quality per stream");
  Item item;
  for (size_t m = 0; m < streams(); ++m) {
    if (looks[m].record.empty()) continue;
    require(static_cast<int64_t>(looks[m].record.size()) == experts_[m].layout().size, "trust",
            "expected looks of this engine");
    item.records[m] = looks[m].record.data();
    item.subset |= int64_t{1} << m;
  }
  const at::Tensor scores = plain(quality, at::kFloat);
  item.quality = scores.const_data_ptr<float>();
  Verdict out;
  prepare(1, out).into(item, 0, static_cast<int64_t>(streams()), classes_);
  Arena& arena = arena_of_thread();
  arena.reset();
  decide_item(item, arena);
  out.deciders = {item.decider};
  return out;
}

void TrustEngine::decide_item(Item& item, Arena& arena) const {
  require(item.subset != 0, "trust", "expected at least one stream per item");
  add_multiply_adds(multiply_adds_but_joint(item.subset));
  const auto count = static_cast<int64_t>(streams());
  item.p = arena.take(count * classes_);
  item.ratio = arena.take(count * classes_);
  for (size_t m = 0; m < streams(); ++m) {
    if (!item.has(m)) continue;
    const float* log_p = item.records[m] + experts_[m].layout().log_probabilities;
    const auto row = static_cast<int64_t>(m) * classes_;
    for (int64_t k = 0; k < classes_; ++k) {
      item.p[row + k] = std::exp(log_p[k]);
      item.ratio[row + k] = std::exp(log_p[k] - log_prior_[static_cast<size_t>(k)]);
    }
  }
  compare_streams(item, arena);
  ask_gates(item, arena);

  float broken = 0;
  for (size_t m = 0; m < streams(); ++m) broken += item.has(m) ? item.breakage[m] : 0;
  broken /= static_cast<float>(std::popcount(static_cast<uint64_t>(item.subset)));
  const int64_t group = count <= TrustModel::kMaxExactStreams
                            ? item.subset
                            : std::popcount(static_cast<uint64_t>(item.subset));
  auto found = model_->choices().find(group);
  TrustModel::Choice standard;
  const TrustModel::Choice& choice = found == model_->choices().end() ? standard : found->second;
  const bool unknown = choice.decider == Decider::kJoint && !item.joint;
  item.decider = unknown ? Decider::kTrust : choice.decider;
  answer_by_trust(item, arena);
  const float torn = conflict(item, arena);
  if (item.decider != Decider::kTrust) answer_statically(item.decider, item, arena);
  if (item.decider == Decider::kJoint) {
    log_softmax(item.joint, classes_, item.log_probabilities);
  } else if (item.decider != Decider::kMean) {
    for (int64_t k = 0; k < classes_; ++k) {
      float sum = 0;
      for (int64_t m = 0; m < count; ++m) sum += item.support[m * classes_ + k];
      item.log_probabilities[k] = sum + log_prior_[static_cast<size_t>(k)];
    }
    log_softmax(item.log_probabilities, classes_, item.log_probabilities);
  }
  share_evidence(item, arena);
  const float doubt =
      static_cast<float>(choice.slope) * broken + static_cast<float>(choice.conflict_slope) * torn;
  const float temperature = unknown ? 1 : static_cast<float>(choice.temperature) * std::exp(doubt);
  for (int64_t k = 0; k < classes_; ++k) item.log_probabilities[k] /= temperature;
  log_softmax(item.log_probabilities, classes_, item.log_probabilities);
  const std::vector<double>& bins = model_->suspicion_bins();
  int64_t bin = 0;
  for (double edge : bins) bin += broken + torn > static_cast<float>(edge);
  *item.group = group * static_cast<int64_t>(bins.size() + 1) + bin;
}

}  // namespace plait::runtime
