// Properties of the whole network: any subset of streams, alone or mixed in one batch, gives the
// same answers.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/models/fused_network.h"
#include "plait/models/registry.h"

namespace plait::models {
namespace {

const std::vector<std::string> kStreams = {"text", "image", "sensor"};

Json tiny_of(const std::string& type) {
  Json config = registry().at(type).tiny;
  config["type"] = type;
  return config;
}

Json network_config(const std::string& fusion) {
  bool decisions = fusion == "mean" || fusion == "product";
  Json config = Json::object({{"width", 32}, {"dropout", 0.0}});
  config["streams"]["text"] = Json::object({{"encoder", tiny_of("bert")}, {"max_tokens", 4}});
  config["streams"]["image"] = Json::object({{"encoder", tiny_of("picture_net")}});
  config["streams"]["sensor"] =
      Json::object({{"encoder", tiny_of("patch_series")}, {"max_tokens", 3}});
  config["fusion"] = tiny_of(fusion);
  if (fusion == "product") config["fusion"]["classes"] = 0;  // its tiny prior is for other classes
  config["tasks"]["category"] =
      Json::object({{"type", "classification"}, {"labels", Json::array({"a", "b", "c"})}});
  if (!decisions) {
    config["tasks"]["level"] = Json::object({{"type", "regression"}});
    config["tasks"]["shared"] = Json::object({{"type", "retrieval"}, {"embedding", 16}});
  }
  return config;
}

/// Inputs of `size` items with all streams; the items have different lengths.
std::map<std::string, TensorMap> make_inputs(int64_t size, uint64_t seed) {
  at::Generator g = at::detail::createCPUGenerator(seed);
  int64_t vocabulary = registry().at("bert").tiny.get("vocab_size", 32);
  int64_t channels = registry().at("patch_series").tiny.get("channels", 3);
  std::map<std::string, TensorMap> out;
  at::Tensor mask = (at::arange(9).unsqueeze(0) < at::randint(1, 10, {size, 1}, g)).to(at::kLong);
  out["text"] = {{"input_ids", at::randint(1, vocabulary, {size, 9}, g).to(at::kLong) * mask},
                 {"attention_mask", mask}};
  out["image"] = {{"pixel_values", at::randn({size, 3, 32, 32}, g)}};
  out["sensor"] = {{"values", at::randn({size, 24, channels}, g)},
                   {"attention_mask", at::ones({size, 24}, at::kLong)}};
  return out;
}

/// The rows `rows` of the inputs, row i with the streams of bits[i].
Batch make_batch(const std::map<std::string, TensorMap>& inputs, const std::vector<int64_t>& rows,
                 const std::vector<int>& bits) {
  Batch batch;
  batch.size = static_cast<int64_t>(rows.size());
  at::Tensor index = at::tensor(rows);
  for (size_t m = 0; m < kStreams.size(); ++m) {
    StreamBatch stream;
    stream.present = at::zeros({batch.size}, at::kBool);
    stream.quality = at::zeros({batch.size});
    for (size_t i = 0; i < bits.size(); ++i) {
      bool here = bits[i] >> m & 1;
      stream.present[static_cast<int64_t>(i)] = here;
      stream.quality[static_cast<int64_t>(i)] = here ? 0.3 + 0.2 * static_cast<double>(m) : 0.0;
    }
    if (!stream.present.any().item<bool>()) continue;
    for (const auto& [name, tensor] : inputs.at(kStreams[m]))
      stream.inputs[name] = tensor.index_select(0, index);
    batch.streams[kStreams[m]] = std::move(stream);
  }
  return batch;
}

class FusedNetworkTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    network_ = FusedNetwork::create(network_config(GetParam()));
    network_->initialize(7);
    network_->train_mode(false);
  }
  std::shared_ptr<FusedNetwork> network_;
};

TEST_P(FusedNetworkTest, MixedSubsetsEqualOneByOne) {
  at::NoGradGuard no_grad;
  auto inputs = make_inputs(7, 1);
  std::vector<int64_t> rows = {0, 1, 2, 3, 4, 5, 6};
  std::vector<int> bits = {1, 2, 3, 4, 5, 6, 7};
  FusedOutput together = network_->forward(make_batch(inputs, rows, bits));
  for (size_t i = 0; i < rows.size(); ++i) {
    FusedOutput alone = network_->forward(make_batch(inputs, {rows[i]}, {bits[i]}));
    auto r = static_cast<int64_t>(i);
    for (const auto& [task, values] : together.tasks) {
      for (const auto& [name, value] : values) {
        at::Tensor difference = (value[r] - alone.tasks.at(task).at(name)[0]).abs().max();
        EXPECT_LE(difference.item<double>(), 1e-5)
            << task << "." << name << " of subset " << bits[i];
      }
    }
    EXPECT_LE((together.weights[r] - alone.weights[0]).abs().max().item<double>(), 1e-5);
  }
}

