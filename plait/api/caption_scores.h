#pragma once
#include <string>
#include <vector>

#include "plait/api/caption_recipe.h"

/// Inside of caption_recipe.h: how a captioner's texts are judged.
namespace plait::api {

/// The picture's text by what is nearest among the training pictures (by cosine of their mean
/// tokens): its caption of that kind, or its answer to a question of that kind, the same one where
/// it has it. Features [N, P, E].
std::vector<std::string> retrieved_texts(const CaptionExamples& train,
                                         const at::Tensor& train_features,
                                         const CaptionExamples& test,
                                         const at::Tensor& test_features);

/// By kind (and data set, for captions): number of items, the score of each system, and the paired
/// bootstrap of the first against every other. `systems`: names and texts, one for every example.
Json judge(const CaptionExamples& test,
           const std::vector<std::pair<std::string, std::vector<std::string>>>& systems,
           uint64_t seed);

}  // namespace plait::api
