"""What speaks HTTP with the gateway. Imported when the first call needs it; never inside function containers."""
