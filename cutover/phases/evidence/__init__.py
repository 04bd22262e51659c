"""What the tables show: proofs, lateness, silence; nothing here changes anything."""
