#!/usr/bin/env python3
"""Trains the tokenizer of the shipped model (WordPiece, 8,000 pieces, Chinese and English) on the texts of the
"everyday" data set, given as its manifest.jsonl. Writes recipes/plait-base/tokenizer.json."""
import json
import pathlib
import sys

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
texts = [json.loads(line)["texts"]["text"] for line in open(sys.argv[1], encoding="utf-8")]
tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.decoder = decoders.WordPiece()
tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(
    vocab_size=8000, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
path = ROOT / "recipes" / "plait-base" / "tokenizer.json"
tokenizer.save(str(path), pretty=False)
print(f"{path.relative_to(ROOT)}: {tokenizer.get_vocab_size()} pieces from {len(texts)} texts")
