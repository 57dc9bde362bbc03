"""Image to probabilities to label map, on the image's own grid."""
