#include "plait/data/processor.h"

#include <filesystem>

#include "plait/core/error.h"
#include "plait/data/audio/audio_processors.h"
#include "plait/data/decode.h"
#include "plait/data/image/image_processor.h"
#include "plait/data/series/series_processor.h"
#include "plait/data/table/table_processor.h"
#include "plait/data/table/vector_processor.h"
#include "plait/data/text/text_processor.h"
#include "plait/data/video/video_processor.h"
#include "plait/data/volume/volume_processor.h"

namespace plait::data {
namespace {

/// The config without its "type", read strictly.
template <class P, class C>
std::shared_ptr<const Processor> make(Json json, const std::string& where) {
  json.erase("type");
  return std::make_shared<P>(read_config<C>(json, where));
}

/// The config of a published preprocessor_config.json in our own words.
Json translate(const Json& published, const std::string& where) {
  std::string type =
      published.get("feature_extractor_type", published.get("image_processor_type", ""));
  if (type.rfind("Whisper", 0) == 0)
    return WhisperProcessor(WhisperProcessor::from_published(published, where)).config();
  if (type.rfind("VideoMAE", 0) == 0)
    return VideoProcessor(VideoProcessor::from_published(published, where)).config();
  if (type.rfind("Wav2Vec2", 0) == 0)
    return WaveformProcessor(WaveformProcessor::from_published(published, where)).config();
  return ImageProcessor(ImageProcessor::from_published(published, where)).config();
}

}  // namespace

std::shared_ptr<const Processor> make_processor(const Json& config, const std::string& dir,
                                                const std::string& where) {
  if (!config.is_object()) {
    fail(ErrorCode::kInvalidArgument, "processor",
         where + ": expected an object with \"type\", got " + config.dump().substr(0, 40));
  }
  std::string type = config.get("type", "");
  // A published folder's own file: {"type": "published"} or no type at all.
  if (type.empty() || type == "published") {
    std::filesystem::path file = std::filesystem::path(dir) / "preprocessor_config.json";
    Json published =
        type.empty() && config.size() > 0 ? config : Json::read(file.string(), size_t{1} << 20);
    return make_processor(translate(published, where), dir, where);
  }
  if (type == "text") {
    Json fields = config;
    fields.erase("type");
    return TextProcessor::load(read_config<TextProcessorConfig>(fields, where), dir);
  }
  if (type == "image") return make<ImageProcessor, ImageProcessorConfig>(config, where);
  if (type == "whisper") return make<WhisperProcessor, WhisperConfig>(config, where);
  if (type == "waveform") return make<WaveformProcessor, WaveformConfig>(config, where);
  if (type == "log_mel") return make<LogMelProcessor, LogMelConfig>(config, where);
  if (type == "series") return make<SeriesProcessor, SeriesProcessorConfig>(config, where);
  if (type == "table") return make<TableProcessor, TableProcessorConfig>(config, where);
  if (type == "vector") return make<VectorProcessor, VectorProcessorConfig>(config, where);
  if (type == "video") return make<VideoProcessor, VideoProcessorConfig>(config, where);
  if (type == "volume") return make<VolumeProcessor, VolumeProcessorConfig>(config, where);
  fail(ErrorCode::kInvalidArgument, "processor",
       where +
           ": expected type text, image, whisper, waveform, log_mel, series, table, vector, "
           "video or volume, got \"" +
           type + "\"");
}

}  // namespace plait::data
