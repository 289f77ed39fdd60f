"""`timeball completion SHELL`: prints a shell completion script."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script with which SHELL completes commands, options, job names and run ids.

    \b
    bash  timeball completion bash > ~/.local/share/bash-completion/completions/timeball
    zsh   timeball completion zsh > "${fpath[1]}/_timeball"
    fish  timeball completion fish > ~/.config/fish/completions/timeball.fish

    Or add this to the shell's startup file: eval "$(timeball completion bash)". Names come from the daemon that the
    environment selects. If it does not answer within a second, only commands and options are completed.
    """  # noqa: D301 - \b keeps click from filling the lines
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows all three
    click.echo(found(root, {}, "timeball", "_TIMEBALL_COMPLETE").source())
