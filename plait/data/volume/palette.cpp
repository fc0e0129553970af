#include "plait/data/volume/palette.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/core/error.h"

namespace plait::data {
namespace {

struct Table {
  int64_t first = 0;
  int64_t bits = 16;
  std::vector<int32_t> values;
};

[[noreturn]] void damaged(const std::string& name) {
  fail(ErrorCode::kCorruptData, "dicom",
       name + ": expected a whole look-up table, got a damaged or truncated one");
}

/// Bytes or 16-bit words as the descriptor or the length says.
std::vector<int32_t> words(const DicomElements& e, DicomTag tag, bool bytes) {
  const DicomElement* element = e.find(tag);
  std::vector<int32_t> out;
  if (!element) return out;
  auto at = [&](size_t i) { return static_cast<int32_t>(static_cast<uint8_t>(element->value[i])); };
  size_t size = element->value.size();
  if (bytes) {
    for (size_t i = 0; i < size && i < 65536; ++i) out.push_back(at(i));
    return out;
  }
  for (size_t i = 0; i + 2 <= size && out.size() < (size_t{1} << 18); i += 2)
    out.push_back(e.big_endian() ? at(i) << 8 | at(i + 1) : at(i) | at(i + 1) << 8);
  return out;
}

/// PS3.3 C.7.9.2: runs of values, straight lines and copies of earlier segments.
std::vector<int32_t> expand(const std::vector<int32_t>& in, size_t begin, int64_t limit,
                            size_t wanted, bool nested, std::vector<int32_t> out,
                            const std::string& name) {
  size_t at = begin;
  auto next = [&] {
    if (at >= in.size()) damaged(name);
    return in[at++];
  };
  for (int64_t segment = 0; segment < limit && at < in.size() && out.size() < wanted; ++segment) {
    int32_t kind = next();
    int32_t count = next();
    if (kind == 0) {
      for (int32_t i = 0; i < count; ++i) out.push_back(next());
    } else if (kind == 1) {
      int32_t to = next();
      if (out.empty() || count == 0) damaged(name);
      double from = out.back();
      for (int32_t i = 1; i <= count; ++i)
        out.push_back(static_cast<int32_t>(from + (to - from) * i / count));
    } else if (kind == 2 && !nested) {
      auto offset = static_cast<size_t>(next());
      offset |= static_cast<size_t>(next()) << 16;
      if (offset >= in.size() * 2) damaged(name);
      out = expand(in, offset / 2, count, wanted, true, std::move(out), name);
    } else {
      damaged(name);
    }
    if (out.size() > wanted) damaged(name);
  }
  return out;
}

Table read_table(const DicomElements& e, DicomTag descriptor, DicomTag data, DicomTag segmented,
                 const std::string& name) {
  Table table;
  auto shape = e.numbers(descriptor, "US");
  if (shape.size() < 3 || (shape[2] != 8 && shape[2] != 16 && (shape[2] < 8 || shape[2] > 16)))
    damaged(name);
  auto entries = static_cast<size_t>(shape[0] == 0  ? 65536
                                     : shape[0] < 0 ? shape[0] + 65536
                                                    : shape[0]);
  table.first = static_cast<int64_t>(shape[1]);
  table.bits = static_cast<int64_t>(shape[2]);
  const DicomElement* element = e.find(data);
  if (element) {
    bool bytes = element->value.size() < 2 * entries;
    table.values = words(e, data, bytes);
  } else {
    table.values = expand(words(e, segmented, false), 0, 1 << 16, entries, false, {}, name);
  }
  if (table.values.size() < entries) damaged(name);
  table.values.resize(entries);
  return table;
}

at::Tensor tensor_of(const std::vector<int32_t>& values) {
  at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kInt);
  std::copy(values.begin(), values.end(), out.mutable_data_ptr<int32_t>());
  return out;
}

/// The table in the first item of the sequence.
void read_single(const DicomElements& e, DicomTag sequence, const std::string& name,
                 DicomLookup& lookup) {
  for (const DicomElements& item : e.items(sequence, 1)) {
    Table table = read_table(item, 0x00283002, 0x00283006, 0, name);
    lookup = {tensor_of(table.values), table.first, static_cast<int>(table.bits)};
  }
}

}  // namespace

void read_palette(const DicomElements& e, const std::string& photometric, const std::string& name,
                  DicomImage& image) {
  if (photometric == "PALETTE COLOR") {
    std::vector<at::Tensor> columns;
    for (DicomTag c : {0u, 1u, 2u}) {
      Table table = read_table(e, 0x00281101 + c, 0x00281201 + c, 0x00281221 + c, name);
      image.palette.first = table.first;
      image.palette.bits = static_cast<int>(table.bits);
      columns.push_back(tensor_of(table.values));
      if (columns.back().size(0) != columns.front().size(0)) damaged(name);
    }
    image.palette.values = at::stack(columns, 1);
  }
  read_single(e, 0x00283000, name, image.modality);
  read_single(e, 0x00283010, name, image.voi);
}

}  // namespace plait::data
