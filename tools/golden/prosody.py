"""Golden file of the prosody predictor: transformers' variance predictors of FastSpeech 2 on an embedding, each row by
itself, because they do not keep padding out of their convolutions."""
import torch
import transformers
from common import randomise, write
from transformers.models.fastspeech2_conformer.modeling_fastspeech2_conformer import FastSpeech2ConformerVariancePredictor

config = dict(vocab_size=19, hidden_size=8, num_layers=2, num_chans=10, kernel_size=3)
parts = torch.nn.ModuleDict({"embed_tokens": torch.nn.Embedding(19, 8)})
for name in ("duration_predictor", "pitch_predictor", "energy_predictor"):
    parts[name] = FastSpeech2ConformerVariancePredictor(transformers.FastSpeech2ConformerConfig(hidden_size=8), num_layers=2, num_chans=10,
                                                        kernel_size=3)
randomise(parts)
ids = torch.randint(0, 19, (2, 11), generator=torch.Generator().manual_seed(1))
mask = torch.ones(2, 11, dtype=torch.long)
mask[1, 7:] = 0
outputs = {}
with torch.no_grad():
    for name, key in (("duration_predictor", "log_duration"), ("pitch_predictor", "pitch"), ("energy_predictor", "energy")):
        rows = [parts[name](parts["embed_tokens"](row[None, :n]))[0, :, 0] for row, n in zip(ids, mask.sum(1).tolist())]
        outputs[key] = torch.stack([torch.nn.functional.pad(row, (0, 11 - len(row))) for row in rows])
write("prosody", config, parts.state_dict(), {"input_ids": ids, "attention_mask": mask}, outputs, f"transformers {transformers.__version__}")
