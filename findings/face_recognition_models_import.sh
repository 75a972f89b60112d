#!/usr/bin/env bash
# face-recognition-models 0.3.0 (dlib's CC0 face networks) installs beside setuptools 82 or newer, but
# cannot be imported there: its code asks for pkg_resources, which setuptools has no more, and it does
# not name setuptools as a requirement either, so a fresh environment has none at all. Its files are
# whole: found by the package's place, they are read without importing it.
# Seen: ModuleNotFoundError for pkg_resources with setuptools 82.0.0 and without setuptools; the
# recogniser's file of 22,466,066 bytes is there.
# Exit status: 0 as described, 1 this has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet face-recognition-models==0.3.0 setuptools==82.0.0
probe='
import importlib.util, pathlib
try:
    import face_recognition_models
    print("imported")
except ModuleNotFoundError as error:
    print("import:", error.name)
place = importlib.util.find_spec("face_recognition_models").submodule_search_locations[0]
file = pathlib.Path(place, "models", "dlib_face_recognition_resnet_model_v1.dat")
print("file:", file.stat().st_size)
'
with=$("$python" -c "$probe")
"$python" -m pip uninstall --quiet --yes setuptools
without=$("$python" -c "$probe")
printf 'with setuptools 82.0.0:\n%s\nwithout setuptools:\n%s\n' "$with" "$without"
expected=$'import: pkg_resources\nfile: 22466066'
[ "$with" = "$expected" ] && [ "$without" = "$expected" ]
