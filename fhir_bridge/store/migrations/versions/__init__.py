"""One module for each step, oldest first. A step that shipped is never changed."""
