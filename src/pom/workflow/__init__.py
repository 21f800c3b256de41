"""One module per step of the work, from annotations to segmented tomograms."""
