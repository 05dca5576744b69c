"""The comparison on one image, and the paper's experiments with the layer that runs them."""
