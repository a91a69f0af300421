"""The command line: names, options and exit codes. What a command does is in the module that it names.

Those modules are imported when their command runs, by `_load` alone: `voice-agent version` must not wait two seconds
for speech and language SDKs. Exit codes: 0 done, 1 failed or found fault, 2 wrong options or settings.
"""

import asyncio
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, NoReturn

import typer

from voice_agent import __version__
from voice_agent.errors import SettingsError, VoiceAgentError
from voice_agent.settings import load_settings, settings_table

app = typer.Typer(
    name="voice-agent",
    help="AI voice agents that hold real phone calls.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables would show secrets.
    pretty_exceptions_enable=False,
)


def _load(module: str) -> ModuleType:
    return import_module(f"voice_agent.{module}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, in place of HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port, in place of PORT; 0 takes one.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the port.")] = 1,
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", hidden=True, help="End with the process that started this one.")
    ] = False,
) -> None:
    """Answer calls until SIGTERM or Ctrl-C; live ones are held to their end, unless it comes a second time."""
    settings = load_settings()
    if until_stdin_closes:
        threading.Thread(target=_load("process").end_with_stdin, name="stdin", daemon=True).start()
    chosen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    server = settings.server.model_copy(update=chosen)
    settings = settings.model_copy(update={"server": server})
    if workers == 1:
        _load("serving").serve(settings, on_listening=_announce)
    else:
        _load("supervisor").run(settings, workers=workers, on_listening=_announce)


def _announce(base_url: str) -> None:
    typer.echo(f"Listening at {base_url}. Twilio's voice webhook is {base_url}/twilio/voice (POST).")


@app.command()
def worker() -> None:
    """Run jobs (deletions, retention) until SIGTERM or Ctrl-C, for servers that do not: JOBS_IN_SERVER=false."""
    _load("worker").run(load_settings())


