#include "plait/data/dataset.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/table/csv.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "dataset";

void check_index(int64_t index, int64_t size) {
  if (index < 0 || index >= size) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected an index below " + std::to_string(size) + ", got " + std::to_string(index));
  }
}

/// A file of a manifest; a path that leaves the manifest's folder is refused.
Path resolve(const std::string& dir, const std::string& given, const std::string& where) {
  std::filesystem::path path = std::filesystem::path(given).lexically_normal();
  if (given.empty() || path.is_absolute() || *path.begin() == "..") {
    fail(ErrorCode::kCorruptData, kUnit, where + ": expected a path inside the manifest's folder");
  }
  return {(std::filesystem::path(dir) / path).string()};
}

Value stream_value(const Json& json, Modality modality, const std::string& dir,
                   const std::string& where) {
  bool values =
      modality == Modality::kSeries || modality == Modality::kTable || modality == Modality::kGraph;
  if (values && !json.is_string()) return json;
  if (!json.is_string()) fail(ErrorCode::kCorruptData, kUnit, where + ": expected a string");
  if (modality == Modality::kText) return json.as_string();
  return resolve(dir, json.as_string(), where);
}

Sample manifest_sample(const Json& line, const ManifestStreams& streams, const std::string& dir,
                       const std::string& where) {
  Sample sample;
  for (const auto& [key, value] : line.members()) {
    auto stream = streams.find(key);
    if (value.is_null()) continue;
    if (key == "id") {
      sample.id = value.is_string() ? value.as_string() : value.dump();
    } else if (stream == streams.end()) {
      sample.labels.emplace(key, value);
    } else {
      sample.streams.emplace(key,
                             stream_value(value, stream->second, dir, where + ", stream " + key));
    }
  }
  if (sample.id.empty()) sample.id = where;
  return sample;
}

std::string folder_of(const std::string& file) {
  return std::filesystem::path(file).parent_path().string();
}

std::string_view view(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

/// Integers where every value is one, else floats.
at::Tensor label_tensor(const std::vector<Sample>& samples, const std::string& label) {
  bool integers = true;
  std::vector<double> values;
  for (const Sample& sample : samples) {
    auto found = sample.labels.find(label);
    bool missing = found == sample.labels.end() || found->second.is_null();
    if (!missing && !found->second.is_number() && !found->second.is_bool()) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           "item " + sample.id + ": expected a number as label " + label);
    }
    bool integer = missing || found->second.is_int() || found->second.is_bool();
    integers &= integer;
    if (missing) {
      values.push_back(std::numeric_limits<double>::quiet_NaN());
    } else {
      values.push_back(found->second.is_bool() ? found->second.as_bool()
                                               : found->second.as_double());
    }
  }
  at::Tensor out = at::tensor(values, at::kDouble);
  return integers ? at::nan_to_num(out, -1.0).to(at::kLong) : out.to(at::kFloat);
}

}  // namespace

MultimodalDataset::MultimodalDataset(std::map<std::string, Column> streams,
                                     std::map<std::string, std::vector<Json>> labels)
    : streams_(std::move(streams)), labels_(std::move(labels)) {
  bool first = true;
  auto check = [&](const std::string& name, size_t length) {
    if (first) size_ = static_cast<int64_t>(length);
    first = false;
    if (static_cast<int64_t>(length) != size_) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           "expected " + std::to_string(size_) + " items in column " + name + ", got " +
               std::to_string(length));
    }
  };
  for (const auto& [name, column] : streams_) check(name, column.size());
  require(!first, kUnit, "expected at least one stream");
  for (const auto& [name, column] : labels_) check(name, column.size());
}

Sample MultimodalDataset::get(int64_t index) const {
  check_index(index, size_);
  auto i = static_cast<size_t>(index);
  Sample sample;
  sample.id = std::to_string(index);
  for (const auto& [name, column] : streams_) {
    if (column[i]) sample.streams.emplace(name, *column[i]);
  }
  for (const auto& [name, column] : labels_) {
    if (!column[i].is_null()) sample.labels.emplace(name, column[i]);
  }
  return sample;
}

struct JsonLinesDataset::State {
  struct Shard {
    std::shared_ptr<const MappedFile> file;
    std::string dir;
  };
  struct Item {
    uint32_t shard;
    int64_t line;
    size_t begin, end;
  };
  std::vector<Shard> shards;
  std::vector<Item> items;
  ManifestStreams streams;
};

JsonLinesDataset::JsonLinesDataset(const std::vector<std::string>& files, ManifestStreams streams) {
  auto state = std::make_unique<State>();
  state->streams = std::move(streams);
  for (const std::string& path : files) {
    auto shard = static_cast<uint32_t>(state->shards.size());
    state->shards.push_back({MappedFile::open(path), folder_of(path)});
    std::string_view text = view(*state->shards.back().file);
    int64_t line = 0;
    for (size_t at = text.substr(0, 3) == "\xEF\xBB\xBF" ? 3 : 0; at < text.size();) {
      size_t end = std::min(text.find('\n', at), text.size());
      ++line;
      size_t first = text.find_first_not_of(" \t\r", at);
      if (first < end) {
        if (text[first] != '{') {
          fail(ErrorCode::kCorruptData, kUnit,
               path + ", line " + std::to_string(line) + ": expected an object");
        }
        state->items.push_back({shard, line, at, end});
      }
      at = end + 1;
    }
  }
  state_ = std::move(state);
}

