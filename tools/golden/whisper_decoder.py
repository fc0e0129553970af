"""Golden files of Whisper's text decoder from transformers: scores, and greedy continuation with the encoder in front."""
import torch
import transformers
from common import FOLDER, randomise, write
from transformers.models.whisper.modeling_whisper import WhisperDecoder

t = transformers
reference = f"transformers {t.__version__}"
config = dict(vocab_size=67, d_model=16, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=24,
              max_target_positions=24)
generator = torch.Generator().manual_seed(1)
ids = torch.randint(0, 67, (2, 9), generator=generator)
states = torch.randn(2, 7, 16, generator=generator)
mask = torch.ones(2, 9, dtype=torch.long)
mask[1, 6:] = 0


def state_of(model):
    return {k: v for k, v in model.state_dict().items() if k != "proj_out.weight"}


def expected(model, **inputs):
    with torch.no_grad():
        hidden = model(use_cache=False, **inputs).last_hidden_state
    hidden = hidden * inputs["attention_mask"][..., None]
    return {"last_hidden_state": hidden, "logits": hidden @ model.embed_tokens.weight.detach().T}


model = randomise(WhisperDecoder(t.WhisperConfig(**config, pad_token_id=0)))
inputs = {"input_ids": ids, "attention_mask": mask, "encoder_hidden_states": states}
write("whisper_decoder", config, state_of(model), inputs, expected(model, **inputs), reference)

# Encoder and decoder together: what greedy decoding says about two sounds.
whole = dict(num_mel_bins=8, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24, max_source_positions=20)
model = randomise(t.WhisperForConditionalGeneration(t.WhisperConfig(**config, **whole, pad_token_id=0, bos_token_id=1, eos_token_id=66,
                                                                    decoder_start_token_id=5)), seed=12)
features = torch.randn(2, 8, 40, generator=generator)
tokens = torch.full((2, 1), 5)
with torch.no_grad():
    for _ in range(20):
        logits = model(input_features=features, decoder_input_ids=tokens, use_cache=False).logits
        tokens = torch.cat([tokens, logits[:, -1].argmax(-1, keepdim=True)], 1)
weights = {k.removeprefix("model."): v for k, v in model.state_dict().items() if k != "proj_out.weight"}
assert min(len(row.unique()) for row in tokens) > 3 and not torch.equal(tokens[0], tokens[1]), tokens
FOLDER.joinpath("speech").mkdir(exist_ok=True)
write("whisper", {"encoder": {"d_model": 16, **whole}, "decoder": config}, weights, {"input_features": features},
      {"tokens": tokens, "logits": logits}, reference, name="speech/whisper_greedy")
