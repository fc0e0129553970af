"""A language model that continues, chats token by token, and answers in JSON of a given shape."""
import json

import plait

# [snippet: generate]
model = plait.TextGenerator.from_pretrained("smollm2")  # or a folder in the Hugging Face layout, or a .gguf file
print(model.generate("The capital of France is", max_new_tokens=8).text)

for piece in model.stream("Name three colours.", chat=True, max_new_tokens=24):
    print(piece, end="", flush=True)
print()
# [end]

# [snippet: schema]
city = {"type": "object", "properties": {"name": {"type": "string"}, "capital": {"type": "boolean"}}, "required": ["name", "capital"]}
answer = model.chat("Name a city.", json_schema=city, max_new_tokens=48)
print(json.loads(answer.text))
# [end]
