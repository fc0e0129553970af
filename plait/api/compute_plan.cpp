#include "plait/api/compute_plan.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <sstream>

#include "plait/core/error.h"
#include "plait/data/processor.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/fused_network.h"
#include "plait/models/registry.h"
#include "plait/runtime/multiply_adds.h"

namespace plait::api {
namespace {

constexpr double kMargin = 0.6;      ///< Of the tolerance, used up by the plan where it can be
constexpr int kTotals = 240;         ///< Totals that are tried between the smallest and the largest
constexpr double kTotalWeight = 12;  ///< Of the total that is wanted, against even factors
constexpr size_t kFirstItems = 16;   ///< When they are all of one shape the others are, too
constexpr size_t kMostStreams = 16;  ///< For Shapley values over all coalitions

/// What encoders of one stream cost for some items.
class Counter {
 public:
  Counter(const SizedStream& stream, const std::vector<Sample>& items, std::string dir)
      : name_(stream.name), max_tokens_(stream.max_tokens), items_(items), dir_(std::move(dir)) {}

  double cost(const EncoderSize& size) {
    const int64_t layers = size.layers.empty() ? 0 : size.encoder.at(size.layers).as_int();
    if (layers <= 3) return measure(size.encoder, size.processor);
    // Layers are alike but for the first and the last one.
    Json two = size.encoder, three = size.encoder;
    two[size.layers] = 2;
    three[size.layers] = 3;
    const double base = measure(two, size.processor);
    return base + static_cast<double>(layers - 2) * (measure(three, size.processor) - base);
  }

 private:
  double measure(const Json& config, const Json& processor) {
    const std::string key = config.dump() + processor.dump();
    if (auto known = costs_.find(key); known != costs_.end()) return known->second;
    at::NoGradGuard no_grad;
    auto encoder = models::create_as<models::Encoder>(config, name_);
    encoder->train(false);
    // What is counted follows from the shapes alone.
    const auto& shapes = shapes_of(processor);
    double sum = 0, items = 0;
    for (const auto& [shape, seen] : shapes) {
      const auto cost = static_cast<double>(runtime::count_multiply_adds([&, &input = seen.first] {
        models::reduce_tokens(encoder->encode(input), max_tokens_);
      }));
      sum += cost * seen.second;
      items += seen.second;
    }
    return costs_[key] = sum / items;
  }

  /// An input of each shape, and how many items have it.
  using Shapes = std::map<std::string, std::pair<TensorMap, double>>;

  const Shapes& shapes_of(const Json& config) {
    const std::string key = config.dump();
    if (auto known = shapes_.find(key); known != shapes_.end()) return known->second;
    auto processor = data::make_processor(config, dir_, name_);
    Shapes shapes;
    size_t items = 0;
    for (const Sample& item : items_) {
      auto value = item.streams.find(name_);
      if (value == item.streams.end()) continue;
      if (items++ >= kFirstItems && shapes.size() == 1) break;
      const Value decoded = data::decode(value->second, processor->modality(), name_);
      TensorMap input = processor->process({&decoded}, name_);
      std::ostringstream shape;
      for (const auto& [name, tensor] : input) shape << name << tensor.sizes();
      auto& seen = shapes[shape.str()];
      if (seen.second++ == 0) seen.first = std::move(input);
    }
    if (shapes.empty()) {
      fail(ErrorCode::kNotFound, "compute", "expected items with the stream \"" + name_ + "\"");
    }
    return shapes_[key] = std::move(shapes);
  }

