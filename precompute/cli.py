"""The command line: arguments, progress bars and exit codes.

Owns what a user types and reads. Must not know science: every command is a thin call of the pipeline.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

from precompute.atlas.folder import Workspace
from precompute.atlas.manifest import Manifest, check_folder
from precompute.atlas.ownership import is_made, remove_site, require_replaceable, some
from precompute.config import Config, load_config, resolve_path
from precompute.errors import AtlasError
from precompute.provenance import package_versions, today
from precompute.serving import make_server

if TYPE_CHECKING:
    from precompute.pipeline import Pipeline
    from precompute.stages.on_ray import RayOptions
    from sitegen.reports.material import Material

DEFAULT_CONFIG = "data/world.toml"
_DRY_RUN = {
    "name": "make every request, print the number of calls, tokens and dollars, and ask nothing",
    "score": "make every request, print the number of calls, tokens and dollars, and ask nothing; needs the names",
    "explain": "compute and keep the numbers, print the number of calls, tokens and dollars, and ask nothing",
}
INTERNAL_ERROR = 70
"""The exit code of an error that is not the user's (EX_SOFTWARE of sysexits.h)."""
INTERRUPTED = "interrupted: everything finished is kept, and the same command goes on from there"


class TerminalReporter:
    """Progress bars with an ETA on stderr, lines on stdout."""

    @contextmanager
    def track(self, label: str, total: int, *, done: int = 0, unit: str = "it") -> Iterator[Callable[[int], None]]:
        """Open a tqdm bar."""
        with tqdm(
            total=total, initial=done, desc=f"{label:<12}", unit=unit, dynamic_ncols=True, mininterval=0.5
        ) as bar:

            def advance(n: int) -> None:
                bar.update(n)

            yield advance

    def say(self, text: str) -> None:
        """Write one line, above any open bar."""
        tqdm.write(text, file=sys.stdout)


class _Parser(argparse.ArgumentParser):
    """Parses a command line; what is wrong with it ends as every other mistake of a user does, in one line."""

    def error(self, message: str) -> NoReturn:
        raise AtlasError(f"{message}. `{self.prog} --help` says what can be given")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `atlas` with all its commands; a command line that it cannot parse raises AtlasError."""
    parser = _Parser(
        prog="atlas",
        description="Find, name and explain the concepts of a convolutional network, and publish them as a site.",
        epilog="Every command takes up where the last run stopped. Exit code 1: the message says what to do; "
        f"{INTERNAL_ERROR}: an error of the program itself.",
    )
    parser.add_argument("--verbose", action="store_true", help="log what the library does")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _common_arguments()
    for name, (function, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, parents=[] if name == "report" else [common])
        command.set_defaults(function=function)
        if name == "report":
            _add_reports(command, common)
        if name == "publish":
            _add_publishing(command)
        if name == "agree":
            _add_agreement(command)
        if name == "card":
            _add_cards(command)
        if name in ("run", "mine"):
            _add_ray(command)
        _add_own_arguments(name, command)
    return parser


def _path(text: str) -> Path:
    """Read a path; an empty one would be the current folder, which nobody means who has not set a variable."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty (is a variable of the shell not set?)")
    return Path(text)


def _common_arguments() -> _Parser:
    common = _Parser(add_help=False)
    common.add_argument(
        "--config", type=_path, default=Path(DEFAULT_CONFIG), help=f"the atlas's TOML ({DEFAULT_CONFIG})"
    )
    common.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override a value of the config; can be given again",
    )
    common.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    common.add_argument("--output", type=_path, help="output folder (<name> beside the config)")
    common.add_argument("--site", type=_path, help="folder of the site (site/<name>)")
    return common


