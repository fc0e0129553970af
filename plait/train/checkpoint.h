#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"

namespace plait::train {

/// A training run at one step.
struct Checkpoint {
  TensorMap weights;    ///< model.safetensors
  TensorMap optimizer;  ///< optimizer.safetensors
  Json state;           ///< trainer_state.json; holds "step" and "best_step"
};

/// Writes `output_dir`/checkpoint-<step>: into a hidden folder first, synced, then renamed, so the
/// folder is complete or absent whatever happens. Then removes all but the newest `keep`
/// checkpoints and best weights that none of them names.
/// @throws Error kIo; older checkpoints are whole then.
void save_checkpoint(const std::string& output_dir, int64_t step, const Checkpoint& checkpoint,
                     int64_t keep);

/// @throws Error kNotFound, kCorruptData naming the file.
Checkpoint load_checkpoint(const std::string& dir);

/// Checkpoint folders of `output_dir`, newest (largest step) first; empty when there are none.
std::vector<std::string> list_checkpoints(const std::string& output_dir);

/// Removes every checkpoint and best weights of `output_dir`.
void remove_checkpoints(const std::string& output_dir);

/// `output_dir`/best-<step>.safetensors.
std::string best_weights_path(const std::string& output_dir, int64_t step);

}  // namespace plait::train
