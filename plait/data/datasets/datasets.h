#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plait/core/sample.h"
#include "plait/data/packages/package.h"

/// Public data sets that install by package name. Files go to PLAIT_CACHE/datasets; the first call
/// needs the network, later ones do not.
namespace plait::data {

using StreamList = std::vector<std::pair<std::string, Modality>>;

struct DatasetInfo {
  std::string name;
  std::string description;
  std::string licence;             ///< Of the data, in its packages' own words.
  std::vector<Package> packages;   ///< Where it comes from; none when it is simulated.
  StreamList streams;              ///< What a sample has.
  StreamList more_streams;         ///< What it may have on request (DatasetOptions::streams).
  std::string label;               ///< Name of the class label; "" when there is none.
  std::vector<std::string> tools;  ///< Programs that preparing it runs, with their Debian package:
                                   ///< "rsvg-convert (librsvg2-bin)".
  double validation = 0.2;         ///< Usual share of the items, likewise `test`.
  double test = 0.2;
};

struct DatasetOptions {
  std::vector<std::string> streams = {};  ///< Empty: DatasetInfo::streams.
  int64_t seed = 0;                       ///< Of the splits.
  std::optional<double> validation = {};  ///< Share of the items, likewise `test`, unless the data
                                          ///< set's own; the rest is training.
  std::optional<double> test = {};
};

/// Samples whose streams are texts, `Path`s of files in the cache or tensors (tables [D]; simulated
/// series [T, C] and pictures uint8 [H, W, 3]); the label is a string, one of `classes`.
struct DatasetSplits {
  DatasetInfo info;
  std::string dir;
  std::vector<std::string> classes = {};  ///< Sorted.
  std::vector<Sample> train = {};
  std::vector<Sample> validation = {};
  std::vector<Sample> test = {};
};

const std::vector<DatasetInfo>& list_datasets();

/// @throws Error kInvalidArgument that lists the names.
const DatasetInfo& dataset_info(const std::string& name);

/// Fetches and prepares the data set if it is not in the cache, then reads and splits it. Items
/// that share a group (the caption, without case and articles) are on the same side; splits are
/// stratified by class and depend on the seed alone.
/// @throws Error as `fetch` does; kUnavailable when a needed program is missing; kInvalidArgument
/// for unknown streams.
DatasetSplits load_dataset(const std::string& name, const DatasetOptions& options = {},
                           const Progress& progress = {});

/// True when load_dataset would not need the network.
bool is_prepared(const std::string& name);

}  // namespace plait::data
