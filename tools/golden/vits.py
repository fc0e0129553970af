"""Golden files of VITS and of HiFi-GAN from transformers, with the noise of the reference recorded. vits: durations are given,
so that both rows last equally long; vits_published: everything from symbols to sound, rows of one length;
vits_speakers: several voices and the plain duration predictor; hifi_gan@2: blocks of the second kind, which transformers
lacks, put together from torch's functions as the original code's ResBlock2 says."""
import copy

import torch
import transformers
from common import randomise, write
from torch.nn import functional as F

t = transformers
reference = f"transformers {t.__version__}"
blocks = dict(upsample_initial_channel=8, upsample_rates=[4, 2], upsample_kernel_sizes=[8, 4], resblock_kernel_sizes=[3, 5],
              resblock_dilation_sizes=[[1, 3], [1, 2]])
config = dict(vocab_size=23, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, window_size=2, ffn_dim=12, flow_size=6,
              depth_separable_num_layers=2, duration_predictor_filter_channels=10, prior_encoder_num_flows=2,
              prior_encoder_num_wavenet_layers=2, **blocks)


def folded(state):
    """Without weight norms, and without what only training needs."""
    out = {}
    for name, tensor in state.items():
        if name.endswith("original0"):
            v = state[name[:-1] + "1"]
            norm = v.flatten(1).norm(dim=1).reshape(-1, *[1] * (v.dim() - 1))
            out[name.replace(".parametrizations.weight.original0", ".weight")] = tensor * v / norm
        elif not name.endswith("original1"):
            out[name] = tensor
    return out


def speaks(name, stochastic):
    training = name.startswith("posterior_encoder.")
    if stochastic:
        training |= name.startswith(("duration_predictor.post_", "duration_predictor.flows.1."))
    return not training


