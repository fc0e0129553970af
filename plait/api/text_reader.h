#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/data/packages/cache.h"
#include "plait/data/speech/phonemizer.h"

namespace plait::api {

/// How a text is read aloud, without a voice: English as IPA, Chinese as numbered pinyin.
/// Thread-safe after loading.
class TextReader {
 public:
  /// A voice's or a reader's folder, or a name from `plait models list` ("joe", "pinyin"), fetched
  /// when needed. `front_end` as data::make_phonemizer takes it.
  static std::shared_ptr<TextReader> from_pretrained(const std::string& name_or_path,
                                                     const std::string& front_end = "",
                                                     const data::Progress& progress = {});
  /// One string for each sentence.
  std::vector<std::string> phonemes(const std::string& text) const { return (*phonemizer_)(text); }
  const std::string& language() const { return language_; }

 private:
  TextReader() = default;
  std::shared_ptr<const data::Phonemizer> phonemizer_;
  std::string language_;
};

}  // namespace plait::api
