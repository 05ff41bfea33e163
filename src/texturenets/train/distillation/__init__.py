"""Training of `own`, this project's small descriptor network: distilled from VGG-16 and SqueezeNet."""
