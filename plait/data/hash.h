#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace plait::data {

/// SHA-256 fed in pieces. Not thread-safe; one object per stream of bytes.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::string_view bytes);
  /// 64 lower-case hexadecimal digits; ends this hash, call it once.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// 64 lower-case hexadecimal digits of the bytes.
std::string sha256(std::string_view bytes);

/// The same of a file, read in pieces. @throws Error kNotFound or kIo.
std::string sha256_file(const std::string& path);

}  // namespace plait::data
