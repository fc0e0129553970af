"""Golden file of FT-Transformer from rtdl_revisiting_models; a missing field is one whose token the backbone never sees."""
import torch
from common import randomise, write
from rtdl_revisiting_models import FTTransformer

config = dict(numeric_fields=3, cardinalities=[4, 5], hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
              intermediate_size=24)
model = randomise(FTTransformer(n_cont_features=3, cat_cardinalities=[4, 5], d_out=None, n_blocks=2, d_block=16,
                                attention_n_heads=2, attention_dropout=0.0, ffn_d_hidden=24,
                                ffn_d_hidden_multiplier=None, ffn_dropout=0.0, residual_dropout=0.0))
numeric = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
categorical = torch.tensor([[1, 4], [3, 0], [0, 2]])
numeric_mask = torch.tensor([[1, 1, 1], [0, 1, 0], [1, 1, 1]])
categorical_mask = torch.tensor([[1, 1], [1, 0], [1, 1]])
keep = torch.cat([torch.ones(3, 1), numeric_mask, categorical_mask], 1).bool()
with torch.no_grad():
    tokens = torch.cat([model.cls_embedding((3,)), model.cont_embeddings(numeric), model.cat_embeddings(categorical)], 1)
    pooled = torch.cat([model.backbone(tokens[i : i + 1, keep[i]]) for i in range(3)])
    assert torch.allclose(model(numeric, categorical)[[0, 2]], pooled[[0, 2]], atol=1e-6)
write("ft_transformer", config, model.state_dict(),
      {"numeric": numeric, "categorical": categorical, "numeric_mask": numeric_mask, "categorical_mask": categorical_mask},
      {"pooled": pooled, "mask": keep}, "rtdl_revisiting_models 0.0.2")
