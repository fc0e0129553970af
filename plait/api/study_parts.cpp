#include "plait/api/study_parts.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/api/features.h"
#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/data/augment/augment.h"
#include "plait/models/quality/quality.h"

namespace plait::api {
namespace {

/// One stream of N items as a fusion takes it.
struct Encoded {
  at::Tensor features;  ///< [N, D]
  at::Tensor quality;   ///< [N]
};

void expect(bool ok, const std::string& what) {
  if (!ok) fail(ErrorCode::kInvalidArgument, "study", what);
}

void check(const StudyPlan& plan) {
  const size_t streams = plan.streams.size();
  expect(streams > 0 && plan.classes > 1 && plan.copies >= 0 && plan.mild > 0 && plan.mild <= 1,
         "expected streams, two classes or more and a mild severity in (0, 1]");
  std::vector<const StudyItems*> all{&plan.train, &plan.test};
  for (const StudyOthers& other : plan.others) all.push_back(&other.items);
  for (const StudyItems* items : all) {
    expect(items->values.size() == streams && items->target.defined() && items->target.dim() == 1 &&
               items->target.size(0) > 0,
           "expected values of every stream and targets [N]");
    expect(items->sources.empty() || items->sources.size() == streams,
           "expected sources of every stream or of none");
    for (size_t m = 0; m < streams; ++m) {
      const auto count = static_cast<size_t>(items->target.size(0));
      expect(items->values[m].size() == count &&
                 (items->sources.empty() || items->sources[m].size() == count),
             "expected as many values of stream " + plan.streams[m].name + " as targets");
    }
    expect(items->ids.empty() || items->ids.size() == items->values[0].size(),
           "expected as many ids as items");
    expect(items->groups.empty() || items->groups.size() == items->values[0].size(),
           "expected as many groups as items");
  }
  for (const StudyStream& stream : plan.streams)
    expect(static_cast<bool>(stream.encode), "expected an encoder of stream " + stream.name);
}

class Builder {
 public:
  Builder(const StudyPlan& plan, const StudyProgress& progress)
      : plan_(plan), progress_(progress), projections_(plan.streams.size()) {
    steps_ = static_cast<double>(plan.streams.size()) * static_cast<double>(2 + plan.copies);
    for (const StudyStream& stream : plan.streams) {
      for (const StudyDamage& damage : stream.damage)
        steps_ += static_cast<double>(damage.levels.size());
      ++steps_;
    }
  }

  StudyData build() {
    StudyData out;
    out.dataset = plan_.dataset;
    out.licence = plan_.licence;
    out.note = plan_.note;
    out.classes = plan_.classes;
    for (const StudyStream& stream : plan_.streams) out.streams.push_back(stream.name);
    build_train(out.train);
    for (size_t m = 0; m < plan_.streams.size(); ++m)
      clean_.push_back(encode(m, plan_.test.values[m]));
    add(out, "clean", clean_, false, true);
    for (size_t m = 0; m < plan_.streams.size(); ++m) add_stream(out, m);
    add_mild(out);
    add_mixed(out, "mixed/seen", true);
    add_mixed(out, "mixed/unseen", false);
    for (const StudyOthers& other : plan_.others) add_other(out, other);
    return out;
  }

 private:
  int64_t test_size() const { return plan_.test.target.size(0); }
  int64_t streams() const { return static_cast<int64_t>(plan_.streams.size()); }

  Encoded encode(size_t m, const std::vector<Value>& values) {
    const StudyStream& stream = plan_.streams[m];
    if (progress_) progress_("encode " + stream.name, std::min(1.0, done_ / steps_));
    ++done_;
    const auto count = static_cast<int64_t>(values.size());
    Encoded out{stream.encode(values).to(at::kFloat), at::empty({count})};
    expect(out.features.dim() == 2 && out.features.size(0) == count &&
               out.features.isfinite().all().item<bool>(),
           "expected finite features [N, D] of stream " + stream.name);
    if (stream.components > 0 && !projections_[m].mean.defined()) {
      projections_[m] = fit_projection(out.features, stream.components, stream.energy);
    }
    if (stream.components > 0) out.features = projections_[m](out.features);
    if (stream.judge) {
      out.quality = stream.judge(values).to(at::kFloat);
      expect(out.quality.sizes() == at::IntArrayRef({count}),
             "expected a quality of every item of stream " + stream.name);
      return out;
    }
    float* quality = out.quality.data_ptr<float>();
    for_each_in_parallel(values.size(), [&](size_t i) {
      quality[i] = static_cast<float>(models::assess(values[i], stream.modality).score);
    });
    return out;
  }

