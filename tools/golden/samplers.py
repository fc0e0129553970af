"""Golden files of the samplers of latent diffusion from diffusers' schedulers: for every setting, all timesteps and the sample
after every step of a network that is a fixed function of sample and time (tests/golden/samplers.safetensors)."""
import json
import tempfile

import diffusers
import torch
from common import FOLDER
from safetensors.torch import save_file

generator = torch.Generator().manual_seed(1)
sample = torch.randn(1, 2, 3, 4, generator=generator)
noises = torch.randn(24, 1, 2, 3, 4, generator=generator)
BETAS = {"linear": dict(beta_schedule="linear", beta_start=0.0001, beta_end=0.02),
         "scaled": dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
         "cosine": dict(beta_schedule="squaredcos_cap_v2")}


def network(x, t):
    """What stands in for the network: bounded, and different at every time."""
    return torch.tanh(x * 1.3 + torch.cos(torch.tensor(float(t) / 100))) + 0.2 * x


def cases():
    for betas, settings in BETAS.items():
        for spacing in ("leading", "linspace", "trailing"):
            for prediction in ("epsilon", "v_prediction"):
                base = dict(**settings, timestep_spacing=spacing, prediction_type=prediction)
                name = f"{betas}-{spacing}-{prediction}"
                if betas != "cosine" or spacing == "leading":
                    yield "DDIMScheduler", name, dict(base, clip_sample=False), {}
                    yield "EulerDiscreteScheduler", name, base, {}
                    yield "DPMSolverMultistepScheduler", name, base, {}
    sd = dict(**BETAS["scaled"], steps_offset=1, set_alpha_to_one=False, clip_sample=False)
    yield "DDIMScheduler", "sd", sd, {}
    yield "DDIMScheduler", "clip", dict(clip_sample=True), {}
    yield "DDIMScheduler", "eta", sd, dict(eta=0.7)
    yield "DDIMScheduler", "sample", dict(prediction_type="sample", clip_sample=False), {}
    yield "DDIMScheduler", "zero_snr", dict(rescale_betas_zero_snr=True, prediction_type="v_prediction", clip_sample=False,
                                            timestep_spacing="trailing"), {}
    yield "DDPMScheduler", "default", {}, {}
    yield "DDPMScheduler", "large", dict(variance_type="fixed_large", clip_sample=False, prediction_type="v_prediction"), {}
    yield "DDPMScheduler", "trailing", dict(timestep_spacing="trailing", clip_sample=False), {}
    for name in ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler"):
        yield name, "karras", dict(**BETAS["scaled"], use_karras_sigmas=True), {}
        yield name, "sigma_min", dict(**BETAS["scaled"], final_sigmas_type="sigma_min"), {}
        yield name, "zero_snr", dict(rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing"), {}
        yield name, "offset", dict(**BETAS["scaled"], timestep_spacing="leading", steps_offset=1), {}
        yield name, "trained", dict(num_train_timesteps=24, trained_betas=[0.01 * i for i in range(1, 25)]), {}
    yield "DPMSolverMultistepScheduler", "heun", dict(**BETAS["scaled"], solver_type="heun"), {}
    yield "DPMSolverMultistepScheduler", "euler_at_final", dict(**BETAS["scaled"], euler_at_final=True, final_sigmas_type="sigma_min"), {}
    yield "DPMSolverMultistepScheduler", "higher", dict(**BETAS["scaled"], lower_order_final=False), dict(steps=16)
    yield "PNDMScheduler", "sd", dict(**BETAS["scaled"], skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False), {}
    yield "PNDMScheduler", "velocity", dict(skip_prk_steps=True, prediction_type="v_prediction", timestep_spacing="linspace"), dict(steps=4)


def published(scheduler):
    """scheduler_config.json as diffusers writes it."""
    with tempfile.TemporaryDirectory() as folder:
        scheduler.save_pretrained(folder)
        with open(f"{folder}/scheduler_config.json", encoding="utf-8") as file:
            return json.load(file)


tensors = {"inputs.sample": sample, "inputs.noises": noises}
listed = []
for kind, name, config, how in cases():
    scheduler = getattr(diffusers, kind)(**config)
    steps, eta = how.get("steps", 7), how.get("eta", 0.0)
    scheduler.set_timesteps(steps)
    key = f"{kind}.{name}"
    x = sample * scheduler.init_noise_sigma
    rows = []
    for i, t in enumerate(scheduler.timesteps):
        predicted = network(scheduler.scale_model_input(x, t), t)
        if kind == "DDIMScheduler" and eta > 0:
            x = scheduler.step(predicted, t, x, eta=eta, variance_noise=noises[i]).prev_sample
        elif kind == "DDPMScheduler":
            original = diffusers.schedulers.scheduling_ddpm.randn_tensor
            diffusers.schedulers.scheduling_ddpm.randn_tensor = lambda *a, noise=noises[i], **k: noise
            x = scheduler.step(predicted, t, x).prev_sample
            diffusers.schedulers.scheduling_ddpm.randn_tensor = original
        else:
            x = scheduler.step(predicted, t, x).prev_sample
        rows.append(x)
    tensors[f"timesteps.{key}"] = scheduler.timesteps.to(torch.float32)
    tensors[f"samples.{key}"] = torch.cat(rows).contiguous()
    listed.append({"name": key, "config": published(scheduler), "steps": steps, "eta": eta})

# The noise that pictures are given in training, and what the network is to say of them.
times = torch.tensor([0, 17, 500, 999])
pictures, noise = torch.randn(4, 2, 3, generator=generator), torch.randn(4, 2, 3, generator=generator)
tensors |= {"inputs.times": times, "inputs.pictures": pictures, "inputs.noise": noise}
for betas, settings in BETAS.items():
    scheduler = diffusers.DDPMScheduler(**settings)
    tensors[f"noisy.{betas}"] = scheduler.add_noise(pictures, noise, times)
    tensors[f"velocity.{betas}"] = scheduler.get_velocity(pictures, noise, times)
    tensors[f"alphas.{betas}"] = scheduler.alphas_cumprod[times]
path = FOLDER / "diffusion" / "samplers.safetensors"
path.parent.mkdir(exist_ok=True)
text = json.dumps(listed).replace("-Infinity", "null")
save_file({k: v.clone().contiguous() for k, v in tensors.items()}, path,
          metadata={"cases": text, "betas": json.dumps(BETAS), "reference": f"diffusers {diffusers.__version__}"})
print(path.name, path.stat().st_size // 1024, "KiB,", len(listed), "cases")
