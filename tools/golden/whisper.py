"""Golden file of the Whisper encoder from transformers."""
import torch
import transformers
from common import randomise, write
from transformers.models.whisper.modeling_whisper import WhisperEncoder

config = dict(num_mel_bins=8, d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24,
              max_source_positions=20)
model = randomise(WhisperEncoder(transformers.WhisperConfig(**config)))
features = torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    tokens = model(features).last_hidden_state
write("whisper", config, model.state_dict(), {"input_features": features},
      {"last_hidden_state": tokens, "pooled": tokens.mean(1)}, f"transformers {transformers.__version__}")
