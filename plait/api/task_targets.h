#pragma once
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/sample.h"
#include "plait/core/tensor_map.h"
#include "plait/models/trust/trust_fusion.h"

/// What the kinds of task ask of data: targets of samples, and how the trust fusion sees them.
namespace plait::api {

/// kClasses: one of several; kLabels: any number of several; kValues: numbers; kOther: no target.
enum class TaskKind { kClasses, kLabels, kValues, kOther };
TaskKind kind_of(const Json& task);

/// Writes what a task's config leaves open and training samples tell: `labels` of a classification
/// (`classes`), of labels (all that occur, sorted), `outputs`, location and scale of values.
/// @throws Error kInvalidArgument for labels of another kind, or values that never change.
void complete_task(Json& task, const std::string& name, const std::vector<Sample>& train,
                   const std::vector<std::string>& classes);

/// Targets of the samples' labels by the task's name. Of classes (a name) [N] int64, -1 where there
/// is none; of labels (a list of names) [N, L] int64 of 0 and 1, all -1 where there is no list; of
/// values (a number, or a list) [N, R] float64, NaN where there is none. Undefined for kOther.
/// @throws Error kInvalidArgument that names the sample, for a label that the task does not have or
/// that is not of its kind.
at::Tensor targets_of(const std::vector<Sample>& samples, const std::string& name,
                      const Json& task);

/// [N] bool: the target is known, all of it.
at::Tensor is_known(const at::Tensor& target);
/// Targets as the fusion takes them: [N] or [N, Q] int64.
at::Tensor fusion_target(const models::TrustFusion& fusion, const at::Tensor& target);
/// What the network says by its head's `outputs`, as scores [B, K] of the fusion's options.
at::Tensor joint_scores(const models::TrustFusion& fusion, const TensorMap& outputs);
/// Whether the fusion answers such a task.
bool answers(const models::TrustFusion& fusion, const Json& task);

}  // namespace plait::api
