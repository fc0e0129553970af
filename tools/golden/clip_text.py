"""Golden files of CLIP's text tower, with and without a projection, from transformers."""
import torch
import transformers
from common import published_state, randomise, rename, write
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

SIZES = dict(vocab_size=67, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
             max_position_embeddings=12)
ids = torch.tensor([[65, 5, 9, 11, 40, 66, 66, 66], [65, 7, 66, 66, 66, 66, 66, 66]])
mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]])


def golden(name, kind, config, pooled):
    model = randomise(kind(CLIPTextConfig(**SIZES, **config)))
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask)
    weights = rename(published_state(model), [(r"^text_model\.", "")])
    weights = {key: value for key, value in weights.items() if not key.endswith("position_ids")}
    write("clip_text", {**SIZES, **config}, weights, {"input_ids": ids, "attention_mask": mask},
          {"last_hidden_state": out.last_hidden_state * mask[..., None], "pooled": out[pooled]},
          f"transformers {transformers.__version__}", name)


golden("clip_text", CLIPTextModel, dict(eos_token_id=66), "pooler_output")
golden("clip_text@projected", CLIPTextModelWithProjection,
       dict(eos_token_id=2, hidden_act="gelu", projection_dim=10), "text_embeds")
