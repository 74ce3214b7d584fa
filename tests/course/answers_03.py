"""Usual wrong answers to the exercises of chapter 03, and words of what is said to them."""

WRONG = [
    ("03.difference", lambda f, x, d, h: (f(x + h * d) - f(x)) / h, "one-sided"),
    ("03.difference", lambda f, x, d, h: (f(x + h * d) - f(x - h * d)) / h, "2h apart"),
    ("03.difference", lambda f, x, d, h: (f(x - h * d) - f(x + h * d)) / (2 * h), "the sign"),
    ("03.difference", lambda f, x, d, h: f(x + h * d) - f(x - h * d), "divided by way"),
    ("03.difference", lambda f, x, d, h: 1 / 0, "raised ZeroDivisionError"),
    ("03.memory", (16, 1), "linear"),
    ("03.memory", (4, 4), "graph of one step"),
    ("03.memory", (1, 1), "every step"),
    ("03.coupled", {"convnet-bn"}, "one is missing"),
    ("03.coupled", {"mlp", "convnet", "convnet-bn", "resnet20"}, "does not mix"),
    ("03.coupled", {"mlp"}, "its own way"),
    ("03.coupled", {"vgg"}, "the names are"),
    ("03.trap", "rounding", "Look again"),
    (
        "03.difference",
        lambda f, x, d, h: (f(x + h * d / d.norm()) - f(x - h * d / d.norm())) / (2 * h),
        "length of the direction",
    ),
    ("03.difference", lambda f, x, d, h: (f(x + h * d / 2) - f(x - h * d / 2)) / h, "h apart"),
    ("03.memory", (4, 0.25), "does not need less"),
    ("03.memory", (6, 1), "too much"),
]
