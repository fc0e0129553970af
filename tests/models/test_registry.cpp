// One suite for every registered model. A model brings a golden file, not tests of its own.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "plait/core/weights/safetensors.h"
#include "plait/models/layers/lora.h"
#include "plait/models/registry.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

using tests::close;
using tests::Golden;

/// A check that does not hold for a model by its published definition. Every line needs its reason.
struct Exemption {
  const char* model;
  const char* check;
  const char* what;  ///< Parameter name or "" for the whole check.
  const char* reason;
};
const Exemption kExemptions[] = {
    {"multimodal_lm", "gradient", "encoder.layernorm.weight",
     "the tower's pooled feature, which the text does not see"},
    {"multimodal_lm", "gradient", "encoder.layernorm.bias", "likewise"},
};

bool exempt(const std::string& model, const std::string& check, const std::string& what = "") {
  for (const Exemption& e : kExemptions) {
    if (model == e.model && check == e.check && (what == e.what || !*e.what)) return true;
  }
  return false;
}

/// Inputs that do not have one row per item.
const std::set<std::string> kShared = {"token_stream"};

/// A mask and the inputs whose masked places must not matter.
const std::pair<const char*, std::vector<const char*>> kMasks[] = {
    {"attention_mask", {"input_ids", "input_values", "input_features", "pixel_values", "values"}},
    {"numeric_mask", {"numeric"}},
    {"categorical_mask", {"categorical"}},
    {"present", {"features", "quality", "logits"}},
    {"token_mask", {"tokens"}},
};

/// Every registered name, and every further golden file of a registered model ("vit@clip": other
/// switches).
std::vector<std::string> golden_names() {
  std::vector<std::string> names = registry().names();
  for (const std::string& file : tests::golden_files()) {
    size_t at = file.find('@');
    if (at != std::string::npos && registry().contains(file.substr(0, at))) names.push_back(file);
  }
  return names;
}

class RegistryTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(tests::golden_exists(GetParam()))
        << "tests/golden/" << GetParam() << ".safetensors is missing: add tools/golden/"
        << GetParam() << ".py";
    golden_ = tests::load_golden(GetParam());
    ASSERT_EQ(golden_.model, model_name());
    ASSERT_FALSE(golden_.reference.empty());
    ASSERT_FALSE(golden_.outputs.empty());
  }

  /// The name in the registry.
  static std::string model_name() { return GetParam().substr(0, GetParam().find('@')); }

  std::shared_ptr<Model> make() const { return create(golden_.config, GetParam()); }
  std::shared_ptr<Model> load() const {
    auto model = make();
    model->load_state_dict(golden_.weights, /*strict=*/true);
    return model;
  }

  static TensorMap run(Model& model, const TensorMap& inputs) {
    at::NoGradGuard no_grad;
    return model.forward(inputs);
  }

  static TensorMap rows(const TensorMap& inputs, int64_t begin, int64_t count) {
    TensorMap out;
    for (const auto& [name, tensor] : inputs)
      out[name] = kShared.count(name) ? tensor : tensor.narrow(0, begin, count);
    return out;
  }

  static void expect_close(const TensorMap& actual, const TensorMap& expected,
                           tests::Tolerance tolerance) {
    ASSERT_EQ(actual.size(), expected.size());
    for (const auto& [name, tensor] : expected) {
      ASSERT_TRUE(actual.count(name)) << name;
      EXPECT_TRUE(close(actual.at(name), tensor, tolerance)) << name;
    }
  }

  static void expect_equal(const TensorMap& actual, const TensorMap& expected) {
    expect_close(actual, expected, {0, 0});
  }

  static void expect_finite(const TensorMap& outputs) {
    for (const auto& [name, tensor] : outputs)
      EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << name;
  }

  /// What a caller may read of an output: places of [B, T, ...] where the output's mask is false
  /// are padding.
  static at::Tensor visible(const TensorMap& outputs, const std::string& name) {
    at::Tensor tensor = outputs.at(name);
    if (name == "mask" || !outputs.count("mask")) return tensor;
    at::Tensor padding = at::logical_not(outputs.at("mask").to(at::kBool));
    if (tensor.dim() < 3 || tensor.sizes().slice(0, 2) != padding.sizes()) return tensor;
    return tensor.masked_fill(padding.unsqueeze(-1), 0);
  }

  Golden golden_;
};

TEST_P(RegistryTest, EqualsTheReference) {
  auto model = load();
  TensorMap outputs = run(*model, golden_.inputs);
  for (const auto& [name, expected] : golden_.outputs) {
    ASSERT_TRUE(outputs.count(name)) << "no output " << name;
    EXPECT_TRUE(close(outputs.at(name), expected, tests::parity(at::kFloat)))
        << name << " against " << golden_.reference;
  }
}

