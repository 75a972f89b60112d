"""`study`: people say which restoration is better, and their votes are counted."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..ranges import COUNT
from .arguments import number

TITLE = "Which face is restored better?"


def add_study(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "study",
        help="ask people which of two restorations is better",
        description="The paper's user study. `make` writes a page that opens in any browser "
        "without a server; each voter saves a file of votes, and `count` adds them up.",
    )
    parts = parser.add_subparsers(title="parts", required=True, metavar="PART")
    make = parts.add_parser(
        "make",
        help="write the page",
        description="One HTML file of what `evaluate` made. It shows the damaged photo, the "
        "reference and the two restorations, in random order; the undamaged original is not in it.",
    )
    add = make.add_argument
    add("people", type=Path, metavar="PEOPLE", help="folder with a folder for each person")
    add("results", type=Path, metavar="RESULTS", help="folder that `evaluate` wrote")
    add("-o", "--output", required=True, type=Path, metavar="FILE.html", help="the page")
    add("--methods", nargs=2, required=True, metavar="METHOD", help="such as: base aidsa")
    add(
        "--degradations",
        nargs="+",
        default=["heavy"],
        metavar="PRESET",
        help="default: %(default)s",
    )
    add("--limit", type=number(COUNT), metavar="N", help="only the first N people")
    add("--title", default=TITLE, help="default: %(default)s")
    make.set_defaults(run=make_study)
    count = parts.add_parser(
        "count",
        help="count votes",
        description="Each method's share of all votes, with its 95 %% "
        "confidence interval, which takes every vote for independent of the others.",
    )
    count.add_argument(
        "votes", nargs="+", type=Path, metavar="VOTES.json", help="saved by the page"
    )
    count.set_defaults(run=count_study)


def make_study(args: argparse.Namespace) -> None:
    """Runs `study make`."""
    from ..evaluation.identities import find_identities
    from ..evaluation.study import find_trials, write_page
    from ..run_folder import check_not_read

    people = find_identities(args.people)[: args.limit]
    trials = find_trials(args.results, people, args.degradations, args.methods)
    check_not_read([args.output], [picture for trial in trials for picture in trial.pictures])
    write_page(trials, args.output, args.title)
    print(f"{args.output}: {len(trials)} questions")


def count_study(args: argparse.Namespace) -> None:
    """Runs `study count`."""
    from ..evaluation.study import count_votes

    shares = count_votes(args.votes)
    print(f"{'method':<16}{'votes':>7}{'share':>8}   95 % interval")
    for share in shares:
        print(
            f"{share.method:<16}{share.votes:>7}{share.share:>8.1%}   "
            f"{share.low:.1%} to {share.high:.1%}"
        )
