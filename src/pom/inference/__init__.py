"""Networks over whole tomograms: read ahead, batch, rotate, write behind."""
