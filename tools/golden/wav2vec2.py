"""Golden files of wav2vec 2.0 from transformers: layer norm (stable) with a mask; group norm."""
import torch
import transformers
from common import randomise, write

reference = f"transformers {transformers.__version__}"
sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, conv_dim=[8, 8, 12],
             conv_stride=[5, 2, 2], conv_kernel=[10, 3, 2], num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4)
samples = torch.randn(2, 263, generator=torch.Generator().manual_seed(1))
mask = torch.ones(2, 263, dtype=torch.long)
mask[1, 190:] = 0


def make(**kinds):
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes, **kinds, num_feat_extract_layers=3))
    return randomise(model)


def weights(model):
    return {k: v for k, v in model.state_dict().items() if k != "masked_spec_embed"}


def mean(tokens, real):
    return (tokens * real[..., None]).sum(1) / real.sum(1, keepdim=True)


kinds = dict(feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)
model = make(**kinds)
with torch.no_grad():
    tokens = model(samples * mask, attention_mask=mask).last_hidden_state
real = model._get_feature_vector_attention_mask(tokens.shape[1], mask)
write("wav2vec2", {**sizes, **kinds}, weights(model), {"input_values": samples, "attention_mask": mask},
      {"last_hidden_state": tokens, "pooled": mean(tokens, real), "mask": real}, reference)

# The reference lets padding into the group norm, so a padded batch is compared with its rows alone; tokens of padding
# have no reference.
kinds = dict(feat_extract_norm="group", conv_bias=False, do_stable_layer_norm=False)
model = make(**kinds)
with torch.no_grad():
    tokens = model(samples).last_hidden_state
    alone = model(samples[1:, :190]).last_hidden_state
write("wav2vec2", {**sizes, **kinds}, weights(model), {"input_values": samples},
      {"last_hidden_state": tokens, "pooled": tokens.mean(1)}, reference, name="wav2vec2_group")
write("wav2vec2", {**sizes, **kinds}, weights(model), {"input_values": samples, "attention_mask": mask},
      {"pooled": torch.cat([tokens[:1].mean(1), alone.mean(1)])}, reference, name="wav2vec2_group_masked")
