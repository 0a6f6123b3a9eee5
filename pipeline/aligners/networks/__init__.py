"""The networks behind aligners, and what is made of their outputs."""
