#include "plait/train/trainer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>

#include "plait/core/error.h"
#include "plait/train/checkpoint.h"
#include "toy.h"

namespace plait::train {
namespace {

using toy::Classifier;
using toy::Folder;
using toy::Points;

TrainingArguments small(const std::string& dir = "") {
  TrainingArguments args;
  args.output_dir = dir;
  args.learning_rate = 2e-2;
  args.per_device_train_batch_size = 16;
  args.num_train_epochs = 4;
  args.warmup_ratio = 0.1;
  args.modality_dropout = 0.2;
  args.logging_steps = 3;
  return args;
}

struct Outcome {
  TrainResult result;
  TensorMap weights;
};

Outcome run(const TrainingArguments& args, ProgressCallback callback = nullptr, bool eval = true) {
  auto model = std::make_shared<Classifier>();
  Trainer trainer(model, args, std::make_shared<Points>(100),
                  eval ? std::make_shared<Points>(60, 2) : nullptr);
  if (callback) trainer.set_callback(callback);
  Outcome out;
  out.result = trainer.train();
  out.weights = toy::copy(model->net.state_dict());
  return out;
}

TEST(Trainer, LearnsAndReportsProgress) {
  int64_t calls = 0;
  double first = 0, eta = -1;
  Scalars metrics;
  auto outcome = run(small(), [&](const Progress& p) {
    if (++calls == 1) first = p.loss;
    eta = p.eta_seconds;
    if (!p.metrics.empty()) metrics = p.metrics;
    EXPECT_EQ(p.step, calls);
    return true;
  });
  EXPECT_EQ(outcome.result.steps, 28);  // ⌈100 / 16⌉ · 4
  EXPECT_EQ(calls, 28);
  EXPECT_EQ(eta, 0);
  EXPECT_LT(outcome.result.metrics.at("loss"), first * 0.7);
  EXPECT_EQ(outcome.result.metrics.at("loss"), outcome.result.best_metric);
  EXPECT_GT(outcome.result.items_per_second, 0);
}

TEST(Trainer, IsTheSameTwice) {
  EXPECT_TRUE(toy::equal(run(small()).weights, run(small()).weights));
  auto other = small();
  other.seed = 7;
  EXPECT_FALSE(toy::equal(run(small()).weights, run(other).weights));
}

TEST(Trainer, CancelAndResumeIsExact) {
  auto whole = run(small());
  for (int64_t stop : {1, 5, 7, 17}) {
    Folder folder("cancel");
    auto first = run(small(folder.path), [&](const Progress& p) { return p.step < stop; });
    EXPECT_TRUE(first.result.cancelled);
    EXPECT_EQ(first.result.steps, stop);
    auto args = small(folder.path);
    args.resume = "auto";
    auto second = run(args);
    EXPECT_EQ(second.result.resumed_from, stop);
    EXPECT_TRUE(toy::equal(second.weights, whole.weights)) << "stopped after " << stop;
    EXPECT_EQ(second.result.best_step, whole.result.best_step);
    EXPECT_EQ(second.result.metrics, whole.result.metrics);
  }
}

TrainingArguments killed(const std::string& dir) {
  auto args = small(dir);
  args.save_steps = 5;
  return args;
}

/// What the child process of the next test runs; it never comes to its end.
TEST(Trainer, DISABLED_RunsUntilItIsKilled) {
  const char* dir = std::getenv("PLAIT_TEST_DIR");
  ASSERT_NE(dir, nullptr);
  run(killed(dir), [](const Progress& p) {
    if (p.step == 18) ::kill(::getpid(), SIGKILL);
    return true;
  });
}

TEST(Trainer, KilledAndResumedIsExact) {
  auto whole = run(killed(""));
  Folder folder("kill");
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // A fresh image: the thread pools of this process do not survive the fork.
    ::setenv("PLAIT_TEST_DIR", folder.path.c_str(), 1);
    ::execl("/proc/self/exe", "tests_train", "--gtest_also_run_disabled_tests",
            "--gtest_filter=Trainer.DISABLED_RunsUntilItIsKilled", static_cast<char*>(nullptr));
    ::_exit(3);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;

  auto args = killed(folder.path);
  args.resume = "auto";
  auto resumed = run(args);
  EXPECT_EQ(resumed.result.resumed_from, 15);
  EXPECT_TRUE(toy::equal(resumed.weights, whole.weights));
  // The log holds every logged step once.
  std::ifstream log(folder.path + "/log.jsonl");
  std::map<int64_t, int> seen;
  for (std::string line; std::getline(log, line);) {
    Json json = Json::parse(line);
    if (json.contains("loss")) ++seen[json.at("step").as_int()];
  }
  for (int64_t step = 3; step <= 27; step += 3) EXPECT_EQ(seen[step], 1) << step;
}

TEST(Trainer, AccumulationEqualsALargerBatch) {
  auto weights = [](int64_t batch, int64_t accumulation) {
    auto model = std::make_shared<Classifier>(/*dropout=*/0.0);
    auto args = small();
    args.per_device_train_batch_size = batch;
    args.gradient_accumulation_steps = accumulation;
    Trainer(model, args, std::make_shared<Points>(100)).train();
    return toy::copy(model->net.state_dict());
  };
  auto once = weights(24, 1),
       parts = weights(8, 3);  // 100 = 4 · 24 + 4: the last step is uneven, too.
  for (auto& [name, tensor] : once)
    EXPECT_TRUE(at::allclose(tensor, parts.at(name), 1e-4, 1e-5)) << name;
}

TEST(Trainer, StopsEarlyWithTheBestWeights) {
  auto args = small();
  args.num_train_epochs = 50;
  args.learning_rate = 0.3;  // Too much, so that it gets worse.
  args.lr_scheduler = "constant";
  args.early_stopping_patience = 3;
  auto model = std::make_shared<Classifier>();
  auto eval = std::make_shared<Points>(60, 2);
  Trainer trainer(model, args, std::make_shared<Points>(100), eval);
  auto result = trainer.train();
  EXPECT_TRUE(result.early_stopped);
  EXPECT_LT(result.steps, 350);
  EXPECT_EQ(result.steps, result.best_step + 3 * 7);
  EXPECT_EQ(trainer.evaluate(*eval).at("loss"), result.best_metric);
}

TEST(Trainer, NotFiniteLossNamesTheStep) {
  auto train = [](int64_t skip) {
    auto model = std::make_shared<Classifier>();
    model->poison_at = 4;
    auto args = small();
    args.max_skipped_steps = skip;
    auto result = Trainer(model, args, std::make_shared<Points>(100)).train();
    EXPECT_TRUE(model->net.one->weight.isfinite().all().item<bool>());
    return result;
  };
  try {
    train(0);
    FAIL() << "expected an error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("step 3"), std::string::npos) << e.what();
  }
  EXPECT_EQ(train(1).skipped_steps, 1);
}

TEST(Trainer, FullDiskLosesNothing) {
  Folder folder("full");
  auto args = small(folder.path);
  args.save_steps = 5;
  // A limit on the size of files stands for a full disk: from step 10 on no file can grow.
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  auto previous = ::signal(SIGXFSZ, SIG_IGN);
  std::vector<std::string> warnings;
  auto outcome = run(args, [&](const Progress& p) {
    if (!p.warning.empty()) warnings.push_back(p.warning);
    if (p.step == 7) {
      rlimit tiny{100, before.rlim_max};
      ::setrlimit(RLIMIT_FSIZE, &tiny);
    }
    return true;
  });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, previous);
  EXPECT_EQ(outcome.result.steps, 28);
  EXPECT_FALSE(warnings.empty());
  EXPECT_FALSE(outcome.result.warnings.empty());
  auto left = list_checkpoints(folder.path);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(load_checkpoint(left[0]).state.at("step").as_int(), 5);
  args.resume = "auto";
  auto resumed = run(args);
  EXPECT_EQ(resumed.result.resumed_from, 5);
  EXPECT_TRUE(toy::equal(resumed.weights, outcome.weights));
}

TEST(Trainer, KeepsTheNewestCheckpointsAndTheirBestWeights) {
  Folder folder("prune");
  auto args = small(folder.path);
  args.save_steps = 4;
  args.save_total_limit = 3;
  auto outcome = run(args);
  auto left = list_checkpoints(folder.path);
  ASSERT_EQ(left.size(), 3u);
  EXPECT_EQ(left[0], folder.path + "/checkpoint-28");
  EXPECT_TRUE(std::filesystem::exists(best_weights_path(folder.path, outcome.result.best_step)));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path)) {
    EXPECT_NE(entry.path().filename().string()[0], '.') << entry.path();
  }
}

