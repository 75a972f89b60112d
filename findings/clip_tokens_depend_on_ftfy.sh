#!/usr/bin/env bash
# transformers 4.57.1, CLIPTokenizer (the tokenizer through which SD-1.5's prompts go): the same prompt
# gives other tokens once the package ftfy is installed, which other packages bring (openai-clip,
# open_clip_torch). With it the tokenizer rewrites typographic quotes, ligatures and full-width letters;
# without it, it leaves them. So a picture of the same seed can change when something unrelated is
# installed. Nothing is said at the usual log level.
# Seen: tokens of "a woman’s face", "ﬁne hair" and "ＨＤ photo" differ, those of "a woman's face" do not.
# Exit status: 0 as described, 1 this has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet transformers==4.57.1
cat > "$folder/tokens.py" <<'PYTHON'
import json
import pathlib
import sys

from transformers import CLIPTokenizer
from transformers.models.clip.tokenization_clip import bytes_to_unicode

# A vocabulary of single bytes, without merges: every letter is a token of its own.
letters = [*bytes_to_unicode().values()]
names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
folder = pathlib.Path(sys.argv[1])
(folder / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
(folder / "merges.txt").write_text("#version: 0.2\n\n")
tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
for prompt in ("a woman's face", "a woman\u2019s face", "\ufb01ne hair", "\uff28\uff24 photo"):
    print(prompt.encode("unicode_escape").decode(), tokenizer(prompt)["input_ids"])
PYTHON
before=$("$python" "$folder/tokens.py" "$folder" 2>/dev/null)
"$python" -m pip install --quiet ftfy==6.3.1
after=$("$python" "$folder/tokens.py" "$folder" 2>/dev/null)
printf 'without ftfy:\n%s\nwith ftfy 6.3.1:\n%s\n' "$before" "$after"
same=$(comm -12 <(sort <<< "$before") <(sort <<< "$after"))
[ "$(wc -l <<< "$same")" = 1 ] && [[ "$same" == "a woman's face"* ]]
