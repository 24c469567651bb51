"""Our own networks; each is a Backbone."""
