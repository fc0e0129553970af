#include "plait/api/text_reader.h"

#include "plait/core/error.h"
#include "plait/core/json.h"
#include "plait/models/catalogue.h"

namespace plait::api {

std::shared_ptr<TextReader> TextReader::from_pretrained(const std::string& name_or_path,
                                                        const std::string& front_end,
                                                        const data::Progress& progress) {
  auto made = std::shared_ptr<TextReader>(new TextReader());
  const std::string dir = models::resolve_model(name_or_path, progress);
  const Json config = Json::read(dir + "/config.json", 4 << 20);
  const Json* voice = config.find("voice");
  if (!voice || !voice->is_object())
    fail(ErrorCode::kInvalidArgument, "reader", dir + ": expected a voice or a reader of text");
  made->phonemizer_ = data::make_phonemizer(*voice, dir, front_end);
  made->language_ = voice->get("language", "");
  return made;
}

}  // namespace plait::api
