"""`timeball completion SHELL`: prints what a shell needs to complete the command."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which SHELL completes commands, options, names of jobs and ids of runs.

    \b
    bash  timeball completion bash > ~/.local/share/bash-completion/completions/timeball
    zsh   timeball completion zsh > "${fpath[1]}/_timeball"
    fish  timeball completion fish > ~/.config/fish/completions/timeball.fish

    Or, in the shell's start-up file: eval "$(timeball completion bash)". Names come from the daemon that the
    environment names; one that does not answer within a second is done without.
    """  # noqa: D301 - \b keeps click from filling the lines
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - loaded when the command runs

    root = click.get_current_context().find_root().command
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows all three
    click.echo(found(root, {}, "timeball", "_TIMEBALL_COMPLETE").source())
