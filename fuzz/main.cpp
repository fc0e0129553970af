// Runs a fuzz target without libFuzzer, so that ordinary builds and ctest keep every target alive:
// the corpus as it is, then seeded random mutations of it.
//
//   fuzz_<name> [--rounds=N] [--seed=S] [--max-length=BYTES] [FILE|FOLDER ...]
//
// Exit status 1 (or an abort) means a finding; the input that caused it is left in
// ./crash-fuzz.bin.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

constexpr double kSlowSeconds = 5;
constexpr long kMaxResidentKb = 2L << 20;

std::string current;  // what the target is working on, for the handlers below

void save_current() {
  int fd = ::open("crash-fuzz.bin", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return;
  if (::write(fd, current.data(), current.size()) < 0) std::perror("crash-fuzz.bin");
  ::close(fd);
}

void on_signal(int number) {
  save_current();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

[[noreturn]] void found(const char* what) {
  save_current();
  std::fprintf(stderr, "fuzz: %s on an input of %zu bytes, kept in crash-fuzz.bin\n", what,
               current.size());
  std::exit(1);
}

void run(std::string input) {
  current = std::move(input);
  // A copy on the heap of the exact size lets AddressSanitizer see a read past the end.
  std::vector<uint8_t> bytes(current.begin(), current.end());
  auto start = std::chrono::steady_clock::now();
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (took.count() > kSlowSeconds) found("the target took over 5 s");
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  if (usage.ru_maxrss > kMaxResidentKb) found("the process grew over 2 GiB");
}

class Mutator {
 public:
  Mutator(const std::vector<std::string>& corpus, uint64_t seed, size_t max_length)
      : corpus_(corpus), random_(seed), max_length_(max_length) {}

  std::string next() {
    std::string s = corpus_.empty() ? std::string() : corpus_[below(corpus_.size())];
    for (size_t n = 1 + below(6); n > 0; --n) mutate(s);
    if (s.size() > max_length_) s.resize(max_length_);
    return s;
  }

 private:
  size_t below(size_t n) { return n == 0 ? 0 : random_() % n; }

  void mutate(std::string& s) {
    size_t at = below(s.size() + 1);
    size_t left = s.size() - at;
    switch (below(8)) {
      case 0:
        if (left) s[at] = static_cast<char>(s[at] ^ (1 << below(8)));
        break;
      case 1:
        if (left) s[at] = static_cast<char>(below(256));
        break;
      case 2: {  // lengths and offsets are where parsers go wrong
        static constexpr uint64_t kExtremes[] = {0,
                                                 1,
                                                 0x7f,
                                                 0x80,
                                                 0xff,
                                                 0x7fff,
                                                 0xffff,
                                                 0x7fffffff,
                                                 0x80000000,
                                                 0xffffffff,
                                                 0x7fffffffffffffff,
                                                 0x8000000000000000,
                                                 ~uint64_t{0}};
        uint64_t v = kExtremes[below(std::size(kExtremes))];
        size_t width = std::min(size_t{1} << below(4), left);
        for (size_t i = 0; i < width; ++i) s[at + i] = static_cast<char>(v >> (8 * i));
        break;
      }
      case 3: s.erase(at, 1 + below(std::min<size_t>(left, 64))); break;
      case 4: s.insert(at, s.substr(below(s.size() + 1), 1 + below(64))); break;
      case 5: s.insert(at, 1 + below(16), static_cast<char>(below(256))); break;
      case 6: s.resize(at); break;
      default: {  // splice
        if (corpus_.empty()) break;
        const std::string& other = corpus_[below(corpus_.size())];
        s = s.substr(0, at) + other.substr(below(other.size() + 1));
      }
    }
  }

  const std::vector<std::string>& corpus_;
  std::mt19937_64 random_;
  size_t max_length_;
};

std::vector<std::string> read_inputs(const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    if (!fs::is_directory(path)) {
      files.emplace_back(path);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> inputs;
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      std::fprintf(stderr, "fuzz: cannot read %s\n", file.c_str());
      std::exit(2);
    }
    inputs.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return inputs;
}

}  // namespace

int main(int argc, char** argv) {
  size_t rounds = 0;
  uint64_t seed = 1;
  size_t max_length = 64 << 10;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i];
    auto value = [&] { return std::strtoull(arg.c_str() + arg.find('=') + 1, nullptr, 10); };
    if (arg.rfind("--rounds=", 0) == 0) {
      rounds = value();
    } else if (arg.rfind("--seed=", 0) == 0) {
      seed = value();
    } else if (arg.rfind("--max-length=", 0) == 0) {
      max_length = value();
    } else {
      paths.push_back(arg);
    }
  }
  for (int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(number, on_signal);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(save_current);

  std::vector<std::string> corpus = read_inputs(paths);
  if (!paths.empty() && corpus.empty()) {
    std::fprintf(stderr, "fuzz: the corpus is empty\n");
    return 2;
  }
  try {
    run("");
    for (const std::string& input : corpus) run(input);
    Mutator mutator(corpus, seed, max_length);
    for (size_t i = 0; i < rounds; ++i) run(mutator.next());
  } catch (const std::exception& e) {
    found((std::string("an exception escaped (") + e.what() + ")").c_str());
  } catch (...) {
    found("an exception escaped");
  }
  std::printf("fuzz: %zu inputs and %zu mutations without a finding\n", corpus.size(), rounds);
  return 0;
}
