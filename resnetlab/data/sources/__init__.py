"""Forms in which people hold labelled pictures. Each ends in the same Catalog."""
