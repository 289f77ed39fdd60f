"""The command `timeball`: finds its subcommands when they are asked for, so that it starts quickly."""

from __future__ import annotations

import importlib
from typing import Final

import click

#: Each subcommand and where it is; a module is loaded only when its command is used.
COMMANDS: Final = {
    "backup": "api.cli.backup:backup",
    "doctor": "api.cli.doctor:doctor",
    "preview": "api.cli.preview:preview",
    "restore": "api.cli.restore:restore",
    "serve": "api.cli.serve:serve",
    "token": "api.cli.tokens:token",
    "user": "api.cli.users:user",
    "version": "api.cli.version:version",
}


class LazyGroup(click.Group):
    """A group that loads its commands one at a time."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Their names."""
        return sorted(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """One of them."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Timeball starts containers on time and keeps what they print."""