JsonLinesDataset::~JsonLinesDataset() = default;

int64_t JsonLinesDataset::size() const { return static_cast<int64_t>(state_->items.size()); }

Sample JsonLinesDataset::get(int64_t index) const {
  check_index(index, size());
  const State::Item& item = state_->items[static_cast<size_t>(index)];
  const State::Shard& shard = state_->shards[item.shard];
  std::string where = shard.file->path() + ", line " + std::to_string(item.line);
  Json line = Json::parse(view(*shard.file).substr(item.begin, item.end - item.begin), where);
  return manifest_sample(line, state_->streams, shard.dir, where);
}

struct JsonLinesStream::State {
  std::vector<std::string> files;
  ManifestStreams streams;
  int64_t worker, workers;
  size_t shard = 0;
  int64_t item = 0;
  std::shared_ptr<const MappedFile> file;
  std::optional<JsonLinesReader> reader;
};

JsonLinesStream::JsonLinesStream(std::vector<std::string> files, ManifestStreams streams,
                                 int64_t worker, int64_t workers)
    : state_(new State{std::move(files), std::move(streams), worker, workers, 0, 0, nullptr,
                       std::nullopt}) {
  require(workers > 0 && worker >= 0 && worker < workers, kUnit, "expected 0 <= worker < workers");
}

JsonLinesStream::~JsonLinesStream() = default;

std::optional<Sample> JsonLinesStream::next() {
  State& s = *state_;
  Json line;
  while (true) {
    if (!s.reader) {
      if (s.shard == s.files.size()) return std::nullopt;
      s.file = MappedFile::open(s.files[s.shard]);
      s.reader.emplace(view(*s.file), s.files[s.shard]);
    }
    if (!s.reader->next(line)) {
      s.reader.reset();
      s.file.reset();
      ++s.shard;
      continue;
    }
    if (s.item++ % s.workers != s.worker) continue;
    const std::string& path = s.files[s.shard];
    return manifest_sample(line, s.streams, folder_of(path),
                           path + ", line " + std::to_string(s.reader->line()));
  }
}

void JsonLinesStream::rewind() {
  state_->reader.reset();
  state_->file.reset();
  state_->shard = 0;
  state_->item = 0;
}

std::vector<std::string> shard_files(const std::string& pattern) {
  std::filesystem::path path(pattern);
  std::string name = path.filename().string();
  size_t star = name.find('*');
  if (star == std::string::npos) return {pattern};
  std::string head = name.substr(0, star);
  std::string tail = name.substr(star + 1);
  std::vector<std::string> out;
  std::error_code error;
  std::filesystem::path dir =
      path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    std::string file = entry.path().filename().string();
    if (file.size() >= head.size() + tail.size() && file.rfind(head, 0) == 0 &&
        file.compare(file.size() - tail.size(), tail.size(), tail) == 0) {
      out.push_back(entry.path().string());
    }
  }
  if (out.empty())
    fail(ErrorCode::kNotFound, kUnit, "expected files that match " + pattern + ", got none");
  std::sort(out.begin(), out.end());
  return out;
}

Batch collate(const std::vector<Sample>& samples, const Processors& processors,
              const std::vector<std::string>& labels) {
  Batch batch;
  batch.size = static_cast<int64_t>(samples.size());
  for (const Sample& sample : samples) {
    batch.ids.push_back(sample.id);
    for (const auto& [name, value] : sample.streams) {
      if (!processors.count(name)) {
        std::string known;
        for (const auto& [key, processor] : processors) known += (known.empty() ? "" : ", ") + key;
        fail(ErrorCode::kInvalidArgument, kUnit,
             "item " + sample.id + ": expected streams among " + known + ", got " + name);
      }
    }
  }
  for (const auto& [name, processor] : processors) {
    std::vector<const Value*> values;
    at::Tensor present = at::zeros({batch.size}, at::kBool);
    for (size_t i = 0; i < samples.size(); ++i) {
      auto found = samples[i].streams.find(name);
      bool there = found != samples[i].streams.end();
      values.push_back(there ? &found->second : nullptr);
      present.mutable_data_ptr<bool>()[i] = there;
    }
    std::string where = samples.size() == 1 && !samples[0].id.empty()
                            ? samples[0].id + ", stream " + name
                            : "stream " + name;
    batch.streams[name] = {processor->process(values, where), present, present.to(at::kFloat)};
  }
  for (const std::string& label : labels) batch.targets[label] = label_tensor(samples, label);
  return batch;
}

}  // namespace plait::data
