#include "plait/models/graph/convert_sight.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/graph/onnx_graph.h"
#include "plait/models/graph/tfjs_graph.h"
#include "plait/models/tasks/coco.h"

namespace plait::models {
namespace {

/// Puts a network together out of the weights of a manifest, on [B, C, H, W].
class Builder {
 public:
  explicit Builder(const std::string& manifest)
      : file_(TfjsFile::open(manifest)), manifest_(manifest) {}

  /// An operator of one output.
  std::string add(const char* op, std::vector<std::string> inputs,
                  Json attributes = Json::object({})) {
    OnnxNode node;
    node.op_type = op;
    node.inputs = std::move(inputs);
    node.outputs = {op + std::to_string(model_.nodes.size())};
    node.attributes = std::move(attributes);
    model_.nodes.push_back(std::move(node));
    return model_.nodes.back().outputs[0];
  }

  std::string constant(const std::string& name, const at::Tensor& tensor) {
    model_.tensors[name] = tensor;
    return name;
  }
  std::string ints(const std::string& name, std::vector<int64_t> values) {
    return constant(name, at::tensor(values, at::kLong));
  }

  /// A weight of so many dimensions.
  at::Tensor weight(const std::string& name, int64_t dims) const {
    at::Tensor tensor = file_.load(name);
    if (tensor.dim() != dims || tensor.scalar_type() != at::kFloat || tensor.numel() == 0)
      fail(ErrorCode::kCorruptData, "convert_sight",
           manifest_ + ": expected " + name + " of " + std::to_string(dims) + " dimensions, got " +
               describe(tensor));
    return tensor;
  }
  std::string row(const std::string& name) { return constant(name, weight(name, 1)); }
  /// One value a channel, for sums and products.
  std::string channels(const std::string& name) {
    return constant(name, weight(name, 1).reshape({1, -1, 1, 1}));
  }
  int64_t outputs_of(const std::string& filters) const { return weight(filters, 4).size(3); }

  /// `bias` may be empty. `same` pads as TensorFlow does.
  std::string conv(const std::string& x, const std::string& filters, const std::string& bias,
                   int64_t stride, bool same, bool depthwise = false) {
    at::Tensor kernel = weight(filters, 4);
    Json attributes = Json::object({{"auto_pad", same ? "SAME_UPPER" : "VALID"},
                                    {"strides", Json(std::vector<int64_t>{stride, stride})}});
    if (depthwise) {
      attributes["group"] = kernel.size(2);
      kernel = kernel.permute({2, 3, 0, 1})
                   .reshape({kernel.size(2) * kernel.size(3), 1, kernel.size(0), kernel.size(1)});
    } else {
      kernel = kernel.permute({3, 2, 0, 1});
    }
    std::vector<std::string> inputs{x, constant(filters, kernel.contiguous())};
    if (!bias.empty()) inputs.push_back(row(bias));
    return add("Conv", std::move(inputs), attributes);
  }
  std::string relu6(const std::string& x) {
    return add("Clip", {x}, Json::object({{"min", 0.0}, {"max", 6.0}}));
  }

  /// The network from "pixels" to the named values.
  void save(const std::vector<std::pair<std::string, std::string>>& outputs,
            const std::string& path) {
    Json names = Json::array();
    for (const auto& [name, value] : outputs) {
      add("Identity", {value});
      model_.nodes.back().outputs = {name};
      names.push_back(name);
    }
    model_.metadata = Json::object({{"producer", "face-api"},
                                    {"opsets", Json::object({{"ai.onnx", 18}})},
                                    {"inputs", Json::array({"pixels"})},
                                    {"outputs", names}});
    OnnxGraph(std::move(model_), manifest_).save(path);
  }