def _add_own_arguments(name: str, command: argparse.ArgumentParser) -> None:
    if name == "mine":
        command.add_argument(
            "--shard", default="1/1", metavar="I/N", help="mine only this machine's part of the shards"
        )
    if name == "explain":
        command.add_argument(
            "photos", nargs="*", type=_path, metavar="PHOTO", help="photos or folders, besides the config's"
        )
    if name in ("name", "score", "explain"):
        command.add_argument("--dry-run", action="store_true", help=_DRY_RUN[name])
    if name == "name":
        command.add_argument(
            "--batch",
            action="store_true",
            help="submit the requests to the server's batch API, at half the price, and leave; later, the same command "
            "collects the replies and names",
        )
        command.add_argument(
            "--retry",
            action="store_true",
            help="ask for the concepts that got no answer from the server last time; not with --batch",
        )
    if name == "names":
        command.add_argument("action", choices=("export", "import"))
        command.add_argument("table", type=_path, metavar="CSV")
        command.add_argument("--author", help="who corrected, as the site will show it; needed for import")
    if name == "init":
        command.add_argument("example", nargs="?", default="world", help="its name (world); `list` lists them")
    if name == "verify":
        command.add_argument(
            "what",
            nargs="?",
            type=_path,
            metavar="FOLDER|REPORT",
            help="folder of an atlas (the config's), or a report that is held against the config's atlas",
        )
        command.add_argument(
            "--signed-by", metavar="PUBLIC_KEY", help="the report has to be signed by this key, in hexadecimal"
        )
    if name == "study":
        _add_study_arguments(command)
    if name == "serve":
        command.add_argument("--port", type=int, default=8000, help="port on this machine (8000)")


def _add_ray(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--ray", metavar="ADDRESS", help="mine on Ray: local (this machine), auto or HOST:PORT (docs/cluster.md)"
    )
    command.add_argument("--ray-cpus", type=_positive, default=1, metavar="N", help="processors of a worker (1)")
    command.add_argument("--ray-gpus", type=_share, default=0.0, metavar="X", help="GPUs of a worker, 0 to 1 (0)")
    command.add_argument("--ray-mix", action="store_true", help="let devices of several kinds compute one atlas")
    command.add_argument("--max-bad", type=_count, metavar="N", help="with --ray: end when more images are unusable")


def _add_agreement(command: argparse.ArgumentParser) -> None:
    command.add_argument("--samples", type=_positive, default=16, metavar="N", help="photos to mine both ways (16)")
    command.add_argument(
        "--channels", type=_positive, default=4, metavar="N", help="heatmaps compared in a ranking of a layer (4)"
    )


def _add_publishing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "host", choices=("server", "bucket", "github", "gitlab", "huggingface"), help="where it will lie"
    )
    command.add_argument("--into", type=_path, metavar="FOLDER", help="folder to make (publish/<name>-<host>)")
    command.add_argument(
        "--pictures", choices=("all", "crops", "none"), default="all", help="of the data set; crops: no whole one (all)"
    )
    command.add_argument(
        "--private", action="store_true", help="numbers in place of file names and labels (docs/publishing.md)"
    )
    command.add_argument(
        "--only", action="append", default=[], metavar="PHOTO", help="of explanations, only this photo's; repeatable"
    )
    command.add_argument("--under", default="/", metavar="PATH", help="path under which it will be served (/)")


def _add_cards(command: argparse.ArgumentParser) -> None:
    command.add_argument("kind", choices=("explanation", "concept"), help="what it shows")
    command.add_argument("subjects", nargs="+", metavar="SUBJECT", help="photos, or concepts as LAYER:CHANNEL")
    command.add_argument("--into", type=_path, metavar="FOLDER", help="folder of the cards (cards/<name>)")
    command.add_argument("--form", choices=("png", "svg"), default="png", help="which file (png)")


def _add_reports(command: argparse.ArgumentParser, common: _Parser) -> None:
    """Give `atlas report` its kinds, each a command of its own."""
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, (metavar, about) in _REPORTS.items():
        one = kinds.add_parser(kind, help=about, description=f"Write a report {about}.", parents=[common])
        if metavar:
            one.add_argument("subjects", nargs="*", metavar=metavar, help=_SUBJECTS[metavar])
        one.add_argument("--into", type=_path, metavar="FOLDER", help="folder of the reports (reports/<name>)")
        one.add_argument("--form", choices=("pdf", "html", "both"), default="both", help="which files (both)")
        one.add_argument(
            "--sign-with",
            type=_path,
            metavar="KEY",
            help="file with a private key of Ed25519 in PEM; else ATLAS_SIGNING_KEY, where it is set, holds one",
        )


