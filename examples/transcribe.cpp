// Speech to text, with the times of its segments.
//
//   transcribe SOUND [MODEL]          e.g. transcribe talk.wav whisper-tiny.en
#include <iostream>

#include "plait/api/speech_recognizer.h"
#include "plait/core/error.h"

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::cerr << "usage: transcribe SOUND [MODEL]\n";
    return 2;
  }
  try {
    // [snippet: transcribe]
    auto model =
        plait::api::SpeechRecognizer::from_pretrained(argc == 3 ? argv[2] : "whisper-base");
    auto heard = model->transcribe(plait::Path{argv[1]});
    std::cout << "language: " << heard.language << "\n";
    for (const auto& segment : heard.segments)
      std::cout << segment.start << " to " << segment.end << " s: " << segment.text << "\n";
    // [end]
  } catch (const plait::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
