"""Studies as the page asks for them and shows them."""
