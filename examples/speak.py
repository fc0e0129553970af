"""Text to speech: a file, and pieces as they would go to a loudspeaker."""
import sys

import plait

path = sys.argv[1]
# [snippet: speak]
voice = plait.SpeechSynthesizer.from_pretrained("joe")
audio = voice("Good morning. It is 7:30, and the train leaves in 25 minutes.", speed=1.1, seed=3)
audio.save(path)
print(f"{audio.seconds:.1f} s at {audio.sample_rate} Hz")
# [end]

# [snippet: stream]
for piece in voice.stream("The first words are heard while the last ones are still being made."):
    print(f"{piece.seconds:.2f} s of sound")  # piece.samples would go to the loudspeaker
# [end]

# [snippet: phonemes]
print(voice.phonemes("Dr. Smith paid $5.25 on 2024-03-01."))
voice.speak_phonemes(["ɡˈʊd mˈɔːɹnɪŋ."])
# [end]

# [snippet: pinyin]
reader = plait.TextReader.from_pretrained("pinyin")
print(reader("银行在2024年3月1日开门。"))
# [end]
