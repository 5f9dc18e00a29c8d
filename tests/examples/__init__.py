"""Every example and every snippet of the documentation, run."""
