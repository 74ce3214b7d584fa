"""Older ways to make poisons, on the same bench as MetaPoison (`Settings.method`).

`matching` aligns gradients, `features` collides in feature space, `simple` looks at no network. All
of them but the last take models that were trained to the end, on clean data, and ask what a small
change of the poisons does to those; none looks at the training that comes.
"""
