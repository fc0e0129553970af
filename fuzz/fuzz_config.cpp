#include <cstdlib>

#include "fuzz/target.h"
#include "plait/core/config.h"

namespace {

struct Config {
  int64_t width = 8;
  double rate = 0.5;
  bool bias = true;
  std::string kind = "a";
  std::vector<int64_t> sizes = {1};
  std::vector<double> scales;
  std::vector<std::string> names;
  plait::Json nested;

  void visit(plait::ConfigVisitor& v) {
    v.field("width", width, "", {.min = 1, .max = 64});
    v.field("rate", rate, "", {.min = 0, .max = 1});
    v.field("bias", bias, "");
    v.field("kind", kind, "", {.one_of = {"a", "b"}});
    v.field("sizes", sizes, "", {.min = 0});
    v.field("scales", scales, "");
    v.field("names", names, "");
    v.field("nested", nested, "");
  }
  void validate() const {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    auto json = plait::Json::parse(plait::fuzz::text(data, size), "input");
    auto config = plait::read_config<Config>(json, "input", plait::UnknownKeys::kLog);
    if (config.width < 1 || config.width > 64 || !(config.rate >= 0 && config.rate <= 1))
      std::abort();
    plait::Json written = plait::write_config(config);
    if (!(plait::write_config(plait::read_config<Config>(written, "again")) == written))
      std::abort();
  });
}
