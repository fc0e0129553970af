"""Golden files of the Vision Transformer family: ViT, the image towers of CLIP and SigLIP, DINOv2."""
import torch
import transformers
from common import published_state, randomise, rename, write
from transformers import (CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model,
                          SiglipVisionConfig, SiglipVisionModel, ViTConfig, ViTModel)

SIZE = dict(image_size=12, patch_size=4, hidden_size=24, num_hidden_layers=2, num_attention_heads=3)
REFERENCE = f"transformers {transformers.__version__}"
LAYERS = [(r"^encoder\.layer\.", "encoder.layers."), (r"\.lambda1", ""),
          (r"attention\.attention\.(query|key|value)", lambda m: f"self_attn.{m[1][0]}_proj"),
          (r"attention\.output\.dense", "self_attn.out_proj"),
          (r"layernorm_before|norm1", "layer_norm1"), (r"layernorm_after|norm2", "layer_norm2"),
          (r"intermediate\.dense", "mlp.fc1"), (r"(\d)\.output\.dense", r"\1.mlp.fc2"), (r"pooler\.dense", "pooler")]
CLIP = [(r"^vision_model\.", ""), (r"class_embedding", "cls_token"), (r"patch_embedding\.", "patch_embeddings.projection."),
        (r"position_embedding\.weight", "position_embeddings"), (r"^post_layernorm", "layernorm")]


def pixels(height, width):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def golden(name, model, config, inputs, table, interpolate=False):
    randomise(model)
    with torch.no_grad():
        out = model(inputs, interpolate_pos_encoding=True) if interpolate else model(inputs)
    weights = {}
    for key, value in rename(published_state(model), table).items():
        if key.endswith("mask_token"):
            continue
        if "cls_token" in key or "position_embeddings" in key:
            value = value.reshape(1, -1, value.shape[-1])
        weights[key] = value
    outputs = {"last_hidden_state": out.last_hidden_state}
    if "image_embeds" in out:
        outputs["embedding"] = out.image_embeds
    else:
        outputs["pooled"] = out.pooler_output
    write("vit", {**SIZE, **config}, weights, {"pixel_values": inputs}, outputs, REFERENCE, name)


# A larger, uneven picture: positions are interpolated and a remainder of a patch is cut off.
golden("vit", ViTModel(ViTConfig(**SIZE, intermediate_size=40)),
       dict(intermediate_size=40, layer_norm_eps=1e-12, pooling="pooler"), pixels(22, 16), LAYERS, interpolate=True)
golden("vit@clip", CLIPVisionModelWithProjection(CLIPVisionConfig(**SIZE, intermediate_size=40, projection_dim=10)),
       dict(intermediate_size=40, hidden_act="quick_gelu", layer_norm_eps=1e-5, patch_bias=False, pre_norm=True,
            norm_tokens=False, projection_dim=10), pixels(12, 12), CLIP)
golden("vit@dinov2", Dinov2Model(Dinov2Config(**SIZE, mlp_ratio=2)),
       dict(intermediate_size=48, layer_norm_eps=1e-6, layer_scale=1.0), pixels(16, 28), LAYERS)
golden("vit@dinov2_giant", Dinov2Model(Dinov2Config(**SIZE, mlp_ratio=2, use_swiglu_ffn=True)),
       dict(intermediate_size=32, layer_norm_eps=1e-6, layer_scale=1.0, swiglu=True), pixels(12, 12), LAYERS)
golden("vit@siglip", SiglipVisionModel(SiglipVisionConfig(**SIZE, intermediate_size=40)),
       dict(intermediate_size=40, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6, class_token=False,
            pooling="attention"), pixels(12, 12), CLIP)
