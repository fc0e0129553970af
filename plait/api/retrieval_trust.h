#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/api/trust_fitting.h"

/// The trust fusion of retrieval tasks: streams of a query, fused over a gallery of candidates.
namespace plait::api {

/// The stream whose embeddings are searched: `gallery` of the task's config, else the first text
/// stream, else the last stream. @throws Error kInvalidArgument for a name that is no stream.
std::string gallery_stream(const models::FusedNetwork& network, const std::string& task);
/// All other streams, in the network's order: those of a query.
std::vector<std::string> query_streams(const models::FusedNetwork& network,
                                       const std::string& task);

/// Fits densities, gates, guard and prediction sets on items that the network was not trained on.
/// Temperatures and scales are those for 32 candidates, sets those for 2 to 32
/// (models::CandidateSets says what they promise); there are no abstention and route, which depend
/// on how many there are.
/// @return null with fewer than two query streams, or fewer than 40 items that have the gallery
/// stream and another.
std::shared_ptr<models::TrustModel> fit_retrieval_trust(models::FusedNetwork& network,
                                                        const std::string& task,
                                                        const train::FeatureDataset& validation,
                                                        const TrustFitting& options);

/// What the query streams of the items `rows` [B'] say of a gallery [K, E] of embeddings (brought
/// to length 1 here), K ≥ 2. Each of these items has a query stream.
models::Evidence look_at_gallery(const models::TrustModel& trust,
                                 const models::FusedNetwork& network, const std::string& task,
                                 const models::FusedOutput& output, const at::Tensor& rows,
                                 const at::Tensor& gallery);
/// Shares [B', M'] of query streams as those [B', M] of all.
at::Tensor among_all_streams(const models::FusedNetwork& network, const std::string& task,
                             const at::Tensor& weights);
/// [B] bool: items with a query stream.
at::Tensor has_query(const models::FusedNetwork& network, const std::string& task,
                     const at::Tensor& present);

}  // namespace plait::api
