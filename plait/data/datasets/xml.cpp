#include "plait/data/datasets/xml.h"

#include <expat.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <type_traits>

#include "plait/core/error.h"

namespace plait::data {
namespace {

constexpr int kMaxDepth = 256;

struct State {
  XML_Parser parser;
  const XmlEvents& events;
  int depth = 0;
  bool too_deep = false;
  std::exception_ptr problem = nullptr;

  /// Exceptions must not cross the parser, which is written in C: they are kept and thrown again
  /// outside.
  template <class F>
  void guarded(F&& call) {
    if (problem) return;
    try {
      call();
    } catch (...) {
      problem = std::current_exception();
      XML_StopParser(parser, XML_FALSE);
    }
  }
};

void on_start(void* data, const XML_Char* name, const XML_Char** attributes) {
  auto& state = *static_cast<State*>(data);
  if (++state.depth > kMaxDepth) {
    state.too_deep = true;
    XML_StopParser(state.parser, XML_FALSE);
    return;
  }
  if (!state.events.start) return;
  state.guarded([&] {
    std::map<std::string, std::string> map;
    for (; attributes[0] != nullptr; attributes += 2) map[attributes[0]] = attributes[1];
    state.events.start(name, map);
  });
}

void on_end(void* data, const XML_Char* name) {
  auto& state = *static_cast<State*>(data);
  --state.depth;
  if (state.events.end) state.guarded([&] { state.events.end(name); });
}

void on_text(void* data, const XML_Char* text, int size) {
  auto& state = *static_cast<State*>(data);
  if (state.events.text)
    state.guarded([&] { state.events.text(std::string(text, static_cast<size_t>(size))); });
}

}  // namespace

void parse_xml(const std::string& document, const std::string& source, const XmlEvents& events) {
  std::unique_ptr<std::remove_pointer_t<XML_Parser>, void (*)(XML_Parser)> parser(
      XML_ParserCreate(nullptr), XML_ParserFree);
  if (!parser) fail(ErrorCode::kResourceLimit, "xml", "out of memory");
  State state{parser.get(), events};
  XML_SetUserData(parser.get(), &state);
  XML_SetElementHandler(parser.get(), on_start, on_end);
  XML_SetCharacterDataHandler(parser.get(), on_text);
  XML_Status status = XML_STATUS_OK;
  constexpr size_t kPiece = size_t{1} << 24;
  for (size_t at = 0; status == XML_STATUS_OK && (at == 0 || at < document.size()); at += kPiece) {
    size_t size = std::min(kPiece, document.size() - at);
    status = XML_Parse(parser.get(), document.data() + at, static_cast<int>(size),
                       at + size == document.size());
  }
  if (state.problem) std::rethrow_exception(state.problem);
  if (status != XML_STATUS_OK) {
    fail(ErrorCode::kCorruptData, "xml",
         "expected XML in " + source + ", got at line " +
             std::to_string(XML_GetCurrentLineNumber(parser.get())) + ": " +
             (state.too_deep ? "more than 256 levels"
                             : XML_ErrorString(XML_GetErrorCode(parser.get()))));
  }
}

}  // namespace plait::data
