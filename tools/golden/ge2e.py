"""Golden files of the speaker encoder from the package resemblyzer (needs resemblyzer 0.1.4 unpacked on PYTHONPATH; its
librosa and webrtcvad, which the network does not use, are replaced)."""
import sys
import tempfile
import types

import torch
from common import randomise, write

for missing in ("webrtcvad", "librosa", "scipy", "scipy.ndimage", "scipy.ndimage.morphology"):
    sys.modules[missing] = types.ModuleType(missing)
sys.modules["scipy.ndimage.morphology"].binary_dilation = None
from resemblyzer import voice_encoder  # noqa: E402

config = dict(num_mel_bins=8, hidden_size=12, num_hidden_layers=2, embedding_size=10, window_frames=16, window_step=8)
voice_encoder.mel_n_channels, voice_encoder.model_hidden_size = 8, 12
voice_encoder.model_embedding_size, voice_encoder.model_num_layers = 10, 2
voice_encoder.partials_n_frames = 16
with tempfile.NamedTemporaryFile(suffix=".pt") as file:
    torch.save({"model_state": {}}, file.name)
    model = randomise(voice_encoder.VoiceEncoder("cpu", False, file.name))

RATE = 16000 / 160 / 8  # Windows per second that give a step of 8 frames.
frames = [53, 37]
mask = torch.tensor([[1] * n + [0] * (53 - n) for n in frames])
features = torch.rand(2, 8, 53, generator=torch.Generator().manual_seed(1)) * 3
tokens, pooled = [], []
for row, n in zip(features, frames):
    _, slices = model.compute_partial_slices((n - 1) * 160, RATE, 0.75)
    mel = torch.nn.functional.pad(row[:, :n], (0, 64)).T
    with torch.no_grad():
        tokens.append(model(torch.stack([mel[s] for s in slices])))
    mean = tokens[-1].mean(0)
    pooled.append(mean / mean.norm())
counts = [len(t) for t in tokens]
assert counts[0] != counts[1], counts
real = torch.tensor([[i < n for i in range(max(counts))] for n in counts])
tokens = torch.stack([torch.nn.functional.pad(t, (0, 0, 0, max(counts) - len(t))) for t in tokens])
write("ge2e", config, model.state_dict(), {"input_features": features, "attention_mask": mask},
      {"last_hidden_state": tokens, "pooled": torch.stack(pooled), "mask": real}, "resemblyzer 0.1.4")
