"""The demo detector: its network, its weights, and the components that open them."""
