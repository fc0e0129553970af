#include "plait/api/speech_synthesizer.h"

#include <ATen/ATen.h>

#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/models/catalogue.h"

namespace plait::api {

std::shared_ptr<SpeechSynthesizer> SpeechSynthesizer::from_pretrained(
    const std::string& name_or_path, const ModelOptions& options, const std::string& front_end,
    const data::Progress& progress) {
  auto made = std::shared_ptr<SpeechSynthesizer>(new SpeechSynthesizer());
  made->dir_ = models::resolve_model(name_or_path, progress);
  models::LoadedVoice voice = models::load_published_voice(made->dir_);
  voice.model->to(dtype_from_string(options.dtype));
  voice.model->to(device_from_string(options.backend));
  made->phonemizer_ = data::make_phonemizer(voice.voice, made->dir_, front_end);
  made->speaker_ = std::make_shared<runtime::Speaker>(std::move(voice));
  return made;
}

std::vector<std::string> SpeechSynthesizer::phonemes(const std::string& text) const {
  return (*phonemizer_)(text);
}

Waveform SpeechSynthesizer::speak_phonemes(const std::vector<std::string>& sentences,
                                           const SpeakOptions& options) const {
  at::Tensor samples = (*speaker_)(sentences, options);
  require(samples.numel() > 0, "speak", "expected a word to say");
  return {samples, sample_rate()};
}

Waveform SpeechSynthesizer::synthesize(const std::string& text, const SpeakOptions& options) const {
  options.validate();
  return speak_phonemes(phonemes(text), options);
}

std::unique_ptr<runtime::SpokenStream> SpeechSynthesizer::stream(
    const std::string& text, const SpeakOptions& options) const {
  std::vector<std::string> sentences = phonemes(text);
  require(!sentences.empty(), "speak", "expected a word to say");
  return std::make_unique<runtime::SpokenStream>(speaker_, std::move(sentences), options);
}

}  // namespace plait::api
