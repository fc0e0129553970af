#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plait/core/sample.h"
#include "plait/data/processor.h"

namespace plait::data {

/// Items by index. get() may be called from several threads at once and decodes nothing: samples
/// hold paths, bytes or values.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// @throws Error kInvalidArgument for an index outside [0, size()).
  virtual Sample get(int64_t index) const = 0;
};

/// Items in a row, of unknown number. Not thread-safe: the Loader calls next() from one thread.
class StreamingDataset {
 public:
  virtual ~StreamingDataset() = default;
  /// The next item, or nothing at the end.
  virtual std::optional<Sample> next() = 0;
  /// Starts again from the first item.
  virtual void rewind() = 0;
};

/// Columns of equal length: streams (texts, paths, bytes, tensors ...) and labels; an empty
/// optional is a missing stream.
class MultimodalDataset : public Dataset {
 public:
  using Column = std::vector<std::optional<Value>>;
  /// @throws Error kInvalidArgument naming the column whose length differs.
  MultimodalDataset(std::map<std::string, Column> streams,
                    std::map<std::string, std::vector<Json>> labels = {});
  int64_t size() const override { return size_; }
  Sample get(int64_t index) const override;

 private:
  std::map<std::string, Column> streams_;
  std::map<std::string, std::vector<Json>> labels_;
  int64_t size_ = 0;
};

/// What a manifest's lines hold: streams by name with their modality. Other keys are labels, "id"
/// is the id.
using ManifestStreams = std::map<std::string, Modality>;

/// JSON lines in one or several files: {"id": ..., "text": "a caption", "image": "pictures/1.png",
/// "category": "cat"}. Text streams hold their text, series and tables their values or a path, the
/// others a path relative to the file; null or no key is a missing stream. Only offsets are kept in
/// memory; lines are parsed when asked for.
class JsonLinesDataset : public Dataset {
 public:
  /// @throws Error kNotFound, kCorruptData naming file and line for a line that is not an object.
  JsonLinesDataset(const std::vector<std::string>& files, ManifestStreams streams);
  ~JsonLinesDataset() override;
  int64_t size() const override;
  Sample get(int64_t index) const override;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

/// The same lines read in order, shard by shard, with one line in memory. `worker` of `workers`
/// reads every workers-th item.
class JsonLinesStream : public StreamingDataset {
 public:
  JsonLinesStream(std::vector<std::string> files, ManifestStreams streams, int64_t worker = 0,
                  int64_t workers = 1);
  ~JsonLinesStream() override;
  std::optional<Sample> next() override;
  void rewind() override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The files shard-*.jsonl and the like: `pattern` with one "*" in its file name, sorted. @throws
/// Error kNotFound when none.
std::vector<std::string> shard_files(const std::string& pattern);

using Processors = std::map<std::string, std::shared_ptr<const Processor>>;

/// Samples → padded tensors by stream with presence masks: an item without a stream has an absent
/// row. Targets: numbers and booleans of `labels` become [B] float32 or (all integers) int64; a
/// label that an item lacks is NaN or -1. Quality is 1 where present. Messages name the item's id
/// and stream.
/// @throws Error kInvalidArgument for a stream that no processor is for.
Batch collate(const std::vector<Sample>& samples, const Processors& processors,
              const std::vector<std::string>& labels = {});

}  // namespace plait::data
