"""Pre-trained networks: encoder, head, tokenizer and their files."""
