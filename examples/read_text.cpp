// Reads the printed text, Chinese or English, in a picture.
//
//   read_text PICTURE
#include <iostream>

#include "plait/api/ocr_reader.h"
#include "plait/core/error.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: read_text PICTURE\n";
    return 2;
  }
  try {
    // [snippet: read]
    auto reader = plait::api::OcrReader::from_pretrained();
    for (const plait::api::OcrLine& line : reader->read(plait::Path{argv[1]}))
      std::cout << line.score << "  " << line.text << "\n";
    // [end]
  } catch (const plait::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
