#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plait/api/explanation.h"

/// What explanations of every kind of task say of a stream, and why it is trusted less, in words.
namespace plait::api {

constexpr double kDoubtful = 0.3;  ///< Breakage from which reasons are looked for

/// What one stream says by itself, as far as doubts go by it.
struct Opinion {
  std::string says;                  ///< "a cat"; "12.5"
  std::vector<std::string> against;  ///< Streams that say something else
  bool unsure = false;
};

/// Presence, quality, weight, breakage and reasons of stream m in one item (one row of evidence and
/// verdict); an absent stream has the first alone. `opinion` is asked only where there is doubt;
/// `quality` by stream as far as it is known in detail.
StreamExplanation describe_stream(const models::Evidence& evidence,
                                  const models::TrustModel::Verdict& verdict, int64_t m,
                                  const std::vector<std::string>& streams,
                                  const std::function<Opinion()>& opinion,
                                  const std::map<std::string, models::Quality>& quality);

/// The answer without stream m; none where it is the only one. The joint path is not run again: the
/// trust fusion answers in its place.
std::optional<models::TrustModel::Verdict> decide_without(const models::TrustModel& trust,
                                                          const models::Evidence& evidence,
                                                          int64_t m);

}  // namespace plait::api
