#include <ATen/ATen.h>

#include <cmath>

#include "plait/models/decoders/vits_layers.h"

namespace plait::models {
namespace {

constexpr double kMinBin = 1e-3;
constexpr double kMinDerivative = 1e-3;

/// Shares [..., K] → borders of the bins [..., K + 1] from -bound to bound.
at::Tensor borders(const at::Tensor& shares, double bound) {
  const int64_t bins = shares.size(-1);
  at::Tensor sizes = kMinBin + (1 - kMinBin * static_cast<double>(bins)) * at::softmax(shares, -1);
  at::Tensor inner = 2 * bound * at::cumsum(sizes, -1).narrow(-1, 0, bins - 1) - bound;
  at::Tensor end = at::full_like(shares.narrow(-1, 0, 1), bound);
  return at::cat({-end, inner, end}, -1);
}

at::Tensor flip(const at::Tensor& x) { return at::flip(x, {1}); }

}  // namespace

at::Tensor inverse_spline(const at::Tensor& x, const at::Tensor& widths, const at::Tensor& heights,
                          const at::Tensor& derivatives, double bound) {
  const int64_t bins = widths.size(-1);
  at::Tensor left = borders(widths, bound), bottom = borders(heights, bound);
  at::Tensor width = at::diff(left), height = at::diff(bottom);
  // Outside the slope is 1; this is what gives 1 below.
  const double one = std::log(std::exp(1 - kMinDerivative) - 1);
  at::Tensor slope = kMinDerivative + at::softplus(at::constant_pad_nd(derivatives, {1, 1}, one));
  at::Tensor inside = at::logical_and(x >= -bound, x <= bound);
  at::Tensor y = x.clamp(-bound, bound).unsqueeze(-1);
  at::Tensor bin = ((y >= bottom).sum(-1, /*keepdim=*/true) - 1).clamp(0, bins - 1);
  auto at_bin = [&](const at::Tensor& values) { return values.gather(-1, bin); };

  at::Tensor rise = at_bin(height), run = at_bin(width), mean = rise / run;
  at::Tensor first = at_bin(slope), second = slope.gather(-1, bin + 1);
  at::Tensor above = y - at_bin(bottom);
  at::Tensor bend = above * (first + second - 2 * mean);
  at::Tensor a = rise * (mean - first) + bend;
  at::Tensor b = rise * first - bend;
  at::Tensor c = -mean * above;
  at::Tensor root = 2 * c / (-b - at::sqrt((b * b - 4 * a * c).clamp_min(0)));
  return at::where(inside, (root * run + at_bin(left)).squeeze(-1), x);
}

namespace {

/// Dilated convolutions, each channel by itself, and mixtures of the channels, with residuals.
class SeparableConvs : public Module {
 public:
  explicit SeparableConvs(const Vits::Config& c) {
    dilated_ = add<ModuleList<Conv>>("convs_dilated");
    pointwise_ = add<ModuleList<Conv>>("convs_pointwise");
    norms_1_ = add<ModuleList<LayerNorm>>("norms_1");
    norms_2_ = add<ModuleList<LayerNorm>>("norms_2");
    const int64_t d = c.hidden_size, kernel = c.duration_predictor_kernel_size;
    for (int64_t i = 0, dilation = 1; i < c.depth_separable_num_layers; ++i, dilation *= kernel) {
      dilated_->append_module(make_same_conv(d, d, kernel, dilation, d));
      pointwise_->append_module(make_same_conv(d, d, 1));
      norms_1_->append(d);
      norms_2_->append(d);
    }
  }
  at::Tensor operator()(at::Tensor x, const at::Tensor& mask) const {
    auto norm = [](const LayerNorm& layer, const at::Tensor& y) {
      return at::gelu(layer(y.transpose(1, 2)).transpose(1, 2));
    };
    for (size_t i = 0; i < dilated_->size(); ++i) {
      at::Tensor y = norm((*norms_1_)[i], (*dilated_)[i](x * mask));
      x = x + norm((*norms_2_)[i], (*pointwise_)[i](y));
    }
    return x * mask;
  }

 private:
  std::shared_ptr<ModuleList<Conv>> dilated_, pointwise_;
  std::shared_ptr<ModuleList<LayerNorm>> norms_1_, norms_2_;
};

class Affine : public Module {
 public:
  explicit Affine(int64_t channels) {
    translate_ = add_parameter("translate", at::zeros({channels, 1}));
    log_scale_ = add_parameter("log_scale", at::zeros({channels, 1}));
  }
  at::Tensor invert(const at::Tensor& x) const { return (x - translate_) * at::exp(-log_scale_); }

