import pytest

from pom.io.ome_zarr_metadata import Grid, channel, multiscales


def test_the_centre_of_a_bin_lies_between_those_of_its_voxels() -> None:
    grid = Grid((40.0, 20.0, 10.0), (1.0, 2.0, 3.0))
    assert grid.binned((1, 2, 4)) == Grid((40.0, 40.0, 40.0), (1.0, 12.0, 18.0))
    assert grid.binned((2, 2, 2)).binned((2, 1, 2)) == grid.binned((4, 2, 4))


@pytest.mark.parametrize(("channels", "lead_scale", "lead_place"), [(False, [], []), (True, [1.0], [0.0])])
def test_each_level_says_where_its_voxels_lie(channels: bool, lead_scale: list[float], lead_place: list[float]) -> None:
    grid = Grid((40.0, 20.0, 10.0), (1.0, 2.0, 3.0))
    (image,) = multiscales("TS_1", [grid, grid.binned((1, 2, 2))], "mean", channels=channels)
    assert [axis["name"] for axis in image["axes"]] == ["c"] * channels + ["z", "y", "x"]
    (first, place), (second, _) = (dataset["coordinateTransformations"] for dataset in image["datasets"])
    assert first == {"type": "scale", "scale": [*lead_scale, 40.0, 20.0, 10.0]}
    assert place == {"type": "translation", "translation": [*lead_place, 1.0, 2.0, 3.0]}
    assert second == {"type": "scale", "scale": [*lead_scale, 40.0, 40.0, 20.0]}


def test_a_channel_has_a_colour_of_six_digits() -> None:
    found = channel("A", (0.0, 1.0, 0.04), (1.0, 2.0), (0.0, 127.0), active=False)
    assert found == {
        "label": "A", "color": "00FF0A", "active": False, "window": {"min": 0.0, "max": 127.0, "start": 1.0, "end": 2.0}
    }  # fmt: skip
