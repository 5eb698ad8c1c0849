"""Refresh tokens in files, as a person puts them there."""

from pathlib import Path

from exporter.demo import SimulatedPlatform, User


class SignedIn:
    """A user of a simulated platform with a refresh token in a file of mode 600. Mutable: the file changes."""

    def __init__(self, platform: SimulatedPlatform, path: Path, *teams: str) -> None:
        """Sign in a new user, who is in these existing teams."""
        self.platform = platform
        self.path = path
        self.user: User = platform.access.add_user(path.name, [platform.teams[name] for name in teams])
        path.touch(mode=0o600)
        self.write(self.user.refresh_token)

    @property
    def saved(self) -> str:
        """What the file holds."""
        return self.path.read_text(encoding="utf-8").strip()

    @property
    def alive(self) -> bool:
        """Whether the platform would accept the token in the file."""
        return self.saved == self.user.refresh_token

    @property
    def renewals(self) -> int:
        """How many token exchanges were requested."""
        return self.platform.journal.count(path="/auth/refresh")

    def write(self, token: str) -> None:
        """Put a token into the file."""
        self.path.write_text(token + "\n", encoding="utf-8")

    def again(self) -> None:
        """Sign in again: a new pair of tokens, which does not replace the old one."""
        self.platform.access._open_session(self.user)
        self.write(self.user.refresh_token)


def secrets(platform: SimulatedPlatform) -> set[str]:
    """Every credential that is or was valid."""
    return {*platform.access._grants, *platform.access._sessions}
