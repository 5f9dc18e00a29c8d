"""``argosy``: the group of commands. A command's module is imported when it is called, so that ``argosy lint`` starts fast."""

from __future__ import annotations

import importlib

import click

COMMANDS = {
    "run": "Run the event sources and sensors of manifests.",
    "demo": "Play the quickstart by itself, explained.",
    "lint": "Check manifests and say what is wrong, where, and what to do.",
    "explain": "Say why an event makes a sensor fire, or why not.",
    "test": "Run the tests that stand beside manifests, offline and in virtual time.",
    "events": "Look into the event log of a run, and put events there.",
    "actions": "List, show, retry, redrive, discard, approve or deny the actions of a run that goes on.",
    "sensor": "List, show, suspend, resume or reset the sensors of a run that goes on.",
    "replay": "Drive events of the log through a sensor once more.",
    "status": "Show how the objects of a cluster are.",
    "rbac": "Print the least rights that manifests need.",
    "new": "Print a working example of an event source or trigger kind.",
    "schema": "Print the JSON Schema of the manifests, for editors.",
    "install": "Print what an installation on a cluster consists of.",
    "migrate": "Say what changes for manifests or a cluster of Argo Events.",
    "crds": "Print the CustomResourceDefinitions of the manifests' kinds.",
    "version": "Print the version of Argosy and of what it stands on.",
    "controller": "Bring a cluster to what its objects say.",
    "admission": "Judge objects before the API server stores them.",
    "eventsource-service": "Run one EventSource, as its pods do.",
    "sensor-service": "Run one Sensor, as its pods do.",
    "runner-service": "Run the EventSources and Sensors of a namespace that have no pods of their own.",
}
"""Name and first line of help, in the order of ``argosy --help``."""
IN_PODS = ("controller", "admission", "eventsource-service", "sensor-service", "runner-service")
"""Those of them that containers are started with; people read their help."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        word = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"argosy.cli.{word}"), word)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, inside in (("Commands", False), ("Inside pods of a cluster", True)):
            with formatter.section(title):
                # Without importing any of them.
                formatter.write_dl([(name, text) for name, text in COMMANDS.items() if (name in IN_PODS) == inside])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else " See 'argosy --help'."
            ctx.fail(f"There is no command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Event-driven automation that loses nothing and can say why.

    Argosy runs EventSource, EventBus and Sensor manifests of Argo Events unchanged.

    \b
    Try it:
      argosy demo                      a tour that ends by itself
      argosy run examples/quickstart   one process, embedded bus, no cluster
      argosy lint my-manifests/        what is wrong, with file and line
      argosy explain . -e event.json   why it fires, or why not
      argosy test examples/            the tests beside the manifests, offline
      argosy events tail -f            what a run receives, as it comes
      argosy new webhook               a manifest to begin with

    Exit codes: 0 done, 1 the manifests have errors or the run failed, 2 the call itself was wrong.
    """


if __name__ == "__main__":
    main()
