"""Everything that computes or calls a model: from images and a network to the files that the site is made of."""
