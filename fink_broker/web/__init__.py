"""The dashboard and the REST API: what runs and what was found, in a browser and for scripts."""
