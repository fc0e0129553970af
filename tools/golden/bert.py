"""Golden files of BERT (masked-language head; pooler) from transformers."""
import torch
import transformers
from common import randomise, write

sizes = dict(vocab_size=67, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
             max_position_embeddings=20, type_vocab_size=2)
generator = torch.Generator().manual_seed(1)
ids = torch.randint(0, 67, (2, 9), generator=generator)
types = torch.randint(0, 2, (2, 9), generator=generator)
mask = torch.ones(2, 9, dtype=torch.long)
mask[1, 6:] = 0
inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
reference = f"transformers {transformers.__version__}"

model = randomise(transformers.BertForMaskedLM(transformers.BertConfig(**sizes)))
with torch.no_grad():
    out = model(**inputs, output_hidden_states=True)
tokens = out.hidden_states[-1]
mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
weights = {k.removeprefix("bert."): v for k, v in model.state_dict().items() if "decoder" not in k}
write("bert", {**sizes, "masked_language_head": True, "normalize": True}, weights, inputs,
      {"last_hidden_state": tokens, "logits": out.logits, "pooled": torch.nn.functional.normalize(mean)}, reference)

model = randomise(transformers.BertModel(transformers.BertConfig(**sizes, hidden_act="gelu_new")), seed=2)
with torch.no_grad():
    out = model(ids, attention_mask=mask)
write("bert", {**sizes, "pooling": "pooler", "hidden_act": "gelu_new"}, model.state_dict(),
      {"input_ids": ids, "attention_mask": mask},
      {"last_hidden_state": out.last_hidden_state, "pooled": out.pooler_output}, reference, name="bert_pooler")
