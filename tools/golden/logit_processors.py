"""Scores before and after each of transformers' logit processors: tests/golden/generate/logit_processors.safetensors with
"scores" [3, 200], "ids" [3, 40] and "<processor>.<parameter>" for each."""
import torch
import transformers
from common import FOLDER
from safetensors.torch import save_file

t = transformers
generator = torch.Generator().manual_seed(1)
scores = torch.randn(3, 200, generator=generator) * torch.tensor([[1.0], [4.0], [12.0]])
ids = torch.randint(0, 12, (3, 40), generator=generator)
tensors = {"scores": scores, "ids": ids}
cases = {
    "repetition_penalty": (t.RepetitionPenaltyLogitsProcessor, [1.3, 0.7, 5.0]),
    "no_repeat_ngram_size": (t.NoRepeatNGramLogitsProcessor, [1, 2, 3]),
    "temperature": (t.TemperatureLogitsWarper, [0.5, 1.7]),
    "top_k": (t.TopKLogitsWarper, [1, 10, 1000]),
    "top_p": (t.TopPLogitsWarper, [0.1, 0.5, 0.9, 0.999]),
    "min_p": (t.MinPLogitsWarper, [0.02, 0.3, 1.0]),
}
for name, (processor, values) in cases.items():
    for value in values:
        tensors[f"{name}.{value}"] = processor(value)(ids, scores.clone())
both = t.LogitsProcessorList([t.RepetitionPenaltyLogitsProcessor(1.2), t.TemperatureLogitsWarper(0.8), t.TopKLogitsWarper(50),
                              t.TopPLogitsWarper(0.9), t.MinPLogitsWarper(0.05)])
tensors["together"] = both(ids, scores.clone())
save_file({k: v.contiguous() for k, v in tensors.items()}, FOLDER / "generate" / "logit_processors.safetensors",
          metadata={"reference": f"transformers {t.__version__}"})
