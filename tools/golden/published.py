"""Folders as transformers writes them, one per family, with inputs and expected outputs: tests/golden/published/<name>/
config.json, model.safetensors (save_pretrained) and expected.safetensors ("inputs.*", "outputs.*")."""
import shutil

import torch
import transformers
from common import FOLDER, randomise
from safetensors.torch import load_file, save_file

generator = torch.Generator().manual_seed(1)
text = dict(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
            max_position_embeddings=16)
vision = dict(image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
ids = torch.tensor([[3, 5, 7, 9, 2], [3, 8, 2, 1, 1]])
mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
pixels = torch.randn(1, 3, 8, 8, generator=generator)
samples = torch.randn(1, 200, generator=generator)
mels = torch.randn(1, 8, 32, generator=generator)


def folder(name, model, inputs, outputs, dtype=torch.float32):
    """`outputs` computes named outputs; they are of the weights as stored."""
    path = FOLDER / "published" / name
    shutil.rmtree(path, ignore_errors=True)
    randomise(model).to(dtype).save_pretrained(path)
    model = model.float()
    (path / "generation_config.json").unlink(missing_ok=True)
    with torch.no_grad():
        expected = outputs(model)
    tensors = {f"inputs.{k}": v for k, v in inputs.items()} | {f"outputs.{k}": v.clone(memory_format=torch.contiguous_format) for k, v in expected.items()}
    save_file(tensors, path / "expected.safetensors", metadata={"reference": f"transformers {transformers.__version__}"})
    print(name, sum(file.stat().st_size for file in path.iterdir()) // 1024, "KiB")


def tokens(get=lambda model: model):
    return lambda m: {"last_hidden_state": get(m)(input_ids=ids, attention_mask=mask).last_hidden_state}


def picture(get=lambda model: model):
    def run(model):
        out = get(model)(pixels)
        tokens = out.last_hidden_state
        if tokens.dim() == 4:
            tokens = tokens.flatten(2).transpose(1, 2)
        pooled = {} if out.pooler_output is None else {"pooled": out.pooler_output.flatten(1)}
        return {"last_hidden_state": tokens} | pooled
    return run


texts = {"input_ids": ids, "attention_mask": mask}
pictures = {"pixel_values": pixels}
t = transformers
folder("bert", t.BertForMaskedLM(t.BertConfig(**text)), texts, tokens(lambda m: m.bert))
folder("bert_half", t.BertModel(t.BertConfig(**text)), texts, tokens(), dtype=torch.float16)
folder("xlm_roberta", t.XLMRobertaForMaskedLM(t.XLMRobertaConfig(**text)), texts, tokens(lambda m: m.roberta))
folder("resnet", t.ResNetForImageClassification(t.ResNetConfig(embedding_size=4, hidden_sizes=[8], depths=[1])),
       pictures, lambda m: picture(lambda m: m.resnet)(m) | {"logits": m(pixels).logits})
folder("vit", t.ViTForImageClassification(t.ViTConfig(**vision, intermediate_size=12)), pictures,
       lambda m: {"last_hidden_state": m.vit(pixels).last_hidden_state})
folder("vit_pooler", t.ViTModel(t.ViTConfig(**vision, intermediate_size=12)), pictures, picture())
folder("dinov2", t.Dinov2Model(t.Dinov2Config(**vision, mlp_ratio=2)), pictures, picture())
folder("dinov2_gated", t.Dinov2Model(t.Dinov2Config(**vision, mlp_ratio=2, use_swiglu_ffn=True)), pictures, picture())
folder("clip", t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=dict(vision, intermediate_size=12), projection_dim=6)),
       pictures, lambda m: {"embedding": m.get_image_features(pixels, return_dict=True).pooler_output})
folder("clip_text", t.CLIPTextModel(t.CLIPTextConfig(**text, eos_token_id=2)), texts, tokens())
folder("siglip", t.SiglipVisionModel(t.SiglipVisionConfig(**vision, intermediate_size=12)), pictures, picture())
folder("swinv2", t.Swinv2Model(t.Swinv2Config(image_size=8, patch_size=2, embed_dim=4, depths=[2], num_heads=[2],
                                              window_size=2, pretrained_window_sizes=[0])), pictures, picture())
folder("wav2vec2", t.Wav2Vec2ForCTC(t.Wav2Vec2Config(
    vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, conv_dim=[4, 8],
    conv_stride=[5, 2], conv_kernel=[10, 3], num_feat_extract_layers=2, num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2, apply_spec_augment=False)), {"input_values": samples},
    lambda m: {"last_hidden_state": m.wav2vec2(samples).last_hidden_state})
folder("whisper", t.WhisperForConditionalGeneration(t.WhisperConfig(
    vocab_size=20, num_mel_bins=8, d_model=8, encoder_layers=1, encoder_attention_heads=2, decoder_layers=1,
    decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12, max_source_positions=16, max_target_positions=8,
    pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3)), {"input_features": mels},
    lambda m: {"last_hidden_state": m.model.encoder(mels).last_hidden_state})
clip = torch.randn(1, 4, 3, 8, 8, generator=generator)
folder("videomae", t.VideoMAEForVideoClassification(t.VideoMAEConfig(**vision, num_frames=4, intermediate_size=12, num_labels=3)),
       {"pixel_values": clip}, lambda m: {"last_hidden_state": m.videomae(clip).last_hidden_state, "logits": m(clip).logits})
