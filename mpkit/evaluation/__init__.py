"""Does it work, and how would we know: victims, what is written down of them, rates, targets."""
