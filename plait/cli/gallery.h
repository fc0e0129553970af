#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "plait/api/multimodal_model.h"

namespace plait::cli {

/// What a search looks through.
struct Gallery {
  at::Tensor embeddings;           ///< [K, E]
  std::vector<std::string> names;  ///< File names, or the texts
};

/// The retrieval task that a search asks: `task`, or without one the model's.
/// @throws Error kInvalidArgument that lists the model's retrieval tasks.
std::string search_task(const api::MultimodalModel& model, const std::string& task);

/// Embeds the items of a folder (every file in it, by name) or of a text file with one item a line:
/// texts where the task's gallery stream is one of texts, else files, relative to the text file.
/// Empty lines are skipped. @throws Error that says what was expected: kNotFound for no such folder
/// or file, kInvalidArgument for one without items or of another kind, kResourceLimit for more than
/// 100000 items, and the decoder's that names the item.
Gallery read_gallery(api::MultimodalModel& model, const std::string& task, const std::string& path);

}  // namespace plait::cli
