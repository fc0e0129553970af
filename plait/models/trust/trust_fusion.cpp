#include "plait/models/trust/trust_fusion.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <numeric>

#include "plait/core/error.h"
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/questions.h"

namespace plait::models {
namespace {

constexpr double kExcessSlope = 3;       ///< ε rises to 1 − e⁻³ at e times the limit
constexpr double kConsensusFloor = 0.1;  ///< ε of every stream when the gate forms the consensus
constexpr int kLooks = 3;                ///< How often the gates look at the consensus
constexpr double kFarthest = 1e4;        ///< Deviations, beyond which all is alike
constexpr double kInitialTrust = 2.5;    ///< Logit of 1 − ε before training

/// Nats on a scale that tells 1 from 3 as well as 10 from 30.
at::Tensor squash(const at::Tensor& nats) { return (nats / 2).asinh(); }

/// Quality on a scale of three decades, in [0, 1]: a stream that is ten times worse than another
/// shows it, however bad both are.
at::Tensor decades(const at::Tensor& quality) { return quality.clamp(1e-3, 1).log10() / 3 + 1; }

/// Probabilities of the log-linear pool of all streams but m, for every m: [B, M, K].
at::Tensor leave_one_out(const at::Tensor& support, const at::Tensor& log_prior,
                         int64_t questions) {
  at::Tensor others = support.sum(1, /*keepdim=*/true) - support;
  if (questions == 1) return at::softmax(others + log_prior, -1);
  return log_normalise(others + log_prior, questions).exp();
}

/// What streams of likelihood ratios [B, M, K] and these breakages add: log((1 − ε) ratio + ε).
at::Tensor contaminated(const at::Tensor& ratio, const at::Tensor& breakage,
                        const at::Tensor& present) {
  at::Tensor eps = breakage.unsqueeze(-1);
  at::Tensor mixed = (1 - eps) * ratio + eps;
  return at::where(present.unsqueeze(-1), mixed.log(), at::zeros_like(mixed));
}

/// What the gates read of these streams alone.
Evidence select_streams(const Evidence& e, const at::Tensor& streams) {
  auto pick = [&](const at::Tensor& x) { return x.index_select(1, streams); };
  return {pick(e.log_probabilities),
          pick(e.p_value),
          pick(e.unusual),
          pick(e.excess),
          pick(e.consistency).index_select(2, streams),
          pick(e.quality),
          pick(e.present)};
}

/// The greatest probability [B, M], in the mean over questions.
at::Tensor most_of(const at::Tensor& p, int64_t questions) {
  return over_questions(each_question(p, questions).amax(-1), questions);
}

/// The least of `values` [B, M] among the other streams that are there; 0 where there is none.
at::Tensor least_other(const at::Tensor& values, const at::Tensor& present) {
  const int64_t streams = values.size(1);
  at::Tensor seen = at::logical_and(present.unsqueeze(1), at::eye(streams).eq(0));
  at::Tensor each = values.unsqueeze(1).expand({-1, streams, -1});
  at::Tensor least = at::where(seen, each, at::full({}, kFarthest)).amin(-1);
  return at::where(seen.any(-1), least, at::zeros({}));
}

}  // namespace

void TrustFusion::Config::visit(ConfigVisitor& v) {
  v.field("streams", streams, "Names of the streams");
  v.field("widths", widths, "Width of each stream's features", {.min = 1, .max = 1e6});
  v.field("classes", classes, "Number of classes", {.min = 2, .max = 1e6});
  v.field("questions", questions, "Labels of two classes each, or values", {.min = 1, .max = 1e5});
  v.field("values", values, "The classes are bins of values");
  v.field("candidates", candidates, "The classes are candidates, others for every item");
  v.field("hidden", hidden, "Hidden width of the experts; 0: linear", {.min = 0, .max = 65536});
  v.field("dropout", dropout, "Dropout of the experts", {.min = 0, .max = 0.95});
  v.field("landmarks", landmarks, "Landmarks of the experts' radial basis functions; 0: none",
          {.min = 0, .max = 65536});
  v.field("components", components, "Principal components of the densities", {.min = 1, .max = 64});
  v.field("gate_hidden", gate_hidden, "Hidden width of the gates", {.min = 1, .max = 1024});
  v.field("floor", floor, "Least probability that a stream misleads", {.min = 1e-4, .max = 0.5});
  v.field("joint", joint, "Width of the joint expert's tokens; 0: none", {.min = 0, .max = 4096});
}

TrustFusion::Config TrustFusion::Config::tiny() {
  Config c;
  c.streams = {"a", "b"};
  c.widths = {5, 7};
  c.classes = 3;
  c.hidden = 8;
  c.landmarks = 6;
  c.components = 3;
  c.joint = 8;
  return c;
}

void TrustFusion::Config::validate() const {
  require(!streams.empty() && streams.size() == widths.size(), "trust",
          "expected one width per stream");
  require(static_cast<int64_t>(streams.size()) <= kMaxStreams, "trust",
          "expected at most 12 streams");
  require(joint % JointExpert::kHeads == 0 && (joint == 0 || !candidates), "trust",
          "expected a joint expert's width that is a multiple of 4, and none for candidates");
  require(!candidates || (questions == 1 && !values), "trust",
          "expected candidates of one question");
  require(questions * classes <= 1000000 && (!values || classes >= 4), "trust",
          "expected at most 1000000 classes of all questions, and 4 bins of a value or more");
}

TrustFusion::TrustFusion(Config config) : config_(std::move(config)) {
  config_.validate();
  const auto m = static_cast<int64_t>(config_.streams.size());
  if (config_.values) grid_ = add<ValueGrid>("grid", config_.questions, config_.classes);
  auto experts = std::make_shared<ModuleList<StreamExpert>>();
  std::vector<int64_t> coordinates;
  for (int64_t width : config_.widths)
    coordinates.push_back(ClassDensity::coordinate_count(width, config_.components));
  for (int64_t i = 0; i < m; ++i) {
    experts_.push_back(experts->append(StreamExpert::Shape{
        .width = config_.widths[i],
        .classes = config_.classes,
        .hidden = config_.hidden,
        .dropout = config_.dropout,
        .components = config_.components,
        .landmarks = config_.landmarks,
        .told = std::accumulate(coordinates.begin(), coordinates.end(), int64_t{0}),
        .questions = config_.questions,
        .grid = grid_,
        .candidates = config_.candidates}));
  }
  add_child("experts", experts);
  consistency_ = add<CrossConsistency>("consistency", coordinates);
  const int64_t h = config_.gate_hidden;
  weight1_ = add_parameter("gate.weight1", at::zeros({m, kGateInputs, h}));
  bias1_ = add_parameter("gate.bias1", at::zeros({m, 1, h}));
  weight2_ = add_parameter("gate.weight2", at::zeros({m, h, 1}));
  bias2_ = add_parameter("gate.bias2", at::full({m, 1, 1}, kInitialTrust));
  log_prior_ = add_buffer("log_prior", at::full({options()}, -std::log(config_.classes)));
  scale_ = add_buffer("scale", at::ones({int64_t{1} << m}));
  strength_ = add_buffer("strength", at::ones({}));
  if (config_.joint == 0) return;
  joint_ = add<JointExpert>("joint", JointExpert::Shape{.widths = config_.widths,
                                                        .width = config_.joint,
                                                        .classes = config_.classes,
                                                        .questions = config_.questions,
                                                        .grid = grid_});
  joint_weight_ = add_buffer("joint_weight", at::zeros({}));
}

std::vector<at::Tensor> TrustFusion::gate_parameters() const {
  return {weight1_, bias1_, weight2_, bias2_};
}

void TrustFusion::reset_parameters(at::Generator& generator) {
  const double bound = 1 / std::sqrt(static_cast<double>(kGateInputs));
  weight1_.uniform_(-bound, bound, generator);
  bias1_.zero_();
  weight2_.normal_(0, 0.01, generator);
  bias2_.fill_(kInitialTrust);
}

void TrustFusion::initialize_gates(uint64_t seed) {
  at::NoGradGuard no_grad;
  auto generator = at::detail::createCPUGenerator(seed);
  reset_parameters(generator);
}

void TrustFusion::set_grid(const ValueGrid& grid) {
  require(grid_ && grid.values() == config_.questions && grid.bins() == config_.classes, "trust",
          "expected a grid of as many values and bins");
  grid_->load_state_dict(grid.state_dict());
}

at::Tensor TrustFusion::normalise(const at::Tensor& scores) const {
  return log_normalise(scores, config_.questions);
}

at::Tensor TrustFusion::temper(const at::Tensor& log_probabilities,
                               const at::Tensor& temperature) const {
  if (!config_.values && config_.questions == 1) return normalise(log_probabilities / temperature);
  return normalise(log_prior_ + (log_probabilities - log_prior_) / temperature);
}

void TrustFusion::set_prior(const at::Tensor& probabilities) {
  at::NoGradGuard no_grad;
  if (config_.questions > 1) {
    at::Tensor each = each_question(probabilities, config_.questions);
    log_prior_.copy_((each / each.sum(-1, /*keepdim=*/true)).clamp_min(1e-6).log().flatten());
    return;
  }
  log_prior_.copy_((probabilities / probabilities.sum()).clamp_min(1e-6).log());
}

void TrustFusion::set_scale(int64_t subset, double value) {
  require(subset > 0 && subset < scale_.size(0) && value > 0, "trust",
          "expected a subset of the streams and a positive scale");
  scale_[subset].fill_(value);
}
void TrustFusion::set_strength(double value) {
  require(value >= 0 && value <= 1, "trust", "expected a strength between 0 and 1");
  strength_.fill_(value);
}
double TrustFusion::strength() const { return strength_.item<double>(); }

void TrustFusion::set_joint_weight(double value) {
  require(joint_ && value >= 0 && value <= 1, "trust",
          "expected a joint expert and a weight between 0 and 1");
  joint_weight_.fill_(value);
}
double TrustFusion::joint_weight() const { return joint_ ? joint_weight_.item<double>() : 0; }

double TrustFusion::scale(int64_t subset) const { return scale_[subset].item<double>(); }

at::Tensor TrustFusion::subset_of(const at::Tensor& present) {
  at::Tensor bits = at::pow(2, at::arange(present.size(1), present.options().dtype(at::kLong)));
  return (present.to(at::kLong) * bits).sum(1);
}

Evidence TrustFusion::gather(const std::vector<at::Tensor>& pooled, const at::Tensor& quality,
                             const at::Tensor& present) const {
  require(pooled.size() == experts_.size(), "trust", "expected one feature tensor per stream");
  require(present.dim() == 2 && present.size(1) == static_cast<int64_t>(experts_.size()) &&
              quality.sizes() == present.sizes(),
          "trust", "expected quality and presence of every stream");
  require(present.any(1).all().item<bool>(), "trust", "expected at least one stream per item");
  check_finite(pooled, present, config_.streams);
  return weigh(look(pooled, present), quality, present);
}

Evidence TrustFusion::gather_candidates(const std::vector<at::Tensor>& pooled,
                                        const at::Tensor& scores, const at::Tensor& quality,
                                        const at::Tensor& present) const {
  require(config_.candidates && pooled.size() == experts_.size() && present.dim() == 2 &&
              present.size(1) == static_cast<int64_t>(experts_.size()) &&
              quality.sizes() == present.sizes() && scores.dim() == 3 &&
              scores.size(0) == present.size(0) && scores.size(1) == present.size(1) &&
              scores.size(2) >= 2 && scores.isfinite().all().item<bool>(),
          "trust", "expected finite scores [B, M, K] of at least two candidates by every stream");
  require(present.any(1).all().item<bool>(), "trust", "expected at least one stream per item");
  check_finite(pooled, present, config_.streams);
  Raw raw = look(pooled, present);
  raw.logits = scores.to(at::kFloat);
  return weigh(raw, quality, present);
}

at::Tensor TrustFusion::prior_of(const Evidence& e) const {
  if (!config_.candidates) return log_prior_;
  const int64_t count = e.log_probabilities.size(2);
  return at::full({count}, -std::log(static_cast<double>(count)));
}

at::Tensor TrustFusion::features_of(const std::vector<at::Tensor>& pooled,
                                    const at::Tensor& present, size_t m) const {
  return pooled[m].defined() ? where_present(pooled[m], present, m)
                             : at::zeros({present.size(0), config_.widths[m]});
}

at::Tensor TrustFusion::coordinates_of(const at::Tensor& features, size_t m) const {
  return experts_[m]->density().coordinates(
      experts_[m]->standardise(features).clamp(-kFarthest, kFarthest));
}

TrustFusion::Raw TrustFusion::look(const std::vector<at::Tensor>& pooled,
                                   const at::Tensor& present) const {
  std::vector<at::Tensor> logits, distances, coordinates, told, alone, bounded;
  for (size_t m = 0; m < experts_.size(); ++m) {
    const StreamExpert& expert = *experts_[m];
    at::Tensor x = features_of(pooled, present, m);
    StreamExpert::Says says = expert.says(x);
    logits.push_back(expert.mix(says));
    told.push_back(says.told);
    coordinates.push_back(coordinates_of(x, m));
    distances.push_back(expert.density().distance_of(coordinates[m]));
    alone.push_back(expert.density().log_density(coordinates[m]));
    if (joint_) bounded.push_back(expert.bounded(x));
  }
  return {at::stack(logits, 1), at::stack(distances, 1),
          consistency_->ratio(told, coordinates, at::stack(alone, 1)),
          joint_ ? joint_->tokens(bounded) : at::Tensor()};
}

Evidence TrustFusion::weigh(const Raw& raw, const at::Tensor& quality,
                            const at::Tensor& present) const {
  std::vector<at::Tensor> logs, p_values, unusual, excesses;
  for (size_t m = 0; m < experts_.size(); ++m) {
    const StreamExpert& expert = *experts_[m];
    at::Tensor distance = raw.distance.select(1, static_cast<int64_t>(m));
    logs.push_back(normalise(raw.logits.select(1, static_cast<int64_t>(m)) / expert.temperature()));
    p_values.push_back(expert.density().p_value(distance));
    unusual.push_back(expert.density().unusual(distance));
    excesses.push_back(expert.density().excess(distance));
  }
  return {at::stack(logs, 1), at::stack(p_values, 1), at::stack(unusual, 1), at::stack(excesses, 1),
          raw.consistency,    quality.to(at::kFloat), present.to(at::kBool), raw.tokens};
}

/// Nats that each stream adds to each class, before the scale: [B, M, K].
at::Tensor TrustFusion::pool(const Evidence& e, const at::Tensor& breakage) const {
  return contaminated((e.log_probabilities - prior_of(e)).exp(), breakage, e.present);
}

TrustFusion::Together TrustFusion::ask_jointly(const Evidence& e,
                                               const at::Tensor& breakage) const {
  at::Tensor heard = at::logical_and(e.present, breakage < kHeard);
  Together out{at::zeros_like(e.log_probabilities), heard.sum(1) >= 2};
  at::Tensor reader = e.reader.defined() ? e.reader : at::full({heard.size(0)}, -1, at::kLong);
  const at::Tensor prior = prior_of(e);
  for (int64_t r = -1; r < static_cast<int64_t>(e.readers.size()); ++r) {
    at::Tensor rows = at::logical_and(out.asked, reader == r).nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    const JointExpert& expert = r < 0 ? *joint_ : *e.readers[static_cast<size_t>(r)];
    at::Tensor here = heard.index_select(0, rows);
    // A stream that nobody hears costs nothing.
    at::Tensor streams = here.any(0).nonzero().squeeze(1);
    at::Tensor logits = expert.logits(e.tokens.index_select(0, rows).index_select(1, streams),
                                      here.index_select(1, streams));
    at::Tensor logs = normalise(logits / joint_->temperature());
    at::Tensor whole = at::where(here, 1 - breakage.index_select(0, rows), at::ones({})).prod(1);
    at::Tensor eps = (1 - whole).clamp_min(config_.floor).unsqueeze(1);
    at::Tensor nats = ((1 - eps) * (logs - prior).exp() + eps).log();
    at::Tensor share = here.to(at::kFloat) / here.sum(1, /*keepdim=*/true);
    out.support.index_copy_(0, rows, share.unsqueeze(2) * nats.unsqueeze(1));
  }
  return out;
}

TrustFusion::Known TrustFusion::know(const Evidence& e) const {
  const int64_t questions = config_.questions;
  auto sum = [&](const at::Tensor& x) { return each_question(x, questions).sum(-1); };
  Known out;
  out.log_options = std::log(
      static_cast<double>(config_.candidates ? e.log_probabilities.size(2) : config_.classes));
  out.p = e.log_probabilities.exp();
  out.ratio = (e.log_probabilities - prior_of(e)).exp();
  // Densities differ in width, and classes agree by chance.
  out.alike = config_.values ? sum(out.p.square()) : sum(out.p * prior_of(e).exp());
  out.entropy = over_questions(-sum(out.p * e.log_probabilities) / out.log_options, questions);
  out.surest = most_of(out.p, questions);
  out.log_p_value = e.p_value.log() / 5;
  out.bounded_excess = e.excess.clamp_max(3);
  out.quality = decades(e.quality);
  out.least_unusual = least_other(e.unusual, e.present);
  out.least_excess = least_other(e.excess, e.present);
  return out;
}

TrustFusion::Look TrustFusion::look_at(const Evidence& e, const Known& known,
                                       const at::Tensor& suspicion) const {
  const int64_t questions = config_.questions;
  auto sum = [&](const at::Tensor& x) { return each_question(x, questions).sum(-1); };
  at::Tensor consensus =
      leave_one_out(contaminated(known.ratio, suspicion, e.present), prior_of(e), questions);
  at::Tensor agreed = sum(known.p * consensus), kappa;
  if (config_.values) {
    // Only where densities lie counts, from 1 (in one place) to 0.
    kappa = agreed = agreed / (known.alike * sum(consensus.square())).sqrt();
  } else {
    kappa = (agreed - known.alike) / (1 - known.alike).clamp_min(1e-3);
  }
  at::Tensor agreement =
      over_questions(agreed.clamp_min(1e-6).log() / known.log_options, questions);
  kappa = over_questions(kappa.clamp(0, 1), questions);
  // Consistency with the others, in the mean by how far each is trusted, and with the best of them.
  at::Tensor trusted = (1 - suspicion) * e.present.to(at::kFloat);
  at::Tensor others = trusted.unsqueeze(1) * (1 - at::eye(trusted.size(1)));
  at::Tensor nats = e.consistency * others;
  at::Tensor joined = nats.clamp_min(0).sum(-1), torn = nats.clamp_max(0).sum(-1);
  at::Tensor best = nats.amax(-1);
  // How torn the others are among themselves: whose fault it is.
  at::Tensor both = nats.clamp_max(0) * trusted.unsqueeze(2);
  at::Tensor without = both.sum({1, 2}).unsqueeze(1) - both.sum(2) - both.sum(1);
  Look out;
  out.inputs =
      at::stack({known.entropy, known.surest, agreement, most_of(consensus, questions),
                 known.log_p_value, e.unusual, known.bounded_excess, squash(joined), squash(torn),
                 squash(best), known.quality, known.least_unusual, squash(without)},
                -1);
  out.excess = (e.excess - kappa * known.least_excess).clamp_min(0);
  return out;
}

at::Tensor TrustFusion::breakage(const Evidence& e) const {
  at::Tensor streams = e.present.any(0).nonzero().squeeze(1);
  if (streams.size(0) == 0 || streams.size(0) == e.present.size(1)) {
    return breakage_of(e, gate_parameters());
  }
  // A stream that no item has costs nothing.
  std::vector<at::Tensor> gates;
  for (const at::Tensor& p : gate_parameters()) gates.push_back(p.index_select(0, streams));
  return at::ones_like(e.quality).index_copy(1, streams,
                                             breakage_of(select_streams(e, streams), gates));
}

at::Tensor TrustFusion::breakage_of(const Evidence& e, const std::vector<at::Tensor>& gates) const {
  const Known known = know(e);
  // The second look weighs the others by what the first one thought of them.
  at::Tensor eps = at::full_like(e.quality, kConsensusFloor), off;
  for (int i = 0; i < kLooks; ++i) {
    Look look = look_at(e, known, eps);
    at::Tensor h = at::gelu(at::baddbmm(gates[1], look.inputs.permute({1, 0, 2}), gates[0]));
    at::Tensor trust = at::sigmoid(at::baddbmm(gates[3], h, gates[2])).squeeze(-1).t();
    off = (-kExcessSlope * look.excess).exp();
    eps = 1 - trust * off;
    eps = at::where(e.present, eps.clamp(config_.floor, 1), at::ones_like(eps));
  }
  // What the density alone switches off stays off, however little the gates are heard.
  at::Tensor heard = at::max(config_.floor + strength_ * (eps - config_.floor), 1 - off);
  return at::where(e.present, heard, eps);
}

TrustOutput TrustFusion::fuse(const Evidence& e) const { return fuse_with(e, breakage(e)); }

at::Tensor TrustFusion::support(const Evidence& e, const at::Tensor& breakage) const {
  at::Tensor a = scale_.index_select(0, subset_of(e.present)).view({-1, 1, 1});
  at::Tensor out = a * pool(e, breakage);
  if (const double w = joint_weight(); w > 0 && e.tokens.defined()) {
    const Together together = ask_jointly(e, breakage);
    at::Tensor mixed = (1 - w) * out + w * a * together.support;
    out = at::where(together.asked.view({-1, 1, 1}), mixed, out);
  }
  return out;
}

TrustOutput TrustFusion::fuse_with(const Evidence& e, const at::Tensor& breakage) const {
  TrustOutput out;
  out.breakage = breakage;
  out.support = support(e, breakage);
  out.log_probabilities = normalise(out.support.sum(1) + prior_of(e));
  out.weights = share_of_evidence(out.support, prior_of(e), e.present, config_.questions);
  return out;
}

}  // namespace plait::models
