#include "plait/models/fused_network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/models/registry.h"

namespace plait::models {
namespace {

/// A module that only groups children under a name.
class Group : public Module {
 public:
  void put(const std::string& name, std::shared_ptr<Module> child) {
    add_child(name, std::move(child));
  }
};

/// Rows of `part` at the places where `present` is true, zeros elsewhere.
at::Tensor scatter_rows(const at::Tensor& part, const at::Tensor& rows, int64_t batch) {
  if (part.size(0) == batch) return part;
  std::vector<int64_t> shape = part.sizes().vec();
  shape[0] = batch;
  return at::zeros(shape, part.options()).index_copy(0, rows, part);
}

const Json& object_at(const Json& config, const char* key, const std::string& where) {
  const Json* found = config.find(key);
  if (found && found->is_object() && found->size() > 0) return *found;
  fail(ErrorCode::kInvalidArgument, "model",
       where + ": expected a non-empty object \"" + key + "\"");
}

bool valid_name(const std::string& name) {
  return !name.empty() && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

}  // namespace

std::shared_ptr<FusedNetwork> FusedNetwork::create(const Json& config, const std::string& where) {
  auto made = std::shared_ptr<FusedNetwork>(new FusedNetwork());
  const Json& streams = object_at(config, "streams", where);
  const Json& tasks = object_at(config, "tasks", where);
  made->width_ = config.get("width", 256);
  made->expert_loss_ = config.get("expert_loss", 0.5);
  double dropout = config.get("dropout", 0.1);
  if (made->width_ < 8 || made->width_ > 65536) {
    fail(ErrorCode::kInvalidArgument, "model",
         where + ".width: expected 8 to 65536, got " + std::to_string(made->width_));
  }
  made->config_ = config;
  made->dropout_ = made->add<Dropout>("dropout", dropout);

  for (const auto& [name, task] : tasks.members())
    made->build_task(name, task, where + ":tasks." + name);
  for (const auto& [name, stream] : streams.members())
    made->build_stream(name, stream, where + ":streams." + name);

  auto all_streams = std::make_shared<Group>();
  for (Stream& s : made->streams_) {
    auto group = std::make_shared<Group>();
    auto projection = std::make_shared<Group>();
    auto experts = std::make_shared<Group>();
    projection->put("norm", s.norm);
    projection->put("linear", s.projection);
    for (auto& [task, head] : s.experts) experts->put(task, head);
    group->put("encoder", s.encoder);
    group->put("projection", projection);
    group->put("experts", experts);
    all_streams->put(s.name, group);
  }
  auto all_tasks = std::make_shared<Group>();
  for (Task& t : made->tasks_) all_tasks->put(t.name, t.head);

  Json fusion = object_at(config, "fusion", where);
  fusion["streams"] = static_cast<int64_t>(made->streams_.size());
  fusion["width"] = made->width_;
  made->fusion_ = create_as<Fusion>(fusion, where + ":fusion");
  if (made->fusion_->fuses_decisions()) {
    for (const Task& t : made->tasks_) {
      if (!t.classification) {
        fail(ErrorCode::kInvalidArgument, "model",
             where + ":fusion: \"" + fusion.get("type", "") +
                 "\" combines decisions and needs classification tasks, got \"" + t.name +
                 "\" of another kind");
      }
    }
  }
  made->add_child("streams", all_streams);
  made->add_child("fusion", made->fusion_);
  made->add_child("tasks", all_tasks);
  Json written = made->fusion_->config();
  written["type"] = fusion.get("type", "");
  made->config_["fusion"] = written;
  made->config_["width"] = made->width_;
  return made;
}

void FusedNetwork::build_task(const std::string& name, const Json& config,
                              const std::string& where) {
  if (!valid_name(name))
    fail(ErrorCode::kInvalidArgument, "model",
         where + ": expected a name of letters, digits, _ and -");
  Task task;
  task.name = name;
  task.classification = config.get("type", "") == "classification";
  task.retrieval = config.get("type", "") == "retrieval";
  task.weight = config.get("weight", 1.0);
  Json head = config;
  for (const char* key : {"weight", "labels", "description", "templates", "gallery"})
    head.erase(key);
  if ((task.classification || config.get("type", "") == "multi_label") && config.contains("labels"))
    head["classes"] = static_cast<int64_t>(config.at("labels").size());
  head["width"] = width_;
  task.head = create_as<Head>(head, where);
  task.config = config;
  Json written = task.head->config();
  for (const auto& [key, value] : written.members()) config_["tasks"][name][key] = value;
  task.config = config_["tasks"][name];
  tasks_.push_back(std::move(task));
  task_names_.push_back(name);
}

void FusedNetwork::build_stream(const std::string& name, const Json& config,
                                const std::string& where) {
  if (!valid_name(name))
    fail(ErrorCode::kInvalidArgument, "model",
         where + ": expected a name of letters, digits, _ and -");
  Stream s;
  s.name = name;
  s.frozen = config.get("frozen", false);
  s.max_tokens = config.get("max_tokens", 16);
  require(s.max_tokens >= 1 && s.max_tokens <= 65536, "model", "expected max_tokens of 1 to 65536");
  s.encoder = create_as<Encoder>(object_at(config, "encoder", where), where + ".encoder");
  Modality declared =
      modality_from_string(config.get("modality", to_string(s.encoder->modality())));
  if (declared != s.encoder->modality()) {
    fail(ErrorCode::kInvalidArgument, "model",
         where + ": expected an encoder for " + to_string(declared) + ", got one for " +
             to_string(s.encoder->modality()));
  }
  s.norm = std::make_shared<LayerNorm>(s.encoder->width());
  s.projection = std::make_shared<Linear>(s.encoder->width(), width_);
  for (const Task& t : tasks_) {
    if (!t.classification) continue;
    Json head = t.head->config();
    head["type"] = "classification";
    s.experts[t.name] = create_as<Head>(head, where + ".experts." + t.name);
  }
  Json encoder = s.encoder->config();
  encoder["type"] = config.at("encoder").get("type", "");
  Json& written = config_["streams"][name];
  written["modality"] = to_string(declared);
  written["encoder"] = encoder;
  written["frozen"] = s.frozen;
  written["max_tokens"] = s.max_tokens;
  streams_.push_back(std::move(s));
  stream_names_.push_back(name);
}

const FusedNetwork::Stream& FusedNetwork::stream(const std::string& name) const {
  for (const Stream& s : streams_) {
    if (s.name == name) return s;
  }
  std::string known;
  for (const std::string& n : stream_names_) known += (known.empty() ? "" : ", ") + n;
  fail(ErrorCode::kInvalidArgument, "model",
       "expected a stream of this model (" + known + "), got \"" + name + "\"");
}

Modality FusedNetwork::modality(const std::string& name) const {
  return stream(name).encoder->modality();
}
const Encoder& FusedNetwork::encoder(const std::string& name) const {
  return *stream(name).encoder;
}

const Json& FusedNetwork::task_config(const std::string& name) const {
  for (const Task& t : tasks_) {
    if (t.name == name) return t.config;
  }
  std::string known;
  for (const std::string& n : task_names_) known += (known.empty() ? "" : ", ") + n;
  fail(ErrorCode::kInvalidArgument, "model",
       "expected a task of this model (" + known + "), got \"" + name + "\"");
}

EncoderOutput FusedNetwork::encode(const std::string& name, const StreamBatch& batch) {
  const Stream& s = stream(name);
  int64_t size = batch.present.size(0);
  auto cached = batch.inputs.find("encoded.pooled");
  if (cached != batch.inputs.end()) {
    return {get_or_undefined(batch.inputs, "encoded.tokens"),
            get_or_undefined(batch.inputs, "encoded.mask"), cached->second};
  }
  at::Tensor rows = batch.present.nonzero().squeeze(1);
  if (rows.size(0) == 0) {
    auto options = s.projection->weight.options().requires_grad(false);
    int64_t d = s.encoder->width();
    return {at::zeros({size, 1, d}, options), at::zeros({size, 1}, options.dtype(at::kBool)),
            at::zeros({size, d}, options)};
  }
  TensorMap inputs;
  for (const auto& [key, tensor] : batch.inputs) {
    inputs[key] = rows.size(0) == size ? tensor : tensor.index_select(0, rows.to(tensor.device()));
  }
  EncoderOutput out;
  {
    at::AutoGradMode grad(at::GradMode::is_enabled() && !s.frozen);
    out = reduce_tokens(s.encoder->encode(inputs), s.max_tokens);
  }
  if (!out.mask.defined())
    out.mask =
        at::ones({out.tokens.size(0), out.tokens.size(1)}, out.tokens.options().dtype(at::kBool));
  rows = rows.to(out.pooled.device());
  return {scatter_rows(out.tokens, rows, size), scatter_rows(out.mask, rows, size),
          scatter_rows(out.pooled, rows, size)};
}

at::Tensor FusedNetwork::project(const Stream& s, const at::Tensor& x) const {
  return (*s.projection)((*dropout_)((*s.norm)(x.to(s.norm->weight.scalar_type()))));
}

FusedOutput FusedNetwork::decode(const std::map<std::string, EncoderOutput>& encoded,
                                 const at::Tensor& present, const at::Tensor& quality) {
  if (!present.any(1).all().item<bool>()) {
    fail(ErrorCode::kInvalidArgument, "model",
         "expected at least one stream per item, got an item with none");
  }
  int64_t size = present.size(0);
  FusionInput in;
  in.present = present;
  in.quality = quality;
  std::vector<at::Tensor> features, tokens, masks, owners;
  for (size_t m = 0; m < streams_.size(); ++m) {
    const Stream& s = streams_[m];
    auto it = encoded.find(s.name);
    if (it == encoded.end()) {
      features.push_back(
          at::zeros({size, width_}, s.projection->weight.options().requires_grad(false)));
      continue;
    }
    at::Tensor here = present.select(1, static_cast<int64_t>(m)).unsqueeze(1);
    at::Tensor projected = project(s, it->second.pooled);
    features.push_back(at::where(here, projected, at::zeros_like(projected)));
    if (!fusion_->needs_tokens()) continue;
    at::Tensor t = it->second.tokens.defined() ? it->second.tokens : it->second.pooled.unsqueeze(1);
    at::Tensor mask = it->second.mask.defined()
                          ? it->second.mask.to(at::kBool)
                          : at::ones({size, t.size(1)}, t.options().dtype(at::kBool));
    tokens.push_back(project(s, t));
    masks.push_back(at::logical_and(mask, here));
    owners.push_back(at::full({t.size(1)}, static_cast<int64_t>(m), t.options().dtype(at::kLong)));
  }
  in.features = at::stack(features, 1);
  if (!tokens.empty()) {
    in.tokens = at::cat(tokens, 1);
    in.token_mask = at::cat(masks, 1);
    in.token_stream = at::cat(owners, 0);
  }

  FusedOutput out;
  out.present = present;
  out.quality = quality;
  out.features = in.features;
  for (const auto& [name, features] : encoded) out.pooled[name] = features.pooled;
  for (const Task& t : tasks_) {
    if (!t.classification) continue;
    std::vector<at::Tensor> logits;
    for (size_t m = 0; m < streams_.size(); ++m) {
      logits.push_back(
          get(streams_[m].experts.at(t.name)->forward({{"features", in.features.select(1, m)}}),
              "logits", "model"));
    }
    out.experts[t.name] = at::stack(logits, 1);
  }
  FusionOutput fused;
  if (!fusion_->fuses_decisions()) fused = fusion_->fuse(in);
  for (const Task& t : tasks_) {
    if (fusion_->fuses_decisions()) {
      in.logits = out.experts.at(t.name);
      fused = fusion_->fuse(in);
      out.tasks[t.name] = {{"logits", fused.logits}};
    } else if (t.retrieval) {
      out.tasks[t.name] = shared_space(t, in, fused.weights);
    } else {
      out.tasks[t.name] = t.head->forward({{"features", fused.fused}});
    }
  }
  out.fused = fused.fused;
  out.auxiliary = fused.auxiliary;
  out.weights = fused.weights;
  return out;
}

TensorMap FusedNetwork::shared_space(const Task& task, const FusionInput& in,
                                     const at::Tensor& weights) {
  int64_t streams = in.features.size(1);
  TensorMap out = task.head->forward({{"features", in.features.flatten(0, 1)}});
  at::Tensor each = out.at("embedding").unflatten(0, {-1, streams});
  each = each * in.present.unsqueeze(-1).to(each.scalar_type());
  at::Tensor joined = (each * weights.unsqueeze(-1).to(each.scalar_type())).sum(1);
  TensorMap named = {{"stream_embedding", each},
                     {"embedding", joined / joined.norm(2, -1, true).clamp_min(1e-6)}};
  for (const char* scalar : {"logit_scale", "logit_bias"}) {
    if (out.count(scalar)) named[scalar] = out.at(scalar).unflatten(0, {-1, streams}).select(1, 0);
  }
  return named;
}

at::Tensor FusedNetwork::alignment_loss(const Task& task, const TensorMap& outputs,
                                        const at::Tensor& present) const {
  const at::Tensor& each = outputs.at("stream_embedding");
  at::Tensor total = at::zeros({}, each.options().requires_grad(false));
  int64_t pairs = 0;
  for (int64_t a = 0; a < each.size(1); ++a) {
    for (int64_t b = a + 1; b < each.size(1); ++b) {
      at::Tensor rows =
          at::logical_and(present.select(1, a), present.select(1, b)).nonzero().squeeze(1);
      if (rows.size(0) < 2) continue;
      TensorMap side = {{"embedding", each.select(1, a).index_select(0, rows)}};
      for (const char* scalar : {"logit_scale", "logit_bias"}) {
        if (outputs.count(scalar)) side[scalar] = outputs.at(scalar).index_select(0, rows);
      }
      total = total + task.head->loss(side, each.select(1, b).index_select(0, rows));
      ++pairs;
    }
  }
  return pairs > 0 ? total / static_cast<double>(pairs) : total;
}

FusedOutput FusedNetwork::forward(const Batch& batch) {
  std::map<std::string, EncoderOutput> encoded;
  at::Tensor present = batch.presence(stream_names_);
  at::Tensor quality = at::zeros({batch.size, static_cast<int64_t>(streams_.size())});
  for (size_t m = 0; m < streams_.size(); ++m) {
    auto it = batch.streams.find(stream_names_[m]);
    if (it == batch.streams.end()) continue;
    if (it->second.quality.defined()) quality.select(1, m).copy_(it->second.quality);
    if (it->second.present.any().item<bool>())
      encoded[stream_names_[m]] = encode(stream_names_[m], it->second);
  }
  at::Device device = streams_.front().projection->weight.device();
  return decode(encoded, present.to(device), quality.to(device));
}

at::Tensor FusedNetwork::loss(const Batch& batch, const FusedOutput& output) {
  at::Tensor total;
  auto accumulate = [&](const at::Tensor& term, double weight) {
    total = total.defined() ? total + term * weight : term * weight;
  };
  for (const Task& t : tasks_) {
    if (t.retrieval) {
      accumulate(alignment_loss(t, output.tasks.at(t.name), output.present), t.weight);
      continue;
    }
    auto target = batch.targets.find(t.name);
    if (target == batch.targets.end()) continue;
    at::Tensor y = target->second.to(output.present.device());
    accumulate(t.head->loss(output.tasks.at(t.name), y), t.weight);
    if (!t.classification || expert_loss_ <= 0) continue;
    for (size_t m = 0; m < streams_.size(); ++m) {
      at::Tensor here = output.present.select(1, m);
      if (!here.any().item<bool>()) continue;
      at::Tensor own = at::where(here, y, at::full_like(y, -1));
      accumulate(streams_[m].experts.at(t.name)->loss(
                     {{"logits", output.experts.at(t.name).select(1, m)}}, own),
                 t.weight * expert_loss_ / static_cast<double>(streams_.size()));
    }
  }
  if (total.defined() && output.auxiliary.defined()) accumulate(output.auxiliary.mean(), 1.0);
  if (!total.defined()) {
    fail(ErrorCode::kInvalidArgument, "model",
         "expected a target for at least one task of this model in the batch");
  }
  return total;
}

void FusedNetwork::train_mode(bool on) {
  train(on);
  for (Stream& s : streams_) {
    if (!s.frozen) continue;
    s.encoder->train(false);
    s.encoder->requires_grad_(false);
  }
}

EncoderOutput reduce_tokens(EncoderOutput in, int64_t count) {
  int64_t length = in.tokens.size(1);
  if (length <= count) return in;
  // The groups follow from each row's own number of real tokens, never from the batch's padding, so
  // that an item gives the same tokens whatever it is batched with.
  at::Tensor mask = in.mask.defined() ? in.mask.to(at::kLong)
                                      : at::ones({in.tokens.size(0), length},
                                                 in.tokens.options().dtype(at::kLong));
  at::Tensor rank = (mask.cumsum(1) - 1).clamp_min(0);
  at::Tensor real = mask.sum(1, /*keepdim=*/true);
  at::Tensor group = at::where(real > count, rank * count / real.clamp_min(1), rank.to(at::kFloat))
                         .floor()
                         .to(at::kLong);
  at::Tensor member = at::one_hot(group, count) * mask.unsqueeze(-1);  // [B, T, count]
  at::Tensor sizes = member.sum(1);
  at::Tensor values =
      at::where(mask.unsqueeze(-1).to(at::kBool), in.tokens, at::zeros_like(in.tokens));
  at::Tensor sums = at::bmm(member.transpose(1, 2).to(values.scalar_type()), values);
  in.tokens = sums / sizes.clamp_min(1).unsqueeze(-1);
  in.mask = sizes > 0;
  return in;
}

}  // namespace plait::models
