"""What all nodes tell of themselves, and the values that they refuse.

ComfyUI checks what is typed into a widget, but not what comes by a link: the nodes do.
"""

import inspect

import pytest
import torch
from disc_faces import SmallClip
from test_lq_encode import VaeStub

IMAGE = torch.full((1, 64, 64, 3), 0.5)
NAN = float("nan")
OUTPUTS = {
    "Apply": "MODEL",
    "AutoScale": "RESTORERID_SCALE FLOAT STRING",
    "ColorFix": "IMAGE",
    "Degrade": "IMAGE",
    "FaceCrop": "IMAGE[] RESTORERID_CROPS[] IMAGE[] STRING",
    "FaceEmbed": "RESTORERID_FACE IMAGE",
    "FacePaste": "IMAGE[] MASK[] STRING",
    "FaceSimilarity": "FLOAT STRING IMAGE STRING[]",
    "Grid": "IMAGE",
    "LQEncode": "RESTORERID_LQ LATENT IMAGE",
    "Loader": "RESTORERID",
    "MatchFaces": "RESTORERID_FACE[] IMAGE[] RESTORERID_CROPS[] STRING",
    "Metrics": "STRING IMAGE",
    "PhotoFolder": "IMAGE STRING INT STRING STRING",
    "Reference": "RESTORERID_REFERENCES",
    "ReferenceFolder": "RESTORERID_REFERENCES STRING",
    "SavePhoto": "STRING STRING",
    "ScaleSweep": "FLOAT[] STRING[]",
    "Schedule": "SAMPLER SIGMAS",
}
"""Saved workflows depend on them; a [] gives a list."""
LISTS = {"FaceCrop", "FaceEmbed", "FacePaste", "Grid", "MatchFaces", "Reference"}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_node_tells_what_it_is(node, name):
    cls = node(name)
    schema, info = cls.GET_SCHEMA(), cls.GET_NODE_INFO_V1()
    assert schema.node_id == info["name"] == cls.__name__
    assert schema.display_name.startswith("RestorerID ")
    assert schema.category == "RestorerID"
    assert schema.description
    assert all(put.tooltip for put in (*schema.inputs, *schema.outputs))
    kinds = zip(info["output"], info["output_is_list"], strict=True)
    assert " ".join(kind + "[]" * many for kind, many in kinds) == OUTPUTS[name]
    assert cls.INPUT_IS_LIST is (name in LISTS)


def test_every_node_is_in_the_table(ours):
    assert {node.__name__ for node in ours("nodes.registry").NODES} == {
        f"RestorerID{name}" for name in OUTPUTS
    }


def defaults(cls):
    puts = (put for group in cls.INPUT_TYPES().values() for put in group.items())
    return {name: put[1]["default"] for name, put in puts if "default" in (*put, {})[1]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AutoScale", {"alpha": 9.5, "beta": 10.0, "min": 0.0, "max": 2.0}),
        ("Apply", {"structure_strength": 1.0, "fir_strength": 1.0, "start_percent": 0.0}),
        ("Schedule", {"steps": 50}),
        ("ColorFix", {"method": "wavelet"}),
    ],
)
def test_defaults_are_the_papers(node, name, expected):
    assert expected.items() <= defaults(node(name)).items()


def test_the_browser_counts_up_after_each_queued_run(node):
    for name, key, control in (("PhotoFolder", "index", "increment"), ("Degrade", "seed", True)):
        assert node(name).INPUT_TYPES()["required"][key][1]["control_after_generate"] == control


