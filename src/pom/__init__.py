"""Pom names every voxel of large cryo-electron-tomography datasets."""

__version__ = "0.1.0"
