#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

namespace plait::data::testing {

/// One ustar entry; `type` '0' file, '1' hard link, '2' symbolic link, '3' device, '5' folder, '6'
/// pipe.
inline std::string tar_entry(const std::string& name, char type, const std::string& content,
                             const std::string& link = "") {
  std::string header(512, '\0');
  auto put = [&](size_t at, const std::string& text) {
    std::memcpy(header.data() + at, text.data(), text.size());
  };
  char size[16];
  std::snprintf(size, sizeof size, "%011zo", type == '0' ? content.size() : size_t{0});
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, size);
  put(136, "00000000000");
  put(148, "        ");
  header[156] = type;
  put(157, link);
  put(257, std::string("ustar\0", 6) + "00");
  unsigned sum = 0;
  for (char c : header) sum += static_cast<unsigned char>(c);
  char check[16];
  std::snprintf(check, sizeof check, "%06o", sum);
  put(148, std::string(check) + '\0' + ' ');
  std::string padded = type == '0' ? content : "";
  padded.resize((padded.size() + 511) / 512 * 512, '\0');
  return header + padded;
}

inline std::string tar_end() { return std::string(1024, '\0'); }

inline std::string ar_entry(const std::string& name, const std::string& content) {
  char header[61];
  std::snprintf(header, sizeof header, "%-16s%-12d%-6d%-6d%-8s%-10zu`\n", name.c_str(), 0, 0, 0,
                "100644", content.size());
  return std::string(header, 60) + content + (content.size() % 2 == 1 ? "\n" : "");
}

/// A Debian package with this data.tar (not compressed).
inline std::string deb(const std::string& data_tar) {
  return "!<arch>\n" + ar_entry("debian-binary", "2.0\n") +
         ar_entry("control.tar", tar_entry("./control", '0', "x") + tar_end()) +
         ar_entry("data.tar", data_tar);
}

inline uint32_t crc32(const std::string& bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

/// A zip with one stored file; a claimed size other than the true one makes a lying header.
inline std::string zip(const std::string& name, const std::string& content) {
  auto u16 = [](uint32_t v) {
    return std::string{static_cast<char>(v & 255), static_cast<char>(v >> 8 & 255)};
  };
  auto u32 = [&](uint32_t v) { return u16(v & 0xFFFF) + u16(v >> 16); };
  auto n = static_cast<uint32_t>(content.size());
  std::string sizes =
      u32(crc32(content)) + u32(n) + u32(n) + u16(static_cast<uint32_t>(name.size())) + u16(0);
  std::string local = "PK\3\4" + u16(20) + u16(0) + u16(0) + u32(0) + sizes + name + content;
  std::string central = "PK\1\2" + u16(20) + u16(20) + u16(0) + u16(0) + u32(0) + sizes + u16(0) +
                        u16(0) + u16(0) + u32(0) + u32(0) + name;
  return local + central + "PK\5\6" + u16(0) + u16(0) + u16(1) + u16(1) +
         u32(static_cast<uint32_t>(central.size())) + u32(static_cast<uint32_t>(local.size())) +
         u16(0);
}

}  // namespace plait::data::testing
