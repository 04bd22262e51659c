"""A project in two releases: the old one on an older Celery, with the stock beat and workers that know no slot."""