_REPORTS = {
    "explanation": ("PHOTO", "of why the network decided on a photo as it did"),
    "class": ("CLASS", "of how the network decides on a class"),
    "audit": ("", "of the audit for shortcuts: what was found, and what was tested and not found"),
    "model": ("", "of the network: its model card, as Markdown too"),
}
_SUBJECTS = {
    "PHOTO": "explained photos: files, or their names or ids in the atlas (all)",
    "CLASS": "names or indices of classes (all that have samples)",
}


def _add_study_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "action", nargs="?", choices=("make", "score"), default="make", help="make pages (default), or score answers"
    )
    command.add_argument("files", nargs="*", type=_path, metavar="FILE", help="answers to score")
    command.add_argument("--folder", type=_path, help="of the study (study/<name>)")
    command.add_argument("--raters", type=_positive, default=2, metavar="N", help="pages, one for each rater (2)")
    command.add_argument("--questions", type=_positive, default=24, metavar="N", help="on each page (24)")
    command.add_argument("--each", type=_positive, default=2, metavar="N", help="raters who judge each question (2)")
    command.add_argument("--seed", type=int, help="another one makes another study of the same atlas (the config's)")


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 0 < value <= 999:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 999")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


# --- commands --------------------------------------------------------------------------------------------------


def _pipeline(arguments: argparse.Namespace) -> Pipeline:
    config = load_config(arguments.config, arguments.overrides)
    # torch takes seconds to import; --help should not wait for it, nor who mistyped the config's name
    from precompute.pipeline import Pipeline as Made  # noqa: PLC0415

    dry_run = getattr(arguments, "dry_run", False)
    workspace, cluster = _workspace(config, arguments), _cluster(arguments)
    return Made(config, workspace, TerminalReporter(), dry_run=dry_run, cluster=cluster)


def _cluster(arguments: argparse.Namespace) -> RayOptions | None:
    """Read how a run uses Ray; a missing package is told before anything is opened."""
    address = getattr(arguments, "ray", None)
    given = any(getattr(arguments, key, None) for key in ("ray_mix", "ray_gpus")) or (
        getattr(arguments, "max_bad", None) is not None or getattr(arguments, "ray_cpus", 1) != 1
    )
    if address is None:
        if given:
            raise AtlasError("--ray-cpus, --ray-gpus, --ray-mix and --max-bad say how --ray works: add --ray ADDRESS")
        return None
    if getattr(arguments, "shard", "1/1") != "1/1":
        raise AtlasError("--shard and --ray do not go together: Ray shares the work out itself")
    from precompute.stages.on_ray import RayOptions as Made  # noqa: PLC0415
    from precompute.stages.on_ray import require_ray  # noqa: PLC0415

    require_ray()
    return Made(address, arguments.ray_cpus, arguments.ray_gpus, arguments.max_bad, arguments.ray_mix)


def _workspace(config: Config, arguments: argparse.Namespace) -> Workspace:
    return Workspace(
        folder=arguments.output or config.path.parent / config.name, site=arguments.site or Path("site") / config.name
    )


def _init(arguments: argparse.Namespace) -> None:
    from precompute.examples import copy_example, example_names  # noqa: PLC0415

    if arguments.example == "list":
        print("\n".join(example_names()))  # noqa: T201
        return
    for path in copy_example(arguments.example, Path(DEFAULT_CONFIG).parent):
        print(path)  # noqa: T201


def _run(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    if arguments.config == Path(DEFAULT_CONFIG) and not arguments.config.exists():
        from precompute.examples import copy_example  # noqa: PLC0415

        copy_example(arguments.config.stem, arguments.config.parent)
        print(f"made      {arguments.config}, the default that comes with the program: change it as you like")  # noqa: T201
    start = _pipeline(arguments).run()
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"done in {minutes}:{seconds:02d} min. Open {start.resolve().as_uri()}")  # noqa: T201


