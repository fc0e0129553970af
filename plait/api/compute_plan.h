#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "plait/api/encoder_sizes.h"
#include "plait/core/config.h"
#include "plait/core/sample.h"

/// Compute follows importance: encoders' sizes chosen so that each stream costs its share.
namespace plait::api {

/// What a recipe asks for ("compute").
struct ComputeOptions {
  Json
      share;  ///< By stream, any scale: {"image": 0.85, "speech": 0.15}; or "importance"; null: off
  double multiply_adds = 0;  ///< Of one item with all streams; 0: about what the recipe's own cost
  double tolerance = 0.02;   ///< By how much a realised share may differ
  double floor = 0.05;       ///< Least share of a stream when they follow importance
  double pilot = 0.34;  ///< Share of the epochs that the model trains from which importance is read
  std::vector<std::string> choose = {"depth", "width", "resolution"};  ///< What may change

  void visit(ConfigVisitor& v);
  static ComputeOptions tiny() { return {}; }
  void validate() const;
  bool asked() const { return !share.is_null(); }
};

/// A stream with the sizes that its encoder comes in, what each costs counted.
struct SizedStream {
  std::string name;
  std::vector<EncoderSize> sizes;  ///< The recipe's own first
  int64_t max_tokens = 16;         ///< Tokens that are left of what the encoder gives
};

struct ComputePlan {
  struct Stream {
    std::string name;
    double asked = 0, share = 0;  ///< Of all multiply-adds, 0 to 1
    double before = 0;            ///< Multiply-adds of the recipe's own encoder
    EncoderSize size;
  };
  std::vector<Stream> streams;
  double multiply_adds = 0, before = 0;  ///< Of one item with all streams
  /// {"multiply_adds", "before", "streams": {name: {"asked", "share", "multiply_adds", "before",
  /// "depth", "width", "resolution"}}}
  Json to_json() const;
};

/// Counts what each size costs: mean multiply-adds of its encoder over the items that have the
/// stream, with the processor's files in `dir`. A Transformer's layers beyond the third count as
/// much as that one (where EncoderSize::layers names them). Sizes that the encoder refuses are left
/// out.
/// @throws Error kInvalidArgument when no item has the stream.
void count_sizes(SizedStream& stream, const std::vector<Sample>& items, const std::string& dir);

/// The sizes whose shares of the multiply-adds are those asked for, within `tolerance`: among these
/// the total nearest to (with `options.multiply_adds`: not above) what is wanted, depth, width and
/// resolution changed by like factors. `shares` sum to 1.
/// @throws Error kInvalidArgument that lists the shares each stream can reach, and the nearest
/// split.
ComputePlan plan_compute(const std::vector<SizedStream>& streams,
                         const std::map<std::string, double>& shares,
                         const ComputeOptions& options);

/// `share` of the options, checked against the streams, summing to 1.
/// @throws Error kInvalidArgument for unknown or missing streams and shares that are not above 0.
std::map<std::string, double> read_shares(const Json& share,
                                          const std::vector<std::string>& streams);

/// "image=0.85,speech=0.15" or "importance", as ComputeOptions::share.
Json parse_shares(const std::string& text);

/// Each player's Shapley value of a game over all coalitions (bits of the index) [2^M].
std::vector<double> shapley_values(const std::vector<double>& worth);

/// Shares that follow importance: negative values count as none, nobody gets less than `floor`.
std::map<std::string, double> importance_shares(const std::map<std::string, double>& importance,
                                                double floor);

}  // namespace plait::api