  /// `choose` gives each item's damage and severity.
  std::vector<Value> damaged(
      size_t m, const StudyItems& items, const std::string& purpose,
      const std::function<std::pair<const StudyDamage*, double>(uint64_t)>& choose) const {
    std::vector<Value> out(items.values[m].size());
    for_each_in_parallel(out.size(), [&](size_t i) {
      const std::string what = plan_.streams[m].name + purpose;
      const uint64_t base = plan_.damage_seed.value_or(plan_.seed);
      uint64_t seed = items.ids.empty() ? study_seed(base, what, static_cast<int64_t>(i))
                                        : study_seed(base, what + "|" + items.ids[i]);
      auto [damage, severity] = choose(mix_seed(seed, 1));
      const bool source = damage && damage->from_source && !items.sources.empty();
      const Value& value = source ? items.sources[m][i] : items.values[m][i];
      out[i] = damage ? damage->apply(value, severity, mix_seed(seed, 2)) : value;
    });
    return out;
  }

  /// A drawn seen kind, nullptr when the stream has none.
  const StudyDamage* draw_seen(size_t m, uint64_t seed) const {
    std::vector<const StudyDamage*> seen;
    for (const StudyDamage& damage : plan_.streams[m].damage) {
      if (damage.seen) seen.push_back(&damage);
    }
    if (seen.empty()) return nullptr;
    return seen[static_cast<size_t>(unit_interval(seed) * static_cast<double>(seen.size()))];
  }

  void build_train(train::TrustData& out) {
    const StudyItems& items = plan_.train;
    for (size_t m = 0; m < plan_.streams.size(); ++m) {
      std::vector<at::Tensor> features, quality;
      for (int64_t copy = 0; copy <= plan_.copies; ++copy) {
        Encoded made = copy == 0
                           ? encode(m, items.values[m])
                           : encode(m, damaged(m, items, "/copy" + std::to_string(copy),
                                               [&](uint64_t seed) { return draw_copy(m, seed); }));
        features.push_back(made.features);
        quality.push_back(made.quality);
      }
      out.features.push_back(std::move(features));
      out.quality.push_back(std::move(quality));
    }
    out.present = at::ones({items.target.size(0), streams()}, at::kBool);
    out.target = items.target;
    if (items.groups.empty()) return;
    std::map<std::string, int64_t> numbers;
    std::vector<int64_t> group;
    for (const std::string& name : items.groups) {
      const auto next = static_cast<int64_t>(numbers.size());
      group.push_back(numbers.try_emplace(name, next).first->second);
    }
    out.group = at::tensor(group, at::kLong);
  }

  std::pair<const StudyDamage*, double> draw_copy(size_t m, uint64_t seed) const {
    const StudyDamage* damage = draw_seen(m, seed);
    if (!damage) return {nullptr, 0};
    double range = damage->max_severity - damage->min_severity;
    return {damage, damage->min_severity + range * unit_interval(mix_seed(seed, 3))};
  }

  StudyCondition& add(StudyData& out, const std::string& name, const std::vector<Encoded>& encoded,
                      bool hit, bool seen) const {
    return add(out, name, encoded, plan_.test.target, hit, seen);
  }

  StudyCondition& add(StudyData& out, const std::string& name, const std::vector<Encoded>& encoded,
                      const at::Tensor& target, bool hit, bool seen) const {
    StudyCondition condition;
    condition.name = name;
    for (const Encoded& stream : encoded) {
      condition.test.features.push_back({stream.features});
      condition.test.quality.push_back({stream.quality});
    }
    condition.test.present = at::ones({target.size(0), streams()}, at::kBool);
    condition.test.target = target;
    condition.hit = at::full({target.size(0), streams()}, hit, at::kBool);
    condition.seen = seen;
    out.conditions.push_back(std::move(condition));
    return out.conditions.back();
  }