def make(seed, **more):
    model = randomise(t.VitsModel(t.VitsConfig(**config, **more)), seed=seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("original0"):  # norms are positive
                parameter.copy_(parameter.abs() + 0.2)
            if name.endswith("conv_post.weight"):  # sound well below its limit
                parameter.mul_(0.2)
    return model


class Recorder:
    """Draws once from a generator and gives every caller of torch.randn and torch.randn_like what it drew."""

    def __init__(self, seed):
        self.generator, self.drawn = torch.Generator().manual_seed(seed), []

    def draw(self, *shape):
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        self.drawn.append(torch_randn(*shape, generator=self.generator))
        return self.drawn[-1]

    def run(self, call):
        plain, like = torch_randn, torch.randn_like
        torch.randn, torch.randn_like = self.draw, lambda x: self.draw(*x.shape)
        try:
            with torch.no_grad():
                return call()
        finally:
            torch.randn, torch.randn_like = plain, like


torch_randn = torch.randn
generator = torch.Generator().manual_seed(3)

# Parts of the model with given durations.
model = make(0)
ids = torch.randint(1, 23, (2, 9), generator=generator)
mask = torch.ones(2, 9, dtype=torch.long)
mask[1, 6:] = 0
durations = torch.tensor([[1, 2, 0, 3, 1, 1, 2, 1, 1], [3, 1, 4, 2, 1, 1, 0, 0, 0]])
duration_noise = torch_randn(2, 2, 9, generator=generator)
noise = torch_randn(2, 6, 12, generator=generator)
with torch.no_grad():
    columns = mask[..., None].float()
    text = model.text_encoder(ids, columns, mask)
    recorded = Recorder(0)
    recorded.draw = lambda *shape: duration_noise
    log_duration = recorded.run(lambda: model.duration_predictor(
        text.last_hidden_state.transpose(1, 2), columns.transpose(1, 2), None, reverse=True, noise_scale=0.8))
    rows = [torch.repeat_interleave(torch.arange(9), row) for row in durations]
    mean = torch.stack([text.prior_means[i, row] for i, row in enumerate(rows)]).transpose(1, 2)
    deviation = torch.stack([text.prior_log_variances[i, row] for i, row in enumerate(rows)]).transpose(1, 2).exp()
    latents = model.flow(mean + noise * deviation * 0.667, torch.ones(2, 1, 12), None, reverse=True)
    waveform = model.decoder(latents, None).squeeze(1)
assert waveform.abs().max() < 0.9 and waveform.std() > 0.01, waveform
write("vits", config, {k: v for k, v in folded(model.state_dict()).items() if speaks(k, True)},
      {"input_ids": ids, "attention_mask": mask, "durations": durations, "duration_noise": duration_noise, "noise": noise},
      {"waveform": waveform, "spectrogram": latents, "log_duration": log_duration.squeeze(1),
       "sequence_lengths": durations.sum(1) * 8}, reference)


def whole(name, model, stochastic, more, **inputs):
    recorder = Recorder(5)
    speaker = int(inputs["speaker_id"][0]) if "speaker_id" in inputs else None  # the reference takes one for all rows
    out = recorder.run(lambda: model(input_ids=inputs["input_ids"], speaker_id=speaker))
    assert len(set(out.sequence_lengths.tolist())) >= 1 and out.waveform.shape[1] < 2000, out.sequence_lengths
    drawn = dict(zip(["duration_noise", "noise"] if stochastic else ["noise"], recorder.drawn))
    write("vits", {**config, **more}, {k: v for k, v in folded(model.state_dict()).items() if speaks(k, stochastic)},
          {**inputs, **drawn}, {"waveform": out.waveform, "sequence_lengths": out.sequence_lengths, "spectrogram": out.spectrogram},
          reference, name=name)


whole("vits_published", make(1), True, {}, input_ids=ids[:, :7])
voices = dict(num_speakers=3, speaker_embedding_size=4, use_stochastic_duration_prediction=False)
whole("vits_speakers", make(2, **voices), False, voices, input_ids=ids[:, :7], speaker_id=torch.tensor([2, 2]))

# The generator alone, from a spectrogram.
more = dict(model_in_dim=6, **blocks)
vocoder = randomise(t.SpeechT5HifiGan(t.SpeechT5HifiGanConfig(**more)), seed=4)
with torch.no_grad():
    vocoder.mean.copy_(0.3 * torch_randn(6, generator=generator))
    vocoder.scale.copy_(0.5 + torch.rand(6, generator=generator))
spectrogram = torch_randn(2, 11, 6, generator=generator)
with torch.no_grad():
    sound = vocoder(spectrogram)
assert sound.shape == (2, 88)
write("hifi_gan", more, vocoder.state_dict(), {"spectrogram": spectrogram}, {"waveform": sound}, reference)

state = {k: v for k, v in copy.deepcopy(vocoder).state_dict().items()}
state = {k.replace("convs1", "convs"): v for k, v in state.items() if "convs2" not in k}
with torch.no_grad():
    x = F.conv1d(((spectrogram - state["mean"]) / state["scale"]).transpose(1, 2), state["conv_pre.weight"], state["conv_pre.bias"], padding=3)
    for i, (rate, kernel) in enumerate(zip(more["upsample_rates"], more["upsample_kernel_sizes"])):
        x = F.conv_transpose1d(F.leaky_relu(x, 0.1), state[f"upsampler.{i}.weight"], state[f"upsampler.{i}.bias"], rate, (kernel - rate) // 2)
        total = 0
        for k, (width, dilations) in enumerate(zip(more["resblock_kernel_sizes"], more["resblock_dilation_sizes"])):
            y = x
            for j, dilation in enumerate(dilations):
                name = f"resblocks.{2 * i + k}.convs.{j}"
                y = y + F.conv1d(F.leaky_relu(y, 0.1), state[f"{name}.weight"], state[f"{name}.bias"], padding=(width - 1) * dilation // 2,
                                 dilation=dilation)
            total = total + y
        x = total / 2
    sound = torch.tanh(F.conv1d(F.leaky_relu(x), state["conv_post.weight"], state["conv_post.bias"], padding=3)).squeeze(1)
write("hifi_gan", {**more, "resblock": "2"}, state, {"spectrogram": spectrogram}, {"waveform": sound},
      f"torch {torch.__version__.split('+')[0]}", name="hifi_gan@2")
