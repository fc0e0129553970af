"""Golden files of the Whisper encoder from transformers."""
import torch
import transformers
from common import randomise, write
from transformers.models.whisper.modeling_whisper import WhisperEncoder

config = dict(num_mel_bins=8, d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24,
              max_source_positions=20)
model = randomise(WhisperEncoder(transformers.WhisperConfig(**config)))
features = torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(1))
mask = torch.ones(2, 40, dtype=torch.long)
mask[1, 26:] = 0
# The reference takes full windows only: the shorter row's is that of a model with fewer positions.
short = WhisperEncoder(transformers.WhisperConfig(**{**config, "max_source_positions": 13})).eval()
weights = model.state_dict()
short.load_state_dict({**weights, "embed_positions.weight": weights["embed_positions.weight"][:13]})
with torch.no_grad():
    tokens = model(features).last_hidden_state
    alone = short(features[1:, :, :26]).last_hidden_state
reference = f"transformers {transformers.__version__}"
write("whisper", config, weights, {"input_features": features, "attention_mask": mask},
      {"pooled": torch.cat([tokens[:1].mean(1), alone.mean(1)])}, reference)
write("whisper", config, weights, {"input_features": features},
      {"last_hidden_state": tokens, "pooled": tokens.mean(1)}, reference, name="whisper_full")
