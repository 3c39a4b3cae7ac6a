"""Tasks and networks: everything that touches Hugging Face, and the only training loop."""