  void add_stream(StudyData& out, size_t m) {
    const StudyStream& stream = plan_.streams[m];
    auto one = [&](const std::string& name, Encoded changed, bool hit,
                   bool seen) -> StudyCondition& {
      std::vector<Encoded> encoded = clean_;
      encoded[m] = std::move(changed);
      StudyCondition& condition = add(out, stream.name + "/" + name, encoded, false, seen);
      condition.hit.select(1, static_cast<int64_t>(m)).fill_(hit);
      return condition;
    };
    for (const StudyDamage& damage : stream.damage) {
      for (const StudyLevel& level : damage.levels) {
        const std::string name = damage.name + "_" + level.name;
        std::vector<Value> values = damaged(m, plan_.test, "/" + name,
                                            [&](uint64_t) -> std::pair<const StudyDamage*, double> {
                                              return {&damage, level.severity};
                                            });
        one(name, encode(m, values), level.hit, damage.seen);
        if (level.hit) single_.push_back({out.conditions.size() - 1, m});
      }
    }
    at::Tensor other = other_items(m);
    // The damage bank exchanges no items where there are but two streams.
    const bool seen = plan_.streams.size() > 2;
    one("wrong",
        {clean_[m].features.index_select(0, other), clean_[m].quality.index_select(0, other)}, true,
        seen);
    single_.push_back({out.conditions.size() - 1, m});
    StudyCondition& missing =
        one("missing", {clean_[m].features, at::zeros_like(clean_[m].quality)}, false, true);
    missing.test.present.select(1, static_cast<int64_t>(m)).fill_(false);
  }

  /// [N]: for every item one of another class, itself where there is none.
  at::Tensor other_items(size_t m) const {
    const int64_t count = test_size();
    at::Tensor other = at::arange(count);
    auto target = plan_.test.target.accessor<int64_t, 1>();
    auto index = other.accessor<int64_t, 1>();
    for (int64_t i = 0; i < count; ++i) {
      uint64_t seed = study_seed(plan_.seed, plan_.streams[m].name + "/wrong", i);
      for (uint64_t tries = 0; tries < 64 && target[index[i]] == target[i]; ++tries) {
        index[i] =
            static_cast<int64_t>(unit_interval(mix_seed(seed, tries)) * static_cast<double>(count));
      }
    }
    return other;
  }

  void add_other(StudyData& out, const StudyOthers& other) {
    std::vector<Encoded> encoded;
    for (size_t m = 0; m < plan_.streams.size(); ++m)
      encoded.push_back(encode(m, other.items.values[m]));
    add(out, other.name, encoded, other.items.target, false, false);
  }

  void add_mild(StudyData& out) {
    std::vector<Encoded> encoded;
    for (size_t m = 0; m < plan_.streams.size(); ++m) {
      encoded.push_back(encode(m, damaged(m, plan_.test, "/mild", [&](uint64_t seed) {
                                 return std::pair{draw_seen(m, seed), plan_.mild};
                               })));
    }
    add(out, "mild", encoded, false, true);
  }

  void add_mixed(StudyData& out, const std::string& name, bool seen) const {
    std::vector<std::pair<size_t, size_t>> from;
    for (auto [condition, stream] : single_) {
      if (out.conditions[condition].seen == seen) from.push_back({condition, stream});
    }
    if (from.empty()) return;
    std::vector<size_t> broken;
    for (auto [condition, stream] : from) {
      if (broken.empty() || broken.back() != stream) broken.push_back(stream);
    }
    std::vector<Encoded> encoded;
    for (const Encoded& stream : clean_)
      encoded.push_back({stream.features.clone(), stream.quality.clone()});
    at::Tensor hit = at::zeros({test_size(), streams()}, at::kBool);
    for (int64_t i = 0; i < test_size(); ++i) {
      uint64_t seed = study_seed(plan_.seed, name, i);
      if (unit_interval(seed) < 0.5) continue;
      const size_t m = broken[draw(broken.size(), mix_seed(seed, 1))];
      std::vector<size_t> own;
      for (auto [condition, stream] : from) {
        if (stream == m) own.push_back(condition);
      }
      const train::TrustData& test = out.conditions[own[draw(own.size(), mix_seed(seed, 2))]].test;
      encoded[m].features.select(0, i).copy_(test.features[m][0].select(0, i));
      encoded[m].quality.select(0, i).copy_(test.quality[m][0].select(0, i));
      hit.select(0, i).select(0, static_cast<int64_t>(m)).fill_(true);
    }
    add(out, name, encoded, false, seen).hit = hit;
  }

  static size_t draw(size_t count, uint64_t seed) {
    return static_cast<size_t>(unit_interval(seed) * static_cast<double>(count));
  }

