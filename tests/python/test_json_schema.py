"""Texts held to a JSON schema, drawn from a model of bytes with random weights: every one that came to its end is what the
jsonschema package accepts."""
import json

import pytest

import plait
from jsonschema import Draft202012Validator

TREE = {"$ref": "#/$defs/node", "$defs": {
    "name": {"type": "string", "pattern": "^[a-z]{1,4}$"},
    "node": {"type": "object", "properties": {"name": {"$ref": "#/$defs/name"}, "size": {"type": "integer", "minimum": 1, "maximum": 40},
                                              "parts": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 1}},
             "required": ["name", "parts"], "additionalProperties": False}}}
SCHEMAS = {
    "year": {"type": "integer", "minimum": 1987, "maximum": 2031},
    "signed": {"type": "integer", "minimum": -128, "exclusiveMaximum": 127.5},
    "positive": {"type": "integer", "exclusiveMinimum": 0},
    "fraction": {"type": "integer", "minimum": -3.5, "exclusiveMaximum": 12},
    "numbers": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}, "minItems": 3, "maxItems": 4},
    "either": {"type": ["integer", "null"], "minimum": 10, "maximum": 12},
    "plate": {"type": "string", "pattern": "^[A-Z]{1,3}-[A-Z]{1,2} [1-9]\\d{0,3}[EH]?$"},
    "date": {"type": "string", "pattern": "^(19|20)\\d\\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])$"},
    "mail": {"type": "string", "pattern": "^\\w{1,8}(\\.\\w{1,5})?@[a-z0-9-]{2,6}\\.(com|org|de)$"},
    "quotes": {"type": "string", "pattern": "^[\"\\\\\\t]{2}[^\"\\\\\\x00-\\x1f]{3}\\S\\D.$"},
    "ends": {"type": "string", "pattern": "^x{2,4}$|^[\\u4e00-\\u4fff]{2}$"},
    "tree": TREE,
    "list": {"type": "object", "properties": {
        "value": {"type": "integer", "minimum": -9, "maximum": 9}, "next": {"oneOf": [{"type": "null"}, {"$ref": "#"}]}},
        "required": ["value", "next"], "additionalProperties": False},
}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    import tokenizers
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("bytes")
    symbols = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({s: i for i, s in enumerate(symbols)}, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=257, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                      max_position_embeddings=1024, bos_token_id=None, eos_token_id=256)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return plait.TextGenerator.from_pretrained(str(folder))


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_written_is_valid(generator, name):
    schema = SCHEMAS[name]
    validator, seen = Draft202012Validator(schema), set()
    for seed in range(25):
        made = generator.generate("a", json_schema=schema, max_new_tokens=400, temperature=3.0, seed=seed)
        if made.finish != "stop":
            continue
        value = json.loads(made.text)
        errors = [error.message for error in validator.iter_errors(value)]
        assert not errors, (made.text, errors)
        seen.add(made.text)
    assert len(seen) >= (3 if name == "either" else 8), seen


@pytest.mark.parametrize("schema, key", [
    ({"type": "number", "maximum": 3}, "maximum"), ({"$ref": "#/$defs/none"}, "no #/"), ({"type": "string", "pattern": "(?!a)b"}, "pattern"),
    ({"type": "integer", "minimum": 4, "maximum": 3}, "range"), ({"type": "string", "pattern": "a", "maxLength": 3}, "length")])
def test_what_cannot_be_held_is_said(generator, schema, key):
    with pytest.raises(ValueError, match=key):
        generator.generate("a", json_schema=schema)
