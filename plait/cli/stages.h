#pragma once
#include <memory>
#include <string>

#include "plait/api/recipe.h"
#include "plait/cli/terminal.h"
#include "plait/data/packages/cache.h"

namespace plait::cli {

/// One progress bar after another for the stages of a recipe.
class Stages {
 public:
  api::StageProgress callback() {
    return [this](const std::string& stage, double done, double total, const std::string& note) {
      show(title_of(stage), done, total, note);
    };
  }
  /// For downloads and the preparation of data.
  data::Progress fetch(const std::string& title) {
    return [this, title](const data::ProgressEvent& e) {
      show(title, static_cast<double>(e.done), static_cast<double>(e.total), e.step + " " + e.what);
    };
  }
  void show(const std::string& title, double done, double total, const std::string& note) {
    if (title != title_) {
      bar_.reset();
      bar_ = std::make_unique<ProgressBar>(title);
      title_ = title;
    }
    bar_->update(done, total, note);
  }
  void finish() {
    bar_.reset();
    title_.clear();
  }

 private:
  static std::string title_of(const std::string& stage) {
    if (stage == "fetch") return "Published encoders";
    if (stage == "features") return "Frozen features";
    return stage == "train" ? "Training the fused model" : stage;
  }
  std::string title_;
  std::unique_ptr<ProgressBar> bar_;
};

}  // namespace plait::cli
