#include "plait/runtime/diffuse/latent_diffusion.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "plait/core/error.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "diffusion";
constexpr int64_t kMaxPixels = int64_t{1} << 24;

void check_states(const at::Tensor& states, const at::Tensor& mask, const char* name) {
  if (!states.defined() || states.dim() != 3 || states.numel() == 0) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         std::string("expected ") + name + " [P, S, E], got " +
             (states.defined() ? describe(states) : "nothing"));
  }
  require(!mask.defined() ||
              (mask.dim() == 2 && mask.size(0) == states.size(0) && mask.size(1) == states.size(1)),
          kUnit, "expected a mask [P, S] of the text's tokens");
}

}  // namespace

/// One drawing. The order in which noise is drawn is that of diffusers' pipelines.
class LatentDiffusion::Run {
 public:
  Run(const LatentDiffusion& owner, const SamplerConfig& sampler, const DiffusionOptions& options,
      const DiffusionInputs& inputs)
      : owner_(owner),
        options_(options),
        in_(inputs),
        generator_(at::detail::createCPUGenerator(static_cast<uint64_t>(options.seed))),
        device_(owner.unet_->device()),
        sampler_(make_sampler(sampler, options.num_inference_steps, options.eta)) {
    check();
    count_ = in_.states.size(0) * options.num_images_per_prompt;
    guided_ = options.guidance_scale > 1;
    read_states();
  }

  at::Tensor operator()(const OnDiffusionStep& on_step) {
    const int64_t first = first_step();
    start(first);
    for (int64_t index = first; index < sampler_->size(); ++index) {
      step(index);
      if (!on_step) continue;
      const double told = sampler_->timesteps()[static_cast<size_t>(index)];
      if (!on_step({index - first + 1, sampler_->size() - first, told, latents_})) return {};
    }
    return decode();
  }

