#include "fuzz/target.h"
#include "plait/data/datasets/xml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    size_t seen = 0;
    plait::data::XmlEvents events;
    events.start = [&](const std::string& name, const auto& attributes) {
      seen += name.size() + attributes.size();
    };
    events.end = [&](const std::string& name) { seen += name.size(); };
    events.text = [&](const std::string& text) { seen += text.size(); };
    plait::data::parse_xml(std::string(plait::fuzz::text(data, size)), "fuzz", events);
  });
}
