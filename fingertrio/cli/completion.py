"""`fingertrio completion`: the script that makes a shell complete this command.

Click's scripts, mended: its script for bash gets the words that bash makes of a line, which cuts them at "=", ":" and
"@", and lets the shell expand what it inserts; that for fish cuts a description at its first comma; and those for zsh
and fish take `--config=/etc` for a word that the completion replaces as a whole.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

PROGRAM = "fingertrio"
VARIABLE = "_FINGERTRIO_COMPLETE"

_BASH = """\
%(complete_func)s() {
    local type value quoted
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain) printf -v quoted %%q "$value"; COMPREPLY+=("$quoted") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(COMP_LINE=${COMP_LINE:0:COMP_POINT} COMP_BREAKS=$COMP_WORDBREAKS \\
        %(complete_var)s=bash_complete "$1" 2> /dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_FISH = """\
function %(complete_func)s
    set -l token (commandline -t)
    set -l option (string match -r '^--[^=]+=' -- $token; or echo '')
    set -l asked %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD=$token
    for completion in (env $asked %(prog_name)s 2> /dev/null)
        set -l parts (string split -m 1 , -- $completion)
        switch $parts[1]
            case plain
                echo -- $option$parts[2]
            case file
                printf '%%s\\n' $option(__fish_complete_path $parts[2])
            case dir
                printf '%%s\\n' $option(__fish_complete_directories $parts[2])
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""

_ZSH_LOOP = "    for type key descr in ${response}; do\n"
_ZSH_OPTION = "    [[ $words[CURRENT] == --*=* ]] && compset -P '*='\n"

_INSTALL = {
    "bash": (
        "fingertrio completion bash > ~/.local/share/bash-completion/completions/fingertrio",
        "where the package bash-completion is installed; otherwise add to ~/.bashrc:",
        'eval "$(fingertrio completion bash)"',
    ),
    "zsh": (
        "fingertrio completion zsh > DIRECTORY/_fingertrio",
        "with a DIRECTORY of $fpath, before compinit; or add to ~/.zshrc, after compinit:",
        'eval "$(fingertrio completion zsh)"',
    ),
    "fish": (
        "fingertrio completion fish > ~/.config/fish/completions/fingertrio.fish",
        "or add to ~/.config/fish/config.fish:",
        "fingertrio completion fish | source",
    ),
}


class OurBashComplete(BashComplete):
    """Completes the line that bash has, and not the words that it makes of it."""

    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """Nothing: bash 4.4 is of 2016, and the script is also written where no bash is."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The complete words before the cursor, and the incomplete one."""
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """A line for the script. Bash replaces only what follows the last character at which it breaks words."""
        value: str = item.value
        if item.type == "plain":
            incomplete = self.get_completion_args()[1]
            breaks = os.environ.get("COMP_BREAKS", "")
            if incomplete.startswith("--") and "=" in incomplete and not value.startswith("-"):
                option, _, incomplete = incomplete.partition("=")
                value = value if "=" in breaks else f"{option}={value}"
            cut = max(incomplete.rfind(character) for character in f"{breaks}\0" if character not in "\"'") + 1
            value = value[cut:] if value.startswith(incomplete[:cut]) else value
        return f"{item.type},{value}"


class OurZshComplete(ZshComplete):
    """Keeps the option in `--config=/etc`."""

    source_template = ZshComplete.source_template.replace(_ZSH_LOOP, _ZSH_OPTION + _ZSH_LOOP)


class OurFishComplete(FishComplete):
    """Keeps the option in `--config=/etc`, and whole descriptions."""

    source_template = _FISH


_CLASSES = {"bash": OurBashComplete, "zsh": OurZshComplete, "fish": OurFishComplete}


def register() -> None:
    """Answer a shell that asks for completions in our way."""
    add_completion_class(OurBashComplete)


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_CLASSES)), required=False)
@click.pass_context
def completion(context: click.Context, shell: str | None) -> None:
    """Print the script that completes this command in SHELL: bash, zsh or fish.

    Its first lines say where to put it. It completes commands, options, and the names of users, configurations,
    sections and backends. Without SHELL, for the one that $SHELL names.
    """
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in _CLASSES:
        raise click.UsageError(f"name a shell: {', '.join(_CLASSES)}")
    kind: type[ShellComplete] = _CLASSES[shell]
    script = kind(context.find_root().command, {}, PROGRAM, VARIABLE).source().strip("\n")
    # zsh reads the first line of a file: "#compdef fingertrio".
    first, _, rest = script.partition("\n") if script.startswith("#compdef") else ("", "", script)
    where, instead, command = _INSTALL[shell]
    comment = f"# Completion of fingertrio for {shell}. Install it so:\n#   {where}\n# {instead}\n#   {command}\n"
    click.echo(f"{first}\n{comment}{rest}" if first else comment + rest)
