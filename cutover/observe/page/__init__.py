"""The page in Django's admin: what the records say, put into words and places that a template lays out."""
