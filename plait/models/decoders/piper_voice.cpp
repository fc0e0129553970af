#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <utility>

#include "plait/core/error.h"
#include "plait/core/weights/onnx.h"
#include "plait/models/decoders/published_voice.h"

namespace plait::models {
namespace {

/// The graph of an exported VITS, with the weights under the names of the code they come from.
class PiperGraph {
 public:
  explicit PiperGraph(const std::string& path) : path_(path), model_(load_onnx(path)) {
    for (const OnnxNode& node : model_.nodes) {
      name_convolution(node);
      if (node.op_type == "Gather" && node.inputs.size() == 2 && node.inputs[1] == "input")
        take("enc_p.emb.weight", node.inputs[0]);
    }
    for (const auto& [name, tensor] : model_.tensors) {
      if (tensor.is_floating_point() && is_weight(name)) weights_.emplace(name, tensor);
    }
    find_log_scale();
  }

  const at::Tensor& at(const std::string& name) const {
    auto found = weights_.find(name);
    if (found == weights_.end())
      fail(ErrorCode::kCorruptData, "piper", path_ + ": expected a voice of Piper, got no " + name);
    return found->second;
  }
  bool has(const std::string& name) const { return weights_.count(name) > 0; }
  /// So many of "<prefix>0<suffix>", "<prefix>1<suffix>" ...
  int64_t count(const std::string& prefix, const std::string& suffix) const {
    int64_t n = 0;
    while (has(prefix + std::to_string(n) + suffix)) ++n;
    return n;
  }
  /// An attribute of the convolution with that weight.
  int64_t attribute(const std::string& weight, const char* name) const {
    auto found = convolutions_.find(weight);
    if (found == convolutions_.end()) return 1;
    const Json* list = found->second->attributes.find(name);
    return list && list->size() > 0 ? list->at(size_t{0}).as_int() : 1;
  }
  const TensorMap& weights() const { return weights_; }

 private:
  static bool is_weight(const std::string& name) {
    for (const char* prefix : {"enc_p.", "dp.", "flow.", "dec.", "emb_g."}) {
      if (name.starts_with(prefix)) return true;
    }
    return false;
  }
  void take(const std::string& name, const std::string& tensor) {
    auto found = model_.tensors.find(tensor);
    if (found != model_.tensors.end()) weights_[name] = found->second;
  }
  /// A weight that lost its name belongs to the bias that kept it.
  void name_convolution(const OnnxNode& node) {
    if ((node.op_type != "Conv" && node.op_type != "ConvTranspose") || node.inputs.size() < 2)
      return;
    std::string name = node.inputs[1];
    if (!is_weight(name) && node.inputs.size() > 2 && node.inputs[2].ends_with(".bias") &&
        is_weight(node.inputs[2])) {
      name = node.inputs[2].substr(0, node.inputs[2].size() - 4) + "weight";
      take(name, node.inputs[1]);
    }
    convolutions_[name] = &node;
  }
  /// The exporter has computed exp(-logs) of the affine flow, whose mean still has its name.
  void find_log_scale() {
    if (has("dp.flows.0.logs") || !has("dp.flows.0.m")) return;
    std::string centred;
    for (const OnnxNode& node : model_.nodes) {
      if (node.op_type == "Sub" && node.inputs.size() == 2 && node.inputs[1] == "dp.flows.0.m" &&
          !node.outputs.empty())
        centred = node.outputs[0];
      if (centred.empty() || node.op_type != "Mul" || node.inputs.size() != 2) continue;
      const bool first = node.inputs[0] == centred;
      if (!first && node.inputs[1] != centred) continue;
      auto found = model_.tensors.find(node.inputs[first ? 1 : 0]);
      if (found == model_.tensors.end()) continue;
      weights_["dp.flows.0.logs"] = -at::log(found->second);
      return;
    }
  }