  std::string name_;
  int64_t max_tokens_;
  const std::vector<Sample>& items_;
  std::string dir_;
  std::map<std::string, double> costs_;   // By the configs.
  std::map<std::string, Shapes> shapes_;  // By the processor's config.
};

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

/// How unlike the factors are by which depth, width and resolution changed: encoders are best when
/// these grow together (Tan & Le 2019, arXiv 1905.11946).
double unevenness(const EncoderSize& size) {
  const double logs[] = {std::log(size.depth), std::log(size.width), std::log(size.resolution)};
  const double mean = (logs[0] + logs[1] + logs[2]) / 3;
  double out = 0;
  for (double x : logs) out += (x - mean) * (x - mean);
  return out;
}

ComputePlan assemble(const std::vector<SizedStream>& streams,
                     const std::map<std::string, double>& shares,
                     const std::vector<size_t>& chosen) {
  ComputePlan out;
  for (size_t m = 0; m < streams.size(); ++m) {
    const SizedStream& s = streams[m];
    out.streams.push_back(
        {s.name, shares.at(s.name), 0, s.sizes.front().multiply_adds, s.sizes[chosen[m]]});
    out.multiply_adds += s.sizes[chosen[m]].multiply_adds;
    out.before += s.sizes.front().multiply_adds;
  }
  for (auto& stream : out.streams) stream.share = stream.size.multiply_adds / out.multiply_adds;
  return out;
}

double deviation(const ComputePlan& plan) {
  double out = 0;
  for (const auto& s : plan.streams) out = std::max(out, std::abs(s.share - s.asked));
  return out;
}

/// Per stream the size nearest to its share of `total`; `strictness` weighs that against evenness.
std::vector<size_t> nearest(const std::vector<SizedStream>& streams,
                            const std::map<std::string, double>& shares, double total,
                            double strictness) {
  std::vector<size_t> out;
  for (const SizedStream& s : streams) {
    size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < s.sizes.size(); ++i) {
      const double off = std::log(s.sizes[i].multiply_adds / (shares.at(s.name) * total));
      const double loss = unevenness(s.sizes[i]) + strictness * off * off;
      if (loss < least) least = loss, best = i;
    }
    out.push_back(best);
  }
  return out;
}

[[noreturn]] void unreachable(const std::vector<SizedStream>& streams, const ComputePlan& closest,
                              const ComputeOptions& options) {
  double least = 0, most = 0;
  std::vector<std::pair<double, double>> bounds;
  for (const SizedStream& s : streams) {
    auto [low, high] = std::minmax_element(
        s.sizes.begin(), s.sizes.end(),
        [](const auto& a, const auto& b) { return a.multiply_adds < b.multiply_adds; });
    bounds.emplace_back(low->multiply_adds, high->multiply_adds);
    least += low->multiply_adds;
    most += high->multiply_adds;
  }
  std::string asked, got, reach;
  for (size_t m = 0; m < streams.size(); ++m) {
    const auto& s = closest.streams[m];
    const auto [low, high] = bounds[m];
    const std::string comma = m ? ", " : "";
    asked += comma + s.name + " " + percent(s.asked);
    got += comma + s.name + " " + percent(s.share);
    reach += comma + s.name + " " + percent(low / (low + most - high)) + " to " +
             percent(high / (high + least - low));
  }
  std::ostringstream limit;
  if (options.multiply_adds > 0)
    limit << " within " << options.multiply_adds << " multiply-adds (the smallest sizes need "
          << least << ")";
  fail(ErrorCode::kInvalidArgument, "compute",
       "expected a split that these encoders can reach" + limit.str() + ", got " + asked +
           "; the nearest: " + got + "; reachable alone: " + reach +
           ". Give the streams encoders that can be smaller or larger, or ask for another split");
}

}  // namespace

void ComputeOptions::visit(ConfigVisitor& v) {
  v.field("share", share,
          "Share of the multiply-adds by stream, {\"image\": 0.85, \"speech\": 0.15}, or "
          "\"importance\": as many as errors it removes");
  v.field("multiply_adds", multiply_adds,
          "Most multiply-adds of one item with all streams; 0: about those of the recipe's own "
          "encoders",
          {.min = 0, .max = 1e15});
  v.field("tolerance", tolerance, "By how much a realised share may differ",
          {.min = 0.0005, .max = 0.5});
  v.field("floor", floor, "Least share of a stream when they follow importance",
          {.min = 0.001, .max = 0.5});
  v.field("pilot", pilot, "Share of the epochs that the model trains from which importance is read",
          {.min = 0.01, .max = 1});
  v.field("choose", choose, "What of the encoders may change: depth, width, resolution");
}

