"""The command line of `fastpath bench`.

Owns its flags, messages and exit codes: 0 measured; 1 the required goodput was missed, or no request succeeded; 2 bad
usage, or the endpoint cannot be used; 130 interrupted before anything was measured. What it needs beyond flags is
imported when it runs. One thread.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from fastpath.bench.result import Result
    from fastpath.bench.session import Plan
    from fastpath.bench.tally import Outcome


def bench(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Base URL of the API, such as http://127.0.0.1:8000/v1.")],
    model: Annotated[str | None, typer.Option(help="Model to ask for; else the first that the endpoint lists.")] = None,
    api: Annotated[Literal["chat", "completions"], typer.Option(help="What to call.")] = "chat",
    requests: Annotated[
        int | None, typer.Option("--requests", "-n", min=1, help="Requests to send; 100, or the whole trace.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Send for so long, then wait for the answers.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="R", help="Open loop: so many requests a second on average, however slow the answers."),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            help="Closed loop of so many clients (1); with --rate or --trace: most in flight.",
        ),
    ] = None,
    arrivals: Annotated[Literal["poisson", "constant"], typer.Option(help="Gaps between arrivals.")] = "poisson",
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Replay arrivals and lengths: Azure CSV or Mooncake JSON lines."),
    ] = None,
    speed: Annotated[float, typer.Option(metavar="FACTOR", help="Replay the trace so much faster.")] = 1.0,
    input_tokens: Annotated[int | None, typer.Option(min=1, help="Of a prompt (256); with --trace, at most.")] = None,
    output_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer (128); with --trace, at most.")] = None,
    slo: Annotated[
        str | None,
        typer.Option(metavar="LIMITS", help="What a good answer is: ttft=200ms,tpot=30ms,e2e=5s, or some of them."),
    ] = None,
    goodput: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="SHARE", help="Exit 1 unless so many requests meet --slo: 0.95."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Write result.json, report.md, plot.png, requests.jsonl."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of the report.")] = False,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key; else from FASTPATH_API_KEY or OPENAI_API_KEY."),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="May be repeated.")
    ] = None,
    extra_body: Annotated[
        str | None,
        typer.Option(metavar="JSON", help='Fields to add, such as {"ignore_eos": true}; null takes one away.'),
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificates to trust, PEM.")] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="A request that takes longer has failed.")] = 300.0,
    warmup: Annotated[int, typer.Option(min=0, help="Requests first, one by one, that are not counted.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed sends the same requests at the same times.")] = 0,
) -> None:
    """Measure any OpenAI-compatible endpoint: TTFT, TPOT, throughput, goodput.

    Ctrl-C ends the run early and shows what was measured so far.
    """
    from fastpath.bench.load import LoadError
    from fastpath.bench.options import Flags, read_plan
    from fastpath.bench.session import Interrupted
    from fastpath.bench.slo import SloError
    from fastpath.bench.target import TargetError

    flags = Flags(**{name: ctx.params[name] for name in Flags.__struct_fields__})
    try:
        plan = read_plan(flags, os.environ)
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
        result, outcomes = _measure(plan)
    except (LoadError, SloError) as error:
        _stop(str(error), 2)
    except TargetError as error:
        _stop(f"{url}: {error}", 2)
    except OSError as error:
        _stop(f"--output {output}: {error.strerror or error}", 2)
    except Interrupted:
        _stop("interrupted before anything was measured", 130)
    _tell(result, as_json)
    if output is not None:
        _write(output, result, outcomes)
    raise typer.Exit(exit_code(result))


def exit_code(result: "Result") -> int:
    """1 when a required goodput was missed, or when nothing at all succeeded; else 0."""
    missed = result.goodput is not None and result.goodput.met is False
    return 1 if missed or not result.requests.completed else 0


def _measure(plan: "Plan") -> "tuple[Result, list[Outcome]]":
    from fastpath.bench.progress import show_progress
    from fastpath.bench.session import measure

    known = plan.load.requests if plan.trace is None else len(plan.trace)
    with show_progress(None if plan.load.duration else known, plan.load.duration) as watch:
        return measure(plan, watch)


def _tell(result: "Result", as_json: bool) -> None:
    import msgspec

    from fastpath.bench.report import render

    typer.echo(msgspec.json.encode(result).decode() if as_json else render(result), nl=as_json)


def _write(folder: Path, result: "Result", outcomes: "list[Outcome]") -> None:
    """Writes the files; a picture that cannot be drawn takes none of the others away."""
    import msgspec

    from fastpath.bench.plot import PlotError, draw
    from fastpath.bench.report import render

    try:
        (folder / "result.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        (folder / "report.md").write_text(render(result), encoding="utf-8")
        (folder / "requests.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(outcomes))
        draw(result, outcomes, folder / "plot.png")
    except OSError as error:
        _stop(f"{folder}: {error.strerror or error}", 2)
    except PlotError as error:
        typer.secho(f"fastpath: no plot.png: {error}", err=True, fg=typer.colors.YELLOW)


def _stop(message: str, code: int) -> NoReturn:
    typer.secho(f"fastpath: {message}", err=True, fg=typer.colors.RED)
    raise typer.Exit(code)
