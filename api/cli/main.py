"""The `timeball` command. Subcommands are loaded on first use, so that the command starts quickly."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Final

import click

from api.cli.failing import did_you_mean, hinted

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: Each subcommand: where it is defined, and its short help. A module is loaded only when its command is used.
COMMANDS: Final = {
    "apply": ("api.cli.apply:apply", "Create or update jobs from files."),
    "backup": ("api.cli.backup:backup", "Back up the daemon's database while it runs."),
    "completion": ("api.cli.completion:completion", "Print a shell completion script."),
    "doctor": ("api.cli.doctor:doctor", "Check health and configuration."),
    "export": ("api.cli.export:export", "Export jobs to a file that apply reads."),
    "hook": ("api.cli.hooks:hook", "Manage webhooks and their deliveries."),
    "import": ("api.cli.import_:import_", "Import jobs from crontab, Ofelia, Chronos or Kubernetes."),
    "job": ("api.cli.jobs:job", "Create, update, pause, resume and delete jobs."),
    "logs": ("api.cli.logs:logs", "Print or follow the log of a run or a job."),
    "occurrences": ("api.cli.occurrences:occurrences", "Show the outcome of each due time of a job."),
    "preview": ("api.cli.preview:preview", "Show when a schedule runs, without a daemon."),
    "registry": ("api.cli.registries:registry", "Manage credentials for pulling images from registries."),
    "restore": ("api.cli.restore:restore", "Restore a backup."),
    "run": ("api.cli.run:run", "Run a job now and follow it to its end."),
    "runs": ("api.cli.runs:runs", "List, show, stop, delete, replay and compare runs."),
    "secret": ("api.cli.secrets:secret", "Manage the secrets that jobs use."),
    "serve": ("api.cli.serve:serve", "Start the daemon."),
    "stats": ("api.cli.stats:stats", "Show run counts, success rates and durations."),
    "token": ("api.cli.tokens:token", "Create, list and revoke access tokens."),
    "user": ("api.cli.users:user", "Manage users who log in with a password."),
    "version": ("api.cli.version:version", "Print the version."),
}
#: Other names of commands.
ALIASES: Final = {"exec": "runs"}
_HELP: Final = dict(
    sorted(
        {
            **{name: words for name, (_, words) in COMMANDS.items()},
            **{alias: f"Alias of {name}." for alias, name in ALIASES.items()},
        }.items()
    )
)


class LazyGroup(click.Group):
    """A group that loads its commands one at a time."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """The names of all commands, without aliases."""
        return sorted(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """The command with that name or alias."""
        name = ALIASES.get(name, name)
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands and aliases, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_HELP.items()))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command to run; the error for an unknown one suggests a similar name."""
        is_unknown = args and not args[0].startswith("-") and args[0] not in _HELP
        if is_unknown and not context.resilient_parsing:  # completion must not fail
            hint = did_you_mean(args[0], _HELP) or f" Use one of {', '.join(sorted(COMMANDS))}."
            context.fail(f"There is no command '{args[0]}'.{hint}")
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        """Run the command; usage errors suggest a similar value."""
        try:
            return super().invoke(context)
        except click.UsageError as error:
            raise hinted(error) from error.__cause__

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names and options that start with `incomplete`, without loading any command."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=words) for name, words in _HELP.items() if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, context, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="timeball", message="timeball %(version)s", help="Print the version.")
def main() -> None:
    """Timeball starts containers on time and keeps their output.

    Commands connect to the daemon at TIMEBALL_URL with TIMEBALL_TOKEN, by default to the one on this machine.
    """
    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False
