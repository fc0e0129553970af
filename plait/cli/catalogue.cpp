#include "plait/models/catalogue.h"

#include <cstdio>

#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/data/datasets/datasets.h"
#include "plait/models/registry.h"

namespace plait::cli {
namespace {

std::string megabytes(int64_t bytes) { return format("%.0f MB", static_cast<double>(bytes) / 1e6); }

std::string packages_text(const std::vector<data::Package>& packages) {
  std::string out;
  for (const auto& p : packages)
    out += (out.empty() ? "" : ", ") + p.ecosystem + " " + p.name +
           (p.version.empty() ? "" : " " + p.version);
  return out.empty() ? "none" : out;
}

}  // namespace

int models_list(bool json) {
  Json list = Json::object({{"published", Json::array()}, {"registered", Json::array()}});
  std::vector<std::vector<std::string>> published, registered;
  for (const auto& m : models::list_models()) {
    const int64_t bytes = m.download_bytes();
    published.push_back(
        {m.name, to_string(m.modality), megabytes(bytes), m.licence, packages_text(m.packages)});
    list["published"].push_back(Json::object({{"name", m.name},
                                              {"modality", to_string(m.modality)},
                                              {"bytes", bytes},
                                              {"licence", m.licence},
                                              {"source", packages_text(m.packages)},
                                              {"description", m.description}}));
  }
  for (const std::string& name : models::registry().names()) {
    const auto& entry = models::registry().at(name);
    registered.push_back({name, entry.kind, std::to_string(entry.schema.size())});
    list["registered"].push_back(
        Json::object({{"name", name}, {"kind", entry.kind}, {"options", entry.schema}}));
  }
  if (json) {
    std::printf("%s\n", list.dump().c_str());
    return 0;
  }
  std::printf("Published weights (plait models get NAME):\n\n");
  print_table({"name", "input", "download", "licence", "packages"}, published);
  std::printf("\nRegistered architectures (plait models show NAME):\n\n");
  print_table({"name", "kind", "options"}, registered);
  return 0;
}

int models_get(const std::string& name, bool json) {
  Stages stages;
  std::string dir = models::get_model(name, stages.fetch("Model: " + name));
  stages.finish();
  if (json) {
    std::printf("%s\n", Json::object({{"name", name}, {"path", dir}}).dump().c_str());
  } else {
    std::printf("%s\n", dir.c_str());
  }
  return 0;
}

int models_show(const std::string& name, bool json) {
  const auto& entry = models::registry().at(name);
  if (json) {
    std::printf("%s\n",
                Json::object({{"name", name}, {"kind", entry.kind}, {"options", entry.schema}})
                    .dump()
                    .c_str());
    return 0;
  }
  std::printf("%s (%s)\n\n", name.c_str(), entry.kind.c_str());
  std::vector<std::vector<std::string>> rows;
  for (const Json& row : entry.schema.items()) {
    std::string limits;
    if (row.contains("one_of")) {
      for (const Json& v : row.at("one_of").items())
        limits += (limits.empty() ? "" : " | ") + v.as_string();
    } else if (row.contains("min") || row.contains("max")) {
      limits = (row.contains("min") ? row.at("min").dump() : "") + " … " +
               (row.contains("max") ? row.at("max").dump() : "");
    }
    rows.push_back({row.at("name").as_string(), row.at("type").as_string(),
                    row.at("default").dump(), limits, row.at("help").as_string()});
  }
  print_table({"option", "type", "default", "valid", "what it does"}, rows);
  return 0;
}

int data_list(bool json) {
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const auto& d : data::list_datasets()) {
    std::string streams;
    for (const auto& [name, modality] : d.streams) streams += (streams.empty() ? "" : ", ") + name;
    rows.push_back({d.name, streams, d.licence, packages_text(d.packages),
                    data::is_prepared(d.name) ? "yes" : "no"});
    list.push_back(Json::object({{"name", d.name},
                                 {"description", d.description},
                                 {"streams", streams},
                                 {"licence", d.licence},
                                 {"packages", packages_text(d.packages)},
                                 {"prepared", data::is_prepared(d.name)}}));
  }
  if (json) {
    std::printf("%s\n", list.dump().c_str());
  } else {
    print_table({"name", "streams", "licence", "packages", "in cache"}, rows);
  }
  return 0;
}

int data_get(const std::string& name, bool json) {
  Stages stages;
  data::DatasetSplits splits = data::load_dataset(name, {}, stages.fetch("Data: " + name));
  stages.finish();
  if (json) {
    std::printf("%s\n", Json::object({{"name", name}, {"path", splits.dir}}).dump().c_str());
  } else {
    std::printf("%s\nLicence: %s\n", splits.dir.c_str(), splits.info.licence.c_str());
  }
  return 0;
}

int data_show(const std::string& name, bool json) {
  Stages stages;
  data::DatasetSplits splits = data::load_dataset(name, {}, stages.fetch("Data: " + name));
  stages.finish();
  std::map<std::string, std::array<int64_t, 3>> counts;
  const std::vector<Sample>* parts[] = {&splits.train, &splits.validation, &splits.test};
  for (int part = 0; part < 3; ++part) {
    for (const Sample& s : *parts[part]) {
      auto label = s.labels.find(splits.info.label);
      ++counts[label == s.labels.end() ? "(none)" : label->second.as_string()]
              [static_cast<size_t>(part)];
    }
  }
  Json out = Json::object({{"name", name},
                           {"description", splits.info.description},
                           {"licence", splits.info.licence},
                           {"train", splits.train.size()},
                           {"validation", splits.validation.size()},
                           {"test", splits.test.size()}});
  std::vector<std::vector<std::string>> rows;
  for (const auto& [label, n] : counts) {
    rows.push_back({label, std::to_string(n[0]), std::to_string(n[1]), std::to_string(n[2])});
    out["classes"][label] = Json::array({n[0], n[1], n[2]});
  }
  rows.push_back({"all", std::to_string(splits.train.size()),
                  std::to_string(splits.validation.size()), std::to_string(splits.test.size())});
  if (json) {
    std::printf("%s\n", out.dump().c_str());
    return 0;
  }
  std::printf("%s: %s\nLicence: %s\nFiles: %s\n\n", name.c_str(), splits.info.description.c_str(),
              splits.info.licence.c_str(), splits.dir.c_str());
  print_table(
      {splits.info.label.empty() ? "class" : splits.info.label, "train", "validation", "test"},
      rows);
  return 0;
}

}  // namespace plait::cli
