"""Golden files of the voice activity detector from the package silero-vad (needs silero-vad 6.2.3 unpacked on PYTHONPATH): a
small seeded network after its tinygrad description, which is first checked on the package's own weights against its
TorchScript model; and the speech segments that the package makes of courses of probability."""
import importlib.machinery
import importlib.util
import pathlib
import sys

import torch
from common import FOLDER, randomise, write
from safetensors.torch import save_file
from torch import nn

spec = importlib.machinery.PathFinder.find_spec("silero_vad", sys.path[1:])  # not this file, which has the same name
PACKAGE = pathlib.Path(spec.submodule_search_locations[0])
VERSION = "silero-vad 6.2.3"


class Vad(nn.Module):
    def __init__(self, n_fft=256, wide=128, narrow=64):
        super().__init__()
        self.n_fft, bins = n_fft, n_fft // 2 + 1
        self.stft_conv = nn.Conv1d(1, 2 * bins, n_fft, n_fft // 2, bias=False)
        self.conv1 = nn.Conv1d(bins, wide, 3, 1, 1)
        self.conv2 = nn.Conv1d(wide, narrow, 3, 2, 1)
        self.conv3 = nn.Conv1d(narrow, narrow, 3, 2, 1)
        self.conv4 = nn.Conv1d(narrow, wide, 3, 1, 1)
        self.lstm_cell = nn.LSTMCell(wide, wide)
        self.final_conv = nn.Conv1d(wide, 1, 1)

    def forward(self, sound):
        chunk, context, bins = 2 * self.n_fft, self.n_fft // 4, self.n_fft // 2 + 1
        sound = nn.functional.pad(sound, (context, -sound.shape[1] % chunk))
        state, tokens, speech = None, [], []
        for at in range(context, sound.shape[1], chunk):
            x = nn.functional.pad(sound[:, at - context : at + chunk].unsqueeze(1), (0, context), "reflect")
            x = self.stft_conv(x)
            x = (x[:, :bins] ** 2 + x[:, bins:] ** 2).sqrt()
            for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
                x = conv(x).relu()
            state = self.lstm_cell(x.squeeze(-1), state)
            tokens.append(state[0])
            speech.append(self.final_conv(state[0].relu().unsqueeze(-1)).sigmoid().flatten(1))
        return torch.stack(tokens, 1), torch.cat(speech, 1)


def published_segments():
    """The package's function that makes segments of probabilities, without the rest, which wants onnxruntime."""
    loaded = importlib.util.spec_from_file_location("utils_vad", PACKAGE / "utils_vad.py")
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    return module.get_speech_timestamps_from_probs




torch.manual_seed(0)
jit = torch.jit.load(str(PACKAGE / "data" / "silero_vad.jit"))
full = Vad().eval()
names = {"stft_conv.weight": "stft.forward_basis_buffer", "final_conv": "decoder.decoder.2", "lstm_cell": "decoder.rnn",
         **{f"conv{i + 1}": f"encoder.{i}.reparam_conv" for i in range(4)}}
theirs = jit._model.state_dict()
state = {}
for name in full.state_dict():
    stem, _, end = name.partition(".")
    state[name] = theirs[names.get(name) or f"{names[stem]}.{end}"]
full.load_state_dict(state)
n = torch.arange(256, dtype=torch.float64)
angle = torch.outer(torch.arange(129, dtype=torch.float64), n) * 2 * torch.pi / 256
basis = (torch.cat([angle.cos(), -angle.sin()]) * torch.hann_window(256, dtype=torch.float64)).float()
print("largest difference of the Fourier rows:", (basis - full.stft_conv.weight[:, 0]).abs().max().item())
noise = torch.randn(1, 512 * 20) * torch.linspace(0, 0.5, 512 * 20)
with torch.no_grad():
    jit.reset_states()
    theirs = torch.cat([jit(noise[:, i : i + 512], 16000) for i in range(0, noise.shape[1], 512)], 1)
    assert torch.allclose(full(noise)[1], theirs, atol=1e-5), (full(noise)[1] - theirs).abs().max()

config = dict(n_fft=16, wide=12, narrow=8)
model = randomise(Vad(**config))
sound = torch.randn(2, 150, generator=torch.Generator().manual_seed(1))
mask = torch.ones(2, 150, dtype=torch.long)
mask[1, 90:] = 0
with torch.no_grad():
    tokens, speech = model(sound * mask)
real = torch.nn.functional.pad(mask, (0, 10)).view(2, -1, 32).amax(-1).bool()
write("silero_vad", config, model.state_dict(), {"input_values": sound, "attention_mask": mask},
      {"last_hidden_state": tokens * real[..., None], "speech": speech * real,
       "pooled": (tokens * real[..., None]).sum(1) / real.sum(1, keepdim=True), "mask": real}, VERSION)

# The segments of many made-up courses of probability, with several settings.
segments = published_segments()
generator = torch.Generator().manual_seed(3)
settings = [dict(), dict(threshold=0.7, min_silence_duration_ms=300), dict(max_speech_duration_s=4.0),
            dict(min_speech_duration_ms=600, speech_pad_ms=200), dict(threshold=0.3, neg_threshold=0.1, max_speech_duration_s=2.0)]
tensors = {}
for case in range(12):
    steps = torch.randn(400, generator=generator).cumsum(0) * 0.25
    probabilities = torch.sigmoid(steps - steps.mean() + 2 * torch.sin(torch.arange(400) / (4 + case)))
    tensors[f"inputs.{case}"] = probabilities
    for k, options in enumerate(settings):
        found = segments(probabilities.tolist(), 16000, audio_length_samples=400 * 512 - 100, **options)
        tensors[f"outputs.{case}.{k}"] = torch.tensor([[s["start"], s["end"]] for s in found], dtype=torch.int64).reshape(-1, 2)
FOLDER.joinpath("speech").mkdir(exist_ok=True)
save_file(tensors, FOLDER / "speech" / "speech_segments.safetensors", metadata={"reference": VERSION})
print("segments:", sum(len(v) for k, v in tensors.items() if k.startswith("outputs")))
