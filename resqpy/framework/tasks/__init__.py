"""Tasks as users write them, their inputs and middleware, the spec that is made of each, and one call."""
