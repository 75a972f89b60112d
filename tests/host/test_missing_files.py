"""What is missing is told by ComfyUI before the queue starts, with `fetch` as the remedy."""

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("name", "images", "missing"),
    [
        ("AutoScale", ["image"], "musiq_koniq_ckpt"),
        ("FaceCrop", ["photo"], "face model pack"),
        ("FaceSimilarity", ["image", "reference"], "face model pack"),
    ],
)
def test_missing_files_are_told_before_the_queue_starts(
    node, prompts, tmp_path, monkeypatch, name, images, missing
):
    import folder_paths

    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    for kind in ("musiq", "insightface"):
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(tmp_path)], set()))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    empty = prompts.add(
        import_module("nodes").EmptyImage, width=64, height=64, batch_size=1, color=0
    )
    puts = (put for group in node(name).INPUT_TYPES().values() for put in group.items())
    defaults = {key: put[1]["default"] for key, put in puts if "default" in (*put, {})[1]}
    links = {image: [empty, 0] for image in images}
    told = prompts.validate(prompts.add(node(name), **defaults, **links))
    assert missing in told
    assert "run `python -m restorerid_core fetch`" in told.replace("Run", "run")
    assert "GB" in told


def test_a_linked_choice_is_no_error(ours):
    assert ours("nodes.host.face_models").validate_face_models(None) is True
