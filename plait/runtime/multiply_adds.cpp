#include "plait/runtime/multiply_adds.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <string>
#include <vector>

namespace plait::runtime {
namespace {

thread_local int64_t counted = 0;

using Values = c10::ArrayRef<const c10::IValue>;

at::Tensor tensor_at(const Values& values, size_t index) {
  return index < values.size() && values[index].isTensor() ? values[index].toTensor()
                                                           : at::Tensor();
}

/// (…, M, K) × (…, K, N)
int64_t of_product(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined() || a.dim() < 2 || b.dim() < 1) return 0;
  return a.numel() * b.size(-1);
}

std::vector<int64_t> numbers_at(const Values& values, size_t index) {
  if (index >= values.size()) return {};
  if (values[index].isIntList()) return values[index].toIntVector();
  std::vector<int64_t> out;
  if (values[index].isSymIntList()) {
    for (const c10::SymInt& n : values[index].toSymIntVector())
      out.push_back(n.guard_int(__FILE__, __LINE__));
  }
  return out;
}

/// aten::convolution(input, weight, bias, stride, padding, dilation, transposed, ...)
int64_t of_convolution(const Values& in) {
  at::Tensor x = tensor_at(in, 0), weight = tensor_at(in, 1);
  if (!x.defined() || !weight.defined() || in.size() < 7) return 0;
  const int64_t per_place = weight.numel() / weight.size(0);
  // The transposed one uses every weight once per input, the usual one once per output.
  if (in[6].isBool() && in[6].toBool()) return x.numel() * per_place;
  std::vector<int64_t> stride = numbers_at(in, 3), padding = numbers_at(in, 4),
                       dilation = numbers_at(in, 5);
  auto of = [](const std::vector<int64_t>& list, size_t d) {
    return list.empty() ? int64_t{1} : list[std::min(d, list.size() - 1)];
  };
  const int64_t spatial = weight.dim() - 2;
  int64_t places = x.dim() == weight.dim() ? x.size(0) : 1;
  for (int64_t d = 0; d < spatial; ++d) {
    const auto at = static_cast<size_t>(d);
    const int64_t reach = of(dilation, at) * (weight.size(2 + d) - 1) + 1;
    places *=
        (x.size(x.dim() - spatial + d) + 2 * (padding.empty() ? 0 : of(padding, at)) - reach) /
            of(stride, at) +
        1;
  }
  return places * weight.numel();
}

int64_t of_attention(const Values& in) {
  at::Tensor q = tensor_at(in, 0), k = tensor_at(in, 1), v = tensor_at(in, 2);
  if (!q.defined() || !k.defined() || !v.defined()) return 0;
  return q.numel() * k.size(-2) + q.numel() / q.size(-1) * k.size(-2) * v.size(-1);
}

/// One oneDNN LSTM layer: x [T, B, I], weights [4H, I] and [4H, H].
int64_t of_recurrence(const Values& in) {
  at::Tensor x = tensor_at(in, 0), input = tensor_at(in, 1), hidden = tensor_at(in, 2);
  if (!x.defined() || !input.defined() || !hidden.defined() || x.dim() != 3) return 0;
  return x.size(0) * x.size(1) * (input.numel() + hidden.numel());
}

int64_t count(const std::string& name, const Values& in) {
  if (name == "aten::mm" || name == "aten::bmm" || name == "aten::mv" || name == "aten::dot")
    return name == "aten::mv" || name == "aten::dot"
               ? (in.empty() ? 0 : tensor_at(in, 0).numel())
               : of_product(tensor_at(in, 0), tensor_at(in, 1));
  if (name == "aten::addmm" || name == "aten::baddbmm" || name == "aten::_addmm_activation")
    return of_product(tensor_at(in, 1), tensor_at(in, 2));
  if (name == "aten::convolution") return of_convolution(in);
  if (name == "aten::mkldnn_rnn_layer") return of_recurrence(in);
  if (name == "aten::_scaled_dot_product_flash_attention_for_cpu" ||
      name == "aten::_scaled_dot_product_flash_attention" ||
      name == "aten::_scaled_dot_product_efficient_attention" ||
      name == "aten::_scaled_dot_product_cudnn_attention")
    return of_attention(in);
  return 0;
}

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& fn) {
  counted += count(fn.name(), fn.inputs());
  return nullptr;
}

}  // namespace

int64_t count_multiply_adds(const std::function<void()>& work) {
  counted = 0;
  struct Watch {
    at::CallbackHandle handle;
    ~Watch() { at::removeCallback(handle); }
  };
  Watch watch{at::addThreadLocalCallback(
      at::RecordFunctionCallback(on_start).needsInputs(true).scopes({at::RecordScope::FUNCTION}))};
  work();
  return counted;
}

void add_multiply_adds(int64_t count) { counted += count; }

}  // namespace plait::runtime
