#include "plait/models/registry.h"

#include <type_traits>

#include "plait/core/config.h"
#include "plait/models/decoders/causal_lm.h"
#include "plait/models/decoders/hifi_gan.h"
#include "plait/models/decoders/multimodal_lm.h"
#include "plait/models/decoders/prosody.h"
#include "plait/models/decoders/vits.h"
#include "plait/models/decoders/whisper_decoder.h"
#include "plait/models/detection/detector.h"
#include "plait/models/detection/yolo_v5.h"
#include "plait/models/detection/yolo_v8.h"
#include "plait/models/detection/yolox.h"
#include "plait/models/diffusion/autoencoder_kl.h"
#include "plait/models/diffusion/unet.h"
#include "plait/models/encoders/bert.h"
#include "plait/models/encoders/clip_text.h"
#include "plait/models/encoders/efficientnet_lite.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/encoders/ft_transformer.h"
#include "plait/models/encoders/ge2e.h"
#include "plait/models/encoders/parallel.h"
#include "plait/models/encoders/patch_series.h"
#include "plait/models/encoders/picture_net.h"
#include "plait/models/encoders/resnet.h"
#include "plait/models/encoders/resnet3d.h"
#include "plait/models/encoders/silero_vad.h"
#include "plait/models/encoders/swin_v2.h"
#include "plait/models/encoders/temporal_audio.h"
#include "plait/models/encoders/temporal_video.h"
#include "plait/models/encoders/vector.h"
#include "plait/models/encoders/videomae.h"
#include "plait/models/encoders/vit.h"
#include "plait/models/encoders/wav2vec2.h"
#include "plait/models/encoders/whisper.h"
#include "plait/models/fusion/bridge.h"
#include "plait/models/fusion/concatenation.h"
#include "plait/models/fusion/cross_modal_attention.h"
#include "plait/models/fusion/decisions.h"
#include "plait/models/fusion/fusion.h"
#include "plait/models/fusion/gates.h"
#include "plait/models/fusion/modality_attention.h"
#include "plait/models/fusion/progressive.h"
#include "plait/models/segmentation/segmenter.h"
#include "plait/models/segmentation/unet.h"
#include "plait/models/tasks/classification.h"
#include "plait/models/tasks/head.h"
#include "plait/models/tasks/multi_label.h"
#include "plait/models/tasks/regression.h"
#include "plait/models/tasks/retrieval.h"

namespace plait::models {
namespace {

/// Adds M (with its M::Config: visit, tiny, validate) under `name`.
template <class M>
void add(Registry<Model>& r, const char* name) {
  using Config = typename M::Config;
  constexpr bool drawing = std::is_same_v<M, UNet2dCondition> || std::is_same_v<M, AutoencoderKl>;
  Registry<Model>::Entry entry;
  entry.name = name;
  entry.kind = std::is_base_of_v<Encoder, M>     ? "encoder"
               : std::is_base_of_v<Decoder, M>   ? "decoder"
               : std::is_base_of_v<Detector, M>  ? "detector"
               : std::is_base_of_v<Segmenter, M> ? "segmenter"
               : std::is_base_of_v<Fusion, M>    ? "fusion"
               : drawing                         ? "diffusion"
               : std::is_base_of_v<Head, M>      ? "head"
                                                 : "layer";
  entry.create = [](const Json& json, const std::string& where) -> std::shared_ptr<Model> {
    return std::make_shared<M>(read_config<Config>(json, where, UnknownKeys::kError));
  };
  entry.tiny = write_config(Config::tiny());
  entry.schema = config_schema<Config>();
  r.add(std::move(entry));
}

Registry<Model> build() {
  Registry<Model> r("models");
  // Encoders: text.
  add<Bert>(r, "bert");
  add<ClipText>(r, "clip_text");
  add<XlmRoberta>(r, "xlm_roberta");
  // Encoders: image.
  add<EfficientNetLite>(r, "efficientnet_lite");
  add<ResNet>(r, "resnet");
  add<VisionTransformer>(r, "vit");
  add<SwinV2>(r, "swin_v2");
  add<PictureNet>(r, "picture_net");
  // Encoders: any modality.
  add<Parallel>(r, "parallel");
  // Encoders: audio.
  add<Ge2e>(r, "ge2e");
  add<SileroVad>(r, "silero_vad");
  add<TemporalAudio>(r, "temporal_audio");
  add<Wav2Vec2>(r, "wav2vec2");
  add<Whisper>(r, "whisper");
  // Encoders: series, table.
  add<FtTransformer>(r, "ft_transformer");
  add<PatchSeries>(r, "patch_series");
  add<Vector>(r, "vector");
  // Decoders.
  add<CausalLm>(r, "causal_lm");
  add<WhisperDecoder>(r, "whisper_decoder");
  add<MultimodalLm>(r, "multimodal_lm");
  // Speech.
  add<HifiGan>(r, "hifi_gan");
  add<ProsodyPredictor>(r, "prosody");
  add<Vits>(r, "vits");
  // Diffusion.
  add<AutoencoderKl>(r, "autoencoder_kl");
  add<UNet2dCondition>(r, "unet_2d_condition");
  // Encoders: video.
  add<TemporalVideo>(r, "temporal_video");
  add<VideoMae>(r, "videomae");
  // Encoders: volume.
  add<ResNet3d>(r, "resnet3d");
  // Detectors.
  add<YoloX>(r, "yolox");
  add<YoloV5>(r, "yolo_v5");
  add<YoloV8>(r, "yolo_v8");
  // Segmenters.
  add<UNet>(r, "unet");
  // Fusion.
  add<Concatenation>(r, "concatenation");
  add<MeanOfExperts>(r, "mean");
  add<ProductOfExperts>(r, "product");
  add<DynamicModalityWeighting>(r, "dma");
  add<DynamicRoutingGate>(r, "drg");
  add<ModalityAttention>(r, "modality_attention");
  add<Bridge>(r, "bridge");
  add<Progressive>(r, "progressive");
  add<CrossModalAttention>(r, "cross_modal_attention");
  // Heads.
  add<Classification>(r, "classification");
  add<MultiLabel>(r, "multi_label");
  add<Regression>(r, "regression");
  add<Retrieval>(r, "retrieval");
  (void)&r;
  return r;
}

}  // namespace

const Registry<Model>& registry() {
  static const Registry<Model> built = build();
  return built;
}

std::shared_ptr<Model> create(const Json& config, const std::string& where) {
  std::string type = config.get("type", "");
  Json rest = config;
  rest.erase("type");
  return registry().at(type).create(rest, where);
}

}  // namespace plait::models
