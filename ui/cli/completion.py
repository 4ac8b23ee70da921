"""`completion`: the script that teaches a shell to complete assetline's commands, options and asset keys."""

import click

from ui.cli.options import AssetlineCommand, current_options

_INSTALL = {
    "bash": "assetline completion bash > ~/.local/share/bash-completion/completions/assetline",
    "zsh": "assetline completion zsh > ~/.zfunc/_assetline   # with ~/.zfunc in fpath, before compinit",
    "fish": "assetline completion fish > ~/.config/fish/completions/assetline.fish",
}


@click.command(cls=AssetlineCommand)
@click.argument("shell", type=click.Choice(sorted(_INSTALL)))
def completion(shell: str) -> None:
    r"""Print the completion script of a shell.

    \b
    bash   assetline completion bash > ~/.local/share/bash-completion/completions/assetline
    zsh    assetline completion zsh > ~/.zfunc/_assetline
    fish   assetline completion fish > ~/.config/fish/completions/assetline.fish
    """
    from click.shell_completion import get_completion_class

    from ui.cli.main import cli
    from ui.cli.output import write_json

    kind = get_completion_class(shell)
    assert kind is not None  # the choices are the shells that click knows
    script = kind(cli, {}, "assetline", "_ASSETLINE_COMPLETE").source()
    if current_options().json:
        write_json({"shell": shell, "script": script, "install": _INSTALL[shell]})
    else:
        click.echo(script)