TEST(Trainer, SkipsADamagedCheckpoint) {
  Folder folder("damaged");
  auto args = small(folder.path);
  auto whole = run(args);
  auto left = list_checkpoints(folder.path);
  ASSERT_EQ(left.size(), 2u);
  std::filesystem::resize_file(left[0] + "/optimizer.safetensors", 40);
  args.resume = "auto";
  auto resumed = run(args);
  EXPECT_EQ(resumed.result.resumed_from, 21);
  EXPECT_TRUE(toy::equal(resumed.weights, whole.weights));
}

TEST(Trainer, RefusesWhatDoesNotFit) {
  Folder folder("refuse");
  auto args = small(folder.path);
  args.num_train_epochs = 1;
  run(args);
  EXPECT_THROW(run(args), Error);  // An earlier run is there.
  args.resume = "auto";
  args.seed = 1;
  EXPECT_THROW(run(args), Error);  // Another order of items.
  args.resume = "none";
  args.overwrite_output_dir = true;
  EXPECT_EQ(run(args).result.resumed_from, -1);
  args = small();
  args.metric_for_best_model = "fame";
  try {
    run(args);
    FAIL() << "expected an error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("one of: loss"), std::string::npos) << e.what();
  }
  args = small();
  args.lr_scheduler = "square";
  EXPECT_THROW(run(args), Error);
  args = small();
  args.modality_dropout = 1.5;
  EXPECT_THROW(run(args), Error);
  EXPECT_THROW(
      Trainer(std::make_shared<Classifier>(), small(), std::make_shared<Points>(0)).train(), Error);
}

