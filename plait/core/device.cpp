#include "plait/core/device.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <cpuid.h>
#include <torch/headeronly/version.h>

#include <fstream>

#include "plait/core/error.h"

namespace plait {
namespace {

/// Empty when a small computation worked on CUDA, else why it did not.
std::string cuda_problem() {
  if (!at::hasCUDA()) {
    return "this LibTorch was built without CUDA, or no CUDA device is visible";
  }
  try {
    at::Tensor probe = at::ones({4, 4}, at::TensorOptions(at::kCUDA));
    return at::mm(probe, probe).sum().item<double>() == 64.0
               ? ""
               : "a probe computation gave a wrong result";
  } catch (const std::exception& e) {
    return std::string(e.what()).substr(0, 200);
  }
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

Json cpu_features() {
  Json out = Json::array();
  if (__builtin_cpu_supports("avx2")) out.push_back("avx2");
  if (__builtin_cpu_supports("avx512f")) out.push_back("avx512f");
  if (__builtin_cpu_supports("avx512vnni")) out.push_back("avx512vnni");
  if (__builtin_cpu_supports("avx512bf16")) out.push_back("avx512bf16");
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {  // GCC 12 has no name for AMX
    if (d & (1u << 24)) out.push_back("amx_tile");
    if (d & (1u << 22)) out.push_back("amx_bf16");
    if (d & (1u << 25)) out.push_back("amx_int8");
  }
  return out;
}

}  // namespace

std::vector<std::string> available_backends() {
  static const bool cuda = cuda_problem().empty();
  return cuda ? std::vector<std::string>{"cuda", "cpu"} : std::vector<std::string>{"cpu"};
}

c10::Device device_from_string(const std::string& name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  bool cuda = name == "cuda" || name.rfind("cuda:", 0) == 0;
  if (!cuda) {
    fail(ErrorCode::kInvalidArgument, "device",
         "expected \"cpu\", \"cuda\" or \"cuda:N\", got \"" + name + "\"");
  }
  std::string problem = cuda_problem();
  if (!problem.empty())
    fail(ErrorCode::kUnavailable, "device", name + " cannot be used: " + problem);
  try {
    c10::Device device(name);
    if (device.index() < static_cast<int>(at::getNumGPUs())) return device;
  } catch (const c10::Error&) {
  }
  fail(
      ErrorCode::kInvalidArgument, "device",
      "expected cuda:0 to cuda:" + std::to_string(at::getNumGPUs() - 1) + ", got \"" + name + "\"");
}

c10::ScalarType dtype_from_string(const std::string& name) {
  if (name == "float32" || name == "fp32") return at::kFloat;
  if (name == "bfloat16" || name == "bf16") return at::kBFloat16;
  if (name == "float16" || name == "fp16") return at::kHalf;
  fail(ErrorCode::kInvalidArgument, "device",
       "expected float32, bfloat16 or float16, got \"" + name + "\"");
}

void set_threads(int threads) {
  if (threads > 0) at::set_num_threads(threads);
}

int threads() { return at::get_num_threads(); }

Json describe_devices() {
  std::string problem = cuda_problem();
  Json cuda = Json::object({{"available", problem.empty()}});
  if (problem.empty()) {
    cuda["devices"] = static_cast<int64_t>(at::getNumGPUs());
  } else {
    cuda["reason"] = problem;
  }
  return Json::object(
      {{"cpu", Json::object(
                   {{"model", cpu_model()}, {"features", cpu_features()}, {"threads", threads()}})},
       {"cuda", cuda},
       {"torch", TORCH_VERSION}});
}

}  // namespace plait
