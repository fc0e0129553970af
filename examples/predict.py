"""Answers from whatever is there: any of a text, a picture and a sound.

python examples/predict.py [IMAGE] [SOUND]
"""
import sys

import plait

files = dict(zip(("image", "audio"), sys.argv[1:]))

# [snippet: predict]
model = plait.MultimodalModel()  # the shipped model
answer = model.predict(text="a red apple on a tree", **files)  # files: {"image": "apple.png", ...}, or nothing
print(answer["class"], f"{answer.confidence:.0%}", "or one of", answer.prediction_set)
for stream, weight in answer.modality_weights.items():
    print(f"  {stream}: weight {weight:.2f}, quality {answer.quality.get(stream, 0):.2f}")
print("missing:", answer.missing)

# Any labels, given now:
print(model.predict(text="a small dog", labels=["a dog", "a cat", "a car"])["class"])
# [end]
