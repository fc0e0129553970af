#include <ATen/ATen.h>

#include "fuzz/target.h"
#include "plait/models/graph/onnx_graph.h"
#include "plait/models/graph/tfjs_graph.h"

// model.json, a zero byte, then what every shard holds.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    std::string_view text = plait::fuzz::text(data, size);
    size_t end = std::min(text.find('\0'), text.size());
    auto shard = std::make_shared<const std::string>(text.substr(std::min(end + 1, text.size())));
    auto file = plait::TfjsFile::parse(
        std::string(text.substr(0, end)), "input",
        [&](const std::string&) -> plait::TfjsFile::Shard {
          return {{reinterpret_cast<const uint8_t*>(shard->data()), shard->size()}, shard};
        });
    plait::models::OnnxGraph(plait::models::import_tfjs(file), "input");
  });
}
