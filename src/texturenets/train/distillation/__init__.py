"""Training of `own`, this project's perceptual network: distilled from VGG-16."""
