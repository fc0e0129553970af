#pragma once
#include <string>
#include <vector>

#include "plait/models/quality/quality.h"
#include "plait/models/trust/trust_fusion.h"

/// Why a stream is trusted less, in words: for explanations of every kind of task.
namespace plait::api {

constexpr double kDoubtful = 0.3;  ///< Breakage from which reasons are looked for

/// What one stream says by itself, as far as doubts go by it.
struct Opinion {
  std::string says;                  ///< "a cat"; "12.5"
  std::vector<std::string> against;  ///< Streams that say something else
  bool unsure = false;
};

/// Whether to look for reasons at all: the stream may mislead, or its signal is poor.
bool is_doubted(const models::Evidence& evidence, int64_t stream, double breakage);

/// Reasons to trust stream m of one item (one row of evidence) less; empty: nothing was found.
/// `quality` null: not known in detail.
std::vector<std::string> doubts_of(const models::Evidence& evidence, int64_t stream,
                                   const std::vector<std::string>& streams, const Opinion& opinion,
                                   const models::Quality* quality);

}  // namespace plait::api
