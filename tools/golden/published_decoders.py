"""Language models' folders as transformers writes them, one per family: tests/golden/published_decoders/<name>/ with
config.json, model.safetensors and expected.safetensors: logits of a padded batch, greedy continuations, and beam searches
with the scores of every beam ("beams.<n>.<length penalty>.<early stopping>.ids" and ".scores")."""
import shutil

import torch
import transformers
from common import FOLDER, randomise
from safetensors.torch import save_file

t = transformers
generator = torch.Generator().manual_seed(1)
ids = torch.randint(0, 67, (2, 9), generator=generator)
mask = torch.ones(2, 9, dtype=torch.long)
mask[1, :4] = 0
prompts = torch.randint(0, 67, (3, 5), generator=generator)
EOS, NEW = 7, 24
sizes = dict(vocab_size=67, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             intermediate_size=24, max_position_embeddings=64, bos_token_id=1, eos_token_id=EOS)
gpt2 = dict(vocab_size=67, n_embd=16, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=EOS)
experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12)
BEAMS = [(2, 1.0, False), (4, 1.0, False), (4, 0.0, "never"), (3, 2.0, "never"), (4, 0.6, True), (5, -1.0, False)]


def folder(name, model, seed, dtype=torch.float32, scale=None):
    path = FOLDER / "published_decoders" / name
    shutil.rmtree(path, ignore_errors=True)
    randomise(model, seed=seed).to(dtype).save_pretrained(path)
    (path / "generation_config.json").unlink(missing_ok=True)
    # Not model.float(): that would keep rotary frequencies as they were rounded.
    model = type(model).from_pretrained(path, dtype=torch.float32)
    tensors = {"inputs.input_ids": ids, "inputs.attention_mask": mask, "prompts": prompts}
    with torch.no_grad():
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        tensors["outputs.logits"] = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits * mask[..., None]
        plain = dict(max_new_tokens=NEW, do_sample=False, pad_token_id=0)
        rows = [model.generate(p[None], attention_mask=torch.ones(1, 5, dtype=torch.long), eos_token_id=None, **plain)[0, 5:] for p in prompts]
        tensors["greedy"] = torch.stack(rows)
        if name in ("llama", "gpt2", "qwen3_moe"):
            for beams, penalty, early in BEAMS:
                found, scores = [], []
                for p in prompts:
                    out = model.generate(p[None], attention_mask=torch.ones(1, 5, dtype=torch.long), eos_token_id=EOS, num_beams=beams,
                                         num_return_sequences=beams, length_penalty=penalty, early_stopping=early,
                                         return_dict_in_generate=True, output_scores=True, **plain)
                    rows = torch.full((beams, NEW), -1)
                    for i, row in enumerate(out.sequences[:, 5:]):
                        length = next((j for j, token in enumerate(row.tolist()) if token == EOS), None)
                        kept = row if length is None else row[:length]
                        rows[i, :len(kept)] = kept
                    found.append(rows)
                    scores.append(out.sequences_scores)
                key = f"beams.{beams}.{penalty}.{str(early).lower()}"
                tensors[key + ".ids"], tensors[key + ".scores"] = torch.stack(found), torch.stack(scores)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path / "expected.safetensors",
              metadata={"reference": f"transformers {t.__version__}"})
    print(name, sum(file.stat().st_size for file in path.iterdir()) // 1024, "KiB")


folder("llama", t.LlamaForCausalLM(t.LlamaConfig(**sizes)), 1)
folder("llama_half", t.LlamaForCausalLM(t.LlamaConfig(**sizes, tie_word_embeddings=True, rope_parameters=dict(
    rope_theta=100.0, rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=16))), 2, dtype=torch.float16)
folder("mistral", t.MistralForCausalLM(t.MistralConfig(**sizes, sliding_window=None)), 3)
folder("qwen2", t.Qwen2ForCausalLM(t.Qwen2Config(**sizes, tie_word_embeddings=True)), 4)
folder("qwen3", t.Qwen3ForCausalLM(t.Qwen3Config(**sizes, head_dim=8)), 5)
folder("qwen2_moe", t.Qwen2MoeForCausalLM(t.Qwen2MoeConfig(**sizes, **experts, shared_expert_intermediate_size=20)), 6)
folder("qwen3_moe", t.Qwen3MoeForCausalLM(t.Qwen3MoeConfig(**sizes, **experts, head_dim=8, decoder_sparse_step=2)), 7)
folder("gpt2", t.GPT2LMHeadModel(t.GPT2Config(**gpt2)), 8)
folder("mixtral", t.MixtralForCausalLM(t.MixtralConfig(**sizes, head_dim=8, num_local_experts=4, num_experts_per_tok=2, rope_parameters=dict(
    rope_theta=100.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.2, mscale_all_dim=0.5))), 9)
