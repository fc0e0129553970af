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

// As in plait/models/trust: consistency.cpp and trust_fusion.cpp.
constexpr float kMostNats = 20;
constexpr float kExcessSlope = 3;
constexpr float kConsensusFloor = 0.1;
constexpr int kLooks = 3;
constexpr float kFarthest = 1e4;
constexpr auto kInputs = static_cast<size_t>(TrustFusion::kGateInputs);

float squash(float nats) { return std::asinh(nats / 2); }
float decades(float quality) { return std::log10(std::clamp(quality, 1e-3F, 1.0F)) / 3 + 1; }

std::vector<float> numbers(const at::Tensor& tensor) {
  at::Tensor flat = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* begin = flat.const_data_ptr<float>();
  return {begin, begin + flat.numel()};
}

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
  return config.questions == 1 && !config.values && !config.candidates &&
         model.fusion().joint_weight() == 0;
}

TrustEngine::TrustEngine(std::shared_ptr<const TrustModel> model, const VectorLoops& loops)
    : model_(std::move(model)), loops_(&loops), classes_(model_->fusion().config().classes) {
  require(covers(*model_), "trust", "expected the trust fusion of one choice among classes");
  const TrustFusion& fusion = model_->fusion();
  const TensorMap weights = fusion.state_dict();
  auto at = [&](const std::string& name) { return get(weights, name, "trust"); };
  const size_t count = fusion.config().streams.size();
  pairs_.resize(count);
  for (size_t m = 0; m < count; ++m) {
    experts_.emplace_back(fusion, weights, m);
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
  int64_t out = 0;
  for (size_t m = 0; m < streams(); ++m) {
    if (!(subset >> m & 1)) continue;
    const Gate& gate = gates_[m];
    out += experts_[m].multiply_adds() +
           kLooks * (gate.hidden.multiply_adds() + static_cast<int64_t>(gate.output.size()));
    for (size_t b = 0; b < streams(); ++b) {
      if (subset >> b & 1) out += pairs_[m][b].whitening.multiply_adds();
    }
  }
  return out;
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
      if (seen > 0) experts_[m].look(*loops_, x.data(), seen, records.data(), arena);
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
  experts_[stream].look(*loops_, &x, 1, &record, arena);
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
  add_multiply_adds(multiply_adds(item.subset));
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

  float suspicion = 0;
  for (size_t m = 0; m < streams(); ++m) suspicion += item.has(m) ? item.breakage[m] : 0;
  suspicion /= static_cast<float>(std::popcount(static_cast<uint64_t>(item.subset)));
  const int64_t group = count <= TrustModel::kMaxExactStreams
                            ? item.subset
                            : std::popcount(static_cast<uint64_t>(item.subset));
  auto found = model_->choices().find(group);
  TrustModel::Choice standard;
  const TrustModel::Choice& choice = found == model_->choices().end() ? standard : found->second;
  const bool unknown = choice.decider == Decider::kJoint && !item.joint;
  item.decider = unknown ? Decider::kTrust : choice.decider;
  if (item.decider == Decider::kTrust) {
    pool(item, item.breakage, item.support);
    const float a = scale_[static_cast<size_t>(item.subset)];
    for (int64_t i = 0; i < count * classes_; ++i) item.support[i] *= a;
  } else {
    answer_statically(item.decider, item, arena);
  }
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
  const float temperature = unknown ? 1
                                    : static_cast<float>(choice.temperature) *
                                          std::exp(static_cast<float>(choice.slope) * suspicion);
  for (int64_t k = 0; k < classes_; ++k) item.log_probabilities[k] /= temperature;
  log_softmax(item.log_probabilities, classes_, item.log_probabilities);
  const std::vector<double>& bins = model_->suspicion_bins();
  int64_t bin = 0;
  for (double edge : bins) bin += suspicion > static_cast<float>(edge);
  *item.group = group * static_cast<int64_t>(bins.size() + 1) + bin;
}

/// How much better each stream is explained by each other one.
void TrustEngine::compare_streams(Item& item, Arena& arena) const {
  for (size_t a = 0; a < streams(); ++a) {
    int64_t told = experts_[a].layout().told;
    for (size_t b = 0; b < streams(); ++b) {
      if (a == b) continue;
      const PackedExpert::Layout& own = experts_[b].layout();
      const int64_t width = own.told - own.coordinates;
      const Pair& pair = pairs_[a][b];
      if (item.has(a) && item.has(b) && pair.fitted) {
        const float *x = item.records[b] + own.coordinates, *as_told = item.records[a] + told;
        float* missed = arena.take(width);
        float* white = arena.take(pair.whitening.room());
        for (int64_t c = 0; c < width; ++c) missed[c] = x[c] - as_told[c];
        loops_->multiply(pair.whitening.panels(), missed, width, 1, white, 0);
        const float ratio =
            pair.shift - 0.5F * sum_of_squares(white, width) - item.records[b][own.alone];
        item.consistency[b][a] = std::min(std::max(ratio, -kMostNats), kMostNats);
      }
      told += width;
    }
  }
}

/// Nats [M, K] that each stream adds to each class, before the scale.
void TrustEngine::pool(const Item& item, const float* breakage, float* support) const {
  for (size_t m = 0; m < streams(); ++m) {
    const auto row = static_cast<int64_t>(m) * classes_;
    for (int64_t k = 0; k < classes_; ++k)
      support[row + k] =
          item.has(m) ? std::log((1 - breakage[m]) * item.ratio[row + k] + breakage[m]) : 0;
  }
}

/// The gates' inputs [M, kGateInputs] and excess [M]; see TrustFusion::look_at.
void TrustEngine::look_around(const Item& item, const float* suspicion, float* inputs,
                              float* excess, Arena& arena) const {
  const auto count = static_cast<int64_t>(streams());
  const float classes = std::log(static_cast<float>(classes_));
  float* support = arena.take(count * classes_);
  float* all = arena.take(classes_);
  float* consensus = arena.take(classes_);
  pool(item, suspicion, support);
  for (int64_t k = 0; k < classes_; ++k) {
    all[k] = log_prior_[static_cast<size_t>(k)];
    for (int64_t m = 0; m < count; ++m) all[k] += support[m * classes_ + k];
  }
  std::array<float, kMostStreams> torn_by{}, torn_from{};
  float torn_all = 0;
  for (size_t b = 0; b < streams(); ++b) {
    for (size_t a = 0; a < streams(); ++a) {
      if (!item.has(a) || !item.has(b)) continue;
      const float torn =
          std::min(item.consistency[b][a] * (1 - suspicion[a]), 0.0F) * (1 - suspicion[b]);
      torn_from[b] += torn, torn_by[a] += torn, torn_all += torn;
    }
  }
  for (size_t m = 0; m < streams(); ++m) {
    if (!item.has(m)) continue;
    const PackedExpert::Layout& at = experts_[m].layout();
    const float *own = item.records[m], *log_p = own + at.log_probabilities;
    const auto row = static_cast<int64_t>(m) * classes_;
    const float* p = item.p + row;
    for (int64_t k = 0; k < classes_; ++k) consensus[k] = all[k] - support[row + k];
    log_softmax(consensus, classes_, consensus);
    float entropy = 0, surest = 0, agreed = 0, by_chance = 0, most = 0;
    for (int64_t k = 0; k < classes_; ++k) {
      const float others = std::exp(consensus[k]);
      entropy -= p[k] * log_p[k];
      agreed += p[k] * others;
      by_chance += p[k] * prior_[static_cast<size_t>(k)];
      surest = std::max(surest, p[k]);
      most = std::max(most, others);
    }
    const float kappa =
        std::min(std::max((agreed - by_chance) / std::max(1 - by_chance, 1e-3F), 0.0F), 1.0F);
    float joined = 0, torn = 0, best = 0;
    float least_unusual = kFarthest, least_excess = kFarthest;
    bool alone = true;
    for (size_t a = 0; a < streams(); ++a) {
      if (a == m || !item.has(a)) continue;
      const PackedExpert::Layout& other = experts_[a].layout();
      const float nats = item.consistency[m][a] * (1 - suspicion[a]);
      joined += std::max(nats, 0.0F), torn += std::min(nats, 0.0F), best = std::max(best, nats);
      least_unusual = std::min(least_unusual, item.records[a][other.unusual]);
      least_excess = std::min(least_excess, item.records[a][other.excess]);
      alone = false;
    }
    if (alone) least_unusual = least_excess = 0;
    const std::array<float, kInputs> seen{entropy / classes,
                                          surest,
                                          std::log(std::max(agreed, 1e-6F)) / classes,
                                          most,
                                          std::log(own[at.p_value]) / 5,
                                          own[at.unusual],
                                          std::min(own[at.excess], 3.0F),
                                          squash(joined),
                                          squash(torn),
                                          squash(best),
                                          decades(item.quality[m]),
                                          least_unusual,
                                          squash(torn_all - torn_from[m] - torn_by[m])};
    std::copy(seen.begin(), seen.end(), inputs + m * kInputs);
    excess[m] = std::max(own[at.excess] - kappa * least_excess, 0.0F);
  }
}

void TrustEngine::ask_gates(Item& item, Arena& arena) const {
  std::array<float, kMostStreams * kInputs> inputs{};
  std::array<float, kMostStreams> excess{}, eps{};
  eps.fill(kConsensusFloor);
  float* h = arena.take(gates_[0].hidden.room());
  for (int look = 0; look < kLooks; ++look) {
    look_around(item, eps.data(), inputs.data(), excess.data(), arena);
    for (size_t m = 0; m < streams(); ++m) {
      eps[m] = 1;
      if (!item.has(m)) continue;
      const Gate& gate = gates_[m];
      loops_->multiply(gate.hidden.panels(), inputs.data() + m * kInputs, 0, 1, h, 0);
      float logit = gate.bias;
      for (size_t j = 0; j < gate.output.size(); ++j)
        logit += gelu(h[j] + gate.hidden_bias[j]) * gate.output[j];
      const float doubt = 1 - sigmoid(logit) * std::exp(-kExcessSlope * excess[m]);
      eps[m] = std::min(std::max(doubt, floor_), 1.0F);
    }
  }
  for (size_t m = 0; m < streams(); ++m) {
    const float off = 1 - std::exp(-kExcessSlope * excess[m]);
    item.breakage[m] = item.has(m) ? std::max(floor_ + strength_ * (eps[m] - floor_), off) : 1;
  }
}

}  // namespace plait::runtime
