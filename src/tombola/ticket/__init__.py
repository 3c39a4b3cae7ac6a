"""Masks and tickets: torch, numpy and safetensors; no Hugging Face and no experiment."""
