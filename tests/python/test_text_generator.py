"""Language models through the Python package: SmolLM2-135M-Instruct's real weights against transformers, and small models of
every option on top of a tokenizer of bytes."""
import json
import threading

import pytest
import torch

import packages
import plait
from text_reference import smollm2_reference

PROMPTS = ["The capital of France is", "Once upon a time", "1, 2, 3, 4,", "def fibonacci(n):\n", "Water boils at", "The three primary colors are",
           "In 1969, humans", "To make bread, you need", "Dear Sir or Madam,", "The opposite of hot is", "A list of fruits:\n-", "Q: What is 2+2?\nA:",
           "The sun rises in the", "import numpy as np\n", "Roses are red,", "The mitochondria is", "My favorite book is", "Breaking news:",
           "Photosynthesis is the process", "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"]


@pytest.fixture(scope="module")
def smollm2():
    return plait.TextGenerator.from_pretrained("smollm2")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return smollm2_reference(tmp_path_factory.mktemp("smollm2"))


def compare(smollm2, reference, prompts, tokens):
    """Greedy continuations: each of our tokens is the reference's best after the same text, or the gap is below 1e-3."""
    equal = 0
    for prompt in prompts:
        ids = smollm2.encode(prompt)
        made = smollm2.generate(prompt, max_new_tokens=tokens, ignore_eos=True)
        ours = [token["id"] for token in made.tokens]
        assert len(ours) == tokens
        with torch.no_grad():
            logits = reference(torch.tensor([ids + ours])).logits[0, len(ids) - 1:-1]
        best = logits.argmax(-1).tolist()
        own = logits.log_softmax(-1)
        for i, (token, expected) in enumerate(zip(ours, best)):
            if token != expected:
                assert logits[i, expected] - logits[i, token] < 1e-3, (prompt, i)
                break
            assert own[i, token].item() == pytest.approx(made.tokens[i]["logprob"], abs=1e-3)
        else:
            equal += 1
    return equal


def test_smollm2_continues_as_transformers(smollm2, reference):
    assert compare(smollm2, reference, PROMPTS[:3], 24) >= 2


@pytest.mark.slow
def test_smollm2_continues_as_transformers_at_length(smollm2, reference):
    assert compare(smollm2, reference, PROMPTS, 64) >= 18


def test_streaming(smollm2):
    whole = smollm2.generate(PROMPTS[1], max_new_tokens=12)
    pieces = list(smollm2.stream(PROMPTS[1], max_new_tokens=12))
    assert len(pieces) > 3 and "".join(pieces) == whole.text == str(whole)
    assert whole.finish in ("length", "stop") and whole.prompt_tokens == len(smollm2.encode(PROMPTS[1]))
    ours = [token["id"] for token in whole.tokens]
    assert smollm2.decode(ours) == whole.text
    stopped = smollm2.generate(PROMPTS[1], max_new_tokens=12, stop=[pieces[2].strip()])
    assert stopped.finish == "stop" and pieces[2].strip() not in stopped.text and whole.text.startswith(stopped.text)
    # Leaving the loop ends the work.
    for _ in smollm2.stream(PROMPTS[1], max_new_tokens=2000, ignore_eos=True):
        break
    assert threading.active_count() < 20
    seen = []
    made = smollm2.generate(PROMPTS[1], lambda piece: seen.append(piece) or len(seen) < 3, max_new_tokens=50)
    assert made.finish == "cancelled" and len(seen) == 3
    with pytest.raises(ZeroDivisionError):
        smollm2.generate(PROMPTS[1], lambda piece: 1 / 0, max_new_tokens=5)
    with pytest.raises(ValueError, match="no_such_option"):
        list(smollm2.stream(PROMPTS[1], no_such_option=1))


def test_chat(smollm2):
    prompt = smollm2.apply_chat_template([{"role": "user", "content": "Hi"}])
    assert smollm2.has_chat_template and prompt.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert prompt.startswith("<|im_start|>system\n")
    answer = smollm2.chat("What is the capital of France?", max_new_tokens=24)
    assert "Paris" in answer.text and "<|" not in answer.text
    assert "".join(smollm2.stream("What is the capital of France?", chat=True, max_new_tokens=24)) == answer.text
    with pytest.raises(ValueError):
        smollm2.chat([])


def test_json_schema(smollm2):
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 30}, "country": {"enum": ["France", "Spain"]},
                                               "capital": {"type": "boolean"}}, "required": ["city", "country", "capital"]}
    answer = smollm2.chat("Where is the Eiffel tower? Answer in JSON.", max_new_tokens=80, json_schema=schema)
    value = json.loads(answer.text)
    assert answer.finish == "stop" and set(value) == {"city", "country", "capital"} and value["country"] in ("France", "Spain")
    yes = smollm2.generate("Is the sky blue? ", max_new_tokens=8, grammar='root ::= "yes" | "no"')
    assert yes.text in ("yes", "no") and yes.finish == "stop"
    with pytest.raises(ValueError, match="pattern"):
        smollm2.generate("x", json_schema={"type": "string", "pattern": "(?=a)"})


def test_options_and_sequences(smollm2):
    several = smollm2.generate(PROMPTS[1], max_new_tokens=6, temperature=1.0, top_k=50, num_return_sequences=2, seed=3, logprobs=2)
    again = smollm2.generate(PROMPTS[1], max_new_tokens=6, temperature=1.0, top_k=50, num_return_sequences=2, seed=3)
    assert several.text == again.text and several.others[0]["text"] == again.others[0]["text"] != several.text
    assert all(len(token["top"]) == 2 for token in several.tokens)
    beams = smollm2.generate(PROMPTS[1], max_new_tokens=6, num_beams=3, num_return_sequences=3)
    assert len(beams.others) == 2 and beams.score >= beams.others[0]["score"]
    names = [option["name"] for option in plait.TextGenerator.options()]
    assert {"max_new_tokens", "temperature", "top_p", "seed", "stop"} <= set(names)
    with pytest.raises(FileNotFoundError):
        plait.TextGenerator.from_pretrained("no-such-model")
    with pytest.raises(ValueError):
        smollm2.generate("", max_new_tokens=4)
