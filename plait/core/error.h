#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

namespace plait {

/// What kind of thing went wrong. Each boundary converts it once: HTTP status, Python exception,
/// CLI exit code.
enum class ErrorCode {
  kInvalidArgument,  ///< A value that the caller passed (shape, range, unknown name). Python:
                     ///< ValueError. CLI: 2.
  kCorruptData,  ///< Bytes from outside that do not parse (file, message). Python: plait.DataError.
  kNotFound,     ///< A file, package, model or key that is not there. Python: FileNotFoundError.
  kUnavailable,  ///< Not built in, or the machine lacks it (CUDA, a codec). Python: RuntimeError.
  kResourceLimit,  ///< A stated limit was exceeded (size, memory, time). Python: plait.LimitError.
  kIo,             ///< Reading or writing failed (disk full, permission). Python: OSError.
  kInternal,       ///< A broken invariant: a bug in Plait.
};

/// The library's exception. `what()` reads "[unit] expected X, got Y" and never contains the user's
/// data.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// "invalid argument", "corrupt data" ...
std::string_view to_string(ErrorCode code);

/// Throws Error{code, "[unit] message"}.
[[noreturn]] void fail(ErrorCode code, std::string_view unit, const std::string& message);

/// Throws kInvalidArgument unless `ok`. The message is built only by the caller's expression, so
/// keep it cheap.
inline void require(bool ok, std::string_view unit, const char* message) {
  if (!ok) fail(ErrorCode::kInvalidArgument, unit, message);
}

}  // namespace plait
