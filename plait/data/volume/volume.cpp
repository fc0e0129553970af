#include "plait/data/volume/volume.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/data/decode.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "volume";

[[noreturn]] void wrong(const std::string& name, const std::string& message) {
  fail(ErrorCode::kInvalidArgument, kUnit, name + ": " + message);
}

using Vector = std::array<double, 3>;

double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/// Right-handed normal of the slice plane.
Vector normal_of(const std::array<double, 6>& o) {
  return {o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3]};
}

/// Slices in the order of the file or list, before they are sorted.
struct Stack {
  std::vector<at::Tensor> slices;  ///< float32 [H, W]
  std::vector<Vector> positions;   ///< as many as slices, or none
  std::vector<std::string> names;
  DicomTags tags;
};

void add(Stack& stack, const DicomImage& image, const std::string& name) {
  if (image.pixels.dim() != 3 || image.palette.values.defined())
    wrong(name, "expected grey values, got a colour image");
  at::Tensor values = modality_values(image);
  for (int64_t i = 0; i < values.size(0); ++i) {
    stack.slices.push_back(values[i]);
    stack.names.push_back(name);
  }
  const auto& positions = image.tags.positions;
  bool each = positions.size() == static_cast<size_t>(values.size(0));
  if (each) stack.positions.insert(stack.positions.end(), positions.begin(), positions.end());
}

/// Distances along the normal must rise by equal steps.
double even_step(const std::vector<double>& along, const std::vector<size_t>& order,
                 const Stack& stack, double tolerance) {
  std::vector<double> steps;
  for (size_t i = 1; i < order.size(); ++i) steps.push_back(along[order[i]] - along[order[i - 1]]);
  std::vector<double> sorted = steps;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<int64_t>(sorted.size() / 2),
                   sorted.end());
  double median = sorted[sorted.size() / 2];
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string& name = stack.names[order[i + 1]];
    if (steps[i] < 1e-4) wrong(name, "expected one slice at each place, got two");
    if (std::abs(steps[i] - median) > std::max(tolerance * median, 1e-3)) {
      wrong(name, "expected slices " + std::to_string(median) + " mm apart, got " +
                      std::to_string(steps[i]) + " mm (a missing slice?)");
    }
  }
  return median;
}

Volume assemble(Stack stack, const std::string& name, const VolumeOptions& options) {
  if (stack.slices.empty()) wrong(name, "expected at least one slice, got none");
  int64_t count = static_cast<int64_t>(stack.slices.size());
  auto slice_bytes = static_cast<size_t>(stack.slices[0].numel()) * sizeof(float);
  if (slice_bytes > options.max_bytes / static_cast<size_t>(count)) {
    fail(ErrorCode::kResourceLimit, kUnit,
         name + ": expected a volume of at most " + std::to_string(options.max_bytes) + " bytes");
  }
  Volume volume;
  volume.tags = stack.tags;
  const DicomTags& tags = stack.tags;
  if (tags.pixel_spacing) {
    volume.has_spacing = true;
    volume.spacing = {tags.spacing_between_slices.value_or(tags.slice_thickness.value_or(1)),
                      (*tags.pixel_spacing)[0], (*tags.pixel_spacing)[1]};
  }
  std::vector<size_t> order(stack.slices.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (tags.orientation && stack.positions.size() == stack.slices.size()) {
    Vector normal = normal_of(*tags.orientation);
    std::vector<double> along;
    for (const Vector& position : stack.positions) along.push_back(dot(position, normal));
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return along[a] < along[b]; });
    if (order.size() > 1)
      volume.spacing[0] = even_step(along, order, stack, options.spacing_tolerance);
    volume.origin = stack.positions[order[0]];
    std::copy_n(tags.orientation->begin(), 6, volume.axes.begin());
    std::copy_n(normal.begin(), 3, volume.axes.begin() + 6);
  }
  std::vector<at::Tensor> sorted;
  for (size_t i : order) sorted.push_back(stack.slices[i]);
  volume.values = at::stack(sorted);
  return volume;
}

bool differs(double a, double b) { return std::abs(a - b) > 1e-3; }

