#include <ATen/ATen.h>

#include <iostream>

#include "plait/core/weights/model_folder.h"
#include "plait/models/registry.h"

/// Makes a registered model, saves its weights to the folder given and reads them back.
int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto& registry = plait::models::registry();
  if (registry.names().empty()) return 1;
  const auto& entry = registry.at(registry.names().front());
  plait::Json config = entry.tiny;
  config["type"] = entry.name;
  auto model = plait::models::create(config, "consumer");
  model->initialize(1);
  plait::save_model_folder(argv[1], config, model->state_dict());
  auto folder = plait::ModelFolder::open(argv[1]);
  auto again = plait::models::create(folder.config(), "config.json");
  again->load_state_dict(folder.weights());
  for (const auto& [name, tensor] : model->state_dict()) {
    if (!at::equal(tensor, again->state_dict().at(name))) return 1;
  }
  std::cout << entry.name << ": " << model->parameter_count() << " parameters, saved and loaded\n";
  return 0;
}
