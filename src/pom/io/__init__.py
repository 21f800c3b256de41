"""Files: MRC volumes, annotations, network inputs, networks. Writes are atomic."""
