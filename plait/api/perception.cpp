#include "plait/api/perception.h"

#include <ATen/ATen.h>

#include <type_traits>

#include "plait/core/error.h"
#include "plait/data/decode.h"
#include "plait/models/catalogue.h"

namespace plait::api {
namespace {

std::string trimmed(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n";
  size_t from = text.find_first_not_of(kSpace);
  if (from == std::string::npos) return "";
  return text.substr(from, text.find_last_not_of(kSpace) + 1 - from);
}

template <class T>
Json rows(const std::optional<std::vector<T>>& items) {
  if (!items) return {};
  Json out = Json::array();
  for (const T& item : *items) out.push_back(item.to_json());
  return out;
}

}  // namespace

Json Percept::to_json() const {
  Json json = Json::object({{"text", Json()}, {"ocr", rows(ocr)}, {"objects", rows(objects)}});
  if (speech) json["text"] = trimmed(speech->text);
  return json;
}

Perception::Perception(PerceptionOptions options, data::Progress progress)
    : options_(std::move(options)), progress_(std::move(progress)) {
  options_.transcribe.validate();
}

template <class T>
std::shared_ptr<T> Perception::part(std::shared_ptr<T>& slot, const std::string& name) const {
  std::lock_guard lock(mutex_);
  if (slot) return slot;
  if constexpr (std::is_same_v<T, SpeechRecognizer>) {
    slot = T::from_pretrained(models::resolve_model(name, progress_), options_.model);
  } else {
    slot = T::from_pretrained(name, options_.model, progress_);
  }
  return slot;
}

Percept Perception::process(const std::optional<Value>& audio,
                            const std::optional<Value>& image) const {
  require(audio || image, "perception", "expected a sound, a picture or both, got neither");
  Percept out;
  if (audio)
    out.speech = part(speech_, options_.speech_model)->transcribe(*audio, options_.transcribe);
  if (image) {
    // Decoded once for both.
    const Value picture = data::decode_image_value(*image, "image");
    out.ocr = part(ocr_, options_.ocr_model)->read(picture, options_.ocr);
    out.objects = part(objects_, options_.object_model)->detect(picture, options_.detect);
  }
  return out;
}

}  // namespace plait::api
