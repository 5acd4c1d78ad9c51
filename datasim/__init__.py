"""Alert templates and the simulated night."""
