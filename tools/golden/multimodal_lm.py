"""Golden file and published folders of language models that see (LLaVA) and hear (Qwen2-Audio) from transformers:
tests/golden/multimodal_lm.safetensors and tests/golden/published_multimodal/<name>/ with config.json, model.safetensors
and expected.safetensors (logits of a padded batch with its pictures or sounds, greedy continuations of every row)."""
import json
import shutil

import torch
import transformers
from common import FOLDER, published_state, randomise, rename, write
from safetensors.torch import load_file, save_file

t = transformers
reference = f"transformers {t.__version__}"
generator = torch.Generator().manual_seed(1)
IMAGE, EOS, NEW = 66, 7, 16
text = dict(vocab_size=67, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24,
            max_position_embeddings=96, bos_token_id=1, eos_token_id=EOS)
vision = dict(image_size=12, patch_size=4, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3)


def prompts(tokens, seed):
    """Two rows of ids, `tokens` placeholders in the middle of each; the second is shorter and padded on the left."""
    words = torch.randint(8, 60, (2, 7), generator=torch.Generator().manual_seed(seed))
    rows = []
    for i, (before, after) in enumerate(((3, 4), (1, 3))):
        row = torch.cat([words[i, :before], torch.full((tokens,), IMAGE), words[i, before:before + after]])
        rows.append(torch.cat([torch.zeros(tokens + 7 - len(row), dtype=torch.long), row]))
    ids = torch.stack(rows)
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    return ids, mask


def expected(model, ids, mask, **inputs):
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, output_hidden_states=True, use_cache=False, **inputs)
    return out.logits * mask[..., None], out.hidden_states[-1] * mask[..., None]


def folder(name, model, ids, mask, inputs):
    path = FOLDER / "published_multimodal" / name
    shutil.rmtree(path, ignore_errors=True)
    model.save_pretrained(path)
    (path / "generation_config.json").unlink(missing_ok=True)
    tensors = {"inputs.input_ids": ids, "inputs.attention_mask": mask, **{f"inputs.{k}": v for k, v in inputs.items()}}
    tensors["outputs.logits"] = expected(model, ids, mask, **inputs)[0]
    rows = []
    for i in range(2):
        one = {k: v[i:i + 1] for k, v in inputs.items()}
        real = ids[i:i + 1, mask[i].bool()]
        with torch.no_grad():
            out = model.generate(input_ids=real, attention_mask=torch.ones_like(real), max_new_tokens=NEW, do_sample=False, eos_token_id=None,
                                 pad_token_id=0, **one)
        rows.append(out[0, real.shape[1]:])
    tensors["greedy"] = torch.stack(rows)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path / "expected.safetensors", metadata={"reference": reference})
    print(name, sum(file.stat().st_size for file in path.iterdir()) // 1024, "KiB", tensors["greedy"].tolist())


def llava(tower, language, seed, **more):
    model = t.LlavaForConditionalGeneration(t.LlavaConfig(vision_config=tower, text_config=language, image_token_id=IMAGE, **more))
    return randomise(model, seed=seed)


clip = t.CLIPVisionConfig(**vision)
pixels = torch.randn(2, 3, 12, 12, generator=generator)
ids, mask = prompts(9, 2)
model = llava(clip, t.LlamaConfig(**text), 1)
folder("llava", model, ids, mask, {"pixel_values": pixels})
full, full_mask = prompts(9, 3)
siglip = t.SiglipVisionConfig(**vision)
folder("llava_siglip", llava(siglip, t.Qwen2Config(**text), 2, vision_feature_select_strategy="full", multimodal_projector_bias=False,
                             projector_hidden_act="relu"), full, full_mask, {"pixel_values": pixels})

# The registry's own: the tower ends at the layer that is used.
NAMES = [(r"^model\.", ""), (r"^vision_tower\.(vision_model\.)?", "encoder."), (r"^multi_modal_projector\.", "projector."),
         (r"^language_model\.lm_head", "decoder.lm_head"), (r"^lm_head", "decoder.lm_head"), (r"^language_model\.(model\.)?", "decoder.model."),
         (r"\.class_embedding$", ".cls_token"), (r"\.patch_embedding\.", ".patch_embeddings.projection."),
         (r"\.position_embedding\.weight$", ".position_embeddings"), (r"^encoder\.post_layernorm\.", "encoder.layernorm.")]
state = {k: v for k, v in rename(published_state(model), NAMES).items() if not k.startswith("encoder.encoder.layers.1.")}
for key in ("encoder.embeddings.cls_token", "encoder.embeddings.position_embeddings"):
    state[key] = state[key].reshape(1, -1, 24)
config = {"encoder": {"type": "vit", **vision, "num_hidden_layers": 1, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "patch_bias": False,
                      "pre_norm": True, "norm_tokens": False},
          "decoder": {"type": "causal_lm", **{k: v for k, v in text.items() if not k.endswith("token_id")}, "norm_eps": 1e-6,
                      "tie_word_embeddings": False},
          "skip_tokens": 1, "placeholder": IMAGE}
logits, hidden = expected(model, ids, mask, pixel_values=pixels)
write("multimodal_lm", config, state, {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels},
      {"logits": logits, "last_hidden_state": hidden}, reference)

audio = t.Qwen2AudioEncoderConfig(num_mel_bins=8, d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24,
                                  max_source_positions=20)
model = t.Qwen2AudioForConditionalGeneration(t.Qwen2AudioConfig(audio_config=audio, text_config=t.Qwen2Config(**text), audio_token_id=IMAGE))
model = randomise(model, seed=3)
features = torch.randn(2, 8, 40, generator=generator)
frames = torch.ones(2, 40, dtype=torch.long)
frames[1, 27:] = 0
ids, mask = prompts(10, 4)
tokens = ((27 - 1) // 2 + 1 - 2) // 2 + 1  # of the shorter sound
ids[1, 3 + 1:3 + 1 + 10 - tokens] = torch.randint(8, 60, (10 - tokens,), generator=generator)
folder("qwen2_audio", model, ids, mask, {"input_features": features, "feature_attention_mask": frames})