@pytest.mark.parametrize(
    ("name", "wrong", "values"),
    [
        ("Apply", "id_scale", [NAN]),
        ("Apply", "structure_strength", ["firm"]),
        ("Apply", "fir_strength", [2.5]),
        ("Apply", "start_percent", ["half"]),
        ("Apply", "end_percent", [-1]),
        ("AutoScale", "alpha", ["high"]),
        ("AutoScale", "beta", [0.0]),
        ("AutoScale", "min", [NAN]),
        ("AutoScale", "max", [NAN]),
        ("ColorFix", "method", ["foo"]),
        ("Degrade", "preset", ["foo"]),
        ("Degrade", "seed", [-1, "one"]),
        ("FaceCrop", "order", ["foo"]),
        ("FaceCrop", "faces", [3]),
        ("FaceCrop", "max_faces", [-1]),
        ("FaceCrop", "min_size", ["small"]),
        ("FaceCrop", "size", [10**9, 255.5]),
        ("FaceEmbed", "combine", ["foo"]),
        ("FaceEmbed", "face", ["foo"]),
        ("FaceEmbed", "face_index", ["one", -1]),
        ("FacePaste", "feather", [NAN, 0, "soft"]),
        ("FacePaste", "color", ["foo"]),
        ("FacePaste", "grain", [2]),
        ("FaceSimilarity", "pair", ["foo"]),
        ("Grid", "columns", ["three", -1]),
        ("Grid", "cell", [NAN, 10**9]),
        ("LQEncode", "size", [NAN, 8]),
        ("LQEncode", "face_check", ["foo"]),
        ("MatchFaces", "threshold", [NAN]),
        ("MatchFaces", "unmatched", ["foo"]),
        ("MatchFaces", "faces_per_run", [0]),
        ("MatchFaces", "choices", [3, " " * 10**6]),
        ("PhotoFolder", "folder", [5]),
        ("PhotoFolder", "index", [-1, 0.5, "first"]),
        ("ScaleSweep", "values", [0.5]),
        ("Schedule", "steps", [1, 1001, NAN, "many"]),
    ],
)
def test_a_linked_value_has_the_range_of_the_widget(execute, error, name, wrong, values):
    for value in values:
        with pytest.raises(error, match=f"`{wrong}` is .*; expected"):
            execute(name, value, **{wrong: value})


@pytest.fixture
def execute(node, restorer):
    """Runs a node at its defaults; before any work, what is no widget need not be there yet."""
    links = dict.fromkeys(("model", "lq", "crops", "restored"))
    links |= dict.fromkeys(("image", "image_1", "source", "reference", "photo", "original"), IMAGE)
    links |= {"restorerid": restorer, "vae": VaeStub(), "clip_vision": SmallClip(None)}
    links |= {"references": (), "name": ""}

    def run(name, what, **changes):
        cls = node(name)
        needed = inspect.signature(cls.execute).parameters.keys() | changes.keys()
        given = {k: v for k, v in links.items() if k in needed}
        inputs = {**given, **defaults(cls), **changes}
        listed = {k: [v] for k, v in inputs.items()} if name in LISTS else inputs
        cls.execute(**listed)
        pytest.fail(f"{name} took {what!r:.100}")

    return run


NAN_IN = "has NaN or infinite values in 1 of 1"


@pytest.mark.parametrize(
    ("name", "put", "picture", "words"),
    [
        ("AutoScale", "image", IMAGE * NAN, NAN_IN),
        ("ColorFix", "image", IMAGE * NAN, f"{NAN_IN} .* ComfyUI with --fp32-vae"),
        ("ColorFix", "source", IMAGE * 255, "has values from .* expected 0 to 1"),
        ("ColorFix", "source", IMAGE.expand(2, -1, -1, -1), "has 2; expected"),
        ("Degrade", "image", IMAGE * NAN, NAN_IN),
        ("FaceCrop", "photo", IMAGE[:0], "is an empty batch"),
        ("FaceEmbed", "image", IMAGE[:, :, :20], "is 20x64 px; expected at least 32 px"),
        ("FaceSimilarity", "image", IMAGE * NAN, NAN_IN),
        ("FaceSimilarity", "reference", IMAGE[:, :20, :20], "is 20x20 px; expected at least 32"),
        ("FaceSimilarity", "reference", IMAGE.expand(2, -1, -1, -1), "has 2; expected one"),
        ("Grid", "image_3", IMAGE[:0], "is an empty batch; expected at least"),
        ("Grid", "image_2", IMAGE[..., :2], r"has 2 channels; expected 1 \(grey\)"),
        ("LQEncode", "image", IMAGE * NAN, NAN_IN),
        ("LQEncode", "image", IMAGE[:, :4, :4], "is 4x4 px; expected at least 16 px"),
        ("Metrics", "image", IMAGE[:, :63], "is 64x63 px; expected at least 64 px"),
        ("Metrics", "original", IMAGE * NAN, NAN_IN),
        ("Metrics", "original", IMAGE.expand(2, -1, -1, -1), "has 2; expected one"),
        ("Reference", "image", IMAGE[:, :31], "is 64x31 px; expected at least 32 px"),
        ("Reference", "image", IMAGE[:0], "is an empty batch"),
    ],
)
def test_a_bad_picture_is_named(execute, error, name, put, picture, words):
    with pytest.raises(error, match=f"`{put}` {words}"):
        execute(name, put, **{put: picture})
