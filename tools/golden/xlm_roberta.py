"""Golden file of XLM-RoBERTa from transformers."""
import torch
import transformers
from common import randomise, write

sizes = dict(vocab_size=67, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
             max_position_embeddings=20, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
model = randomise(transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**sizes), add_pooling_layer=False))
ids = torch.randint(2, 67, (2, 9), generator=torch.Generator().manual_seed(1))
ids[1, 6:] = 1
mask = (ids != 1).long()
with torch.no_grad():
    tokens = model(ids, attention_mask=mask).last_hidden_state
write("xlm_roberta", {**sizes, "pooling": "cls"}, model.state_dict(), {"input_ids": ids, "attention_mask": mask},
      {"last_hidden_state": tokens, "pooled": tokens[:, 0]}, f"transformers {transformers.__version__}")
