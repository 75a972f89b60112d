"""The MUSIQ auto-scale node, with seeded random weights in a temporary models/musiq."""

import json
import math

import pytest
import torch
from metric_weights import musiq_file

pytest.importorskip("pyiqa")
pytestmark = pytest.mark.usefixtures("no_network", "one_thread")


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Random MUSIQ weights in a models folder."""
    return musiq_file(tmp_path_factory.mktemp("models") / "musiq")


@pytest.fixture
def run(node, weights, monkeypatch):
    monkeypatch.setattr("folder_paths.models_dir", str(weights.parents[1]))

    def run(image, alpha=9.5, beta=10.0, low=0.0, high=2.0, **preset):
        inputs = {"image": image, "alpha": alpha, "beta": beta, "min": low, "max": high}
        return node("AutoScale").execute(**inputs, **preset).result

    return run


@pytest.fixture
def brightness(ours, monkeypatch):
    """Scores are quickly found: the brightness in percent."""
    module = ours("nodes.portrait.auto_scale")
    score = lambda model, images, *_: [100 * float(image.mean()) for image in images]  # noqa: E731
    monkeypatch.setattr(module, "musiq_scores", score)


def photos(batch=2, channels=3):
    return torch.rand(batch, 64, 80, channels, generator=torch.Generator().manual_seed(0))


def test_the_value_is_the_papers(run, ours, weights):
    scales, first, _ = run(photos(1), high=10.0)
    core = ours("restorerid_core.quality.musiq")
    (score,) = core.musiq_scores(core.load_musiq(weights), photos(1).movedim(-1, 1))
    assert isinstance(scales, tuple)
    assert scales == pytest.approx([math.exp((9.5 - score) / 10)], rel=1e-4)
    assert first == scales[0]


def test_limits(run, brightness):
    scales, first, text = run(torch.stack([photos(1)[0] * 0, photos(1)[0]]), low=0.1, high=0.3)
    assert scales == (0.3, 0.1)
    assert first == 0.3
    assert text.count("limited") == 2
    assert [line.split(":")[0] for line in text.splitlines()] == ["image 1", "image 2"]


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_rgba(run, brightness, channels):
    image = photos(1, channels)
    image[..., 3:] = 1  # opaque
    assert run(image) == run(image[..., :3].expand(-1, -1, -1, 3))


def test_a_large_photo_is_scored_at_working_size(run, brightness, ours, monkeypatch):
    core = ours("restorerid_core.quality.musiq")
    assert core.scored_size(photos().movedim(-1, 1)).shape[2:] == (64, 80)
    monkeypatch.setattr(core, "SCORED_SIDE", 48)
    small = core.scored_size(photos().movedim(-1, 1))
    assert small.shape[2:] == (48, 60)
    assert run(photos(), high=10.0)[0] == run(small.movedim(1, -1), high=10.0)[0]


def test_result_is_the_same_outside_of_inference_mode(run):
    expected = run(photos(1))
    with torch.inference_mode(False):
        assert run(photos(1)) == expected


def test_progress_and_interruption(run, monkeypatch):
    import comfy.model_management as management

    seen = []
    hook = "comfy.utils.PROGRESS_BAR_HOOK"
    monkeypatch.setattr(hook, lambda *args, **kwargs: seen.append(args[:2]))
    run(photos())
    assert seen == [(1, 2), (2, 2)]
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        run(photos())
    assert seen[2:] == []  # heard inside of the first image
    management.interrupt_current_processing(False)


def test_folders_registered_as_musiq_are_searched(ours, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    weight_folders, own = ours("nodes.host.folders").weight_folders, tmp_path / "models" / "musiq"
    assert weight_folders("musiq") == [own]
    for path in (tmp_path / "shared", own):
        folder_paths.add_model_folder_path("musiq", str(path))
    assert weight_folders("musiq") == [own, tmp_path / "shared"]


def test_a_preset_replaces_alpha_and_beta(run, brightness, node, error, tmp_path, monkeypatch):
    folders = [tmp_path / "own", tmp_path / "shared"]
    for folder, alpha in zip(folders, (20, 99), strict=True):
        folder.mkdir()
        text = json.dumps({"format": "restorerid-id-scale", "alpha": alpha, "beta": 5})
        (folder / "mine.json").write_text(text)
    (folders[1] / "other.json").write_text("{}")
    registered = {"restorerid": (list(map(str, folders)), set())}
    monkeypatch.setattr("folder_paths.folder_names_and_paths", registered)
    preset = node("AutoScale").INPUT_TYPES()["optional"]["preset"][1]
    none, *files = preset["options"]
    assert none == preset["default"] and sorted(files) == ["mine.json", "other.json"]
    chosen = run(photos(1), 1.0, 1.0, high=10.0, preset="mine.json")
    assert chosen == run(photos(1), alpha=20, beta=5, high=10.0)
    for name, words in {
        "gone.json": "there is no preset 'gone.json'",
        "other.json": r"other\.json' cannot be used as a preset",
    }.items():
        with pytest.raises(error, match=words):
            run(photos(1), preset=name)


def test_missing_weights_are_told(run, node, error, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("folder_paths.models_dir", str(tmp_path))
    with pytest.raises(error, match=r"e95806b9\.pth are in none of .*core fetch`"):
        run(photos())
    assert "core fetch`" in node("AutoScale").validate_inputs(min=0.0, max=0.0)


def test_limits_that_exclude_each_other(run, node, error):
    with pytest.raises(error, match=r"`min` is 1 and `max` is 0\.5; expected min"):
        run(photos(1), low=1.0, high=0.5)
    validate = node("AutoScale").validate_inputs
    assert validate(min=0.0, max=0.0) is True
    assert validate(min=None, max=0.5) is True  # linked
    for low, high in ((1.0, 0.5), (-1.0, 0.5)):
        assert "expected 0 <= min <= max" in validate(min=low, max=high)
