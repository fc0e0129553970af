#include "plait/models/decoders/feed_forward.h"

#include <ATen/ATen.h>

namespace plait::models {

FeedForward::FeedForward(const CausalLm::Config& c, int64_t width) : act_(c.hidden_act) {
  if (c.gated) gate_ = add<Linear>("gate_proj", c.hidden_size, width, c.mlp_bias);
  up_ = add<Linear>("up_proj", c.hidden_size, width, c.mlp_bias);
  down_ = add<Linear>("down_proj", width, c.hidden_size, c.mlp_bias);
}

at::Tensor FeedForward::operator()(const at::Tensor& x) const {
  if (!gate_) return (*down_)(activate(act_, (*up_)(x)));
  return (*down_)(activate(act_, (*gate_)(x)) * (*up_)(x));
}

SparseFeedForward::SparseFeedForward(const CausalLm::Config& c)
    : chosen_(c.num_experts_per_tok), normalize_(c.norm_topk_prob) {
  router_ = add<Linear>("gate", c.hidden_size, c.num_experts, /*bias=*/false);
  experts_ = add<ModuleList<FeedForward>>("experts");
  for (int64_t i = 0; i < c.num_experts; ++i) experts_->append(c, c.moe_intermediate_size);
  if (c.shared_expert_intermediate_size == 0) return;
  shared_ = add<FeedForward>("shared_expert", c, c.shared_expert_intermediate_size);
  shared_gate_ = add<Linear>("shared_expert_gate", c.hidden_size, 1, /*bias=*/false);
}

at::Tensor SparseFeedForward::operator()(const at::Tensor& x) const {
  at::Tensor rows = x.reshape({-1, x.size(-1)});
  at::Tensor probability = at::softmax((*router_)(rows), -1, at::kFloat);
  auto [weight, expert] = probability.topk(chosen_, -1);
  if (normalize_) weight = weight / weight.sum(-1, /*keepdim=*/true);
  weight = weight.to(rows.scalar_type());

  // Which (token, place) pairs each expert gets; experts without any are not touched.
  at::Tensor on_cpu = expert.cpu().contiguous();
  const int64_t* index = on_cpu.const_data_ptr<int64_t>();
  std::vector<std::vector<int64_t>> pairs(experts_->size());
  for (int64_t i = 0; i < on_cpu.numel(); ++i) pairs[static_cast<size_t>(index[i])].push_back(i);

  at::Tensor out = at::zeros_like(rows), flat = weight.reshape({-1, 1});
  for (size_t e = 0; e < pairs.size(); ++e) {
    if (pairs[e].empty()) continue;
    at::Tensor pair = at::tensor(pairs[e], at::kLong).to(rows.device());
    at::Tensor token = pair.div(chosen_, "floor");
    at::Tensor part = (*experts_)[e](rows.index_select(0, token)) * flat.index_select(0, pair);
    out = out.index_add(0, token, part);
  }
  if (shared_) out = out + at::sigmoid((*shared_gate_)(rows)) * (*shared_)(rows);
  return out.reshape(x.sizes());
}

}  // namespace plait::models
