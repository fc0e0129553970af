#include <ATen/ATen.h>

#include <algorithm>

#include "plait/api/speech_recognizer.h"
#include "plait/api/speech_synthesizer.h"
#include "plait/api/text_reader.h"
#include "plait/core/error.h"
#include "plait/data/speech/chinese_text.h"
#include "python/bindings/calls.h"

namespace plait::python {
namespace {

using api::SpeechRecognizer;
using runtime::SpeechStream;

void check_signals() {
  py::gil_scoped_acquire acquire;
  throw_if_interrupted();
}

runtime::TranscribeOptions options_of(const py::dict& given, const py::object& progress) {
  auto options = read_config<runtime::TranscribeOptions>(to_json(given), "options");
  options.progress = [progress](double done, double total) {
    py::gil_scoped_acquire acquire;
    throw_if_interrupted();
    if (!progress.is_none()) progress(done, total);
  };
  return options;
}

py::dict from_update(const runtime::StreamUpdate& update) {
  py::dict out;
  out["text"] = update.text;
  out["tentative"] = update.tentative;
  out["start"] = update.start;
  out["end"] = update.end;
  out["ends_utterance"] = update.ends_utterance;
  py::list words;
  for (const runtime::TimedWord& word : update.words) {
    py::dict row;
    row["word"] = word.text;
    row["start"] = word.start;
    row["end"] = word.end;
    row["probability"] = word.probability;
    words.append(row);
  }
  out["words"] = words;
  return out;
}

py::list from_updates(const std::vector<runtime::StreamUpdate>& updates) {
  py::list out;
  for (const auto& update : updates) out.append(from_update(update));
  return out;
}

Value audio_of(const py::object& audio) { return to_value(audio, Modality::kAudio, "audio"); }

void bind_synthesis(py::module_& m) {
  using api::SpeechSynthesizer;
  auto options_from = [](const py::dict& given) {
    return read_config<api::SpeakOptions>(to_json(given), "options");
  };
  py::class_<api::TextReader, std::shared_ptr<api::TextReader>>(m, "TextReader")
      .def_static("from_pretrained",
                  [](const std::string& name, const std::string& front_end) {
                    py::gil_scoped_release release;
                    return api::TextReader::from_pretrained(name, front_end);
                  })
      .def("phonemes",
           [](const api::TextReader& self, const std::string& text) {
             py::gil_scoped_release release;
             return self.phonemes(text);
           })
      .def_property_readonly("language", &api::TextReader::language);
  m.def("spell_chinese", &data::spell_chinese);
  py::class_<runtime::SpokenStream>(m, "SpokenStream")
      .def("next",
           [](runtime::SpokenStream& self) {
             check_signals();
             py::gil_scoped_release release;
             return self.next();
           })
      .def_property_readonly("begun", &runtime::SpokenStream::begun)
      .def_property_readonly("sentences", &runtime::SpokenStream::sentences);
  py::class_<SpeechSynthesizer, std::shared_ptr<SpeechSynthesizer>>(m, "SpeechSynthesizer")
      .def_static("from_pretrained",
                  [](const std::string& name, const std::string& backend, const std::string& dtype,
                     const std::string& front_end) {
                    const auto options = model_options(backend, dtype);
                    py::gil_scoped_release release;
                    return SpeechSynthesizer::from_pretrained(name, options, front_end);
                  })
      .def("synthesize",
           [options_from](const SpeechSynthesizer& self, const std::string& text,
                          const py::dict& given) {
             auto options = options_from(given);
             py::gil_scoped_release release;
             return self.synthesize(text, options).samples;
           })
      .def("stream",
           [options_from](const SpeechSynthesizer& self, const std::string& text,
                          const py::dict& given) {
             auto options = options_from(given);
             py::gil_scoped_release release;
             return self.stream(text, options);
           })
      .def("phonemes",
           [](const SpeechSynthesizer& self, const std::string& text) {
             py::gil_scoped_release release;
             return self.phonemes(text);
           })
      .def("speak_phonemes",
           [options_from](const SpeechSynthesizer& self, const std::vector<std::string>& sentences,
                          const py::dict& given) {
             auto options = options_from(given);
             py::gil_scoped_release release;
             return self.speak_phonemes(sentences, options).samples;
           })
      .def("symbols", [](const SpeechSynthesizer& self,
                         const std::string& phonemes) { return self.speaker().symbols(phonemes); })
      .def("speak_symbols",
           [options_from](const SpeechSynthesizer& self, const py::dict& inputs,
                          const py::dict& given) {
             auto options = options_from(given);
             TensorMap tensors = to_tensors(inputs);
             py::gil_scoped_release release;
             return self.speaker().speak_symbols(tensors, options);
           })
      .def_property_readonly("sample_rate", &SpeechSynthesizer::sample_rate)
      .def_property_readonly("language", &SpeechSynthesizer::language);
}

}  // namespace

void bind_speech(py::module_& m) {
  py::class_<SpeechStream>(m, "SpeechStream")
      .def("accept",
           [](SpeechStream& self, const at::Tensor& samples) {
             std::vector<runtime::StreamUpdate> updates;
             {
               py::gil_scoped_release release;
               updates = self.accept(samples);
             }
             return from_updates(updates);
           })
      .def("finish",
           [](SpeechStream& self) {
             std::vector<runtime::StreamUpdate> updates;
             {
               py::gil_scoped_release release;
               updates = self.finish();
             }
             return from_updates(updates);
           })
      .def_property_readonly("text", &SpeechStream::text)
      .def_property_readonly("language", &SpeechStream::language);

  py::class_<SpeechRecognizer, std::shared_ptr<SpeechRecognizer>>(m, "SpeechRecognizer")
      .def_static(
          "from_pretrained",
          [](const std::string& name, const std::string& backend, const std::string& dtype) {
            const auto options = model_options(backend, dtype);
            py::gil_scoped_release release;
            return SpeechRecognizer::from_pretrained(name, options);
          })
      .def("transcribe",
           [](const SpeechRecognizer& self, const py::object& audio, const py::dict& given,
              bool speech_only, const py::object& progress) {
             Value value = audio_of(audio);
             runtime::TranscribeOptions options = options_of(given, progress);
             int64_t asked = 0;
             options.cancelled = [&asked] {
               // Seldom enough to cost nothing.
               if (++asked % 16 == 0) check_signals();
               return false;
             };
             Json out;
             {
               py::gil_scoped_release release;
               out = api::to_json(self.transcribe(value, options, speech_only));
             }
             return from_json(out);
           })
      .def("detect_language",
           [](const SpeechRecognizer& self, const py::object& audio) {
             Value value = audio_of(audio);
             py::gil_scoped_release release;
             return self.detect_language(value);
           })
      .def("speech_segments",
           [](const SpeechRecognizer& self, const py::object& audio, const py::dict& given) {
             Value value = audio_of(audio);
             auto options = read_config<runtime::VoiceActivityOptions>(to_json(given), "options");
             py::gil_scoped_release release;
             return self.speech_segments(value, options);
           })
      .def("stream",
           [](const SpeechRecognizer& self, const py::dict& given, bool detect_voice) {
             auto options = read_config<runtime::StreamOptions>(to_json(given), "options");
             py::gil_scoped_release release;
             return self.stream(options, detect_voice);
           })
      .def("languages", &SpeechRecognizer::languages);
  bind_synthesis(m);
  m.def("voice_segments",
        [](const std::vector<double>& probabilities, int64_t samples, const py::dict& given) {
          auto options = read_config<runtime::VoiceActivityOptions>(to_json(given), "options");
          std::vector<std::pair<int64_t, int64_t>> out;
          for (const auto& s : runtime::voice_segments(probabilities, samples, options))
            out.emplace_back(s.start, s.end);
          return out;
        });
}

}  // namespace plait::python
