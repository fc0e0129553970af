"""Golden files of the decoder-only families (Llama, GPT-2, Qwen2, Qwen3, mixtures of experts; padding on either side, an
embedded prefix, cross-attention) from transformers."""
import torch
import transformers
from common import published_state, randomise, rename, write

t = transformers
reference = f"transformers {t.__version__}"
generator = torch.Generator().manual_seed(1)
ids = torch.randint(0, 67, (2, 9), generator=generator)
right = torch.ones(2, 9, dtype=torch.long)
right[1, 6:] = 0
left = torch.ones(2, 9, dtype=torch.long)
left[1, :4] = 0
sizes = dict(vocab_size=67, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             intermediate_size=24, max_position_embeddings=64)
ours = {**sizes, "norm_eps": 1e-6, "tie_word_embeddings": False}
experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12)
# transformers keeps GPT-2's matrices transposed, and q, k and v in one.
GPT2_NAMES = [(r"^transformer\.h\.", "model.layers."), (r"^transformer\.wte", "model.embed_tokens"),
              (r"^transformer\.wpe", "model.embed_positions"), (r"^transformer\.ln_f", "model.norm"), (r"ln_1", "input_layernorm"),
              (r"ln_2", "post_attention_layernorm"), (r"ln_cross_attn", "cross_attention_layernorm"),
              (r"\.attn\.c_proj", ".self_attn.o_proj"), (r"crossattention\.c_proj", "cross_attn.o_proj"),
              (r"crossattention\.q_attn", "cross_attn.q_proj"), (r"mlp\.c_fc", "mlp.up_proj"), (r"mlp\.c_proj", "mlp.down_proj")]


def gpt2_state(model):
    out = {}
    for name, tensor in rename(published_state(model), GPT2_NAMES).items():
        tensor = tensor.t() if name.endswith("proj.weight") or name.endswith("c_attn.weight") else tensor
        if ".attn.c_attn." in name or "crossattention.c_attn" in name:
            block, letters = ("self_attn", "qkv") if ".attn." in name else ("cross_attn", "kv")
            prefix, kind = name.split(".attn." if block == "self_attn" else ".crossattention.")[0], name.rsplit(".", 1)[1]
            for letter, part in zip(letters, tensor.chunk(len(letters), 0)):
                out[f"{prefix}.{block}.{letter}_proj.{kind}"] = part
        else:
            out[name] = tensor
    return out


def expected(model, mask, **inputs):
    """Positions count the real tokens, as generate() counts them; padding is zero."""
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    with torch.no_grad():
        out = model(**inputs, attention_mask=mask, position_ids=positions, output_hidden_states=True, use_cache=False)
    real = mask[..., None]
    return {"last_hidden_state": out.hidden_states[-1] * real, "logits": out.logits * real}


def golden(name, model, config, mask=right, state=published_state, seed=0):
    model = randomise(model, seed=seed)
    write("causal_lm", config, state(model), {"input_ids": ids, "attention_mask": mask},
          expected(model, mask, input_ids=ids), reference, name=name)
    return model


llama = golden("causal_lm", t.LlamaForCausalLM(t.LlamaConfig(**sizes, attention_bias=False)), ours)
golden("causal_lm@left", t.LlamaForCausalLM(t.LlamaConfig(**sizes, attention_bias=True, mlp_bias=True, head_dim=6)),
       {**ours, "qkv_bias": True, "output_bias": True, "mlp_bias": True, "head_dim": 6}, mask=left, seed=1)
stretch = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
golden("causal_lm@llama3", t.LlamaForCausalLM(t.LlamaConfig(**sizes, tie_word_embeddings=True,
                                                            rope_parameters=dict(rope_theta=100.0, **stretch))),
       {**ours, "tie_word_embeddings": True, "rope_theta": 100.0, "rope_type": "llama3", "rope_factor": 4.0, "rope_low_freq_factor": 1.0,
        "rope_high_freq_factor": 4.0, "rope_original_positions": 16}, seed=2)
