"""From trained networks and foreign files to model files that carry their ModelSpec."""
