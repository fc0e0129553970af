#include "plait/data/text/chat_template.h"

#include <sys/stat.h>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/text/jinja_parser.h"
#include "plait/data/text/jinja_runner.h"

namespace plait::data {

struct ChatTemplate::Impl {
  std::string source;
  std::vector<jinja::Statement> statements;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;
const std::string& ChatTemplate::source() const { return impl_->source; }

std::shared_ptr<const ChatTemplate> ChatTemplate::parse(const std::string& source) {
  if (source.size() > kMaxSource)
    fail(ErrorCode::kResourceLimit, "template", "expected a template of at most 1 MiB");
  auto impl = std::make_unique<Impl>();
  impl->source = source;
  impl->statements = jinja::parse(source);
  return std::shared_ptr<const ChatTemplate>(new ChatTemplate(std::move(impl)));
}

std::shared_ptr<const ChatTemplate> ChatTemplate::from_config(const Json& tokenizer_config) {
  const Json* given = tokenizer_config.find("chat_template");
  if (!given || given->is_null()) return nullptr;
  if (given->is_string()) return parse(given->as_string());
  for (const Json& one : given->items()) {
    if (one.get("name", "") == "default") return parse(one.at("template").as_string());
  }
  return nullptr;
}

std::shared_ptr<const ChatTemplate> ChatTemplate::from_folder(const std::string& dir) {
  struct stat info {};
  const std::string file = dir + "/chat_template.jinja", config = dir + "/tokenizer_config.json";
  if (::stat(file.c_str(), &info) == 0) return parse(read_file(file, kMaxSource));
  if (::stat(config.c_str(), &info) == 0) return from_config(Json::read(config, size_t{16} << 20));
  return nullptr;
}

std::string ChatTemplate::render(const Json& variables) const {
  return jinja::run(impl_->statements, variables, {kMaxText, kMaxSteps});
}

}  // namespace plait::data