 private:
  void check() const {
    const int64_t unit = owner_.pixels_per_latent();
    if (in_.height < unit || in_.width < unit || in_.height % unit != 0 || in_.width % unit != 0) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           "expected a height and a width that are multiples of " + std::to_string(unit) +
               ", got " + std::to_string(in_.height) + " and " + std::to_string(in_.width));
    }
    check_states(in_.states, in_.state_mask, "states");
    const int64_t pictures =
        std::max<int64_t>(in_.states.size(0) * options_.num_images_per_prompt, 1);
    if (in_.height > kMaxPixels / in_.width / pictures)
      fail(ErrorCode::kResourceLimit, kUnit, "expected at most 16 million pixels in all pictures");
    if (options_.guidance_scale > 1) {
      check_states(in_.negative, in_.negative_mask, "negative states");
      require(in_.negative.sizes() == in_.states.sizes() &&
                  in_.negative_mask.defined() == in_.state_mask.defined(),
              kUnit, "expected negative states of the shape of the states");
    }
    const auto fits = [&](const at::Tensor& map, int64_t channels) {
      return map.dim() == 4 && map.size(0) == 1 && map.size(1) == channels &&
             map.size(2) == in_.height && map.size(3) == in_.width && map.is_floating_point();
    };
    require(!in_.image.defined() || fits(in_.image, 3), kUnit,
            "expected an image [1, 3, height, width]");
    require(!in_.mask.defined() || (in_.image.defined() && fits(in_.mask, 1)), kUnit,
            "expected a mask [1, 1, height, width] together with an image");
    require(in_.mask.defined() || !owner_.sees_mask(), kUnit,
            "expected an image and a mask: this model was made for in-painting");
  }

  void read_states() {
    const int64_t n = options_.num_images_per_prompt;
    const auto both = [&](const at::Tensor& negative, const at::Tensor& wanted) -> at::Tensor {
      if (!wanted.defined()) return {};
      at::Tensor rows = wanted.to(device_).repeat_interleave(n, 0);
      return guided_ ? at::cat({negative.to(device_).repeat_interleave(n, 0), rows}) : rows;
    };
    states_ = both(in_.negative, in_.states);
    state_mask_ = both(in_.negative_mask, in_.state_mask);
  }

  at::Tensor draw_noise(at::IntArrayRef shape) {
    return at::randn(shape, generator_, at::TensorOptions(at::kFloat)).to(device_);
  }

  std::vector<int64_t> shape() const {
    const int64_t unit = owner_.pixels_per_latent();
    return {count_, owner_.latent_channels(), in_.height / unit, in_.width / unit};
  }

  /// The first of the sampler's steps: those that `strength` leaves out come before it.
  int64_t first_step() const {
    if (!in_.image.defined()) return 0;
    const int64_t steps = options_.num_inference_steps;
    const auto used =
        std::min(static_cast<int64_t>(static_cast<double>(steps) * options_.strength), steps);
    if (used < 1) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           "expected a strength of at least one step in " + std::to_string(steps));
    }
    return steps - used;
  }

  /// The latents of pixels [1, 3, H, W], drawn from their distribution.
  at::Tensor encode(const at::Tensor& pixels) {
    const at::Tensor given = pixels.to(device_, at::kFloat);
    const models::AutoencoderKl* autoencoder = owner_.autoencoder_.get();
    if (!autoencoder) return given;
    models::LatentDistribution latents = autoencoder->encode(given.to(owner_.unet_->dtype()));
    const at::Tensor mean = latents.mean.to(at::kFloat);
    const at::Tensor spread = (latents.log_variance.to(at::kFloat) * 0.5).exp();
    return autoencoder->scale(mean + spread * draw_noise(mean.sizes()));
  }

  void start(int64_t first) {
    const bool blends = in_.mask.defined() && !owner_.sees_mask();
    // In-painting with all steps starts from nothing but noise.
    const bool from_noise = !in_.image.defined() || (in_.mask.defined() && options_.strength >= 1);
    if (blends || !from_noise) picture_ = encode(in_.image);
    if (in_.noise.defined()) {
      require(in_.noise.sizes() == at::IntArrayRef(shape()), kUnit,
              "expected noise of the shape of the latents");
      noise_ = in_.noise.to(device_, at::kFloat);
    } else {
      noise_ = draw_noise(shape());
    }
    latents_ = from_noise ? noise_ * sampler_->initial_scale()
                          : sampler_->add_noise(picture_, noise_, first);
    if (!in_.mask.defined()) return;
    const at::Tensor mask = in_.mask.ge(0.5).to(device_, at::kFloat);
    const auto size = shape();
    mask_ = at::upsample_nearest2d(mask, {size[2], size[3]});
    if (!owner_.sees_mask()) return;
    kept_ = encode(in_.image.to(device_, at::kFloat) * (1 - mask));
  }

  at::Tensor predict(int64_t index) const {
    at::Tensor input = sampler_->scale_input(latents_, index);
    if (guided_) input = at::cat({input, input});
    if (owner_.sees_mask()) {
      const int64_t rows = input.size(0);
      input =
          at::cat({input, mask_.expand({rows, -1, -1, -1}), kept_.expand({rows, -1, -1, -1})}, 1);
    }
    const models::UNet2dCondition& unet = *owner_.unet_;
    const double told = sampler_->timesteps()[static_cast<size_t>(index)];
    at::Tensor out =
        unet.denoise(input.to(unet.dtype()), at::full({1}, told, at::kFloat), states_, state_mask_)
            .to(at::kFloat);
    if (!guided_) return out;
    auto halves = out.chunk(2);
    return halves[0] + (halves[1] - halves[0]) * options_.guidance_scale;
  }

  void step(int64_t index) {
    const at::Tensor predicted = predict(index);
    at::Tensor fresh;
    if (sampler_->needs_noise(index)) fresh = draw_noise(latents_.sizes());
    latents_ = sampler_->step(predicted, latents_, index, fresh);
    if (!mask_.defined() || owner_.sees_mask()) return;
    const at::Tensor kept =
        index + 1 < sampler_->size() ? sampler_->add_noise(picture_, noise_, index + 1) : picture_;
    latents_ = (1 - mask_) * kept + mask_ * latents_;
  }

  at::Tensor decode() const {
    const models::AutoencoderKl* autoencoder = owner_.autoencoder_.get();
    at::Tensor pixels = latents_;
    if (autoencoder)
      pixels = autoencoder->decode(autoencoder->unscale(latents_).to(owner_.unet_->dtype()));
    return (pixels.to(at::kCPU, at::kFloat) / 2 + 0.5).clamp(0, 1);
  }

  const LatentDiffusion& owner_;
  const DiffusionOptions& options_;
  const DiffusionInputs& in_;
  at::Generator generator_;
  at::Device device_;
  std::unique_ptr<Sampler> sampler_;
  int64_t count_ = 0;
  bool guided_ = false;
  at::Tensor states_, state_mask_;
  at::Tensor latents_, noise_;
  at::Tensor picture_;      ///< Latents of the image
  at::Tensor mask_, kept_;  ///< [1, 1, h, w]; latents of the image without what is painted
};

LatentDiffusion::LatentDiffusion(std::shared_ptr<models::UNet2dCondition> unet,
                                 std::shared_ptr<models::AutoencoderKl> autoencoder)
    : unet_(std::move(unet)), autoencoder_(std::move(autoencoder)) {
  require(unet_ != nullptr, kUnit, "expected a U-Net");
}

int64_t LatentDiffusion::pixels_per_latent() const {
  return autoencoder_ ? autoencoder_->pixels_per_latent() : 1;
}

int64_t LatentDiffusion::latent_channels() const { return unet_->settings().out_channels; }

bool LatentDiffusion::sees_mask() const {
  return unet_->settings().in_channels > unet_->settings().out_channels;
}

at::Tensor LatentDiffusion::draw(const SamplerConfig& sampler, const DiffusionOptions& options,
                                 const DiffusionInputs& inputs,
                                 const OnDiffusionStep& on_step) const {
  at::NoGradGuard no_grad;
  return Run(*this, sampler, options, inputs)(on_step);
}

}  // namespace plait::runtime