void ComputeOptions::validate() const {
  for (const std::string& what : choose) {
    require(what == "depth" || what == "width" || what == "resolution", "compute",
            "expected \"choose\" to list depth, width, resolution");
  }
  require(share.is_null() || share.is_object() ||
              (share.is_string() && share.as_string() == "importance"),
          "compute", "expected \"share\" to be an object by stream, or \"importance\"");
}

void count_sizes(SizedStream& stream, const std::vector<Sample>& items, const std::string& dir) {
  Counter counter(stream, items, dir);
  std::vector<EncoderSize> counted;
  for (EncoderSize& size : stream.sizes) {
    try {
      size.multiply_adds = counter.cost(size);
    } catch (const Error& e) {
      // The given one has to work; another combination of numbers may not be one of the encoder's.
      if (counted.empty() || e.code() != ErrorCode::kInvalidArgument) throw;
      continue;
    }
    counted.push_back(std::move(size));
  }
  stream.sizes = std::move(counted);
}

ComputePlan plan_compute(const std::vector<SizedStream>& streams,
                         const std::map<std::string, double>& shares,
                         const ComputeOptions& options) {
  double least = 0, most = 0, before = 0;
  for (const SizedStream& s : streams) {
    auto [low, high] = std::minmax_element(
        s.sizes.begin(), s.sizes.end(),
        [](const auto& a, const auto& b) { return a.multiply_adds < b.multiply_adds; });
    if (low->multiply_adds <= 0) {
      fail(ErrorCode::kInvalidArgument, "compute",
           "expected encoders that cost something, got one of \"" + s.name +
               "\" without any multiply-adds; leave the stream out of the shares");
    }
    before += s.sizes.front().multiply_adds;
    // Totals at which this stream's smallest and largest size have their share.
    least = std::max(least, low->multiply_adds);
    most = std::max(most, high->multiply_adds / shares.at(s.name));
  }
  const double wanted = options.multiply_adds > 0 ? options.multiply_adds : before;
  std::optional<ComputePlan> best, closest;
  double lowest = 0;
  for (double allowed : {kMargin * options.tolerance, options.tolerance}) {
    for (int i = 0; i <= kTotals; ++i) {
      const double total = least * std::pow(most / least, static_cast<double>(i) / kTotals);
      for (double strictness : {10.0, 100.0, 1e3, 1e4, 1e6}) {
        ComputePlan plan = assemble(streams, shares, nearest(streams, shares, total, strictness));
        const bool fits = options.multiply_adds <= 0 || plan.multiply_adds <= wanted;
        const double off = deviation(plan);
        // A split within the budget is nearer than one beyond it.
        if (!closest || (fits && off < deviation(*closest))) closest = plan;
        if (!fits || off > allowed) continue;
        const double away = std::log(plan.multiply_adds / wanted);
        double loss = kTotalWeight * away * away + off;
        for (const auto& s : plan.streams) loss += unevenness(s.size);
        if (!best || loss < lowest) {
          lowest = loss;
          best = std::move(plan);
        }
      }
    }
    if (best) return *best;
  }
  unreachable(streams, *closest, options);
}

