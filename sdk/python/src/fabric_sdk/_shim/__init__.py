"""What runs inside a function container: connects to the runner's socket and runs inputs. Standard library only."""