  const StudyPlan& plan_;
  const StudyProgress& progress_;
  std::vector<Projection> projections_;
  std::vector<Encoded> clean_;  ///< Of the test, by stream.
  /// Conditions where one stream alone is hit, and which one.
  std::vector<std::pair<size_t, size_t>> single_;
  double done_ = 0, steps_ = 0;
};

}  // namespace

std::vector<StudyDamage> usual_damage(Modality modality, const std::vector<std::string>& held_out) {
  std::vector<StudyDamage> out;
  for (const std::string& kind : data::damage_kinds(modality)) {
    StudyDamage damage;
    damage.name = kind;
    damage.apply = [modality, kind](const Value& value, double severity, uint64_t seed) {
      return data::damage(value, modality, kind, severity, seed);
    };
    damage.seen = std::find(held_out.begin(), held_out.end(), kind) == held_out.end();
    out.push_back(std::move(damage));
  }
  for (const std::string& kind : held_out) {
    bool known = std::any_of(out.begin(), out.end(),
                             [&](const StudyDamage& damage) { return damage.name == kind; });
    expect(known, "expected a kind of damage for " + to_string(modality) + ", got " + kind);
  }
  return out;
}

StudyData build_study(const StudyPlan& plan, const StudyProgress& progress) {
  check(plan);
  return Builder(plan, progress).build();
}

StudyCondition both(const StudyData& data, const std::string& name,
                    const std::vector<std::string>& from) {
  StudyCondition out = data.conditions.at(0);
  out.name = name;
  out.hit = out.hit.clone();
  for (const std::string& one : from) {
    auto found = std::find_if(data.conditions.begin(), data.conditions.end(),
                              [&](const StudyCondition& c) { return c.name == one; });
    expect(found != data.conditions.end(),
           "expected a condition of " + data.dataset + ", got " + one);
    out.seen = out.seen && found->seen;
    for (int64_t m = 0; m < found->hit.size(1); ++m) {
      if (!found->hit.select(1, m).any().item<bool>()) continue;
      const auto stream = static_cast<size_t>(m);
      out.test.features[stream] = found->test.features[stream];
      out.test.quality[stream] = found->test.quality[stream];
      out.hit.select(1, m).copy_(found->hit.select(1, m));
    }
  }
  return out;
}

StudyItems study_items(const std::vector<Sample>& samples, const data::DatasetSplits& splits) {
  StudyItems out;
  for (const auto& [stream, modality] : splits.info.streams) {
    std::vector<Value> values;
    for (const Sample& sample : samples) {
      auto found = sample.streams.find(stream);
      expect(found != sample.streams.end(), sample.id + ": expected the stream " + stream);
      values.push_back(found->second);
    }
    out.values.push_back(std::move(values));
  }
  for (const Sample& sample : samples) {
    out.ids.push_back(sample.id);
    out.groups.push_back(sample.group.empty() ? sample.id : sample.group);
  }
  out.target = class_targets(samples, splits.info.label, splits.classes);
  expect(samples.empty() || out.target.min().item<int64_t>() >= 0,
         "expected the label " + splits.info.label + " of every sample");
  return out;
}

std::function<at::Tensor(const std::vector<Value>& values)> encode_each(
    std::function<at::Tensor(const Value& value)> one) {
  return [one = std::move(one)](const std::vector<Value>& values) {
    std::vector<at::Tensor> rows(values.size());
    for_each_in_parallel(values.size(), [&](size_t i) { rows[i] = one(values[i]); });
    return at::stack(rows, 0);
  };
}

at::Tensor Projection::operator()(const at::Tensor& x) const {
  return at::matmul(x.to(at::kFloat) - mean, axes);
}

Projection fit_projection(const at::Tensor& x, int64_t components, double energy) {
  expect(x.dim() == 2 && x.size(0) > 1 && components > 0 && energy > 0,
         "expected items [N, D] and one component or more");
  at::Tensor values = x.to(at::kDouble);
  at::Tensor mean = values.mean(0);
  values = values - mean;
  auto [variance, vectors] = at::linalg_eigh(at::matmul(values.t(), values));
  at::Tensor share = variance.flip(0).clamp_min(0).cumsum(0);
  share = share / share[-1].clamp_min(1e-30);
  int64_t needed = (share < energy - 1e-9).sum().item<int64_t>() + 1;
  int64_t kept = std::min({components, needed, x.size(1), x.size(0) - 1});
  return {mean.to(at::kFloat), vectors.flip(1).slice(1, 0, kept).contiguous().to(at::kFloat)};
}

uint64_t study_seed(uint64_t seed, const std::string& purpose, int64_t item) {
  const uint64_t name = std::stoull(content_hash(purpose).substr(0, 16), nullptr, 16);
  return mix_seed(seed, name, static_cast<uint64_t>(item));
}

}  // namespace plait::api