def _layers(arguments: argparse.Namespace) -> None:
    inputs = _pipeline(arguments).inputs
    selected = {info.name for info in inputs.layers}
    rows = [("layer", "kind", "channels", "output", "receptive field", "mined")]
    for info in inputs.all_layers:
        field = f"{info.receptive_field.size} px" if info.receptive_field else "whole image"
        size = f"{info.height} x {info.width}"
        rows.append((info.name, info.kind, str(info.n_channels), size, field, "yes" if info.name in selected else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())  # noqa: T201


def _check(arguments: argparse.Namespace) -> None:
    n_faults = _pipeline(arguments).check()
    if n_faults:
        what = "one thing is" if n_faults == 1 else f"{n_faults} things are"
        raise AtlasError(f"{what} to mend before an atlas can be made: the lines that begin with 'mend'")
    print("nothing to mend: `atlas run` makes the atlas")  # noqa: T201


def _agree(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, arguments.overrides)
    from precompute.agreement.comparison import compare, find_disagreement  # noqa: PLC0415 - as for the pipeline

    rows = compare(config, arguments.samples, arguments.channels)
    width = max(len("layer"), *(len(row.layer) for row in rows))
    head = f"{'layer':<{width}}  ranking  {'entries':>7}  {'samples':>7}  {'neurons':>7}  {'score':>8}  {'heatmap':>8}"
    print(head)  # noqa: T201
    for row in rows:
        print(  # noqa: T201
            f"{row.layer:<{width}}  {row.ranking:<7}  {row.n_entries:>7}  {row.n_samples_differ:>7}  "
            f"{row.n_neurons_differ:>7}  {row.score_deviation:>8.1e}  {row.heatmap_deviation:>8.1e}"
        )
    print("samples, neurons: entries that differ; score, heatmap: largest deviation over the largest value")  # noqa: T201
    if wrong := find_disagreement(rows):
        raise AtlasError(f"the tables or heatmaps differ from zennit-crp's by more than rounding: {wrong}")
    print("agrees    with zennit-crp in float64, up to rounding")  # noqa: T201


def _mine(arguments: argparse.Namespace) -> None:
    from precompute.stages.mining import ShardSubset  # noqa: PLC0415

    _pipeline(arguments).mine(ShardSubset.parse(arguments.shard))


def _merge(arguments: argparse.Namespace) -> None:
    _pipeline(arguments).merge()


def _references(arguments: argparse.Namespace) -> None:
    _pipeline(arguments).render()


def _name(arguments: argparse.Namespace) -> None:
    if arguments.batch and arguments.retry:
        raise AtlasError(
            "--batch and --retry do not go together: a batch that is collected asks live for what failed in it. "
            "Use --retry alone to ask live for the concepts that got no answer last time."
        )
    pipeline = _pipeline(arguments)
    if arguments.dry_run:
        print(pipeline.estimate_names(batch=arguments.batch))  # noqa: T201
    elif arguments.batch:
        pipeline.name_by_batch()
    else:
        pipeline.name(retry=arguments.retry)


def _score(arguments: argparse.Namespace) -> None:
    pipeline = _pipeline(arguments)
    if arguments.dry_run:
        print(pipeline.estimate_scores())  # noqa: T201
    else:
        pipeline.score()


def _names(arguments: argparse.Namespace) -> None:
    pipeline = _pipeline(arguments)
    if arguments.action == "export":
        pipeline.names.export(arguments.table)
    else:
        if not arguments.author:  # no login name is taken for it: the site shows who named a concept
            raise AtlasError("say who corrected the names with --author NAME: the site will show it")
        pipeline.import_names(arguments.table, arguments.author)


def _explain(arguments: argparse.Namespace) -> None:
    pipeline = _pipeline(arguments)
    if arguments.dry_run:
        print(pipeline.estimate_explanations(tuple(arguments.photos)))  # noqa: T201
        return
    for path in pipeline.explain(tuple(arguments.photos)):
        print(path)  # noqa: T201


def _evaluate(arguments: argparse.Namespace) -> None:
    _pipeline(arguments).evaluate()


def _trust(arguments: argparse.Namespace) -> None:
    _pipeline(arguments).trust()


def _study(arguments: argparse.Namespace) -> None:
    if arguments.action == "make" and arguments.files:
        raise AtlasError("`atlas study` makes pages and takes no files; `atlas study score FILE ...` scores answers")
    config = load_config(arguments.config, arguments.overrides)
    folder = arguments.folder or Path("study") / config.name
    if arguments.action == "score":
        from precompute.studies.answers import score_study  # noqa: PLC0415 - as for the pipeline
        from precompute.studies.kit import KEY  # noqa: PLC0415

        score_study(folder / KEY, arguments.files, TerminalReporter())
        return
    from precompute.studies.plan import StudySize  # noqa: PLC0415

    size = StudySize(arguments.raters, arguments.questions, arguments.each)
    _pipeline(arguments).study(folder, size, arguments.seed)


def _site(arguments: argparse.Namespace) -> None:
    print(_pipeline(arguments).build_site().resolve().as_uri())  # noqa: T201


def _report(arguments: argparse.Namespace) -> None:
    from sitegen.reports.build import FORMS, reports  # noqa: PLC0415
    from sitegen.reports.signing import KEY_VARIABLE, read_signer  # noqa: PLC0415

    signer = read_signer(arguments.sign_with, os.environ.get(KEY_VARIABLE, ""))
    config = load_config(arguments.config, arguments.overrides)
    folder = arguments.into or Path("reports") / config.name
    forms = FORMS if arguments.form == "both" else (arguments.form,)
    with _material(config, arguments) as material:
        subjects = getattr(arguments, "subjects", ())
        for paths in reports(material, arguments.kind, subjects, folder, forms, signer):
            for path in paths:
                print(path)  # noqa: T201


def _card(arguments: argparse.Namespace) -> None:
    from sitegen.reports.card import write_cards  # noqa: PLC0415

    config = load_config(arguments.config, arguments.overrides)
    folder = arguments.into or Path("cards") / config.name
    with _material(config, arguments) as material:
        for path in write_cards(material, arguments.kind, arguments.subjects, folder, arguments.form):
            print(path)  # noqa: T201


@contextmanager
def _material(config: Config, arguments: argparse.Namespace) -> Iterator[Material]:
    """Open the atlas of a config for its reports; nothing damaged or stale is reported on."""
    from sitegen.reports.build import opened, read_logo  # noqa: PLC0415
    from sitegen.reports.material import ReportOptions  # noqa: PLC0415

    workspace, wanted = _workspace(config, arguments), config.report
    options = ReportOptions(
        title=wanted.title or config.site.title or config.name,
        author=wanted.author,
        logo=read_logo(resolve_path(config, wanted.logo)) if wanted.logo else b"",
        approval=wanted.approval,
        audience=wanted.audience,
        language=wanted.language,
        paper=wanted.paper,
        include_images=config.site.include_images,
        date=today(),
        made_from={"program": package_versions()["concept-atlas"]},
    )
    with workspace.in_use(shared=True) if is_made(workspace.folder) else nullcontext():
        workspace.digest_contents()
        with opened(workspace.folder, options) as material:
            yield material


def _publish(arguments: argparse.Namespace) -> None:
    from sitegen.build import SiteOptions  # noqa: PLC0415
    from sitegen.publishing import publish  # noqa: PLC0415

    config = load_config(arguments.config, arguments.overrides)
    workspace, host = _workspace(config, arguments), arguments.host
    folder = arguments.into or Path("publish") / f"{config.name}-{host}"
    options = SiteOptions(
        title=config.site.title or config.name,
        description=config.site.description,
        name=f"{config.name} for {host}",
        include_images=config.site.include_images and arguments.pictures != "none",
        include_crops_only=arguments.pictures == "crops",
        private=arguments.private,
        photos=tuple(arguments.only),
        n_gallery=config.site.n_gallery,
    )
    with workspace.in_use(shared=True) if is_made(workspace.folder) else nullcontext():
        options = replace(options, made_from=workspace.digest_contents())
        made = publish(folder, workspace.folder, options, host, f"/{arguments.under.strip('/')}/".replace("//", "/"))
    for warning in made.warnings:
        print(f"note      {warning}")  # noqa: T201
    size = f"{made.n_files} files, {made.n_bytes / 1e6:.1f} MB, at most {made.n_entries} entries in a folder"
    print(f"published {folder}: {size}; every link leads to a file of it. docs/publishing.md says how to put it up")  # noqa: T201


def _verify(arguments: argparse.Namespace) -> None:
    if arguments.what is not None and arguments.what.is_file():
        _verify_report(arguments)
        return
    if arguments.signed_by:
        raise AtlasError("--signed-by is for a report: name its file before it")
    folder = arguments.what
    if folder is None:
        config = load_config(arguments.config, arguments.overrides)
        folder = _workspace(config, arguments).folder
    findings = check_folder(folder)
    for finding in findings:
        print(f"fault     {finding.text}: {finding.hint}")  # noqa: T201
    if findings:
        how_many = "a fault" if len(findings) == 1 else f"{len(findings)} faults"
        raise AtlasError(f"{folder} has {how_many}, listed above. `atlas run` with the same config mends all of it")
    files = [file for product in Manifest(folder).products.values() for file in product.files]
    print(f"whole     {folder}: {len(files)} files are as they were written, and made from each other")  # noqa: T201


def _verify_report(arguments: argparse.Namespace) -> None:
    """Hold a report against the atlas of the config."""
    from sitegen.reports.signing import signed_by  # noqa: PLC0415
    from sitegen.reports.verifying import read_report, verify  # noqa: PLC0415

    path, wanted = arguments.what, (arguments.signed_by or "").lower()
    signer = signed_by(path)  # what is told of it needs no atlas
    print(f"signed    {path}: by the key {signer}" if signer else f"unsigned  {path}", flush=True)  # noqa: T201
    if wanted and signer != wanted:
        raise AtlasError(f"{path} is {f'signed by {signer}' if signer else 'not signed'}, and not by {wanted}")
    config = load_config(arguments.config, arguments.overrides)
    read_report(path)  # what is no report is told before the atlas is opened
    with _material(config, arguments) as material:
        verdict = verify(path, material)
    for finding in verdict.findings:
        print(f"{verdict.outcome:<9} {finding}")  # noqa: T201
    folder = _workspace(config, arguments).folder
    if verdict.outcome == "changed":
        raise AtlasError(f"{path} is not what {folder} gives now, for the reasons listed above")
    if verdict.outcome == "unknown":
        raise AtlasError(f"cannot tell of {path} by {folder}: see above. --config or --output names another atlas")
    print(f"same      {path}: {folder} gives the same report, byte for byte")  # noqa: T201


def _serve(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, arguments.overrides)
    with make_server(_workspace(config, arguments).site, arguments.port) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        print(f"{address} (for this machine only; Ctrl-C ends)", flush=True)  # noqa: T201
        server.serve_forever()


def _clean(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, arguments.overrides)
    workspace = _workspace(config, arguments)
    require_replaceable(workspace.site, config.name)  # both are removed, or neither
    there, left = workspace.folder.exists(), workspace.clean()
    if left:
        print(f"removed   what can be made again in {workspace.folder}; left {some(left)}")  # noqa: T201
    elif there:
        print(f"removed   {workspace.folder}")  # noqa: T201
    if remove_site(workspace.site, config.name):
        print(f"removed   {workspace.site}")  # noqa: T201
    elif not there:
        print(f"nothing to remove: there is neither {workspace.folder} nor a site in {workspace.site}")  # noqa: T201


_COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], None], str]] = {
    "init": (_init, "write a config that comes with the program, to start from"),
    "run": (_run, "make the whole atlas: mine, render, name, explain, build the site"),
    "check": (_check, "say what is right and wrong about the network, its weights, the data and the preprocessing"),
    "agree": (_agree, "compare tables and heatmaps with zennit-crp in float64, where it is right"),
    "layers": (_layers, "print the layers of the model: name, kind, channels, output size, receptive field"),
    "mine": (_mine, "mine the tables of every channel into atlas.h5"),
    "merge": (_merge, "merge the shards that several machines mined into atlas.h5"),
    "references": (_references, "render the reference images into references.h5"),
    "name": (_name, "name every concept into names.jsonl"),
    "score": (_score, "try every name on references that its namer did not see, into scores.jsonl"),
    "names": (_names, "export the names as a CSV, or import one that people corrected"),
    "explain": (_explain, "explain the config's photos, and the given ones besides"),
    "evaluate": (_evaluate, "score concepts and names against the truth, where the data set knows it"),
    "trust": (_trust, "measure how far the atlas can be trusted: what happens without the concepts that it names"),
    "study": (_study, "make pages on which people try the names, and score what they answered"),
    "site": (_site, "build the site from what is there"),
    "report": (_report, "write documents to file and sign: a tagged PDF, and one HTML file that needs nothing else"),
    "card": (_card, "draw an explanation or a concept as one picture for a slide or a chat"),
    "publish": (_publish, "make a checked copy of the site for a static host, with or without pictures"),
    "clean": (_clean, "remove what was made: the site, and of the output folder all but corrections and paid replies"),
    "verify": (_verify, "check every file of an atlas, or a report against its atlas, and say what was changed"),
    "serve": (_serve, "serve the finished site on this machine"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0; 1 after an error that the user can act on or an interruption; 70 after an error of the program itself, whose
        details are in a file that the message names.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal or file that cannot hold every character
    try:
        parsed = build_parser().parse_args(arguments)
    except AtlasError as error:
        print(f"atlas: {_told(error)}", file=sys.stderr)  # noqa: T201
        return 1
    logging.basicConfig(level=logging.INFO if parsed.verbose else logging.WARNING, format="%(name)s: %(message)s")
    try:
        today()  # SOURCE_DATE_EPOCH is read by libraries too, which only check it when they write
        parsed.function(parsed)
    except KeyboardInterrupt:
        print(f"\natlas: {INTERRUPTED}", file=sys.stderr)  # noqa: T201
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; there is nobody to tell
        return 1
    except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, it ends in one line
        if parsed.debug:
            traceback.print_exception(error)
        print(f"atlas: {_told(error)}", file=sys.stderr)  # noqa: T201
        return 1 if isinstance(error, AtlasError | MemoryError) or _is_full(error) else INTERNAL_ERROR
    return 0


def _told(error: Exception) -> str:
    """Put an error into one line; one of the program itself with the file that holds its traceback."""
    if isinstance(error, AtlasError):
        return _one_line(str(error))
    if isinstance(error, MemoryError) or _is_full(error):
        return f"out of memory ({_one_line(str(error)) or 'no more than that is known'}). Set mining.batch_size lower"
    what = f"this is an error of the program itself: {type(error).__name__}: {_one_line(str(error))[:300]}"
    try:
        handle, path = tempfile.mkstemp(prefix="atlas-error-", suffix=".log")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - it is open already
            traceback.print_exception(error, file=file)
    except OSError:
        return f"{what}. The same command with --debug shows more; please report it with that"
    return f"{what}. {path} says where, and --debug shows it here; please report it with that"


def _is_full(error: Exception) -> bool:
    return type(error).__name__ == "OutOfMemoryError"  # torch's own, which may not even be imported


def _one_line(text: str) -> str:
    """Keep a message from being more than a message: file names and library errors may hold anything."""
    return "".join(
        character if character.isprintable() else " " if character.isspace() else ascii(character)[1:-1]
        for character in text
    )


if __name__ == "__main__":
    sys.exit(main())
