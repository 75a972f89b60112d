"""The MUSIQ auto-scale node, with seeded random weights in a temporary models/musiq."""

import importlib
import json
import math

import pytest
import torch

pytestmark = pytest.mark.usefixtures("no_network", "one_thread")


@pytest.fixture(scope="module")
def auto_scale(extension):
    return importlib.import_module(".nodes.portrait.auto_scale", extension.__name__)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory, extension):
    """A models folder that holds random MUSIQ weights."""
    musiq = pytest.importorskip("pyiqa.archs.musiq_arch")
    core = importlib.import_module(".restorerid_core.quality.musiq", extension.__name__)
    models = tmp_path_factory.mktemp("models")
    (models / "musiq").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(musiq.MUSIQ(pretrained=False).state_dict(), models / "musiq" / core.WEIGHTS)
    return models


@pytest.fixture
def node(auto_scale, models_dir, monkeypatch):
    monkeypatch.setattr("folder_paths.models_dir", str(models_dir))
    return auto_scale.RestorerIDAutoScale


def photos(batch: int = 2, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, 64, 80, channels, generator=torch.Generator().manual_seed(0))


def run(node, image, alpha=9.5, beta=10.0, low=0.0, high=2.0):
    return node.execute(image=image, alpha=alpha, beta=beta, min=low, max=high).result


def test_schema(auto_scale):
    info = auto_scale.RestorerIDAutoScale.GET_NODE_INFO_V1()
    assert info["name"] == "RestorerIDAutoScale"
    assert info["category"] == "RestorerID"
    assert info["output"] == ["RESTORERID_SCALE", "FLOAT", "STRING"]
    assert list(info["input"]["optional"]) == ["preset"]
    assert info["input"]["optional"]["preset"][1]["default"] == auto_scale.AS_ABOVE
    inputs = info["input"]["required"]
    defaults = {name: options.get("default") for name, (_, options) in inputs.items()}
    assert defaults == {"image": None, "alpha": 9.5, "beta": 10.0, "min": 0.0, "max": 2.0}
    assert all(options["tooltip"] for _, options in inputs.values())


def test_a_value_per_image(node, auto_scale, models_dir):
    core = importlib.import_module(auto_scale.load_musiq.__module__)
    scales, first, text = run(node, photos(), high=10.0)
    model = core.load_musiq(models_dir / "musiq" / core.WEIGHTS)
    scores = core.musiq_scores(model, photos().movedim(-1, 1))
    assert isinstance(scales, tuple)
    assert scales == pytest.approx([math.exp((9.5 - score) / 10) for score in scores], rel=1e-4)
    assert first == scales[0]
    assert [line.split(":")[0] for line in text.splitlines()] == ["image 1", "image 2"]


def test_limits(node):
    scales, first, text = run(node, photos(2), low=0.1, high=0.3)  # random weights score near 0
    assert scales == (0.3, 0.3)
    assert first == 0.3
    assert text.count("limited") == 2


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_rgba(node, channels):
    image = photos(1, channels)
    image[..., 3:] = 1  # opaque
    rgb = image[..., :3] if channels == 4 else image.expand(-1, -1, -1, 3)
    assert run(node, image) == run(node, rgb)


def test_a_large_photo_is_scored_at_working_size(node, auto_scale, monkeypatch):
    small = auto_scale.scored_size(photos().movedim(-1, 1))
    assert small.shape[2:] == (64, 80)
    musiq = importlib.import_module(auto_scale.scored_size.__module__)
    monkeypatch.setattr(musiq, "SCORED_SIDE", 48)
    small = auto_scale.scored_size(photos().movedim(-1, 1))
    assert small.shape[2:] == (48, 60)
    scored = run(node, photos(), high=10.0)[0]
    assert scored == run(node, small.movedim(1, -1), high=10.0)[0]


def test_result_is_the_same_in_inference_mode(node):
    expected = run(node, photos())
    with torch.inference_mode():
        assert run(node, photos()) == expected


def test_progress_and_interruption(node):
    import comfy.model_management
    import comfy.utils

    seen = []
    previous = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(lambda *args, **kwargs: seen.append(args[:2]))
    try:
        run(node, photos())
        assert seen == [(1, 2), (2, 2)]
        comfy.model_management.interrupt_current_processing(True)
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run(node, photos())
        assert seen[2:] == []  # heard inside of the first image
    finally:
        comfy.model_management.interrupt_current_processing(False)
        comfy.utils.set_progress_bar_global_hook(previous)


def test_folders_registered_as_musiq_are_searched(auto_scale, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    own = tmp_path / "models" / "musiq"
    assert auto_scale.weight_folders("musiq") == [own]
    folder_paths.add_model_folder_path("musiq", str(tmp_path / "shared"))
    folder_paths.add_model_folder_path("musiq", str(tmp_path / "models" / "musiq"))
    assert auto_scale.weight_folders("musiq") == [own, tmp_path / "shared"]


def test_a_preset_replaces_alpha_and_beta(node, auto_scale, error, tmp_path, monkeypatch):
    import folder_paths

    folders = [tmp_path / "own", tmp_path / "shared"]
    for folder, alpha in zip(folders, (20, 99), strict=True):
        folder.mkdir()
        text = json.dumps({"format": "restorerid-id-scale", "alpha": alpha, "beta": 5})
        (folder / "mine.json").write_text(text)
    (folders[1] / "other.json").write_text("{}")
    registered = {"restorerid": (list(map(str, folders)), set())}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", registered)
    options = node.GET_NODE_INFO_V1()["input"]["optional"]["preset"][1]["options"]
    assert sorted(options[1:]) == ["mine.json", "other.json"]
    settings = {"image": photos(1), "min": 0.0, "max": 10.0}
    chosen = node.execute(**settings, alpha=1.0, beta=1.0, preset="mine.json").result
    assert chosen == run(node, photos(1), alpha=20, beta=5, high=10.0)
    for name, message in (
        ("gone.json", "there is no preset 'gone.json'"),
        ("other.json", r"other\.json' cannot be used as a preset"),
    ):
        with pytest.raises(error, match=message):
            node.execute(**settings, alpha=1.0, beta=1.0, preset=name)


def test_missing_weights_are_told(node, error, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("folder_paths.models_dir", str(tmp_path))
    with pytest.raises(error, match=r"e95806b9\.pth are in none of .*core fetch`"):
        run(node, photos())
    assert "core fetch`" in node.validate_inputs(min=0.0, max=0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 0.0}, "`beta` is 0.0; expected a number from 0.1"),
        ({"alpha": "high"}, "`alpha` is 'high'; expected a number"),
        ({"low": float("nan")}, "`min` is nan; expected a number"),
        ({"low": 1.0, "high": 0.5}, "`min` is 1 and `max` is 0.5; expected min"),
    ],
)
def test_linked_settings_are_checked_before_the_work(node, error, monkeypatch, settings, message):
    monkeypatch.setattr("folder_paths.models_dir", "no such folder")
    with pytest.raises(error, match=message):
        run(node, photos(), **settings)


def test_a_bad_image_is_named(node, error):
    with pytest.raises(error, match="`image` has NaN or infinite values in 1 of 1 images"):
        run(node, photos(1) * float("nan"))


def test_validate_inputs(node):
    validate = node.validate_inputs
    assert validate(min=0.0, max=0.0) is True
    assert validate(min=None, max=0.5) is True  # linked
    assert "expected 0 <= min <= max" in validate(min=1.0, max=0.5)
    assert "expected 0 <= min <= max" in validate(min=-1.0, max=0.5)
