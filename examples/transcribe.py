"""Speech to text: a file with the times of its words, and the same sound as it would come from a microphone."""
import sys

import plait

path = sys.argv[1]
# [snippet: transcribe]
recognizer = plait.SpeechRecognizer.from_pretrained("whisper-tiny.en")
transcript = recognizer.transcribe(path, words=True)
print(transcript.language, transcript.text)
for segment in transcript.segments:
    for word in segment["words"]:
        print(f"{word['start']:6.2f} {word['end']:6.2f} {word['word']}")
# [end]

# [snippet: stream]
samples, rate = plait.load_audio(path, 16000)
stream = recognizer.stream()
for chunk in samples.split(4000):  # a quarter of a second
    for update in stream.accept(chunk):
        print("final:", update["text"], "so far:", update["tentative"])
stream.finish()
print("heard:", stream.text)
# [end]
