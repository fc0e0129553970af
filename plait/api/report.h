#pragma once
#include <map>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/train/metrics.h"
#include "plait/train/trainable.h"

namespace plait::api {

/// One answer of a report: what the model was shown and what it said.
struct ReportRow {
  std::string condition;             ///< "all inputs", "without speech", "damaged image" ...
  std::string note;                  ///< What was done to the input, in words
  std::string picture, text, sound;  ///< Data URIs and the caption as shown; empty = missing
  std::string label;
  double confidence = 0;
  bool right = false;
  bool abstain = false;
  std::vector<std::string> prediction_set;
  std::map<std::string, double> weights, quality;
  std::map<std::string, double> contributions;  ///< Nats for the answer, by stream
  std::vector<std::string> doubts;              ///< Explanation::summary
};

struct ReportItem {
  std::string id, truth;
  std::vector<ReportRow> rows;
};

/// A condition's figures over the whole test split.
struct ReportCondition {
  std::string name;
  train::Scalars metrics;
  std::map<std::string, double> weights;
};

struct Report {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  ///< Name and value, shown at the top
  std::vector<std::string> streams;
  std::vector<ReportCondition> conditions;
  std::vector<train::ReliabilityBin> reliability, reliability_damaged;
  std::vector<ReportItem> items;
  std::string footer;
};

/// A page that needs nothing but itself: pictures and sounds are data URIs, diagrams are SVG.
std::string render_html(const Report& report);

/// "data:image/png;base64,..."
std::string data_uri(const std::string& mime_type, const std::string& bytes);

}  // namespace plait::api
