"""The other side: a gateway project for this origin, and checks of an origin from outside."""