TEST(Trainer, GroupsByPrefixAndDecayOnMatricesOnly) {
  auto model = std::make_shared<Classifier>();
  auto before = toy::copy(model->net.state_dict());
  auto args = small();
  args.max_steps = 1;
  args.learning_rate = 1e-3;
  args.warmup_ratio = 0;
  args.weight_decay = 0;
  args.parameter_groups = Json::object({{"two", 0.0}, {"one", 0.5}, {"one.bias", 2.0}});
  Trainer(model, args, std::make_shared<Points>(100)).train();
  auto moved = [&](const std::string& name) {
    return (model->net.state_dict().at(name) - before.at(name)).abs().max().item<double>();
  };
  EXPECT_EQ(moved("two.weight"), 0);
  // Adam's first step is the learning rate in every direction.
  EXPECT_NEAR(moved("one.weight"), 0.5e-3, 1e-5);
  EXPECT_NEAR(moved("one.bias"), 2e-3, 1e-5);
  EXPECT_NEAR(moved("norm.bias"), 1e-3, 1e-5);
}

TEST(Trainer, Bf16LearnsAndKeepsFloatWeights) {
  auto args = small();
  args.bf16 = true;
  auto outcome = run(args);
  EXPECT_LT(outcome.result.metrics.at("loss"), 0.8);
  EXPECT_EQ(outcome.weights.at("one.weight").scalar_type(), at::kFloat);
  EXPECT_FALSE(toy::equal(outcome.weights, run(small()).weights));
}

}  // namespace
}  // namespace plait::train
