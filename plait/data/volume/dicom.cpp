#include "plait/data/volume/dicom.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/tensor_map.h"
#include "plait/data/volume/dicom_frames.h"
#include "plait/data/volume/palette.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "dicom";
constexpr size_t kMaxFileBytes = size_t{4} << 30;

at::ScalarType tensor_type(SampleType type) {
  switch (type) {
    case SampleType::kUint8: return at::kByte;
    case SampleType::kInt8: return at::kChar;
    case SampleType::kInt16: return at::kShort;
    case SampleType::kUint16:
    case SampleType::kInt32: return at::kInt;
    case SampleType::kUint32: return at::kLong;
    case SampleType::kFloat: return at::kFloat;
    default: return at::kDouble;
  }
}

template <class From, class To>
void widen(const std::vector<uint8_t>& from, To* to, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, &from[i * sizeof(From)], sizeof(From));
    to[i] = static_cast<To>(value);
  }
}

void copy_frame(const std::vector<uint8_t>& from, SampleType type, at::Tensor to) {
  auto count = static_cast<size_t>(to.numel());
  if (type == SampleType::kUint16) {
    widen<uint16_t>(from, to.mutable_data_ptr<int32_t>(), count);
  } else if (type == SampleType::kUint32) {
    widen<uint32_t>(from, to.mutable_data_ptr<int64_t>(), count);
  } else {
    std::memcpy(to.mutable_data_ptr(), from.data(), count * size_of(type));
  }
}

/// PS3.3 C.7.6.3.1.2 backwards, [..., 3] uint8, rounded half to even as NumPy does.
at::Tensor ybr_to_rgb(const at::Tensor& ybr) {
  at::Tensor x = ybr.to(at::kFloat);
  at::Tensor y = x.select(-1, 0), cb = x.select(-1, 1) - 128, cr = x.select(-1, 2) - 128;
  at::Tensor rgb =
      at::stack({y + 1.402 * cr, y - (0.114 * 1.772 / 0.587) * cb - (0.299 * 1.402 / 0.587) * cr,
                 y + 1.772 * cb},
                -1);
  return (rgb + 0.5).floor_().clamp_(0, 255).to(at::kByte);
}

template <size_t N>
std::optional<std::array<double, N>> exactly(const std::vector<double>& values) {
  if (values.size() < N) return std::nullopt;
  std::array<double, N> out;
  std::copy_n(values.begin(), N, out.begin());
  return out;
}

std::optional<double> positive(const DicomElements& e, DicomTag tag) {
  auto values = e.numbers(tag, "DS");
  if (values.empty() || values[0] <= 0) return std::nullopt;
  return values[0];
}

/// Fields that stand in the data set itself or, in enhanced images, in a functional group.
void read_geometry(const DicomElements& e, DicomTags& tags) {
  if (auto v = exactly<2>(e.numbers(0x00280030, "DS")); v && (*v)[0] > 0 && (*v)[1] > 0)
    tags.pixel_spacing = v;
  if (auto v = positive(e, 0x00180050)) tags.slice_thickness = v;
  if (auto v = positive(e, 0x00180088)) tags.spacing_between_slices = v;
  if (auto v = exactly<6>(e.numbers(0x00200037, "DS"))) tags.orientation = v;
  if (auto v = exactly<3>(e.numbers(0x00200032, "DS"))) tags.positions.push_back(*v);
  if (auto v = e.numbers(0x00281053, "DS"); !v.empty()) tags.slope = v[0];
  if (auto v = e.numbers(0x00281052, "DS"); !v.empty()) tags.intercept = v[0];
  if (e.has(0x00281054)) tags.units = e.text(0x00281054);
  auto centers = e.numbers(0x00281050, "DS"), widths = e.numbers(0x00281051, "DS");
  std::string function = e.text(0x00281056);
  if (!centers.empty() && !widths.empty()) tags.windows.clear();
  for (size_t i = 0; i < std::min(centers.size(), widths.size()); ++i) {
    if (widths[i] > 0)
      tags.windows.push_back({centers[i], widths[i], function.empty() ? "LINEAR" : function});
  }
}

void read_groups(const DicomElements& group, DicomTags& tags) {
  // Pixel measures, plane position, plane orientation, value transformation, window.
  for (DicomTag sequence : {0x00289110u, 0x00209113u, 0x00209116u, 0x00289145u, 0x00289132u}) {
    for (const DicomElements& item : group.items(sequence, 1)) read_geometry(item, tags);
  }
}

DicomTags read_tags(const DicomFile& file, const PixelLayout& layout) {
  const DicomElements& e = file.elements;
  DicomTags tags;
  tags.modality = e.text(0x00080060);
  tags.body_part = e.text(0x00180015);
  tags.transfer_syntax = file.transfer_syntax;
  tags.photometric = layout.photometric;
  tags.rows = layout.rows;
  tags.columns = layout.columns;
  tags.frames = layout.frames;
  tags.bits_stored = layout.bits_stored;
  read_geometry(e, tags);
  for (const DicomElements& shared : e.items(0x52009229, 1)) read_groups(shared, tags);
  auto own = std::move(tags.positions);
  tags.positions.clear();
  for (const DicomElements& frame : e.items(0x52009230, size_t{1} << 16)) read_groups(frame, tags);
  if (tags.positions.empty()) tags.positions = std::move(own);
  if (auto v = e.numbers(0x00200013, "IS"); !v.empty())
    tags.instance_number = static_cast<int64_t>(v[0]);
  return tags;
}