std::map<std::string, double> read_shares(const Json& share,
                                          const std::vector<std::string>& streams) {
  std::string known;
  for (const std::string& name : streams) known += (known.empty() ? "" : ", ") + name;
  std::map<std::string, double> out;
  double sum = 0;
  for (const auto& [name, value] : share.members()) {
    if (std::find(streams.begin(), streams.end(), name) == streams.end()) {
      fail(ErrorCode::kInvalidArgument, "compute",
           "expected shares of the streams " + known + ", got one of \"" + name + "\"");
    }
    if (!value.is_number() || !(value.as_double() > 0) || !std::isfinite(value.as_double())) {
      fail(ErrorCode::kInvalidArgument, "compute",
           "expected a share above 0 of \"" + name + "\", got " + value.dump() +
               " (a stream without any is left out of the recipe)");
    }
    sum += out[name] = value.as_double();
  }
  for (const std::string& name : streams) {
    if (!out.count(name)) {
      fail(ErrorCode::kInvalidArgument, "compute",
           "expected shares of the streams " + known + ", got none of \"" + name + "\"");
    }
    out[name] /= sum;
  }
  return out;
}

Json parse_shares(const std::string& text) {
  if (text == "importance") return text;
  Json out = Json::object({});
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t sign = part.find('=');
    char* end = nullptr;
    const std::string number = sign == std::string::npos ? "" : part.substr(sign + 1);
    const double value = std::strtod(number.c_str(), &end);
    if (number.empty() || *end != '\0' || sign == 0) {
      fail(ErrorCode::kInvalidArgument, "compute",
           "expected image=0.85,speech=0.15 or importance, got \"" + text + "\"");
    }
    out[part.substr(0, sign)] = value;
  }
  return out;
}

std::vector<double> shapley_values(const std::vector<double>& worth) {
  size_t players = 0;
  while ((size_t{1} << players) < worth.size()) ++players;
  require(worth.size() == size_t{1} << players && players <= kMostStreams, "compute",
          "expected the worth of every coalition of at most 16 streams");
  // |S|! (M − |S| − 1)! / M! = 1 / (M · C(M − 1, |S|))
  std::vector<double> weight(players, 1);
  double choose = 1;
  for (size_t k = 0; k < players; ++k) {
    weight[k] = 1 / (static_cast<double>(players) * choose);
    choose = choose * static_cast<double>(players - 1 - k) / static_cast<double>(k + 1);
  }
  std::vector<double> out(players, 0);
  for (size_t coalition = 0; coalition < worth.size(); ++coalition) {
    const auto size = static_cast<size_t>(__builtin_popcountll(coalition));
    for (size_t m = 0; m < players; ++m) {
      if (coalition >> m & 1) continue;
      out[m] += weight[size] * (worth[coalition | size_t{1} << m] - worth[coalition]);
    }
  }
  return out;
}

std::map<std::string, double> importance_shares(const std::map<std::string, double>& importance,
                                                double floor) {
  const auto count = static_cast<double>(importance.size());
  const double least = std::min(floor, 1 / count);
  double sum = 0;
  for (const auto& [name, value] : importance) sum += std::max(value, 0.0);
  std::map<std::string, double> out;
  for (const auto& [name, value] : importance)
    out[name] = sum > 0 ? std::max(value, 0.0) / sum : 1 / count;
  // Those below the floor are lifted, the others pay for it; lifting may push another below.
  for (size_t round = 0; round < importance.size(); ++round) {
    double lifted = 0, free = 0;
    for (const auto& [name, share] : out)
      (share <= least ? lifted : free) += share <= least ? least : share;
    if (free <= 0) break;
    for (auto& [name, share] : out) share = share <= least ? least : share * (1 - lifted) / free;
  }
  return out;
}

Json ComputePlan::to_json() const {
  Json by_stream = Json::object({});
  for (const Stream& s : streams) {
    by_stream[s.name] = Json::object({{"asked", s.asked},
                                      {"share", s.share},
                                      {"multiply_adds", s.size.multiply_adds},
                                      {"before", s.before},
                                      {"depth", s.size.depth},
                                      {"width", s.size.width},
                                      {"resolution", s.size.resolution}});
  }
  return Json::object(
      {{"multiply_adds", multiply_adds}, {"before", before}, {"streams", by_stream}});
}

}  // namespace plait::api
