"""Describe a picture and ask about it, with a folder of LLaVA's type or one that `plait train-captioner` wrote:

    python examples/describe_picture.py MODEL_FOLDER picture.jpg "What colour is it?"
"""
import sys

import plait

if len(sys.argv) < 3:
    raise SystemExit(__doc__)
# [snippet: describe]
captioner = plait.Captioner.from_pretrained(sys.argv[1])
print(captioner.caption(sys.argv[2], max_new_tokens=40))
for question in sys.argv[3:]:
    print(question, captioner.ask(sys.argv[2], question, max_new_tokens=20))
# [end]