 private:
  TfjsFile file_;
  std::string manifest_;
  OnnxModel model_;
};

std::string pointwise(Builder& net, const std::string& x, const std::string& prefix,
                      int64_t stride) {
  return net.relu6(
      net.conv(x, prefix + "/weights", prefix + "/convolution_bn_offset", stride, true));
}

std::string depthwise(Builder& net, const std::string& x, const std::string& prefix,
                      int64_t stride) {
  std::string out = net.conv(x, prefix + "/depthwise_weights", "", stride, true, true);
  std::vector<std::string> inputs{out};
  for (const char* part : {"gamma", "beta", "moving_mean", "moving_variance"})
    inputs.push_back(net.row(prefix + "/BatchNorm/" + part));
  return net.relu6(net.add("BatchNormalization", inputs, Json::object({{"epsilon", 1e-3}})));
}

/// Boxes and scores out of what the heads predict beside their anchors.
void decode_ssd(Builder& net, const std::string& encoded, const std::string& logits,
                const std::string& target) {
  at::Tensor anchors = net.weight("Output/extra_dim", 3).squeeze(0);
  if (anchors.dim() != 2 || anchors.size(1) != 4)
    fail(ErrorCode::kCorruptData, "convert_sight", "expected anchors [1, N, 4]");
  at::Tensor low = anchors.slice(1, 0, 2), high = anchors.slice(1, 2, 4), size = high - low;
  net.ints("last", {2});
  auto part = [&](const std::string& x, int64_t from, int64_t to) {
    const std::string name = "part" + std::to_string(from) + "-" + std::to_string(to);
    return net.add("Slice",
                   {x, net.ints(name + "/from", {from}), net.ints(name + "/to", {to}), "last"});
  };
  std::string centre =
      net.add("Add", {net.add("Mul", {part(encoded, 0, 2), net.constant("steps", size / 10)}),
                      net.constant("centres", low + size / 2)});
  std::string scale = net.add(
      "Exp", {net.add("Mul", {part(encoded, 2, 4), net.constant("fifth", at::tensor(0.2f))})});
  std::string half = net.add("Mul", {scale, net.constant("halves", size / 2)});
  std::string boxes =
      net.add("Concat", {net.add("Sub", {centre, half}), net.add("Add", {centre, half})},
              Json::object({{"axis", 2}}));
  // Class 0 is the background, 1 a face.
  std::string scores = net.add("Squeeze", {net.add("Sigmoid", {part(logits, 1, 2)})},
                               Json::object({{"axes", Json(std::vector<int64_t>{2})}}));
  net.save({{"boxes", boxes}, {"scores", scores}}, target);
}

void convert_ssd(const std::string& manifest, const std::string& target) {
  Builder net(manifest);
  std::string x = pointwise(net, "pixels", "MobilenetV1/Conv2d_0_pointwise", 2), eleventh;
  for (int64_t i = 1; i <= 13; ++i) {
    const std::string layer = "MobilenetV1/Conv2d_" + std::to_string(i);
    x = depthwise(net, x, layer + "_depthwise", i == 2 || i == 4 || i == 6 || i == 12 ? 2 : 1);
    x = pointwise(net, x, layer + "_pointwise", 1);
    if (i == 11) eleventh = x;
  }
  std::vector<std::string> maps{eleventh, x};
  for (int64_t i = 0; i < 8; ++i) {
    x = pointwise(net, x, "Prediction/Conv2d_" + std::to_string(i) + "_pointwise", 1 + i % 2);
    if (i % 2 == 1) maps.push_back(x);
  }
  const std::string four = net.ints("box_shape", {0, -1, 4});
  const std::string three = net.ints("class_shape", {0, -1, 3});
  std::vector<std::string> boxes, classes;
  for (size_t i = 0; i < maps.size(); ++i) {
    const std::string head = "Prediction/BoxPredictor_" + std::to_string(i);
    auto rows = [&](const std::string& name, const std::string& shape) {
      std::string out =
          net.conv(maps[i], head + name + "/weights", head + name + "/biases", 1, true);
      out = net.add("Transpose", {out},
                    Json::object({{"perm", Json(std::vector<int64_t>{0, 2, 3, 1})}}));
      return net.add("Reshape", {out, shape});
    };
    boxes.push_back(rows("/BoxEncodingPredictor", four));
    classes.push_back(rows("/ClassPredictor", three));
  }
  const Json along = Json::object({{"axis", 1}});
  decode_ssd(net, net.add("Concat", boxes, along), net.add("Concat", classes, along), target);
}

/// A block of four convolutions, each of which sees the sum of those before.
std::string dense_block(Builder& net, const std::string& x, const std::string& prefix, bool first) {
  auto separable = [&](const std::string& in, const std::string& name, int64_t stride) {
    std::string out = net.conv(in, name + "/depthwise_filter", "", stride, true, true);
    return net.conv(out, name + "/pointwise_filter", name + "/bias", 1, true);
  };
  std::string sum = first ? net.conv(x, prefix + "/conv0/filters", prefix + "/conv0/bias", 2, true)
                          : separable(x, prefix + "/conv0", 2);
  std::string out = sum = net.add("Relu", {sum});
  for (int i = 1; i < 4; ++i) {
    sum = net.add("Add", {sum, separable(out, prefix + "/conv" + std::to_string(i), 1)});
    out = net.add("Relu", {sum});
  }
  return out;
}

void convert_landmarks(const std::string& manifest, const std::string& target) {
  Builder net(manifest);
  std::string x = "pixels";
  for (int i = 0; i < 4; ++i) x = dense_block(net, x, "dense" + std::to_string(i), i == 0);
  x = net.add("AveragePool", {x},
              Json::object({{"kernel_shape", Json(std::vector<int64_t>{7, 7})},
                            {"strides", Json(std::vector<int64_t>{2, 2})}}));
  x = net.add("Flatten", {x}, Json::object({{"axis", 1}}));
  x = net.add("Gemm",
              {x, net.constant("fc/weights", net.weight("fc/weights", 2)), net.row("fc/bias")});
  net.save({{"points", x}}, target);
}

std::string scaled_conv(Builder& net, const std::string& x, const std::string& prefix,
                        int64_t stride) {
  std::string out =
      net.conv(x, prefix + "/conv/filters", prefix + "/conv/bias", stride, stride == 1);
  out = net.add("Mul", {out, net.channels(prefix + "/scale/weights")});
  return net.add("Add", {out, net.channels(prefix + "/scale/biases")});
}

/// A residual block; one that halves the `side` of its map averages what it adds, and either of the
/// two is filled up with zeros.
std::string residual(Builder& net, const std::string& x, const std::string& prefix, bool down,
                     int64_t& side) {
  std::string out = net.add("Relu", {scaled_conv(net, x, prefix + "/conv1", down ? 2 : 1)});
  out = scaled_conv(net, out, prefix + "/conv2", 1);
  std::string skip = x;
  if (down) {
    const Json two = Json(std::vector<int64_t>{2, 2});
    skip = net.add("AveragePool", {x}, Json::object({{"kernel_shape", two}, {"strides", two}}));
    int64_t missing = side / 2 - (side - 3) / 2 - 1;
    side /= 2;
    if (missing > 0) {
      out = net.add("Pad", {out, net.ints(prefix + "/rows", {0, 0, 0, 0, 0, 0, missing, missing})});
    }
    int64_t before = net.weight(prefix + "/conv1/conv/filters", 4).size(2);
    int64_t after = net.outputs_of(prefix + "/conv2/conv/filters");
    if (before != after)
      skip = net.add("Pad",
                     {skip, net.ints(prefix + "/channels", {0, 0, 0, 0, 0, after - before, 0, 0})});
  }
  return net.add("Relu", {net.add("Add", {skip, out})});
}

}  // namespace

void convert_centernet(const std::string& models_dir, const std::string& target_dir) {
  const std::string path = models_dir + "/centernet.json";
  OnnxGraph(import_tfjs(TfjsFile::open(path), {"tower_0/keypoints", "tower_0/wh"}, path), path)
      .save(target_dir + "/detector.safetensors");
  Json::object({{"model_type", "plait-detector"},
                {"kind", "centernet"},
                {"size", 512},
                {"stride", 4},
                {"classes", Json(coco_classes())}})
      .write(target_dir + "/config.json");
}

void convert_face_ssd(const std::string& model_dir, const std::string& target_dir) {
  convert_ssd(model_dir + "/ssd_mobilenetv1_model-weights_manifest.json",
              target_dir + "/detector.safetensors");
  convert_landmarks(model_dir + "/face_landmark_68_model-weights_manifest.json",
                    target_dir + "/landmarks.safetensors");
  Json::object({{"model_type", "plait-faces"}}).write(target_dir + "/config.json");
}

void convert_face_recognition(const std::string& model_dir, const std::string& target_dir) {
  Builder net(model_dir + "/face_recognition_model-weights_manifest.json");
  std::string x = net.add("Relu", {scaled_conv(net, "pixels", "conv32_down", 2)});
  x = net.add("MaxPool", {x},
              Json::object({{"kernel_shape", Json(std::vector<int64_t>{3, 3})},
                            {"strides", Json(std::vector<int64_t>{2, 2})}}));
  int64_t side = 35;  // of 150 pixels
  for (const char* name : {"conv32_1", "conv32_2", "conv32_3", "conv64_down", "conv64_1",
                           "conv64_2", "conv64_3", "conv128_down", "conv128_1", "conv128_2",
                           "conv256_down", "conv256_1", "conv256_2", "conv256_down_out"}) {
    const std::string prefix = name;
    x = residual(net, x, prefix, prefix.find("down") != std::string::npos, side);
  }
  x = net.add("ReduceMean", {x},
              Json::object({{"axes", Json(std::vector<int64_t>{2, 3})}, {"keepdims", 0}}));
  x = net.add("MatMul", {x, net.constant("fc", net.weight("fc", 2))});
  net.save({{"features", x}}, target_dir + "/recognizer.safetensors");
  Json::object({{"model_type", "plait-face-recognition"}}).write(target_dir + "/config.json");
}

}  // namespace plait::models
