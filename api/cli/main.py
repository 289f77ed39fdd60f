"""The command `timeball`: finds its subcommands when they are asked for, so that it starts quickly."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Final

import click

from api.cli.failing import did_you_mean, hinted

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: Each subcommand: where it is, and what it does. A module is loaded only when its command is used.
COMMANDS: Final = {
    "apply": ("api.cli.apply:apply", "Have the jobs that files declare."),
    "backup": ("api.cli.backup:backup", "Save all that the daemon keeps, while it serves."),
    "completion": ("api.cli.completion:completion", "Have a shell complete commands, jobs and runs."),
    "doctor": ("api.cli.doctor:doctor", "Look whether all that Timeball needs is well."),
    "exec": ("api.cli.execs:exec_", "Look at runs, replay and compare, stop and remove them."),
    "export": ("api.cli.export:export", "Write jobs to a file that apply reads."),
    "hook": ("api.cli.hooks:hook", "Have a URL told of how runs end."),
    "import": ("api.cli.import_:import_", "Take over jobs from crontab, Ofelia, Chronos or Kubernetes."),
    "job": ("api.cli.jobs:job", "Define jobs, change them, pause and resume them."),
    "logs": ("api.cli.logs:logs", "Print what a job or a run has written, and follow it."),
    "occurrences": ("api.cli.occurrences:occurrences", "Show what became of each due time of a job."),
    "preview": ("api.cli.preview:preview", "Show when a schedule runs, without a daemon."),
    "registry": (
        "api.cli.registries:registry",
        "Set credentials for registries, which pulls use and nobody reads.",
    ),
    "restore": ("api.cli.restore:restore", "Put back what a backup holds."),
    "run": ("api.cli.run:run", "Run a job now, and follow it to its end."),
    "secret": ("api.cli.secrets:secret", "Set secrets, which jobs name and nobody reads."),
    "serve": ("api.cli.serve:serve", "Run the daemon."),
    "stats": ("api.cli.stats:stats", "Show how runs have ended, and how long they took."),
    "token": ("api.cli.tokens:token", "Hand out access tokens and take them back."),
    "user": ("api.cli.users:user", "Manage who can log in with a password."),
    "version": ("api.cli.version:version", "Print the version."),
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
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """What each does, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in sorted(COMMANDS.items())])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant; of one that does not exist, which one might be."""
        is_unknown = args and not args[0].startswith("-") and args[0] not in COMMANDS
        if is_unknown and not context.resilient_parsing:  # a shell that asks wants no error
            hint = did_you_mean(args[0], COMMANDS) or f" There are {', '.join(sorted(COMMANDS))}."
            context.fail(f"There is no command '{args[0]}'.{hint}")
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        """Run the command; what is wrong with its words is said with what may have been meant."""
        try:
            return super().invoke(context)
        except click.UsageError as error:
            raise hinted(error) from error.__cause__

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and options that begin so, without loading any command."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - loaded when a shell asks

        found = [
            CompletionItem(name, help=words)
            for name, (_, words) in sorted(COMMANDS.items())
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, context, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="timeball", message="timeball %(version)s", help="Print the version.")
def main() -> None:
    """Timeball starts containers on time and keeps what they print.

    The commands speak to the daemon at TIMEBALL_URL with TIMEBALL_TOKEN, or to this machine's own.
    """
    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False