TEST_P(RegistryTest, ARowDoesNotDependOnTheRestOfTheBatch) {
  auto model = load();
  TensorMap both = run(*model, golden_.inputs);
  int64_t batch = 0;
  for (const auto& [name, tensor] : golden_.inputs) {
    if (!kShared.count(name)) batch = tensor.size(0);
  }
  ASSERT_GE(batch, 2) << "a golden file needs at least two rows";
  for (int64_t i = 0; i < batch; ++i) {
    TensorMap alone = run(*model, rows(golden_.inputs, i, 1));
    expect_close(alone, rows(both, i, 1), tests::batching(at::kFloat));
  }
}

TEST_P(RegistryTest, RunsInBfloat16) {
  auto model = load();
  TensorMap expected = run(*model, golden_.inputs);
  model->to(at::kBFloat16);
  TensorMap inputs;
  for (const auto& [name, tensor] : golden_.inputs) {
    inputs[name] = tensor.is_floating_point() ? tensor.to(at::kBFloat16) : tensor;
  }
  TensorMap outputs = run(*model, inputs);
  expect_finite(outputs);
  expect_close(outputs, expected, tests::parity(at::kBFloat16));
}

TEST_P(RegistryTest, MaskedPlacesDoNotMatter) {
  if (exempt(model_name(), "mask")) return;
  auto model = load();
  TensorMap before = run(*model, golden_.inputs);
  for (const auto& [mask_name, names] : kMasks) {
    if (!golden_.inputs.count(mask_name)) continue;
    at::Tensor masked = at::logical_not(golden_.inputs.at(mask_name).to(at::kBool));
    ASSERT_TRUE(masked.any().item<bool>()) << "the golden " << mask_name << " masks nothing";
    TensorMap changed = golden_.inputs;
    for (const char* name : names) {
      if (!changed.count(name)) continue;
      at::Tensor& x = changed.at(name);
      // A picture has no place in a text's mask; the frames of a video, [B, T, C, H, W], have.
      if (std::string(name) == "pixel_values" && x.dim() != 5) continue;
      at::Tensor where = masked;
      // Features of a spectrogram have their time axis last: [B, mels, frames].
      if (std::string(name) == "input_features") where = where.unsqueeze(1);
      while (where.dim() < x.dim()) where = where.unsqueeze(-1);
      at::Tensor other = x.is_floating_point() ? at::full_like(x, 3.5)
                                               : at::where(x == 0, 1, 0).to(x.scalar_type());
      x = at::where(where, other, x);
    }
    TensorMap after = run(*model, changed);
    for (const auto& [name, tensor] : before) {
      EXPECT_TRUE(close(visible(after, name), visible(before, name), tests::batching(at::kFloat)))
          << name << " depends on values masked by " << mask_name;
    }
  }
}

TEST_P(RegistryTest, AbsentStreamsMayHoldNaN) {
  if (!golden_.inputs.count("present")) return;
  auto model = load();
  TensorMap before = run(*model, golden_.inputs);
  at::Tensor absent = at::logical_not(golden_.inputs.at("present").to(at::kBool));
  TensorMap changed = golden_.inputs;
  for (const char* name : {"features", "quality", "logits"}) {
    if (!changed.count(name)) continue;
    at::Tensor where = absent;
    while (where.dim() < changed.at(name).dim()) where = where.unsqueeze(-1);
    changed[name] = changed.at(name).masked_fill(where, std::numeric_limits<double>::quiet_NaN());
  }
  expect_close(run(*model, changed), before, tests::batching(at::kFloat));
}

TEST_P(RegistryTest, GradientsReachEveryParameter) {
  auto model = load();
  model->train();
  model->requires_grad_(true);
  model->set_generator(at::detail::createCPUGenerator(7));
  at::Tensor loss;
  for (const auto& [name, tensor] : model->forward(golden_.inputs)) {
    if (!tensor.is_floating_point()) continue;
    at::Tensor part = tensor.square().sum();
    loss = loss.defined() ? loss + part : part;
  }
  ASSERT_TRUE(loss.defined());
  if (model->parameters().empty()) return;
  ASSERT_TRUE(loss.requires_grad());
  loss.backward();
  for (const auto& [name, parameter] : model->named_parameters()) {
    if (exempt(model_name(), "gradient", name)) continue;
    ASSERT_TRUE(parameter.grad().defined()) << name << " has no gradient";
    EXPECT_TRUE(at::isfinite(parameter.grad()).all().item<bool>()) << name;
    EXPECT_GT(parameter.grad().abs().max().item<double>(), 0) << name << " has a gradient of zeros";
  }
}

TEST_P(RegistryTest, SurvivesSaveAndLoad) {
  auto model = load();
  auto path = std::filesystem::temp_directory_path() /
              ("plait_registry_" + GetParam() + "_" + std::to_string(getpid()) + ".safetensors");
  save_safetensors(path.string(), model->state_dict());
  auto again = make();
  again->load_state_dict(load_safetensors(path.string()), /*strict=*/true);
  std::filesystem::remove(path);
  expect_equal(run(*again, golden_.inputs), run(*model, golden_.inputs));
}

