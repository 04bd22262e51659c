"""Two databases: people in one, background work in another, and a router between them."""