DicomIdentity read_identity(const DicomElements& e) {
  return {.patient_name = e.text(0x00100010),
          .patient_id = e.text(0x00100020),
          .birth_date = e.text(0x00100030),
          .accession_number = e.text(0x00080050),
          .study_uid = e.text(0x0020000D),
          .series_uid = e.text(0x0020000E),
          .instance_uid = e.text(0x00080018),
          .frame_of_reference_uid = e.text(0x00200052)};
}

}  // namespace

DicomImage decode_dicom(std::string_view bytes, const std::string& name,
                        const DicomOptions& options) {
  DicomFile file = parse_dicom(bytes, name);
  PixelLayout layout = read_layout(file, options.max_bytes, name);
  DicomImage image;
  image.tags = read_tags(file, layout);
  image.identity = read_identity(file.elements);
  read_palette(file.elements, layout.photometric, name, image);
  // The result is allocated once the first frame was decoded: a header alone costs nothing.
  decode_frames(file, layout, name, [&](int64_t i, std::vector<uint8_t> frame) {
    if (!image.pixels.defined()) {
      std::vector<int64_t> shape = {layout.frames, layout.rows, layout.columns};
      if (layout.samples > 1) shape.push_back(layout.samples);
      image.pixels = at::empty(shape, tensor_type(layout.type));
    }
    copy_frame(frame, layout.type, image.pixels[i]);
  });
  bool luma_chroma = layout.photometric == "YBR_FULL" || layout.photometric == "YBR_FULL_422";
  if (luma_chroma && !options.keep_colour_space && layout.samples == 3 &&
      layout.type == SampleType::kUint8) {
    for (int64_t i = 0; i < layout.frames; ++i) image.pixels[i].copy_(ybr_to_rgb(image.pixels[i]));
  }
  return image;
}

DicomImage load_dicom(const std::string& path, const DicomOptions& options) {
  auto file = MappedFile::open(path);
  if (file->bytes().size() > kMaxFileBytes) {
    fail(ErrorCode::kResourceLimit, kUnit, path + ": expected a file of at most 4 GiB, got more");
  }
  auto bytes = file->bytes();
  return decode_dicom({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path, options);
}

DicomTags read_dicom_tags(std::string_view bytes, const std::string& name) {
  DicomFile file = parse_dicom(bytes, name);
  return read_tags(file, read_layout(file, SIZE_MAX, name));
}

namespace {

at::Tensor look_up(const DicomLookup& table, const at::Tensor& values) {
  at::Tensor index = (values.to(at::kLong) - table.first).clamp_(0, table.values.size(0) - 1);
  return table.values.index({index});
}

/// [0, 1] in the shape of the pixels.
at::Tensor grey_of(const DicomImage& image, const std::optional<DicomWindow>& window) {
  at::Tensor values = modality_values(image);
  if (window) return apply_window(values, *window);
  if (image.voi.values.defined())
    return look_up(image.voi, values.round()).to(at::kFloat) /
           (std::ldexp(1.0, image.voi.bits) - 1);
  if (!image.tags.windows.empty()) return apply_window(values, image.tags.windows.front());
  auto low = values.min().item<double>(), high = values.max().item<double>();
  return apply_window(values, {(low + high) / 2, std::max(high - low, 1e-9), "LINEAR_EXACT"});
}

}  // namespace

at::Tensor modality_values(const DicomImage& image) {
  if (image.modality.values.defined()) return look_up(image.modality, image.pixels).to(at::kFloat);
  return (image.pixels.to(at::kDouble) * image.tags.slope + image.tags.intercept).to(at::kFloat);
}

at::Tensor apply_window(const at::Tensor& values, const DicomWindow& window) {
  at::Tensor x = values.to(at::kDouble);
  if (window.function == "SIGMOID")
    return at::sigmoid((x - window.center) * (4 / window.width)).to(at::kFloat);
  bool exact = window.function == "LINEAR_EXACT";
  require(exact || window.function == "LINEAR", kUnit,
          "expected a window function LINEAR, LINEAR_EXACT or SIGMOID");
  double center = exact ? window.center : window.center - 0.5;
  // A width of one is a threshold.
  double width = std::max(exact ? window.width : window.width - 1, 1e-9);
  return ((x - center) / width + 0.5).clamp_(0, 1).to(at::kFloat);
}

at::Tensor display_pixels(const DicomImage& image, const std::optional<DicomWindow>& window) {
  if (image.palette.values.defined()) {
    at::Tensor colours = look_up(image.palette, image.pixels);
    return (image.palette.bits > 8 ? colours.bitwise_right_shift(8) : colours).to(at::kByte);
  }
  if (image.pixels.dim() == 4) {
    at::Tensor rgb = image.pixels.slice(3, 0, 3);
    if (rgb.scalar_type() == at::kByte) return rgb.contiguous();
    double top = std::ldexp(1.0, image.tags.bits_stored) - 1;
    return (rgb.to(at::kDouble) * (255 / top)).round_().clamp_(0, 255).to(at::kByte);
  }
  at::Tensor grey = grey_of(image, window);
  if (image.tags.photometric == "MONOCHROME1") grey = 1 - grey;
  grey = (grey * 255).round_().to(at::kByte);
  return grey.unsqueeze(3).expand({-1, -1, -1, 3}).contiguous();
}

}  // namespace plait::data
