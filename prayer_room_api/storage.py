"""Static files that need no build step to be served, and cache for ever once there was one."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticStorage(CompressedManifestStaticFilesStorage):
    """Hashed, compressed names once ``collectstatic`` has run; plain names until then."""

    def stored_name(self, name: str) -> str:
        return super().stored_name(name) if self.hashed_files else name