 private:
  at::Tensor translate_, log_scale_;
};

/// Half of the channels go through splines that the other half chooses.
class SplineFlow : public Module {
 public:
  explicit SplineFlow(const Vits::Config& c)
      : half_(c.depth_separable_channels / 2),
        bins_(c.duration_predictor_flow_bins),
        bound_(c.duration_predictor_tail_bound),
        scale_(1 / std::sqrt(static_cast<double>(c.hidden_size))) {
    pre_ = add_child("conv_pre", make_same_conv(half_, c.hidden_size, 1));
    convs_ = add<SeparableConvs>("conv_dds", c);
    proj_ = add_child("conv_proj", make_same_conv(c.hidden_size, half_ * (3 * bins_ - 1), 1));
  }
  at::Tensor invert(const at::Tensor& x, const at::Tensor& mask, const at::Tensor& text) const {
    at::Tensor given = x.narrow(1, 0, half_), other = x.narrow(1, half_, half_);
    at::Tensor h = (*proj_)((*convs_)((*pre_)(given) + text, mask)) * mask;
    // Roots of quadratic equations want more digits than half precision has.
    h = h.reshape({x.size(0), half_, 3 * bins_ - 1, x.size(2)}).transpose(2, 3).to(at::kFloat);
    at::Tensor out = inverse_spline(other.to(at::kFloat), h.narrow(-1, 0, bins_) * scale_,
                                    h.narrow(-1, bins_, bins_) * scale_,
                                    h.narrow(-1, 2 * bins_, bins_ - 1), bound_);
    return at::cat({given, out.to(x.scalar_type())}, 1) * mask;
  }

 private:
  int64_t half_, bins_;
  double bound_, scale_;
  std::shared_ptr<Conv> pre_, proj_;
  std::shared_ptr<SeparableConvs> convs_;
};

/// The flow next to the affine one is the first of the list and never run backwards: its output
/// would be thrown away, so published inference leaves it out, and so does this.
class FlowList : public Module {
 public:
  explicit FlowList(const Vits::Config& c) {
    affine = add<Affine>("0", c.depth_separable_channels);
    for (int64_t i = 2; i <= c.duration_predictor_num_flows; ++i)
      splines.push_back(add<SplineFlow>(std::to_string(i), c));
  }
  std::shared_ptr<Affine> affine;
  std::vector<std::shared_ptr<SplineFlow>> splines;
};

class StochasticDurations : public VitsDurations {
 public:
  explicit StochasticDurations(const Vits::Config& c) {
    pre_ = add_child("conv_pre", make_same_conv(c.hidden_size, c.hidden_size, 1));
    proj_ = add_child("conv_proj", make_same_conv(c.hidden_size, c.hidden_size, 1));
    convs_ = add<SeparableConvs>("conv_dds", c);
    if (c.speaker_embedding_size > 0)
      cond_ = add_child("cond", make_same_conv(c.speaker_embedding_size, c.hidden_size, 1));
    flows_ = add<FlowList>("flows", c);
  }
  at::Tensor predict(const at::Tensor& hidden, const at::Tensor& mask, const at::Tensor& speaker,
                     const at::Tensor& noise) const override {
    at::Tensor text = (*pre_)(hidden);
    if (speaker.defined() && cond_) text = text + (*cond_)(speaker);
    text = (*proj_)((*convs_)(text, mask)) * mask;
    at::Tensor z = noise;
    for (size_t i = flows_->splines.size(); i-- > 0;)
      z = flows_->splines[i]->invert(flip(z), mask, text);
    return (flows_->affine->invert(flip(z)) * mask).narrow(1, 0, 1);
  }

 private:
  std::shared_ptr<Conv> pre_, proj_, cond_;
  std::shared_ptr<SeparableConvs> convs_;
  std::shared_ptr<FlowList> flows_;
};

class PlainDurations : public VitsDurations {
 public:
  explicit PlainDurations(const Vits::Config& c) {
    const int64_t d = c.duration_predictor_filter_channels;
    const int64_t kernel = c.duration_predictor_kernel_size;
    conv_1_ = add_child("conv_1", make_same_conv(c.hidden_size, d, kernel));
    norm_1_ = add<LayerNorm>("norm_1", d, c.layer_norm_eps);
    conv_2_ = add_child("conv_2", make_same_conv(d, d, kernel));
    norm_2_ = add<LayerNorm>("norm_2", d, c.layer_norm_eps);
    proj_ = add_child("proj", make_same_conv(d, 1, 1));
    if (c.speaker_embedding_size > 0)
      cond_ = add_child("cond", make_same_conv(c.speaker_embedding_size, c.hidden_size, 1));
  }
  at::Tensor predict(const at::Tensor& hidden, const at::Tensor& mask, const at::Tensor& speaker,
                     const at::Tensor&) const override {
    at::Tensor x = speaker.defined() && cond_ ? hidden + (*cond_)(speaker) : hidden;
    x = step(*conv_1_, *norm_1_, x * mask);
    x = step(*conv_2_, *norm_2_, x * mask);
    return (*proj_)(x * mask) * mask;
  }

