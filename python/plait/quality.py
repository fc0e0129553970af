"""How far an input can be trusted, judged from itself alone: a score in [0, 1] and its parts."""
from . import _C


def assess(value, modality):
    """(score, parts) of a text, picture, sound or series; paths, bytes and arrays are accepted."""
    return _C.assess_quality(value, modality)


def text(value):
    return assess(value, "text")[0]


def image(value):
    return assess(value, "image")[0]


def audio(value):
    return assess(value, "audio")[0]


def series(value):
    return assess(value, "series")[0]


def all_streams(streams, modalities):
    """{stream: (score, parts)} for {stream: value} and {stream: modality}."""
    return {name: assess(value, modalities[name]) for name, value in streams.items()}
