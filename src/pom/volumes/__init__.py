"""Pure array functions: slab, bin, normalise, pad."""
