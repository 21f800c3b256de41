import numpy as np

from pom.render.projections import count_voxels, density_picture, draw_counts


def test_counts_of_a_box() -> None:
    volume = np.zeros((10, 20, 30), np.float32)
    volume[2:8, 5:9, 10:22] = 0.5
    volume[0, 0, 0] = 0.49
    along_z, along_y = count_voxels(volume[start : start + 3] for start in range(0, 10, 3))
    expected_z, expected_y = np.zeros((20, 30)), np.zeros((10, 30))
    expected_z[5:9, 10:22], expected_y[2:8, 10:22] = 6, 4
    np.testing.assert_array_equal(along_z, expected_z)
    np.testing.assert_array_equal(along_y, expected_y)


def test_brightness_is_common() -> None:
    deep, shallow = np.zeros((4, 6), np.float32), np.zeros((4, 6), np.float32)
    deep[1, 2], shallow[3, 4] = 30, 10
    drawn = draw_counts({"A": deep, "B": shallow}, most=100)
    assert (drawn["A"][1, 2], drawn["A"][0, 0]) == (255, 0)
    assert drawn["B"][3, 4] == 128  # a third, brightened by half
    assert draw_counts({"A": np.zeros((4, 6), np.float32)}, most=100)["A"].max() == 0


def test_pictures_are_no_larger_than_wanted() -> None:
    drawn = draw_counts({"A": np.ones((300, 100), np.float32)}, most=100)["A"]
    assert drawn.shape == (100, 34)
    assert density_picture(np.zeros((3, 90, 200), np.float32), most=64).shape == (23, 50)


def test_density_is_stretched_between_percentiles() -> None:
    slab = np.broadcast_to(np.linspace(-5, 5, 1000, dtype=np.float32).reshape(1, 20, 50), (3, 20, 50)).copy()
    slab[:, 0, 0], slab[:, -1, -1] = -1000, np.nan
    grey = density_picture(slab, most=100)
    assert (grey[0, 0], grey[19, 48]) == (0, 255)
    assert abs(int(grey[10, 0]) - 128) < 3
    assert grey.dtype == np.uint8
