"""Update steps of the optimizers, written into the parameters' own memory."""