 private:
  static at::Tensor step(const Conv& conv, const LayerNorm& norm, const at::Tensor& x) {
    return norm(at::relu(conv(x)).transpose(1, 2)).transpose(1, 2);
  }
  std::shared_ptr<Conv> conv_1_, conv_2_, proj_, cond_;
  std::shared_ptr<LayerNorm> norm_1_, norm_2_;
};

/// Gated convolutions as in WaveNet, not causal.
class GatedConvs : public Module {
 public:
  GatedConvs(const Vits::Config& c, int64_t layers) : width_(c.hidden_size) {
    in_ = add<ModuleList<Conv>>("in_layers");
    out_ = add<ModuleList<Conv>>("res_skip_layers");
    if (c.speaker_embedding_size > 0) {
      cond_ =
          add_child("cond_layer", make_same_conv(c.speaker_embedding_size, 2 * width_ * layers, 1));
    }
    int64_t dilation = 1;
    for (int64_t i = 0; i < layers; ++i, dilation *= c.wavenet_dilation_rate) {
      in_->append_module(make_same_conv(width_, 2 * width_, c.wavenet_kernel_size, dilation));
      out_->append_module(make_same_conv(width_, i + 1 < layers ? 2 * width_ : width_, 1));
    }
  }
  at::Tensor operator()(at::Tensor x, const at::Tensor& mask, const at::Tensor& speaker) const {
    at::Tensor voice = speaker.defined() && cond_ ? (*cond_)(speaker) : at::Tensor();
    at::Tensor sum;
    for (size_t i = 0; i < in_->size(); ++i) {
      at::Tensor h = (*in_)[i](x);
      if (voice.defined())
        h = h + voice.narrow(1, static_cast<int64_t>(i) * 2 * width_, 2 * width_);
      at::Tensor gated =
          at::tanh(h.narrow(1, 0, width_)) * at::sigmoid(h.narrow(1, width_, width_));
      at::Tensor y = (*out_)[i](gated);
      if (i + 1 < in_->size()) {
        x = (x + y.narrow(1, 0, width_)) * mask;
        y = y.narrow(1, width_, width_);
      }
      sum = sum.defined() ? sum + y : y;
    }
    return sum * mask;
  }

 private:
  int64_t width_;
  std::shared_ptr<ModuleList<Conv>> in_, out_;
  std::shared_ptr<Conv> cond_;
};

}  // namespace

std::shared_ptr<VitsDurations> make_durations(const Vits::Config& config) {
  if (config.use_stochastic_duration_prediction)
    return std::make_shared<StochasticDurations>(config);
  return std::make_shared<PlainDurations>(config);
}

/// One half of the channels is moved by what the network reads in the other.
class VitsCoupling : public Module {
 public:
  explicit VitsCoupling(const Vits::Config& c) : half_(c.flow_size / 2) {
    pre_ = add_child("conv_pre", make_same_conv(half_, c.hidden_size, 1));
    network_ = add<GatedConvs>("wavenet", c, c.prior_encoder_num_wavenet_layers);
    post_ = add_child("conv_post", make_same_conv(c.hidden_size, half_, 1));
  }
  at::Tensor invert(const at::Tensor& x, const at::Tensor& mask, const at::Tensor& speaker) const {
    at::Tensor given = x.narrow(1, 0, half_);
    at::Tensor mean = (*post_)((*network_)((*pre_)(given)*mask, mask, speaker)) * mask;
    return at::cat({given, (x.narrow(1, half_, half_) - mean) * mask}, 1);
  }

 private:
  int64_t half_;
  std::shared_ptr<Conv> pre_, post_;
  std::shared_ptr<GatedConvs> network_;
};

VitsFlow::VitsFlow(const Vits::Config& config) {
  flows_ = add<ModuleList<VitsCoupling>>("flows");
  for (int64_t i = 0; i < config.prior_encoder_num_flows; ++i) flows_->append(config);
}

at::Tensor VitsFlow::operator()(at::Tensor x, const at::Tensor& mask,
                                const at::Tensor& speaker) const {
  for (size_t i = flows_->size(); i-- > 0;) x = (*flows_)[i].invert(flip(x), mask, speaker);
  return x;
}

}  // namespace plait::models
