"""What may be sent: the fence and the slots in the database, where every claim is decided by a commit."""
