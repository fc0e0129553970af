#include "plait/data/packages/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "plait/core/error.h"

extern char** environ;

namespace plait::data {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  int read = -1;
  int write = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
      fail(ErrorCode::kIo, "process", std::string("cannot make a pipe: ") + std::strerror(errno));
    }
    read = ends[0];
    write = ends[1];
  }
  ~Pipe() {
    close_end(read);
    close_end(write);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  static void close_end(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

/// posix_spawn's two parameter objects.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

/// A started program; it and its group are killed when this goes before it was waited for.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
  /// True once it has ended.
  bool ended() {
    if (pid_ <= 0) return true;
    int status = 0;
    pid_t got = ::waitpid(pid_, &status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR)) return false;
    status_ = got < 0 ? 127 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    pid_ = 0;
    return true;
  }
  int status() const { return status_; }

 private:
  pid_t pid_;
  int status_ = 0;
};

std::vector<std::string> merged_environment(
    const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string text = *entry;
    std::string name = text.substr(0, text.find('='));
    bool replaced = std::any_of(added.begin(), added.end(),
                                [&](const auto& pair) { return pair.first == name; });
    if (!replaced) merged.push_back(std::move(text));
  }
  for (const auto& [name, value] : added) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

pid_t spawn(const std::vector<std::string>& argv, const ProcessOptions& options, const Pipe& out,
            const Pipe& err) {
  SpawnPlan plan;
  posix_spawn_file_actions_addopen(&plan.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&plan.actions, out.write, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&plan.actions, err.write, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&plan.actions, 3);
  if (!options.directory.empty())
    posix_spawn_file_actions_addchdir_np(&plan.actions, options.directory.c_str());
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setsigdefault(&plan.attributes, &all);
  posix_spawnattr_setpgroup(&plan.attributes, 0);
  posix_spawnattr_setflags(&plan.attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> arguments = argv;
  std::vector<std::string> environment = merged_environment(options.environment);
  pid_t pid = 0;
  int error = ::posix_spawnp(&pid, argv[0].c_str(), &plan.actions, &plan.attributes,
                             pointers(arguments).data(), pointers(environment).data());
  if (error != 0) {
    fail(ErrorCode::kUnavailable, "process",
         "cannot start " + argv[0] + ": " + std::strerror(error));
  }
  return pid;
}

/// Reads what is there; false at the end of the stream. Only the tail is kept.
bool drain(int fd, std::string& into, size_t keep) {
  char buffer[16384];
  ssize_t n = ::read(fd, buffer, sizeof buffer);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  into.append(buffer, static_cast<size_t>(n));
  if (into.size() > 2 * keep) into.erase(0, into.size() - keep);
  return n > 0;
}

}  // namespace

ProcessResult run_process(const std::vector<std::string>& argv, const ProcessOptions& options) {
  require(!argv.empty() && !argv[0].empty(), "process", "expected a program to run");
  Pipe out, err;
  ProcessResult result;
  Child child(spawn(argv, options, out, err));
  Pipe::close_end(out.write);
  Pipe::close_end(err.write);
  auto deadline = Clock::now() + options.timeout;
  auto next_tick = Clock::now();
  int rounds_after_end = 0;
  while (true) {
    if (child.ended()) {
      // A grandchild may hold the pipes open: what is buffered is still read, but nobody waits for
      // it.
      if ((out.read < 0 && err.read < 0) || ++rounds_after_end > 20) break;
    }
    if (Clock::now() > deadline) {
      fail(ErrorCode::kResourceLimit, "process",
           "expected " + argv[0] + " to finish within " +
               std::to_string(options.timeout.count() / 1000.0).substr(0, 6) + " s");
    }
    if (options.tick && Clock::now() >= next_tick) {
      options.tick();
      next_tick = Clock::now() + std::chrono::milliseconds(100);
    }
    if (out.read < 0 && err.read < 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    pollfd waits[2] = {{out.read, POLLIN, 0}, {err.read, POLLIN, 0}};
    ::poll(waits, 2, rounds_after_end > 0 ? 5 : 50);
    if (out.read >= 0 && waits[0].revents != 0 &&
        !drain(out.read, result.output, options.max_output)) {
      Pipe::close_end(out.read);
    }
    if (err.read >= 0 && waits[1].revents != 0 &&
        !drain(err.read, result.errors, options.max_output)) {
      Pipe::close_end(err.read);
    }
  }
  result.status = child.status();
  for (std::string* text : {&result.output, &result.errors}) {
    if (text->size() > options.max_output) text->erase(0, text->size() - options.max_output);
  }
  return result;
}

std::string last_words(const ProcessResult& result) {
  const std::string& text = result.errors.find_first_not_of(" \n\r\t") != std::string::npos
                                ? result.errors
                                : result.output;
  std::vector<std::string> lines;
  for (size_t start = 0; start < text.size();) {
    size_t end = std::min(text.find('\n', start), text.size());
    std::string line = text.substr(start, end - start);
    if (line.find_first_not_of(" \r\t") != std::string::npos) lines.push_back(std::move(line));
    start = end + 1;
  }
  constexpr size_t kLines = 4;
  std::string joined;
  for (size_t i = lines.size() > kLines ? lines.size() - kLines : 0; i < lines.size(); ++i) {
    joined += (joined.empty() ? "" : " | ") + lines[i];
  }
  return joined.size() > 1000 ? "…" + joined.substr(joined.size() - 1000) : joined;
}

ProcessResult run_checked(const std::vector<std::string>& argv, const ProcessOptions& options) {
  ProcessResult result = run_process(argv, options);
  if (result.status != 0) {
    std::string words = last_words(result);
    fail(ErrorCode::kUnavailable, "process",
         argv[0] + " ended with status " + std::to_string(result.status) +
             (words.empty() ? "" : ": " + words));
  }
  return result;
}

}  // namespace plait::data
