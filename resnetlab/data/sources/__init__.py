"""Forms in which people hold labelled images. Each ends in the same Catalog."""
