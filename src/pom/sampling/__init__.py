"""From annotated boxes to training patches, augmentation, joint labels."""