/// @throws when `image` does not belong to the series of `first`.
void check_same_series(const DicomImage& first, const DicomImage& image, const std::string& name) {
  if (image.identity.series_uid != first.identity.series_uid)
    wrong(name, "expected slices of one series, got another series");
  if (image.tags.rows != first.tags.rows || image.tags.columns != first.tags.columns) {
    wrong(name, "expected slices of " + std::to_string(first.tags.rows) + " x " +
                    std::to_string(first.tags.columns) + ", got " +
                    std::to_string(image.tags.rows) + " x " + std::to_string(image.tags.columns));
  }
  if (image.tags.orientation.has_value() != first.tags.orientation.has_value() ||
      image.tags.pixel_spacing.has_value() != first.tags.pixel_spacing.has_value())
    wrong(name, "expected orientation and spacing in every slice or in none");
  for (size_t i = 0; first.tags.orientation && i < 6; ++i) {
    if (differs((*image.tags.orientation)[i], (*first.tags.orientation)[i]))
      wrong(name, "expected slices of one orientation, got another");
  }
  for (size_t i = 0; first.tags.pixel_spacing && i < 2; ++i) {
    if (differs((*image.tags.pixel_spacing)[i], (*first.tags.pixel_spacing)[i]))
      wrong(name, "expected slices of one pixel spacing, got another");
  }
}

}  // namespace

Volume decode_volume(std::string_view bytes, const std::string& name,
                     const VolumeOptions& options) {
  DicomImage image = decode_dicom(bytes, name, {.max_bytes = options.max_bytes});
  Stack stack;
  stack.tags = image.tags;
  add(stack, image, name);
  return assemble(std::move(stack), name, options);
}

Volume load_volume(const std::vector<std::string>& paths, const VolumeOptions& options) {
  if (paths.empty()) wrong("volume", "expected at least one file, got none");
  if (paths.size() > options.max_files) {
    fail(ErrorCode::kResourceLimit, kUnit,
         paths[0] + ": expected at most " + std::to_string(options.max_files) + " files, got " +
             std::to_string(paths.size()));
  }
  Stack stack;
  DicomImage first;
  for (const std::string& path : paths) {
    DicomImage image = load_dicom(path, {.max_bytes = options.max_bytes / paths.size()});
    if (paths.size() > 1 && image.tags.frames > 1)
      wrong(path, "expected one frame in each file of a series, got several");
    if (&path == &paths[0]) {
      first = image;
      stack.tags = image.tags;
    }
    check_same_series(first, image, path);
    if (paths.size() > 1 && (image.tags.positions.empty() || !image.tags.orientation))
      wrong(path, "expected a slice with position and orientation, got one without");
    add(stack, image, path);
  }
  return assemble(std::move(stack), paths[0], options);
}

Volume load_volume(const std::string& path, const VolumeOptions& options) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error))
    return load_volume(std::vector<std::string>{path}, options);
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    std::string file = entry.path().filename().string();
    if (entry.is_regular_file() && file[0] != '.') files.push_back(entry.path().string());
    if (files.size() > options.max_files) break;
  }
  std::sort(files.begin(), files.end());
  if (error || files.empty()) wrong(path, "expected a folder with the files of one series");
  return load_volume(files, options);
}

Volume decode_volume_value(const Value& value, const std::string& where,
                           const VolumeOptions& options) {
  if (auto* tensor = std::get_if<at::Tensor>(&value)) {
    if (!tensor->defined() || tensor->dim() != 3 || tensor->numel() == 0 || tensor->is_complex() ||
        !at::isfinite(*tensor).all().item<bool>())
      wrong(where,
            "expected finite values [D, H, W], got " +
                (tensor->defined() ? describe(*tensor) : std::string("an undefined tensor")));
    Volume volume;
    volume.values = tensor->detach().to(at::kCPU, at::kFloat).contiguous();
    return volume;
  }
  if (auto* bytes = std::get_if<Bytes>(&value)) return decode_volume(bytes->bytes, where, options);
  try {
    if (auto* path = std::get_if<Path>(&value)) return load_volume(path->path, options);
    if (auto* path = std::get_if<std::string>(&value)) return load_volume(*path, options);
    if (auto* json = std::get_if<Json>(&value); json && json->is_array()) {
      std::vector<std::string> paths;
      for (size_t i = 0; i < json->size(); ++i) paths.push_back(json->at(i).as_string());
      return load_volume(paths, options);
    }
  } catch (const Error& e) {
    fail(e.code(), kUnit, where + ": " + e.what());
  }
  wrong(where, "expected a path, a list of paths, bytes or a tensor [D, H, W]");
}

}  // namespace plait::data
