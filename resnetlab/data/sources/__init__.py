"""Forms in which people hold labelled pictures. Each reader returns a Catalog."""
