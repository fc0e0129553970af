#include "plait/cli/gallery.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "plait/api/retrieval_trust.h"
#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/join.h"

namespace plait::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostItems = 100000;
constexpr size_t kMostBytes = size_t{64} << 20;  ///< Of a list

std::string trimmed(const std::string& line) {
  const char* const kBlank = " \t\r";
  const size_t from = line.find_first_not_of(kBlank);
  return from == std::string::npos ? ""
                                   : line.substr(from, line.find_last_not_of(kBlank) - from + 1);
}

struct Items {
  std::vector<std::string> names;
  std::vector<Value> values;

  void add(std::string name, Value value) {
    if (names.size() >= kMostItems)
      fail(ErrorCode::kResourceLimit, "gallery", "expected at most 100000 items");
    names.push_back(std::move(name));
    values.push_back(std::move(value));
  }
};

Items files_of(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    std::error_code ignored;
    if (name.front() != '.' && entry.is_regular_file(ignored)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  Items out;
  for (const std::string& name : names) out.add(name, Path{(folder / name).string()});
  return out;
}

Items lines_of(const fs::path& list, const std::string& stream, Modality modality) {
  const std::string text = read_file(list.string(), kMostBytes);
  const bool texts = modality == Modality::kText;
  if (text.find('\0') != std::string::npos) {
    fail(ErrorCode::kInvalidArgument, "gallery",
         "expected a folder, or a text file with one " + std::string(texts ? "text" : "file name") +
             " a line for the stream \"" + stream + "\"; " + list.string() + " is no text");
  }
  std::istringstream in(text);
  Items out;
  for (std::string line; std::getline(in, line);) {
    const std::string name = trimmed(line);
    if (name.empty()) continue;
    if (texts) {
      out.add(name, name);
      continue;
    }
    const fs::path file = list.parent_path() / name;
    std::error_code ignored;
    if (!fs::is_regular_file(file, ignored)) {
      fail(ErrorCode::kNotFound, "gallery",
           "expected a file for the stream \"" + stream + "\" in every line of " + list.string() +
               ", found none at " + file.string().substr(0, 200));
    }
    out.add(name, Path{file.string()});
  }
  return out;
}

}  // namespace

std::string search_task(const api::MultimodalModel& model, const std::string& task) {
  const models::FusedNetwork& network = model.network();
  std::vector<std::string> all;
  for (const std::string& name : network.task_names()) {
    if (network.task_config(name).get("type", "") == "retrieval") all.push_back(name);
  }
  if (all.empty() || (!task.empty() && std::count(all.begin(), all.end(), task) == 0)) {
    fail(ErrorCode::kInvalidArgument, "gallery",
         "expected a retrieval task to search with" +
             (task.empty() ? std::string() : ", got \"" + task + "\"") +
             "; the model has: " + (all.empty() ? "none" : join(all)));
  }
  return task.empty() ? all.back() : task;
}

Gallery read_gallery(api::MultimodalModel& model, const std::string& task,
                     const std::string& path) {
  const std::string stream = api::gallery_stream(model.network(), task);
  const Modality modality = model.network().modality(stream);
  std::error_code ignored;
  const bool folder = path.size() < 4096 && fs::is_directory(path, ignored);
  if (!folder && (path.size() >= 4096 || !fs::is_regular_file(path, ignored))) {
    fail(ErrorCode::kNotFound, "gallery",
         "expected a folder of files for the stream \"" + stream + "\" (" + to_string(modality) +
             "), or a text file with one of them a line, found none at " + path.substr(0, 200));
  }
  Items items = folder ? files_of(path) : lines_of(path, stream, modality);
  if (items.names.empty()) {
    fail(ErrorCode::kInvalidArgument, "gallery",
         "expected at least one item for the stream \"" + stream + "\" in " + path +
             ", got an empty " + (folder ? "folder" : "file"));
  }
  std::vector<Sample> samples(items.names.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i].id = items.names[i].substr(0, 200);
    samples[i].streams[stream] = std::move(items.values[i]);
  }
  api::PredictOptions how;
  how.task = task;
  std::vector<at::Tensor> rows;
  for (const api::Prediction& p : model.predict_batch(samples, how))
    rows.push_back(at::tensor(p.embedding));
  return {at::stack(rows), std::move(items.names)};
}

}  // namespace plait::cli