  std::string path_;
  OnnxModel model_;
  TensorMap weights_;
  std::map<std::string, const OnnxNode*> convolutions_;
};

Json config_of(const PiperGraph& graph) {
  const auto size = [&](const char* name, int64_t dim) { return graph.at(name).size(dim); };
  Vits::Config c;
  c.vocab_size = size("enc_p.emb.weight", 0);
  c.hidden_size = size("enc_p.emb.weight", 1);
  c.num_hidden_layers = graph.count("enc_p.encoder.attn_layers.", ".conv_q.weight");
  const at::Tensor& relative = graph.at("enc_p.encoder.attn_layers.0.emb_rel_k");
  c.window_size = (relative.size(1) - 1) / 2;
  c.num_attention_heads = c.hidden_size / std::max<int64_t>(relative.size(2), 1);
  c.ffn_dim = size("enc_p.encoder.ffn_layers.0.conv_1.weight", 0);
  c.ffn_kernel_size = size("enc_p.encoder.ffn_layers.0.conv_1.weight", 2);
  c.flow_size = size("enc_p.proj.weight", 0) / 2;

  c.use_stochastic_duration_prediction = graph.has("dp.flows.0.m");
  if (c.use_stochastic_duration_prediction) {
    c.depth_separable_num_layers = graph.count("dp.convs.convs_sep.", ".weight");
    c.duration_predictor_kernel_size = size("dp.convs.convs_sep.0.weight", 2);
    // Flips have places in the list too, and the first spline is not in the file.
    int64_t flows = 1;
    while (graph.has("dp.flows." + std::to_string(2 * flows + 1) + ".pre.weight")) ++flows;
    c.duration_predictor_num_flows = flows;
    if (flows > 1) c.duration_predictor_flow_bins = (size("dp.flows.3.proj.weight", 0) + 1) / 3;
  } else {
    c.duration_predictor_filter_channels = size("dp.conv_1.weight", 0);
    c.duration_predictor_kernel_size = size("dp.conv_1.weight", 2);
  }
  c.prior_encoder_num_flows = 0;
  while (graph.has("flow.flows." + std::to_string(2 * c.prior_encoder_num_flows) + ".pre.weight"))
    ++c.prior_encoder_num_flows;
  const std::string in_layers = "flow.flows.0.enc.in_layers.";
  c.prior_encoder_num_wavenet_layers = graph.count(in_layers, ".weight");
  c.wavenet_kernel_size = graph.at(in_layers + "0.weight").size(2);
  if (c.prior_encoder_num_wavenet_layers > 1)
    c.wavenet_dilation_rate = graph.attribute(in_layers + "1.weight", "dilations");
  if (graph.has("emb_g.weight")) {
    c.num_speakers = size("emb_g.weight", 0);
    c.speaker_embedding_size = size("emb_g.weight", 1);
  }

  c.upsample_initial_channel = size("dec.conv_pre.weight", 0);
  c.upsample_rates.clear();
  c.upsample_kernel_sizes.clear();
  c.resblock_kernel_sizes.clear();
  const int64_t stages = graph.count("dec.ups.", ".weight");
  for (int64_t i = 0; i < stages; ++i) {
    const std::string name = "dec.ups." + std::to_string(i) + ".weight";
    c.upsample_rates.push_back(graph.attribute(name, "strides"));
    c.upsample_kernel_sizes.push_back(graph.at(name).size(2));
  }
  const bool paired = graph.has("dec.resblocks.0.convs1.0.weight");
  c.resblock = paired ? "1" : "2";
  const std::string list = paired ? ".convs1." : ".convs.";
  const int64_t blocks = graph.count("dec.resblocks.", list + "0.weight");
  c.resblock_dilation_sizes = Json::array();
  for (int64_t i = 0; i < blocks / std::max<int64_t>(stages, 1); ++i) {
    const std::string convs = "dec.resblocks." + std::to_string(i) + list;
    c.resblock_kernel_sizes.push_back(graph.at(convs + "0.weight").size(2));
    std::vector<int64_t> dilations;
    for (int64_t k = 0; k < graph.count(convs, ".weight"); ++k)
      dilations.push_back(graph.attribute(convs + std::to_string(k) + ".weight", "dilations"));
    c.resblock_dilation_sizes.push_back(Json(dilations));
  }
  return write_config(c);
}

/// The beginning of a name and what it becomes; the first that fits.
const std::pair<const char*, const char*> kRenames[] = {
    {"enc_p.emb.", "text_encoder.embed_tokens."},
    {"enc_p.proj.", "text_encoder.project."},
    {"enc_p.encoder.attn_layers.", "text_encoder.encoder.layers.*.attention."},
    {"enc_p.encoder.norm_layers_1.", "text_encoder.encoder.layers.*.layer_norm."},
    {"enc_p.encoder.ffn_layers.", "text_encoder.encoder.layers.*.feed_forward."},
    {"enc_p.encoder.norm_layers_2.", "text_encoder.encoder.layers.*.final_layer_norm."},
    {"dp.flows.", "duration_predictor.flows.*."},
    {"dp.", "duration_predictor."},
    {"flow.flows.", "flow.flows.*."},
    {"dec.ups.", "decoder.upsampler."},
    {"dec.", "decoder."},
    {"emb_g.", "embed_speaker."},
};
const std::pair<const char*, const char*> kPieces[] = {
    {".conv_q.", ".q_proj."},
    {".conv_k.", ".k_proj."},
    {".conv_v.", ".v_proj."},
    {".conv_o.", ".out_proj."},
    {".gamma", ".weight"},
    {".beta", ".bias"},
    {".convs_sep.", ".convs_dilated."},
    {".convs_1x1.", ".convs_pointwise."},
    {".enc.", ".wavenet."},
};
/// Where the duration predictor and the couplings have names of one part only.
const std::pair<const char*, const char*> kInner[] = {
    {".pre.", ".conv_pre."}, {".post.", ".conv_post."}, {".convs.", ".conv_dds."}};

void replace(std::string& text, const std::string& from, const std::string& to) {
  if (size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
}

std::string rename(const std::string& name) {
  std::string out;
  for (const auto& [from, to] : kRenames) {
    if (!name.starts_with(from)) continue;
    std::string rest = name.substr(std::string(from).size());
    out = to;
    if (size_t star = out.find('*'); star != std::string::npos) {
      size_t dot = rest.find('.');
      if (dot == std::string::npos) return "";
      int64_t number = std::stoll(rest.substr(0, dot));
      // Flips stand between the couplings, and the affine flow before the splines.
      if (out.starts_with("flow.")) number /= 2;
      if (out.starts_with("duration_predictor.")) number = (number + 1) / 2;
      out.replace(star, 1, std::to_string(number));
      rest = rest.substr(dot + 1);
    }
    out += rest;
    break;
  }
  for (const auto& [from, to] : kPieces) replace(out, from, to);
  if (out.starts_with("duration_predictor.") || out.starts_with("flow.")) {
    for (const auto& [from, to] : kInner) replace(out, from, to);
  }
  if (out.starts_with("duration_predictor.")) {
    replace(out, "duration_predictor.proj.", "duration_predictor.conv_proj.");
    if (out.find(".flows.") != std::string::npos) replace(out, ".proj.", ".conv_proj.");
    if (out.ends_with(".flows.0.m")) replace(out, "flows.0.m", "flows.0.translate");
    if (out.ends_with(".flows.0.logs")) replace(out, "flows.0.logs", "flows.0.log_scale");
  }
  return out;
}

Json voice_of(const Json& said, const std::string& path) {
  Json symbols = Json::object({});
  const Json& ids = said.at("phoneme_id_map");
  for (const auto& [character, list] : ids.members()) symbols[character] = list;
  auto single = [&](const char* character) {
    const Json* list = ids.find(character);
    if (!list || list->size() != 1)
      fail(ErrorCode::kCorruptData, "piper",
           path + ": expected one id for \"" + character + "\" in phoneme_id_map");
    return list->at(size_t{0});
  };
  const Json* espeak = said.find("espeak");
  const std::string kind = said.get("phoneme_type", "espeak");
  return Json::object({{"language", espeak ? espeak->get("voice", "") : ""},
                       {"front_end", kind == "text" ? "letters" : "phonemes"},
                       {"symbols", symbols},
                       {"begin", single("^")},
                       {"end", single("$")},
                       {"blank", single("_")}});
}

}  // namespace

VoiceParts read_piper_voice(const std::string& onnx_path) {
  PiperGraph graph(onnx_path);
  const Json said = Json::read(onnx_path + ".json", 4 << 20);
  VoiceParts out;
  out.config = config_of(graph);
  if (!out.config.get("use_stochastic_duration_prediction", true))
    fail(ErrorCode::kUnavailable, "piper",
         onnx_path + ": expected a stochastic duration predictor, got a plain one");
  if (const Json* audio = said.find("audio"); audio)
    out.config["sampling_rate"] = audio->get("sample_rate", 22050);
  if (const Json* inference = said.find("inference"); inference) {
    out.config["noise_scale"] = inference->get("noise_scale", 0.667);
    out.config["noise_scale_duration"] = inference->get("noise_w", 0.8);
    out.config["speaking_rate"] = 1 / std::max(inference->get("length_scale", 1.0), 0.05);
  }
  out.voice = voice_of(said, onnx_path);
  for (const auto& [name, tensor] : graph.weights()) {
    const std::string own = rename(name);
    const bool point = own.find(".attention.") != std::string::npos && tensor.dim() == 3 &&
                       own.ends_with("_proj.weight");
    out.weights[own] = point ? tensor.squeeze(-1) : tensor;
  }
  return out;
}

}  // namespace plait::models