/// Low-rank adapters beside every linear layer: nothing changes at first, they alone learn, and
/// they survive merging, unmerging, saving and loading.
TEST_P(RegistryTest, TakesLowRankAdapters) {
  auto model = load();
  LoraConfig config = LoraConfig::tiny();
  config.target_modules = "(.*)";
  std::vector<std::string> layers;
  try {
    layers = add_lora(*model, config, 1);
  } catch (const Error&) {
    model->visit([&](const std::string& name, Module& module) {
      EXPECT_EQ(dynamic_cast<Linear*>(&module), nullptr) << name;
    });
    return;  // no linear layer
  }
  const TensorMap plain = run(*load(), golden_.inputs);
  expect_close(run(*model, golden_.inputs), plain, tests::batching(at::kFloat));
  at::Generator generator = at::detail::createCPUGenerator(3);
  for (const auto& [name, tensor] : lora_state(*model)) tensor.normal_(0, 0.2, generator);

  at::Tensor loss;
  for (const auto& [name, tensor] : model->forward(golden_.inputs)) {
    if (!tensor.is_floating_point()) continue;
    at::Tensor part = tensor.square().sum();
    loss = loss.defined() ? loss + part : part;
  }
  loss.backward();
  for (const auto& [name, parameter] : model->named_parameters()) {
    const bool adapter = name.ends_with("lora_A.weight") || name.ends_with("lora_B.weight");
    EXPECT_EQ(parameter.requires_grad(), adapter) << name;
    if (!adapter) continue;
    ASSERT_TRUE(parameter.grad().defined()) << name;
    EXPECT_GT(parameter.grad().abs().max().item<double>(), 0) << name;
  }

  const TensorMap adapted = run(*model, golden_.inputs), before = model->state_dict();
  TensorMap copied;
  for (const auto& [name, tensor] : before) copied[name] = tensor.clone();
  merge_lora(*model);
  expect_close(run(*model, golden_.inputs), adapted, tests::parity(at::kFloat));
  unmerge_lora(*model);
  expect_equal(model->state_dict(), copied);
  expect_close(run(*model, golden_.inputs), adapted, tests::batching(at::kFloat));

  const auto dir = std::filesystem::temp_directory_path() /
                   ("plait_lora_" + GetParam() + "_" + std::to_string(getpid()));
  save_lora(dir.string(), *model, config, "base");
  auto again = load();
  load_lora(dir.string(), *again);
  std::filesystem::remove_all(dir);
  expect_close(run(*again, golden_.inputs), adapted, tests::batching(at::kFloat));
  expect_equal(lora_state(*again), lora_state(*model));
  remove_lora(*again);
  expect_close(run(*again, golden_.inputs), plain, tests::batching(at::kFloat));
  expect_equal(again->state_dict(), load()->state_dict());
}

TEST_P(RegistryTest, ClonesFromItsConfig) {
  auto model = load();
  Json config = model->config();
  EXPECT_FALSE(config.contains("type"));
  config["type"] = model_name();
  auto clone = create(config, "clone");
  clone->load_state_dict(model->state_dict(), /*strict=*/true);
  EXPECT_EQ(clone->config().dump(), model->config().dump());
  expect_equal(run(*clone, golden_.inputs), run(*model, golden_.inputs));
}

TEST_P(RegistryTest, TinyStartsFromASeed) {
  auto build = [&](uint64_t seed) {
    const auto& entry = registry().at(model_name());
    auto model = entry.create(entry.tiny, "tiny");
    model->initialize(seed);
    return model;
  };
  auto first = build(1), same = build(1), other = build(2);
  expect_equal(same->state_dict(), first->state_dict());
  // Scales and biases may start from constants; matrices are drawn.
  bool differs = true;
  for (const auto& parameter : first->parameters()) differs = differs && parameter.dim() < 2;
  for (const auto& [name, tensor] : other->state_dict())
    differs = differs || !tensor.equal(first->state_dict().at(name));
  EXPECT_TRUE(differs) << "the seed changes nothing";
  // tiny() is to take the inputs of the golden file.
  expect_finite(run(*first, golden_.inputs));
}

TEST_P(RegistryTest, SaysWhatIsWrong) {
  auto model = load();
  EXPECT_THROW(run(*model, {}), Error);
  Json config = golden_.config;
  config["no_such_field"] = 1;
  EXPECT_THROW(create(config, "test"), Error);
}

INSTANTIATE_TEST_SUITE_P(Models, RegistryTest, testing::ValuesIn(golden_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '@', '_');
                           return name;
                         });

TEST(Registry, NamesWhatItKnows) {
  try {
    create(Json::object({{"type", "no_such_model"}}), "test");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("efficientnet_lite"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace plait::models