golden("causal_lm@linear", t.LlamaForCausalLM(t.LlamaConfig(**sizes, rope_parameters=dict(rope_theta=100.0, rope_type="linear", factor=2.0))),
       {**ours, "rope_theta": 100.0, "rope_type": "linear", "rope_factor": 2.0}, seed=3)
golden("causal_lm@qwen2", t.Qwen2ForCausalLM(t.Qwen2Config(**sizes)), {**ours, "qkv_bias": True}, seed=4)
golden("causal_lm@qwen3", t.Qwen3ForCausalLM(t.Qwen3Config(**sizes, head_dim=8)), {**ours, "qk_norm": True, "head_dim": 8}, seed=5)
golden("causal_lm@qwen2_moe", t.Qwen2MoeForCausalLM(t.Qwen2MoeConfig(**sizes, **experts, shared_expert_intermediate_size=20,
                                                                     norm_topk_prob=False)),
       {**ours, **experts, "qkv_bias": True, "shared_expert_intermediate_size": 20, "norm_topk_prob": False}, seed=6)
golden("causal_lm@qwen3_moe", t.Qwen3MoeForCausalLM(t.Qwen3MoeConfig(**sizes, **experts, head_dim=8, norm_topk_prob=True,
                                                                     mlp_only_layers=[0])),
       {**ours, **experts, "qk_norm": True, "head_dim": 8, "norm_topk_prob": True, "mlp_only_layers": [0]}, seed=7)

gpt2_sizes = dict(vocab_size=67, n_embd=16, n_layer=2, n_head=4, n_positions=64, n_inner=24)
gpt2 = {**sizes, "num_key_value_heads": 4, "hidden_act": "gelu_new", "gated": False, "norm": "layer", "positions": "learned",
        "qkv_bias": True, "output_bias": True, "mlp_bias": True}
golden("causal_lm@gpt2", t.GPT2LMHeadModel(t.GPT2Config(**gpt2_sizes)), gpt2, state=gpt2_state, seed=8)

# Embeddings in front of the tokens, as a picture's or a sound's are.
prefix = torch.randn(2, 3, 16, generator=generator)
mask = torch.cat([torch.tensor([[1, 1, 1], [0, 1, 1]]), torch.ones(2, 9, dtype=torch.long)], 1)
embeds = torch.cat([prefix, llama.get_input_embeddings()(ids).detach()], 1)
write("causal_lm", ours, published_state(llama), {"input_ids": ids, "inputs_embeds": prefix, "attention_mask": mask},
      expected(llama, mask, inputs_embeds=embeds), reference, name="causal_lm_prefix")

model = randomise(t.GPT2LMHeadModel(t.GPT2Config(**gpt2_sizes, add_cross_attention=True)), seed=9)
states = torch.randn(2, 5, 16, generator=generator)
states_mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
write("causal_lm", {**gpt2, "cross_attention_size": 16}, gpt2_state(model),
      {"input_ids": ids, "attention_mask": right, "encoder_hidden_states": states, "encoder_attention_mask": states_mask},
      expected(model, right, input_ids=ids, encoder_hidden_states=states, encoder_attention_mask=states_mask), reference,
      name="causal_lm_cross")

longer = {"max_position_embeddings": 16384, "head_dim": 16}
yarn = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=4096, beta_fast=24.0, beta_slow=2.0)
golden("causal_lm@yarn", t.LlamaForCausalLM(t.LlamaConfig(**{**sizes, **longer}, rope_parameters=dict(rope_theta=5000.0, **yarn))),
       {**ours, **longer, "rope_theta": 5000.0, "rope_type": "yarn", "rope_factor": 4.0, "rope_original_positions": 4096,
        "rope_beta_fast": 24.0, "rope_beta_slow": 2.0}, seed=10)