@app.command()
def owner(
    email: Annotated[str, typer.Argument(help="Address to sign in with.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
    organisation: Annotated[str, typer.Option(help="Name of a new organisation; empty: the first one.")] = "",
) -> None:
    """Make somebody an owner, who can then invite others."""
    org_id = asyncio.run(
        _load("auth.commands").create_owner(load_settings(), email, password, organisation=organisation)
    )
    typer.echo(f"{email} is an owner of organisation {org_id}.")


@app.command()
def password(
    email: Annotated[str, typer.Argument(help="Whose.")],
    new: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
) -> None:
    """Give an account another password; it signs out everywhere."""
    asyncio.run(_load("auth.commands").set_password(load_settings(), email, new))


@app.command()
def disable(email: Annotated[str, typer.Argument(help="Whose.")]) -> None:
    """Let an account sign in no more, and out everywhere."""
    asyncio.run(_load("auth.commands").disable(load_settings(), email))


@app.command()
def api_key(name: Annotated[str, typer.Argument(help="What it is for.")]) -> None:
    """Print a new API key of the first organisation, with every permission. It is never shown again."""
    typer.echo(asyncio.run(_load("auth.commands").create_api_key(load_settings(), name)))


contacts_app = typer.Typer(no_args_is_help=True, help="Contacts: import and export them.")
app.add_typer(contacts_app, name="contacts")


@contacts_app.command("import")
def import_contacts(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, XLSX, JSON lines, vCard or text.")],
    list_: Annotated[str, typer.Option("--list", help="Static list that they join; made where there is none.")] = "",
    country: Annotated[str, typer.Option(help="Of numbers without a country's code, such as ES.")] = "",
    mapping: Annotated[str, typer.Option(help="Name of a template that says where columns go.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write what came of it to this file.")] = None,
) -> None:
    """Import contacts into the configured database; no server is needed. Exit code 1 where rows were refused."""
    code = _load("contact_commands").import_contacts(
        load_settings(),
        file,
        list_name=list_,
        country=country,
        template=mapping,
        is_dry_run=dry_run,
        json_file=json,
    )
    _end(code)


@contacts_app.command("export")
def export_contacts(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write; .csv, .xlsx or .jsonl says what.")],
    list_: Annotated[str, typer.Option("--list", help="Name of a list or a segment; empty: all contacts.")] = "",
    filter_: Annotated[str, typer.Option("--filter", help="A filter, as JSON (docs/contacts.md).")] = "",
    columns: Annotated[str, typer.Option(help="Names divided by commas; empty: what an import takes.")] = "",
    escape: Annotated[bool, typer.Option(help="Of CSV: make cells that could be formulas harmless.")] = True,
) -> None:
    """Export contacts of the configured database; no server is needed. An unfinished file is never left."""
    _load("contacts.export_command").export_contacts(
        load_settings(), file, list_name=list_, filter_text=filter_, columns=columns, is_escaped=escape
    )


campaigns_app = typer.Typer(no_args_is_help=True, help="Campaigns: how they stand; start, pause and stop them.")
app.add_typer(campaigns_app, name="campaigns")

CampaignName = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its name or its key.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the campaign's log.")]


@campaigns_app.command("list")
def list_campaigns() -> None:
    """List the campaigns of the first organisation, newest first."""
    typer.echo(asyncio.run(_load("campaigns.commands").list_campaigns(load_settings())))


@campaigns_app.command("show")
def show_campaign(campaign: CampaignName) -> None:
    """Show how a campaign stands, what was found before its launch, and the end of its log."""
    typer.echo(asyncio.run(_load("campaigns.commands").show(load_settings(), campaign)))


@campaigns_app.command("start")
def start_campaign(campaign: CampaignName) -> None:
    """Begin to dial, or dial on after a pause or a hold."""
    typer.echo(asyncio.run(_load("campaigns.commands").start(load_settings(), campaign)))


@campaigns_app.command("pause")
def pause_campaign(campaign: CampaignName, reason: Reason = "") -> None:
    """Place no new calls; live ones go on."""
    typer.echo(asyncio.run(_load("campaigns.commands").pause(load_settings(), campaign, reason)))


@campaigns_app.command("stop")
def stop_campaign(
    campaign: CampaignName,
    reason: Reason = "",
    emergency: Annotated[bool, typer.Option("--emergency", help="Hang up live calls, too.")] = False,
) -> None:
    """Place no new calls, ever."""
    commands = _load("campaigns.commands")
    typer.echo(asyncio.run(commands.stop(load_settings(), campaign, reason, is_emergency=emergency)))


@app.command()
def suppress(
    number: Annotated[str, typer.Argument(help="With + and country code.")],
    is_global: Annotated[
        bool, typer.Option("--global", help="For every organisation, not the first one alone.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    lift: Annotated[bool, typer.Option("--lift", help="Lift what holds everywhere; needs a reason.")] = False,
) -> None:
    """Have a number never called again."""
    commands = _load("compliance.commands")
    if not lift:
        scope = asyncio.run(commands.suppress(load_settings(), number, reason=reason, is_global=is_global))
        typer.echo(f"{number} is not called any more ({scope}).")
        return
    if not (is_global and reason.strip()):
        raise typer.BadParameter("only what holds everywhere is lifted here (--global), and with a --reason")
    asyncio.run(commands.lift_everywhere(load_settings(), number, reason=reason))
    typer.echo(f"{number} may be called again where nothing else speaks against it.")


@app.command()
def rule_packs() -> None:
    """Show which rules about calls are in force, and how sure they are."""
    typer.echo(_load("compliance.commands").rule_packs(load_settings()))


@app.command()
def openapi(
    check: Annotated[
        Path | None, typer.Option(help="Compare with this file instead; exit code 1 where it differs.")
    ] = None,
) -> None:
    """Print the OpenAPI document of the REST interface."""
    document = _load("contract").openapi_document()
    if check is None:
        typer.echo(document, nl=False)
    elif not check.is_file() or check.read_text("utf-8") != document:
        typer.echo(f"{check} is not what the routes say. `make docs` writes it again.", err=True)
        raise typer.Exit(1)


@app.command()
def demo(
    json: Annotated[Path | None, typer.Option(help="Write the figures and where the files lie to this file.")] = None,
    data_dir: Annotated[
        Path, typer.Option(help="Each run has a folder in it, with recording, transcript and event log.")
    ] = Path("data/demo"),
) -> None:
    """Hear an agent hold a call: no account, no server, no configuration. Exit code 1 where it did not go well."""
    _end(_load("sandbox.commands").demo(data_dir, json))


@app.command()
def simulate(
    scenario: Annotated[str, typer.Argument(help="A scenario file, or the name of a built-in one.")] = "",
    url: Annotated[str, typer.Option(help="Voice webhook of a running server; empty: start one of its own.")] = "",
    calls: Annotated[int, typer.Option(min=1, max=500, help="Callers at once.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write the verdicts to this file.")] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder of the own server's files.")] = Path("data/simulate"),
    list_: Annotated[bool, typer.Option("--list", help="List the built-in scenarios.")] = False,
) -> None:
    """Have a simulated caller call an agent, and judge the call. Exit code 1 where an expectation was missed."""
    if not scenario and not list_:
        raise typer.BadParameter("name a scenario, or ask for the --list")
    commands = _load("sandbox.commands")
    if list_:
        _end(commands.list_scenarios())
    _end(commands.simulate(scenario, url=url, calls=calls, json_file=json, data_dir=data_dir))


def _end(code: int) -> NoReturn:
    raise typer.Exit(code)


@app.command()
def doctor() -> None:
    """Name what is missing or wrong in this installation, and how to mend it."""
    module = _load("doctor")
    findings = module.examine()
    typer.echo(module.report(findings))
    if any(finding.is_fault for finding in findings):
        raise typer.Exit(1)


@app.command()
def replay(log: Annotated[Path, typer.Argument(help="The event log of a call, events.jsonl.")]) -> None:
    """Run a recorded call through today's turn machine and show the first decision that differs."""
    report = _load("calls.replay").replay(log)
    typer.echo(f"{report.replayed} of {report.events} events decided as recorded, {report.actions} actions.")
    if report.is_torn or not report.is_complete:
        typer.echo("The log ends before the call does.")
    if difference := report.difference:
        typer.echo(f"Line {difference.line}: {difference.event}")
        typer.echo(f"  recorded: {difference.expected}\n  today:    {difference.got}")
        raise typer.Exit(1)


@app.command()
def settings(
    check: Annotated[
        Path | None, typer.Option(help="Compare with this file instead; exit code 1 where it differs.")
    ] = None,
) -> None:
    """Print the table of settings."""
    if check is None:
        typer.echo(settings_table(), nl=False)
    elif not check.is_file() or check.read_text("utf-8") != settings_table():
        typer.echo(f"{check} is not what voice_agent/settings.py says. `make docs` writes it again.", err=True)
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command that the arguments name, and end the process."""
    try:
        app()
    except SettingsError as error:
        _fail("These settings cannot be used:", error, hint="docs/settings.md lists them; `voice-agent doctor` helps.")
        sys.exit(2)
    except VoiceAgentError as error:
        _fail("voice-agent:", error)
        sys.exit(1)


def _fail(heading: str, error: VoiceAgentError, *, hint: str = "") -> None:
    typer.echo(f"{heading}\n  " + str(error).replace("\n", "\n  "), err=True)
    if hint:
        typer.echo(hint, err=True)
