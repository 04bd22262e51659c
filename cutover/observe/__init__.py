"""Showing it: what there is to see of a site, as records that know nothing of terminals, pages or metrics."""