TEST_P(FusedNetworkTest, EverySubsetIsValidAndWeightsAddUp) {
  at::NoGradGuard no_grad;
  auto inputs = make_inputs(2, 2);
  for (int subset = 1; subset < 8; ++subset) {
    FusedOutput out = network_->forward(make_batch(inputs, {0, 1}, {subset, subset}));
    for (const auto& [task, values] : out.tasks) {
      for (const auto& [name, value] : values)
        EXPECT_TRUE(at::isfinite(value).all().item<bool>()) << task << "." << name;
    }
    EXPECT_LE((out.weights.sum(1) - 1).abs().max().item<double>(), 1e-5) << subset;
    EXPECT_EQ((out.weights.masked_select(at::logical_not(out.present)) != 0).sum().item<int64_t>(),
              0);
  }
}

TEST_P(FusedNetworkTest, RefusesAnItemWithoutStreams) {
  auto inputs = make_inputs(2, 3);
  EXPECT_THROW(network_->forward(make_batch(inputs, {0, 1}, {3, 0})), Error);
}

TEST_P(FusedNetworkTest, LossReachesEveryTrainedPart) {
  network_->train_mode(true);
  at::Generator g = at::detail::createCPUGenerator(5);
  network_->set_generator(g);
  network_->requires_grad_(true);
  auto inputs = make_inputs(6, 4);
  Batch batch = make_batch(inputs, {0, 1, 2, 3, 4, 5}, {7, 7, 3, 5, 6, 7});
  batch.targets["category"] = at::tensor({0, 1, 2, 0, 1, -1}, at::kLong);
  if (GetParam() != "mean" && GetParam() != "product")
    batch.targets["level"] = at::randn({6, 1}, g);
  FusedOutput out = network_->forward(batch);
  at::Tensor loss = network_->loss(batch, out);
  ASSERT_TRUE(at::isfinite(loss).item<bool>());
  loss.backward();
  int64_t touched = 0;
  for (const auto& [name, tensor] : network_->named_parameters()) {
    if (!tensor.grad().defined()) continue;
    ++touched;
    EXPECT_TRUE(at::isfinite(tensor.grad()).all().item<bool>()) << name;
  }
  EXPECT_GT(touched, 20);
}

TEST_P(FusedNetworkTest, ConfigMakesTheSameNetworkAgain) {
  at::NoGradGuard no_grad;
  auto copy = FusedNetwork::create(Json::parse(network_->config().dump()));
  copy->load_state_dict(network_->state_dict());
  copy->train_mode(false);
  auto inputs = make_inputs(3, 6);
  Batch batch = make_batch(inputs, {0, 1, 2}, {7, 5, 2});
  EXPECT_TRUE(network_->forward(batch)
                  .tasks.at("category")
                  .at("logits")
                  .equal(copy->forward(batch).tasks.at("category").at("logits")));
}

INSTANTIATE_TEST_SUITE_P(Fusions, FusedNetworkTest,
                         ::testing::Values("concatenation", "mean", "product", "dma", "drg",
                                           "modality_attention", "bridge", "progressive"),
                         [](const auto& info) { return info.param; });

TEST(ReduceTokens, FollowsTheItemNotThePadding) {
  at::Tensor x = at::arange(12, at::kFloat).view({1, 6, 2});
  at::Tensor mask = at::tensor({1, 1, 1, 1, 0, 0}).view({1, 6}).to(at::kBool);
  EncoderOutput padded = reduce_tokens({x, mask, {}}, 2);
  EncoderOutput exact = reduce_tokens({x.narrow(1, 0, 4), mask.narrow(1, 0, 4), {}}, 2);
  EXPECT_TRUE(padded.tokens.equal(exact.tokens));
  EXPECT_TRUE(exact.tokens.equal(at::tensor({1.f, 2.f, 5.f, 6.f}).view({1, 2, 2})));
}

TEST(FusedNetwork, NamesWhatIsWrongInAConfig) {
  auto message = [](Json config) -> std::string {
    try {
      FusedNetwork::create(config);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  Json config = network_config("dma");
  config["streams"]["image"]["encoder"]["no_such_option"] = 1;
  EXPECT_NE(message(config).find("streams.image.encoder"), std::string::npos) << message(config);
  config = network_config("dma");
  config["fusion"] = Json::object({{"type", "magic"}});
  EXPECT_NE(message(config).find("drg"), std::string::npos) << message(config);
  config = network_config("dma");
  config["streams"]["text"]["modality"] = "audio";
  EXPECT_NE(message(config).find("text"), std::string::npos) << message(config);
  config = network_config("product");
  config["tasks"]["level"] = Json::object({{"type", "regression"}});
  EXPECT_NE(message(config).find("level"), std::string::npos) << message(config);
}

}  // namespace
}  // namespace plait::models
