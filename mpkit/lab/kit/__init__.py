"""What labs are made of: a runner, a canvas, controls and the panel around them."""
