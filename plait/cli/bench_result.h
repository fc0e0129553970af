#pragma once
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::cli {

/// Values of one figure over seeds.
struct Spread {
  double mean = 0, sd = 0, worst = 0;
  std::vector<double> values;
};

/// `sd` is the sample standard deviation; `worst` the lowest value where high is good, else the
/// highest.
Spread spread_of(const std::vector<double>& values, bool high_is_good = true);
Json to_json(const Spread& spread);

/// "98.3 ± 0.4" in hundredths of the spread's mean and deviation.
std::string percent(const Json& spread);

/// Writes `result` and its page to OUTPUT/NAME.json and .md.
void write_files(const Json& result, const std::string& markdown, const std::string& output,
                 const std::string& name);

}  // namespace plait::cli
