// Runs a processor on files and writes the tensors, so that Python tests can compare them with the
// reference:
//   preprocess_tool CONFIG.json OUT.safetensors FILE...
//   preprocess_tool --decode image|audio OUT.safetensors FILE...     tensors named by position
//   preprocess_tool --dicom OUT_FOLDER FILE...     stored pixels of each file, or its error
//   preprocess_tool --video all|rate|seek|sample VALUE OUT_FOLDER FILE...     frames of each file
//   and their times, or its error preprocess_tool --resize HEIGHT WIDTH FILTER OUT.safetensors
//   FILE...        tensors named by position preprocess_tool --resample RATE OUT.safetensors FILE
//   mono
#include <ATen/ATen.h>

#include <cstdio>
#include <exception>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/decode.h"
#include "plait/data/processor.h"
#include "plait/data/video/video.h"
#include "plait/data/volume/dicom.h"

using namespace plait;

namespace {

/// Writes <folder>/<index>.safetensors (pixels, values, shown) or <index>.txt with the error.
int dicom(const std::string& folder, const std::vector<std::string>& files) {
  for (size_t i = 0; i < files.size(); ++i) {
    std::string to = folder + "/" + std::to_string(i);
    try {
      data::DicomImage image = data::load_dicom(files[i]);
      save_safetensors(to + ".safetensors", {{"pixels", image.pixels},
                                             {"values", data::modality_values(image)},
                                             {"shown", data::display_pixels(image)}});
    } catch (const Error& e) {
      write_file_atomic(to + ".txt", e.what());
    }
  }
  return 0;
}

std::vector<data::VideoFrame> frames(const std::string& mode, double value,
                                     const std::string& file) {
  data::VideoOptions options;
  if (mode == "rate") options.frames_per_second = value;
  auto reader = data::VideoReader::open(file, options);
  if (mode == "sample") return data::sample_frames(reader, static_cast<int64_t>(value));
  if (mode == "seek") reader.seek(value);
  std::vector<data::VideoFrame> out;
  while (auto frame = reader.next()) out.push_back(std::move(*frame));
  return out;
}

/// Writes <folder>/<index>.safetensors (frames, seconds, size) or <index>.txt with the error.
int video(const std::string& mode, double value, const std::string& folder,
          const std::vector<std::string>& files) {
  for (size_t i = 0; i < files.size(); ++i) {
    std::string to = folder + "/" + std::to_string(i);
    try {
      data::VideoInfo info = data::VideoReader::open(files[i]).info();
      std::vector<at::Tensor> pixels;
      std::vector<double> seconds;
      for (data::VideoFrame& frame : frames(mode, value, files[i])) {
        pixels.push_back(std::move(frame.pixels));
        seconds.push_back(frame.seconds);
      }
      if (pixels.empty()) fail(ErrorCode::kCorruptData, "tool", "expected frames, got none");
      save_safetensors(
          to + ".safetensors",
          {{"frames", at::stack(pixels)},
           {"seconds", at::tensor(seconds, at::kDouble)},
           {"info",
            at::tensor({static_cast<double>(info.height), static_cast<double>(info.width),
                        info.seconds, info.frames_per_second, static_cast<double>(info.frames)},
                       at::kDouble)}});
    } catch (const Error& e) {
      write_file_atomic(to + ".txt", e.what());
    }
  }
  return 0;
}

int run(const std::vector<std::string>& args) {
  if (args.size() < 3) return 2;
  TensorMap out;
  if (args[0] == "--decode") {
    for (size_t i = 3; i < args.size(); ++i) {
      std::string name = std::to_string(i - 3);
      if (args[1] == "image") {
        out[name] = data::load_image(args[i]);
      } else {
        Waveform wave = data::load_audio(args[i], {.mono = false});
        out[name] = wave.samples;
        out[name + ".rate"] = at::scalar_tensor(wave.sample_rate, at::kLong);
      }
    }
    save_safetensors(args[2], out);
    return 0;
  }
  if (args[0] == "--dicom") return dicom(args[1], {args.begin() + 2, args.end()});
  if (args[0] == "--video")
    return video(args.at(1), std::stod(args.at(2)), args.at(3), {args.begin() + 4, args.end()});
  if (args[0] == "--resize") {
    for (size_t i = 5; i < args.size(); ++i) {
      out[std::to_string(i - 5)] =
          data::resize_image(data::load_image(args[i]), std::stoll(args[1]), std::stoll(args[2]),
                             data::resample_from_string(args.at(3)));
    }
    save_safetensors(args.at(4), out);
    return 0;
  }
  if (args[0] == "--resample") {
    out["samples"] = data::load_audio(args.at(3), {.sample_rate = std::stoll(args[1])}).samples;
    save_safetensors(args[2], out);
    return 0;
  }
  auto processor = data::make_processor(Json::read(args[0]), ".", "tool");
  std::vector<Value> values;
  for (size_t i = 2; i < args.size(); ++i) values.emplace_back(Path{args[i]});
  std::vector<const Value*> pointers;
  for (const Value& value : values) pointers.push_back(&value);
  save_safetensors(args[1], processor->process(pointers, "tool"));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
